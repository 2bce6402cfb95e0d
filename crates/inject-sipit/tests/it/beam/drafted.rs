//! Tokens that fit beside a drafted one.

use inject_sipit::{
    InvertError, Policy, Settings, Verdict,
    models::{Alternative, Tap},
    settings::Scan,
    sources::{Draft, OpenPosition, Provisional},
};

use super::{VOCAB, named};
use crate::{
    small::{invert, target, with_equal_rows},
    sources::{Simple, SimplePolicy, Told},
};

/// Drafts one token for a position and two beside it, and the true prompt otherwise.
struct Torn {
    prompt: Vec<u32>,
    at: usize,
    drafted: u32,
    beside: [u32; 2],
}

impl Simple for Torn {
    fn name(&self) -> &'static str {
        "torn"
    }

    fn draft(&self, at: &OpenPosition<'_>, _: &Provisional) -> Result<Option<Draft>, InvertError> {
        let begin = at.prefix.len();
        let mut ids = self.prompt[begin..].to_vec();
        let Some(place) = self.at.checked_sub(begin) else { return Ok(Some(ids.into())) };
        ids[place] = self.drafted;
        let alternatives = self.beside.map(|id| Alternative { place, id }).to_vec();
        Ok(Some(Draft::from(ids).with_alternatives(alternatives)))
    }
}

#[test]
fn tokens_that_fit_beside_a_draft_are_followed_whichever_was_drafted() {
    let (prompt, at) = (vec![3, 41, 5, 12, 30, 7, 63, 9], 3);
    let twins = [11, 12];
    for decoder in inject_testing::on_each(|device| with_equal_rows(11, [12], device)) {
        for tap in [Tap::Embedding, Tap::Block(1), Tap::Block(2)] {
            let target = target(&decoder, &prompt, tap);
            // Neither, the nearer or the farther of the two is drafted; and one that was tested before is offered again.
            for (drafted, beside) in [(50, twins), (11, [12, 50]), (12, [11, 50]), (50, [12, 11])] {
                let label = format!("{tap}, {drafted} and {beside:?}");
                let torn = Torn { prompt: prompt.clone(), at, drafted, beside };
                let policy = Policy::new().simple(torn);
                let inversion = invert(&decoder, &target, &policy, Settings::new()).unwrap();
                assert!(inversion.first_failure().is_none(), "{label}: {inversion:?}");
                for (position, &token) in inversion.positions.iter().zip(&prompt) {
                    if position.position == at {
                        assert_eq!(named(&position.verdict), twins, "{label}");
                        assert_eq!(position.candidates_tested, 3, "{label}");
                    } else {
                        assert_eq!(
                            (&position.verdict, position.token_id()),
                            (&Verdict::Verified, Some(token)),
                            "{label}"
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn a_list_that_does_not_hold_all_that_fit_says_so_and_holds_the_token_kept() {
    let prompt = [3, 41, 60, 7];
    for device in inject_testing::compiled() {
        // Twenty-two tokens with one embedding, the last of which is drafted.
        let decoder = with_equal_rows(39, 40..=60, &device);
        let target = target(&decoder, &prompt, Tap::Block(2));
        let whole = Settings::new().with_scan(Scan::Whole);
        let rivals = Settings::new().with_rivals(VOCAB - 1);
        for settings in [whole, rivals] {
            let policy = Policy::new().simple(Told::one(&target, &prompt));
            let inversion = invert(&decoder, &target, &policy, settings).unwrap();
            let position = &inversion.positions[2];
            let Verdict::Ambiguous { candidates, more: true } = &position.verdict else {
                panic!("{position:?}")
            };
            assert!(candidates.len() >= 16, "{position:?}");
            assert!(
                candidates.iter().any(|candidate| Some(candidate.id) == position.token_id()),
                "{position:?}"
            );
            assert!(candidates.iter().all(|candidate| (39..=60).contains(&candidate.id)), "{position:?}");
        }
    }
}
