//! The report for a person.

use inject_sipit::{Verdict, models::Model};

use super::report::{Report, Row};

impl Report {
    /// A line a position, then the prompt and what it cost.
    pub(super) fn table(&self, model: &Model) -> String {
        let recovered = &self.recovered;
        let heading = ["distance", "runner-up", "margin", "noise floor", "tested"]
            .map(|name| format!("{name:>11}"))
            .join(" ");
        let mut lines = vec![format!("{:>4}  {:<16} {:<10} {heading}", "pos", "token", "verdict")];
        lines.extend(recovered.verdicts.iter().map(|row| line(row, model)));
        lines.push(String::new());
        lines.push(match &recovered.text {
            Some(text) => format!("recovered: {text}"),
            None => format!("recovered ids: {:?}", recovered.token_ids),
        });
        let exact = if recovered.exact { "exact" } else { "NOT exact" };
        let back = match recovered.text_encodes_back {
            Some(false) => "; the text encodes to other ids: trust the ids",
            Some(true) | None => "",
        };
        let tokens = recovered.token_ids.len();
        lines.push(format!("{exact}: {tokens} tokens from states at {} of {}{back}", self.tap, self.model));
        lines.push(format!("policy: {}; {}", self.policy, self.reason));
        lines.push(format!(
            "{:.3} s, {:.1} forward passes of the prompt, {} candidates, {:.0} GFLOP/s in matrix products",
            recovered.seconds,
            self.forward_pass_equivalents,
            recovered.candidates_tested,
            self.gflop_per_second
        ));
        if let Some(row) = recovered.verdicts.iter().find(|row| row.verdict == Verdict::Failed) {
            lines.push(format!(
                "nothing fits from position {} on: the best found so far is shown",
                row.position
            ));
        }
        lines.join("\n")
    }
}

fn line(row: &Row, model: &Model) -> String {
    let number = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.3e}"));
    let text = model.tokenizer().ok().and_then(|tokenizer| tokenizer.token(row.token_id));
    let token = text.map_or_else(|| row.token_id.to_string(), |text| shortened(&text));
    let verdict = match &row.verdict {
        Verdict::Certain => "certain".to_owned(),
        Verdict::Verified => "verified".to_owned(),
        Verdict::Ambiguous { candidates, more: false } => format!("1 of {}", candidates.len()),
        Verdict::Ambiguous { candidates, more: true } => format!("1 of > {}", candidates.len()),
        Verdict::Failed => "failed".to_owned(),
        Verdict::Open => "open".to_owned(),
    };
    let numbers = [Some(row.distance), row.runner_up, row.margin, Some(row.noise_floor)];
    let numbers = numbers.map(|value| format!("{:>11}", number(value))).join(" ");
    let tested = format!("{:>11}  {}", row.candidates_tested, row.found_by);
    format!("{:>4}  {token:<16} {verdict:<10} {numbers} {tested}", row.position)
}

/// A token within the width of the table.
fn shortened(token: &str) -> String {
    const WIDTH: usize = 16;
    let printable: String = token.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
    if printable.chars().count() <= WIDTH {
        printable
    } else {
        printable.chars().take(WIDTH - 1).chain(['~']).collect()
    }
}
