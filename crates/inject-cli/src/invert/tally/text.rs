//! The counts as a person reads them, and as `--json` writes them.

use std::path::Path;

use super::Tally;
use crate::{
    number::{count, counted, measured, seconds},
    outcome::{Failure, Outcome},
    output::{note, say, say_json},
};

impl Tally {
    /// Prints the counts and the name of the file that holds the prompts.
    pub(in crate::invert) fn tell(&self, json: bool, out: &Path) -> Result<Outcome, Failure> {
        let wrote = format!("wrote {} to {}", counted(self.prompts, "prompt"), out.display());
        if json {
            say_json(&serde_json::to_string(self)?);
            note(&wrote);
        } else {
            say(&self.text());
            say(&wrote);
        }
        Ok(self.outcome())
    }

    /// The counts for a person.
    pub(super) fn text(&self) -> String {
        /// The largest number of prompts that a line lists by number.
        const NAMED: usize = 10;
        let mut lines = vec![format!(
            "{}: {} verified at every position, {} equal to the prompt in the store",
            counted(self.prompts, "prompt"),
            count(self.verified),
            count(self.equal)
        )];
        for (what, prompts) in
            [("not recovered", &self.not_recovered), ("contradicting the store", &self.contradicted)]
        {
            if !prompts.is_empty() {
                let named: Vec<String> = prompts.iter().take(NAMED).map(usize::to_string).collect();
                let rest = prompts.len() - named.len();
                let rest = if rest > 0 { format!(" and {} more", count(rest)) } else { String::new() };
                lines.push(format!("{what}: prompt {}{rest}", named.join(", ")));
            }
        }
        lines.extend(
            self.likely_causes
                .iter()
                .map(|(cause, prompts)| format!("likely cause: {cause}: {}", counted(*prompts, "prompt"))),
        );
        lines.push(format!(
            "{}: {} certain, {} verified, {} ambiguous, {} failed, {} open",
            counted(self.positions, "position"),
            count(self.certain_positions),
            count(self.verified_positions),
            count(self.ambiguous_positions),
            count(self.failed_positions),
            count(self.open_positions)
        ));
        let time = self.tokens_per_second.map_or_else(String::new, |rate| {
            format!("{}, {} tokens a second, ", seconds(self.seconds), measured(rate))
        });
        lines.push(format!(
            "cost: {time}{} states computed for each position, {}",
            measured(self.forward_pass_equivalents),
            counted(self.candidates_tested, "candidate")
        ));
        lines.join("\n")
    }
}
