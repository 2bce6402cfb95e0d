//! Counts over all prompts of a store.

mod text;

use std::collections::BTreeMap;

use inject_sipit::{Inversion, inversion::Cost};
use serde::{Deserialize, Serialize};

use super::{likely_cause::CauseKind, record::Record, report::VerdictName};
use crate::outcome::Outcome;

/// Counts over the lines of a file of results, those of earlier runs included. `inject invert --json` writes this for a store.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct Tally {
    /// The number of prompts in the store.
    pub(super) prompts: usize,
    /// The prompts before the first one, which belong to other shares.
    #[serde(skip)]
    first: usize,
    /// Prompts that are verified at every position.
    verified: usize,
    /// Prompts whose tokens equal those in the store.
    equal: usize,
    /// The numbers of the prompts that are not verified at every position, or that contradict the store.
    not_recovered: Vec<usize>,
    /// The numbers of the prompts of which a settled token differs from that in the store.
    contradicted: Vec<usize>,
    /// The likeliest causes of incomplete recovery, each with its number of prompts.
    likely_causes: BTreeMap<CauseKind, usize>,
    /// The number of positions of all prompts.
    positions: usize,
    /// Positions with the verdict certain.
    certain_positions: usize,
    /// Positions with the verdict verified.
    verified_positions: usize,
    /// Positions with the verdict ambiguous.
    ambiguous_positions: usize,
    /// Positions with the verdict failed.
    failed_positions: usize,
    /// Positions with the verdict open.
    open_positions: usize,
    /// Candidates whose states were compared with the given states.
    candidates_tested: usize,
    /// States computed up to the tap, with those of this run's calibrations.
    states: usize,
    /// Seconds of the inversions of this run: none of those of earlier runs, whose time no file records.
    seconds: f64,
    /// The number of positions that this run recovered for each second. `null` if it recovered none.
    tokens_per_second: Option<f64>,
    /// The positions whose inversions took those seconds.
    #[serde(skip)]
    timed: usize,
    /// States computed for each position: one forward pass of each prompt makes 1.
    forward_pass_equivalents: f64,
}

impl Tally {
    /// An empty count of prompts from this one on.
    pub(super) fn beginning_with(first: usize) -> Self {
        Tally { first, ..Tally::default() }
    }

    /// The number of the prompt that comes next.
    pub(super) fn next_prompt(&self) -> usize {
        self.first + self.prompts
    }

    /// Counts the next prompt.
    ///
    /// # Errors
    ///
    /// The reason if it is not the next one.
    pub(super) fn take(&mut self, record: &Record) -> Result<(), String> {
        let Record { prompt, recovered, .. } = record;
        let (prompt, expected) = (*prompt, self.next_prompt());
        if prompt != expected {
            return Err(format!("holds prompt {prompt}, expected prompt {expected}"));
        }
        self.prompts += 1;
        self.verified += usize::from(recovered.verified);
        self.equal += usize::from(recovered.equals_prompt == Some(true));
        let outcome = recovered.outcome();
        if outcome != Outcome::Complete {
            self.not_recovered.push(prompt);
        }
        if outcome == Outcome::Contradicted {
            self.contradicted.push(prompt);
        }
        if let Some(cause) = &recovered.likely_cause {
            *self.likely_causes.entry(cause.kind).or_default() += 1;
        }
        self.positions += recovered.positions.len();
        for row in &recovered.positions {
            *match row.verdict {
                VerdictName::Certain => &mut self.certain_positions,
                VerdictName::Verified => &mut self.verified_positions,
                VerdictName::Ambiguous => &mut self.ambiguous_positions,
                VerdictName::Failed => &mut self.failed_positions,
                VerdictName::Open => &mut self.open_positions,
                VerdictName::Given => continue,
            } += 1;
        }
        self.candidates_tested += recovered.candidates_tested;
        self.states += recovered.cost.values().map(|stage| stage.states).sum::<usize>();
        self.count_passes();
        Ok(())
    }

    /// Counts the seconds that this run took for so many positions.
    pub(super) fn took(&mut self, seconds: f64, positions: usize) {
        self.seconds += seconds;
        self.timed += positions;
        self.tokens_per_second =
            (self.timed > 0).then(|| self.timed as f64 / self.seconds.max(f64::MIN_POSITIVE));
    }

    /// Counts the states of a calibration that an inversion paid for. No file records them: they serve all prompts.
    pub(super) fn calibrated(&mut self, inversion: &Inversion) {
        self.states += inversion.cost.stages().get(Cost::CALIBRATION).map_or(0, |stage| stage.states);
        self.count_passes();
    }

    fn count_passes(&mut self) {
        self.forward_pass_equivalents = self.states as f64 / self.positions.max(1) as f64;
    }

