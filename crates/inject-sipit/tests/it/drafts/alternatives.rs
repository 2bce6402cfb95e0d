//! Alternatives beside a draft are computed in the same pass, and spare the search if one of them is the token.

use inject_sipit::{
    InvertError, Policy, Settings,
    models::{Alternative, Tap},
    sources::{Draft, OpenPosition, Provisional},
};

use super::{PROMPT, VOCAB, planted, stage};
use crate::{
    small::{FAMILIES, decoders, invert, model, target},
    sources::{Simple, SimplePolicy},
};

/// A draft that is wrong at some positions, with two alternatives for each of them: the true token and another.
pub(super) struct Doubtful {
    pub(super) wrong: Vec<usize>,
    /// Whether the true token is among the alternatives.
    pub(super) knowing: bool,
}

impl Simple for Doubtful {
    fn name(&self) -> &'static str {
        "doubtful"
    }

    fn draft(&self, at: &OpenPosition<'_>, _: &Provisional) -> Result<Option<Draft>, InvertError> {
        let begin = at.prefix.len();
        let Some(draft) = planted(&self.wrong).get(begin..).map(<[u32]>::to_vec) else { return Ok(None) };
        let others = self.wrong.iter().filter(|&&at| at >= begin).flat_map(|&at| {
            let place = at - begin;
            let other = (draft[place] + 1) % VOCAB as u32;
            // Beyond the draft, beyond the vocabulary, the token of the draft, and one of them twice: passed over.
            let useless = [(place + 100, 1), (place, VOCAB as u32), (place, draft[place]), (place, other)];
            let truth = self.knowing.then_some((place, PROMPT[at]));
            useless.into_iter().chain([(place, other)]).chain(truth)
        });
        let alternatives = others.map(|(place, id)| Alternative { place, id }).collect();
        Ok(Some(Draft::from(draft).with_alternatives(alternatives)))
    }
}

#[test]
fn an_alternative_spares_the_search_for_the_token() {
    let last = PROMPT.len() - 1;
    for (case, decoder) in decoders() {
        let target = target(&decoder, &PROMPT, Tap::Block(2));
        for wrong in [vec![0], vec![last], vec![3, 4], vec![0, 1, 6, last]] {
            let policy = Policy::new().simple(Doubtful { wrong: wrong.clone(), knowing: true });
            let inversion = invert(&decoder, &target, &policy, Settings::new()).unwrap();
            assert_eq!(inversion.token_ids(), PROMPT, "{case}, {wrong:?}");
            for position in &inversion.positions {
                let tested = if wrong.contains(&position.position) { 3 } else { 1 };
                assert_eq!(
                    (position.found_by(), position.candidates_tested),
                    (Some("draft"), tested),
                    "{case}"
                );
                assert_eq!(position.margin().is_some(), tested > 1);
            }
            // A pass over the open positions, the token replaced last, and two rows for each remaining doubt.
            let begins = [0].into_iter().chain(wrong.iter().copied().filter(|&at| at < last));
            let pass = |begin: usize, first: bool| {
                let doubts = wrong.iter().filter(|&&at| at > begin || (first && at == begin)).count();
                PROMPT.len() - begin + 2 * doubts
            };
            let states: usize = begins.enumerate().map(|(number, begin)| pass(begin, number == 0)).sum();
            assert_eq!(stage(&inversion, "draft").states, states, "{case}, {wrong:?}");
            assert_eq!(stage(&inversion, "scan").candidates, 0, "{case}, {wrong:?}");
        }
    }
}

#[test]
fn alternatives_that_do_not_fit_are_counted_and_no_more() {
    let device = inject_testing::any_device();
    for case in FAMILIES {
        let decoder = model(case, &device).decoder;
        let target = target(&decoder, &PROMPT, Tap::Block(2));
        let policy = Policy::new().simple(Doubtful { wrong: vec![4], knowing: false });
        let inversion = invert(&decoder, &target, &policy, Settings::new()).unwrap();
        assert_eq!(inversion.token_ids(), PROMPT, "{case}");
        let repaired = &inversion.positions[4];
        assert_eq!((repaired.found_by(), repaired.candidates_tested), (Some("scan"), VOCAB), "{case}");
    }
}
