//! The likeliest cause where a prompt is not recovered, and the command to try next.

mod describable;
mod failed;
mod missing;
mod shuffled;

use std::fmt;

use inject_sipit::{Acceptance, Settings, models::Tap, settings::Scan};
use serde::{Deserialize, Serialize};

pub(super) use self::describable::Describable;
use self::{
    failed::failed,
    shuffled::{is_spent, without_place},
};
use super::report::{Recovered, VerdictName};

/// The likeliest cause of a prompt that is not recovered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct LikelyCause {
    /// The kind, by which the causes of many prompts are counted.
    pub(super) kind: CauseKind,
    /// One paragraph: the facts, what they most likely mean, and what to try.
    pub(super) text: String,
}

/// The kind of cause of an incomplete recovery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub(crate) enum CauseKind {
    /// The prompt that was given with the states is not theirs.
    OtherPrompt,
    /// Several tokens have the given state, within the tolerance.
    SeveralFit,
    /// The budget of time or candidates was spent.
    Budget,
    /// The states hold more noise than was allowed.
    Noise,
    /// The states are those of another tap or of other weights, or the first rows are missing.
    TapOrWeights,
    /// A later row is padding, belongs to another prompt, or one before it is missing.
    Rows,
    /// The file cannot be inverted with the others of its folder.
    Unusable,
}

impl fmt::Display for CauseKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            CauseKind::OtherPrompt => "the ids belong to another prompt",
            CauseKind::SeveralFit => "several tokens fit",
            CauseKind::Budget => "the budget was spent",
            CauseKind::Noise => "more noise than was allowed",
            CauseKind::TapOrWeights => "another tap, other weights, or missing first rows",
            CauseKind::Rows => "padding, rows of another prompt, or a missing row",
            CauseKind::Unusable => "a file that cannot be inverted with the others",
        })
    }
}

impl LikelyCause {
    /// Judges by the first position that is not settled. None if the prompt is recovered.
    pub(super) fn of(
        recovered: &Recovered,
        settings: &Settings,
        tap: Tap,
        rows: &Describable,
    ) -> Option<Self> {
        let acceptance = settings.acceptance;
        let certify = match settings.scan {
            Scan::Whole => "",
            _ => "--certify tests the whole vocabulary, and ",
        };
        let is_of_the_user = !matches!(acceptance, Acceptance::NoiseFloor { added: 0.0 });
        if recovered.equals_prompt == Some(false) && recovered.verified && is_of_the_user {
            // A token that is much nearer than any other is that of the state, whatever the tolerance.
            let is_wide =
                recovered.positions.iter().any(|row| row.verdict.is_verified() && !row.stands_out());
            if is_wide {
                let text = format!(
                    "tokens fit that differ from those of the prompt given: most likely the tolerance is too wide, and several tokens fit; \
                     {certify}a narrower --noise, --epsilon or --allclose excludes more"
                );
                return Some(LikelyCause { kind: CauseKind::SeveralFit, text });
            }
        }
        if recovered.equals_prompt == Some(false) && recovered.verified {
            let text = "the states are those of the tokens recovered, at every position, and not of the prompt given beside them: most \
                        likely the ids belong to another prompt";
            return Some(LikelyCause { kind: CauseKind::OtherPrompt, text: text.to_owned() });
        }
        let settled = |verdict: VerdictName| verdict.is_verified() || verdict == VerdictName::Given;
        let row = recovered.positions.iter().find(|row| !settled(row.verdict))?;
        let at = row.position;
        Some(match row.verdict {
            VerdictName::Ambiguous => LikelyCause {
                kind: CauseKind::SeveralFit,
                text: format!(
                    "several tokens fit position {at}: they have the same state there, or the tolerance is too wide; {certify}a narrower \
                     --noise or --epsilon excludes more"
                ),
            },
            VerdictName::Open if *rows == Describable::Shuffled && !is_spent(recovered, settings) => {
                without_place(recovered, settings, tap, at)
            }
            VerdictName::Open => LikelyCause {
                kind: CauseKind::Budget,
                text: format!(
                    "position {at} is open: the budget was spent before a token that fits was found; try a larger --max-candidates or \
                     --max-seconds{}",
                    if recovered.has_lens() { "" } else { ", or a lens (`inject lens`, then --lens FOLDER)" }
                ),
            },
            _ => failed(recovered, acceptance, tap, at, rows),
        })
    }
}

#[cfg(test)]
mod tests {
    use inject_sipit::Acceptance::{Ball, NoiseFloor};
    use serde_json::json;

    use super::*;
    use crate::invert::{change::Change, report::NoiseName};