    /// Whether every prompt is recovered.
    pub(super) fn outcome(&self) -> Outcome {
        match (self.contradicted.is_empty(), self.not_recovered.is_empty()) {
            (false, _) => Outcome::Contradicted,
            (true, false) => Outcome::NotRecovered,
            (true, true) => Outcome::Complete,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(prompt: usize, verified: bool, equal: Option<bool>, verdicts: &[&str]) -> String {
        let position = |(position, verdict): (usize, &&str)| {
            serde_json::json!({
                "position": position, "verdict": verdict, "token_id": null, "candidates": [], "more_candidates": false,
                "distance": null, "tolerance": null, "noise": null, "runner_up": null, "margin": null, "ratio": null, "candidates_tested": 0,
                "found_by": null, "ruled_out": [],
            })
        };
        let positions: Vec<_> = verdicts.iter().enumerate().map(position).collect();
        let cause =
            (!verified).then(|| serde_json::json!({"kind": "budget", "text": "the budget was spent"}));
        let stage = |states: usize| serde_json::json!({"candidates": 1, "states": states, "batches": 1.0});
        let recovered = serde_json::json!({
            "verified": verified, "certain": false, "equals_prompt": equal, "token_ids": [], "text": null,
            "text_encodes_back": null, "likely_cause": cause, "positions": positions, "candidates_tested": 3,
            "cost": {"draft": stage(4), "scan": stage(2)},
        });
        serde_json::json!({ "prompt": prompt, "recovered": recovered }).to_string()
    }

    fn record(prompt: usize, verified: bool, equal: Option<bool>, verdicts: &[&str]) -> Record {
        serde_json::from_str(&line(prompt, verified, equal, verdicts)).unwrap()
    }

    #[test]
    fn every_verdict_is_counted_under_its_name() {
        let mut tally = Tally::default();
        tally.take(&record(0, false, None, &["verified", "ambiguous", "open"])).unwrap();
        tally.took(0.5, 3);
        assert_eq!(tally.outcome(), Outcome::NotRecovered);
        let expected = Tally {
            prompts: 1,
            not_recovered: vec![0],
            likely_causes: [(CauseKind::Budget, 1)].into(),
            positions: 3,
            verified_positions: 1,
            ambiguous_positions: 1,
            open_positions: 1,
            candidates_tested: 3,
            states: 6,
            seconds: 0.5,
            tokens_per_second: Some(6.0),
            timed: 3,
            forward_pass_equivalents: 2.0,
            ..Tally::default()
        };
        assert_eq!(tally, expected);
    }

    #[test]
    fn a_prompt_that_contradicts_the_store_decides_the_outcome() {
        let mut tally = Tally::default();
        let cases = [(true, Some(true)), (true, Some(false)), (false, Some(true)), (true, None)];
        for (prompt, (verified, equal)) in cases.into_iter().enumerate() {
            tally.take(&record(prompt, verified, equal, &["verified"])).unwrap();
        }
        assert_eq!((&tally.not_recovered[..], &tally.contradicted[..]), (&[1, 2][..], &[1][..]));
        assert_eq!(tally.outcome(), Outcome::Contradicted);
        assert!(
            tally.text().contains("4 prompts: 3 verified at every position, 2 equal"),
            "{}",
            tally.text()
        );
        assert!(tally.text().contains("not recovered: prompt 1, 2\n"));
        assert!(tally.text().contains("likely cause: the budget was spent: 1 prompt\n"), "{}", tally.text());
    }

    #[test]
    fn lines_with_seconds_of_older_versions_are_read_and_their_time_is_not_counted() {
        let old = line(0, true, None, &["verified"])
            .replace("\"batches\":1.0", "\"batches\":1.0,\"choosing_seconds\":0.1,\"testing_seconds\":0.2")
            .replace("\"recovered\":{", "\"recovered\":{\"seconds\":0.5,");
        let record: Record = serde_json::from_str(&old).unwrap();
        assert_eq!(record.recovered.seconds, Some(0.5));
        let mut tally = Tally::default();
        tally.take(&record).unwrap();
        assert_eq!(tally.seconds, 0.0);
        assert!(
            tally.text().contains("cost: 6.00 states computed for each position, 3 candidates"),
            "{}",
            tally.text()
        );
    }

    #[test]
    fn a_prompt_out_of_turn_and_an_unknown_field_are_refused() {
        let mut tally = Tally::default();
        tally.take(&record(0, true, None, &[])).unwrap();
        let error = tally.take(&record(0, true, None, &[])).unwrap_err();
        assert_eq!(error, "holds prompt 0, expected prompt 1");
        let unknown = line(1, true, None, &[]).replace("\"text\"", "\"txt\"");
        let error = serde_json::from_str::<Record>(&unknown).unwrap_err().to_string();
        assert!(error.contains("txt"), "{error}");
    }
}
