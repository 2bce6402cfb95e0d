//! A second draft learns from the distances of the first.

use inject_sipit::{
    InvertError, Policy, Settings,
    models::Tap,
    sources::{Draft, OpenPosition, Provisional},
};

use super::{PROMPT, alternatives::Doubtful, planted, stage};
use crate::{
    small::{FAMILIES, decoders, invert, model, target},
    sources::{Simple, SimplePolicy},
};

/// A wrong first token first, and the truth when asked again.
struct SecondThoughts {
    wrong: Vec<u32>,
}

impl Simple for SecondThoughts {
    fn name(&self) -> &'static str {
        "second thoughts"
    }

    fn draft(&self, at: &OpenPosition<'_>, seen: &Provisional) -> Result<Option<Draft>, InvertError> {
        let begin = at.prefix.len();
        if seen.is_empty() {
            return Ok(Some(self.wrong.clone().into()));
        }
        // The distances of the first draft are there to learn from.
        let shown: Vec<(usize, u32)> = seen.iter().map(|(position, seen)| (position, seen[0].id)).collect();
        let drafted: Vec<(usize, u32)> =
            (begin..PROMPT.len()).zip(self.wrong[begin..].iter().copied()).collect();
        assert_eq!(shown, drafted);
        assert!(at.tested.contains(self.wrong[begin]) && at.tested.len() == 1);
        Ok(Some(PROMPT[begin..].to_vec().into()))
    }
}

#[test]
fn a_second_draft_corrects_the_first() {
    let at = 4;
    for (case, decoder) in decoders() {
        let target = target(&decoder, &PROMPT, Tap::Block(2));
        let wrong = planted(&[at]);
        let policy = Policy::new().simple(SecondThoughts { wrong: wrong.clone() });
        let inversion = invert(&decoder, &target, &policy, Settings::new()).unwrap();
        assert_eq!(inversion.token_ids(), PROMPT, "{case}");
        assert_eq!(inversion.candidates_tested(), PROMPT.len() + 1, "{case}");
        let corrected = &inversion.positions[at];
        assert_eq!((corrected.found_by(), corrected.candidates_tested), (Some("draft"), 2), "{case}");
        let runner_up = corrected.runner_up().unwrap();
        assert_eq!(runner_up.id, wrong[at], "{case}");
        assert_eq!(corrected.margin(), corrected.distance().map(|own| runner_up.distance - own), "{case}");
    }
}

/// Drafts the provisionally nearest tokens where several were computed, and otherwise as [`Doubtful`].
struct Attentive(Doubtful);

impl Simple for Attentive {
    fn name(&self) -> &'static str {
        "attentive"
    }

    fn draft(&self, at: &OpenPosition<'_>, seen: &Provisional) -> Result<Option<Draft>, InvertError> {
        if seen.is_empty() {
            return self.0.draft(at, seen);
        }
        let begin = at.prefix.len();
        let mut draft = planted(&self.0.wrong)[begin..].to_vec();
        for (position, seen) in seen.iter() {
            assert!(position >= begin, "settled positions are forgotten");
            assert!(seen.windows(2).all(|pair| pair[0].distance <= pair[1].distance));
            let computed = if self.0.wrong.contains(&position) { 3 } else { 1 };
            assert_eq!(seen.len(), computed, "position {position}");
            draft[position - begin] = seen[0].id;
        }
        Ok(Some(draft.into()))
    }
}

#[test]
fn distances_after_a_wrong_token_correct_the_next_draft() {
    let wrong = vec![2, 8];
    for device in inject_testing::compiled() {
        let mut mended = 0;
        for case in FAMILIES {
            let decoder = model(case, &device).decoder;
            let target = target(&decoder, &PROMPT, Tap::Block(2));
            let policy = Policy::new().simple(Attentive(Doubtful { wrong: wrong.clone(), knowing: true }));
            let inversion = invert(&decoder, &target, &policy, Settings::new()).unwrap();
            assert_eq!(inversion.token_ids(), PROMPT, "{case}");
            // One pass with two alternatives at each wrong token, and one from the first of them on.
            let states = PROMPT.len() + 2 * wrong.len() + (PROMPT.len() - wrong[0]);
            mended += usize::from(stage(&inversion, "draft").states == states);
        }
        // It is evidence and not a proof: after a wrong token another wrong one may be nearer.
        assert!(2 * mended > FAMILIES.len(), "{mended} families");
    }
}