    /// The report of a prompt of one token, with the distance of the nearest token and that of the next.
    fn recovered(verdict: &str, distance: f64, runner_up: Option<f64>) -> Recovered {
        let runner_up = runner_up.map(|distance| json!({ "token_id": 2, "distance": distance }));
        let verified = verdict == "verified";
        serde_json::from_value(json!({
            "verified": verified, "certain": false, "equals_prompt": verified.then_some(false), "token_ids": [1],
            "text": null, "text_encodes_back": null, "likely_cause": null, "candidates_tested": 9, "cost": {},
            "positions": [{
                "position": 0, "verdict": verdict, "token_id": 1, "candidates": [], "more_candidates": false,
                "distance": distance, "tolerance": 0.5, "noise": "rule", "runner_up": runner_up, "margin": null,
                "ratio": null, "candidates_tested": 9, "found_by": "scan", "ruled_out": [],
            }],
        }))
        .unwrap()
    }

    #[test]
    fn a_tolerance_of_the_user_is_the_cause_unless_the_token_stands_out() {
        let cause = |acceptance, runner_up| {
            LikelyCause::of(
                &recovered("verified", 0.4, runner_up),
                &Settings::new().with_acceptance(acceptance),
                Tap::Block(1),
                &Describable::Not,
            )
            .unwrap()
        };
        for acceptance in [Ball { epsilon: 0.5 }, NoiseFloor { added: 0.5 }] {
            for runner_up in [None, Some(0.45)] {
                let cause = cause(acceptance, runner_up);
                assert_eq!(cause.kind, CauseKind::SeveralFit);
                assert!(cause.text.contains("the tolerance is too wide"), "{}", cause.text);
            }
            assert_eq!(cause(acceptance, Some(40.0)).kind, CauseKind::OtherPrompt);
        }
        assert_eq!(cause(NoiseFloor { added: 0.0 }, None).kind, CauseKind::OtherPrompt);
    }

    #[test]
    fn a_row_that_fits_in_some_order_of_its_coordinates_does_not_rule_noise_out() {
        let mut found = recovered("verified", 1e-6, Some(40.0));
        let mut failed = recovered("failed", 0.6, Some(0.7));
        for row in [&mut found.positions[0], &mut failed.positions[0]] {
            row.noise = Some(NoiseName::Computing);
        }
        failed.positions[0].position = 1;
        found.positions.append(&mut failed.positions);
        (found.verified, found.equals_prompt) = (false, None);
        let cause = |found: &Recovered, rows| {
            LikelyCause::of(found, &Settings::new(), Tap::Block(1), &rows).unwrap().text
        };
        assert!(cause(&found, Describable::Not).contains("noise does not explain this row"));
        found.change = Some(Change::Permuted { coordinates: vec![None] });
        let text = cause(&found, Describable::Permuted { format_named: false });
        assert!(!text.contains("noise does not explain") && text.contains("--computed-in bf16"), "{text}");
        let text = cause(&found, Describable::Permuted { format_named: true });
        assert!(!text.contains("--computed-in"), "{text}");
    }

    #[test]
    fn what_was_done_already_is_not_suggested() {
        let text = |recovered: &Recovered, settings: &Settings| {
            LikelyCause::of(recovered, settings, Tap::Block(1), &Describable::Not).unwrap().text
        };
        let (needed, whole) = (Settings::new(), Settings::new().with_scan(Scan::Whole));
        let wide = |settings: Settings| settings.with_acceptance(Ball { epsilon: 0.5 });
        for (verdict, of) in [("verified", true), ("ambiguous", false)] {
            let recovered = recovered(verdict, 0.4, None);
            for (settings, suggested) in [(needed.clone(), true), (whole.clone(), false)] {
                let text = text(&recovered, &if of { wide(settings) } else { settings });
                assert_eq!(text.contains("--certify"), suggested, "{text}");
            }
        }
        let mut open = recovered("open", 0.4, None);
        assert!(text(&open, &needed).ends_with("--lens FOLDER)"));
        let stage = serde_json::from_value(json!({
            "candidates": 9, "states": 9, "batches": 1.0, "choosing_seconds": null, "testing_seconds": null,
        }));
        open.cost.insert("lens".to_owned(), stage.unwrap());
        assert!(text(&open, &needed).ends_with("--max-seconds"), "{}", text(&open, &needed));
    }

    #[test]
    fn a_token_that_stands_out_beyond_the_tolerance_shows_that_this_is_too_narrow() {
        let cause = |acceptance| {
            LikelyCause::of(
                &recovered("failed", 0.6, Some(40.0)),
                &Settings::new().with_acceptance(acceptance),
                Tap::Block(1),
                &Describable::Not,
            )
            .unwrap()
        };
        let narrow = cause(Ball { epsilon: 0.5 });
        assert_eq!(narrow.kind, CauseKind::Noise);
        assert!(narrow.text.contains("the tolerance is too narrow: try --epsilon"), "{}", narrow.text);
        let noisy = cause(NoiseFloor { added: 0.0 });
        assert!(noisy.text.contains("try --noise"), "{}", noisy.text);
    }
}
