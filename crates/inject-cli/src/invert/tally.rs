//! What became of all prompts of a store.

use std::collections::BTreeMap;

use inject_examples::Failure;

/// One line of the file of results, as far as it is counted.
#[derive(serde::Deserialize)]
struct Line {
    prompt: usize,
    exact: bool,
    verdicts: Vec<Row>,
    seconds: f64,
    candidates_tested: usize,
    cost: BTreeMap<String, Stage>,
}

#[derive(serde::Deserialize)]
struct Row {
    verdict: Kind,
}

#[derive(serde::Deserialize)]
struct Stage {
    states: usize,
}

/// A verdict without its particulars.
#[derive(Clone, Copy, Debug, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Certain,
    Verified,
    Ambiguous,
    Failed,
    Open,
}

/// Counts over the lines of a file of results, those of earlier runs among them.
#[derive(Debug, Default, PartialEq, serde::Serialize)]
pub(super) struct Tally {
    pub(super) prompts: usize,
    pub(super) exact: usize,
    /// Those that are not exact.
    pub(super) not_exact: Vec<usize>,
    pub(super) positions: usize,
    certain: usize,
    verified: usize,
    ambiguous: usize,
    failed: usize,
    open: usize,
    candidates_tested: usize,
    /// States computed up to the tap.
    states: usize,
    seconds: f64,
}

/// A tally, and what follows from it.
#[derive(serde::Serialize)]
struct Summary<'a> {
    #[serde(flatten)]
    tally: &'a Tally,
    tokens_per_second: f64,
    /// States computed, a position: what a forward pass of each prompt takes is 1.
    forward_pass_equivalents: f64,
}

impl Tally {
    /// Counts the next prompt.
    ///
    /// # Errors
    ///
    /// When the line is not that of the prompt behind the ones counted.
    pub(super) fn take(&mut self, line: &str) -> Result<(), Failure> {
        let line: Line = serde_json::from_str(line)?;
        if line.prompt != self.prompts {
            let (found, expected) = (line.prompt, self.prompts);
            return Err(Failure::new(format!("holds prompt {found}, expected prompt {expected}")));
        }
        self.prompts += 1;
        match line.exact {
            true => self.exact += 1,
            false => self.not_exact.push(line.prompt),
        }
        self.positions += line.verdicts.len();
        for row in line.verdicts {
            *match row.verdict {
                Kind::Certain => &mut self.certain,
                Kind::Verified => &mut self.verified,
                Kind::Ambiguous => &mut self.ambiguous,
                Kind::Failed => &mut self.failed,
                Kind::Open => &mut self.open,
            } += 1;
        }
        self.candidates_tested += line.candidates_tested;
        self.states += line.cost.values().map(|stage| stage.states).sum::<usize>();
        self.seconds += line.seconds;
        Ok(())
    }

    fn summary(&self) -> Summary<'_> {
        let positions = self.positions as f64;
        Summary {
            tally: self,
            tokens_per_second: positions / self.seconds.max(f64::MIN_POSITIVE),
            forward_pass_equivalents: self.states as f64 / positions.max(1.0),
        }
    }

    /// The summary as one JSON object.
    pub(super) fn json(&self) -> Result<String, Failure> {
        Ok(serde_json::to_string(&self.summary())?)
    }

    /// The summary for a person.
    pub(super) fn text(&self) -> String {
        /// Prompts named before "and so on".
        const NAMED: usize = 10;
        let Tally { prompts, exact, positions, candidates_tested, .. } = self;
        let mut lines = vec![format!("{prompts} prompts, {exact} exact")];
        if !self.not_exact.is_empty() {
            let named: Vec<String> = self.not_exact.iter().take(NAMED).map(usize::to_string).collect();
            let rest = if self.not_exact.len() > NAMED { ", ..." } else { "" };
            lines.push(format!("not exact: prompt {}{rest}", named.join(", ")));
        }
        lines.push(format!(
            "{positions} positions: {} certain, {} verified, {} ambiguous, {} failed, {} open",
            self.certain, self.verified, self.ambiguous, self.failed, self.open
        ));
        let summary = self.summary();
        lines.push(format!(
            "{:.1} s, {:.1} tokens a second, {:.1} forward passes in states computed, {candidates_tested} candidates",
            self.seconds, summary.tokens_per_second, summary.forward_pass_equivalents
        ));
        lines.join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: &str = r#"{"prompt":0,"exact":false,"seconds":0.5,"candidates_tested":3,"cost":{"draft":{"states":4},"scan":{"states":2}},
        "verdicts":[{"verdict":"verified"},{"verdict":"ambiguous","candidates":[]},{"verdict":"open"}]}"#;

    #[test]
    fn every_verdict_is_counted_under_its_name() {
        let mut tally = Tally::default();
        tally.take(FIRST).unwrap();
        let expected = Tally {
            prompts: 1,
            not_exact: vec![0],
            positions: 3,
            verified: 1,
            ambiguous: 1,
            open: 1,
            candidates_tested: 3,
            states: 6,
            seconds: 0.5,
            ..Tally::default()
        };
        assert_eq!(tally, expected);
        let json: serde_json::Value = serde_json::from_str(&tally.json().unwrap()).unwrap();
        assert_eq!(
            (&json["tokens_per_second"], &json["forward_pass_equivalents"]),
            (&6.0.into(), &2.0.into())
        );
    }

    #[test]
    fn a_prompt_out_of_turn_is_refused() {
        let mut tally = Tally::default();
        tally.take(FIRST).unwrap();
        let error = tally.take(FIRST).unwrap_err().to_string();
        assert_eq!(error, "holds prompt 0, expected prompt 1");
    }
}
