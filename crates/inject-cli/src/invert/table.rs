//! The report of one prompt for a person.

use inject_sipit::models::Model;

use super::{
    change::Change,
    report::{AcceptanceRule, NoiseName, PositionReport, ProducerReport, Recovered, Report, VerdictName},
};
use crate::{
    number::{self, counted, measured},
    table::{Cell, Table, rows},
    token,
};

impl Report {
    /// A line for each position, then what was recovered, and its cost.
    pub(super) fn text(&self, model: &Model) -> String {
        let recovered = &self.recovered;
        let mut lines = vec![self.table(model).text(), String::new()];
        lines.extend(explanation(self.acceptance));
        lines.extend(recovered.lines());
        lines.extend(recovered.change.as_ref().map(Change::line));
        lines.extend(recovered.producer.as_ref().map(ProducerReport::line));
        lines.extend(recovered.order.as_ref().map(|order| {
            let rows: Vec<String> = order.iter().map(usize::to_string).collect();
            format!("rows of the file in the order of the prompt: {}", rows.join(" "))
        }));
        lines.extend(recovered.notes.iter().map(|said| format!("note: {said}")));
        lines.extend(guesses(recovered, model));
        lines.extend(recovered.likely_cause.as_ref().map(|cause| cause.text.clone()));
        lines.push(format!("states: {} of {}", self.tap, self.model));
        lines.push(format!("policy: {}; {}", self.policy, self.reason));
        lines.extend(estimated(&recovered.positions));
        lines.push(format!(
            "cost: {}, {} forward passes of the prompt, {}, {:.0} GFLOP/s in matrix products",
            number::seconds(recovered.seconds.unwrap_or_default()),
            measured(self.forward_pass_equivalents),
            counted(recovered.candidates_tested, "candidate"),
            self.gflop_per_second
        ));
        lines.join("\n")
    }

    fn table(&self, model: &Model) -> Table {
        let tolerance = match self.acceptance {
            AcceptanceRule::NoiseFloor { .. } => "noise floor",
            AcceptanceRule::Ball { .. } => "epsilon",
            AcceptanceRule::Allclose { .. } => "tolerance",
        };
        rows("", &self.recovered.positions).columns([
            ("pos", &|row| row.position.into()),
            ("token", &|row| Cell::Text(token(row, model))),
            ("verdict", &|row| Cell::Text(verdict(row))),
            ("distance", &|row| row.distance.into()),
            ("runner-up", &|row| row.runner_up.map(|other| other.distance).into()),
            ("margin", &|row| row.margin.into()),
            (tolerance, &|row| row.tolerance.into()),
            ("tested", &|row| row.candidates_tested.into()),
            ("found by", &|row| Cell::Text(row.found_by.clone().unwrap_or_else(|| "-".to_owned()))),
        ])
    }
}

impl Recovered {
    /// The text, and the two facts about it.
    fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        let settled = |row: &&PositionReport| !matches!(row.verdict, VerdictName::Failed | VerdictName::Open);
        let leading = self.positions.iter().take_while(settled).count();
        let whole = leading == self.positions.len();
        let ids: Vec<u32> = self.token_ids.iter().take(leading).flatten().copied().collect();
        let text = self.text.clone().unwrap_or_else(|| format!("token ids {ids:?}"));
        lines.push(match whole {
            true => format!("recovered: {text}"),
            false if leading == 0 => "recovered: nothing".to_owned(),
            false => format!("recovered up to position {}: {text}", leading - 1),
        });
        if self.text_encodes_back == Some(false) {
            lines.push(
                "note: this text encodes to other token ids than those recovered; --json lists them"
                    .to_owned(),
            );
        }
        let verified = self.positions.iter().filter(|row| row.verdict.is_verified());
        let given = self.positions.iter().filter(|row| row.verdict == VerdictName::Given).count();
        let (count, all) = (verified.count(), self.positions.len() - given);
        let certain = if self.certain { ", and certain" } else { "" };
        lines.push(match self.verified {
            true if given > 0 => {
                format!(
                    "verified: yes, {}{certain}, after {} given",
                    all_positions(all),
                    counted(given, "token")
                )
            }
            true => format!("verified: yes, {}{certain}", all_positions(all)),
            false => format!("verified: no, {count} of {}", counted(all, "position")),
        });
        lines.push(match self.equals_prompt {
            Some(true) => "equal to the prompt: yes".to_owned(),
            Some(false) => "equal to the prompt: no".to_owned(),
            None if self.verified => {
                "equal to the prompt: unknown, as no prompt was given to compare with".to_owned()
            }
            None => "equal to the prompt: unknown".to_owned(),
        });
        lines
    }
}

/// The nearest tokens at open positions.
fn guesses(recovered: &Recovered, model: &Model) -> Option<String> {
    let rows: Vec<&PositionReport> = recovered.positions.iter().filter(|row| row.guess.is_some()).collect();
    let (first, last) = (rows.first()?.position, rows.last()?.position);
    let ids: Vec<u32> = rows.iter().filter_map(|row| row.guess).collect();
    let tokenizer = model.tokenizer().ok();
    let text =
        tokenizer.and_then(|tokenizer| tokenizer.decode(&ids).ok()).unwrap_or_else(|| format!("{ids:?}"));
    let count = counted(rows.len(), "position");
    Some(format!("guessed, and not verified, at {count} from {first} to {last}: {text}"))
}

fn all_positions(all: usize) -> String {
    if all == 1 { "at its only position".to_owned() } else { format!("at all {}", counted(all, "position")) }
}

/// Says that the noise of a producer was estimated, and how far the truth stands out.
fn estimated(rows: &[PositionReport]) -> Option<String> {
    let estimated = || rows.iter().filter(|row| row.noise == Some(NoiseName::Producer));
    let least = estimated().filter_map(|row| row.ratio).reduce(f64::min);
    let count = estimated().count();
    let apart = least.map_or_else(String::new, |least| {
        format!("; the nearest other token tested lies at least {} times farther", measured(least))
    });
    (count > 0).then(|| {
        format!(
            "noise floor: estimated at {}, as of a program that computes in a narrower format{apart}",
            counted(count, "position")
        )
    })
}

/// The content of the column of tolerances, if that is not the noise floor.
fn explanation(rule: AcceptanceRule) -> Option<String> {
    match rule {
        AcceptanceRule::NoiseFloor { .. } => None,
        AcceptanceRule::Ball { epsilon } => Some(format!(
            "accepted: states within the L2 distance {}, not the noise floor",
            measured(epsilon)
        )),
        AcceptanceRule::Allclose { rtol, atol } => Some(format!(
            "accepted: states with each coordinate x within {} + {} |x|; the tolerance is the largest L2 distance of such a state",
            measured(atol),
            measured(rtol)
        )),
    }
}

fn verdict(row: &PositionReport) -> String {
    match row.verdict {
        VerdictName::Certain => "certain".to_owned(),
        VerdictName::Verified => "verified".to_owned(),
        VerdictName::Ambiguous if row.more_candidates => format!("1 of > {}", row.candidates.len()),
        VerdictName::Ambiguous => format!("1 of {}", row.candidates.len()),
        VerdictName::Failed => "failed".to_owned(),
        VerdictName::Given => "given".to_owned(),
        VerdictName::Open => "open".to_owned(),
    }
}

/// A token within the width of the table.
fn token(row: &PositionReport, model: &Model) -> String {
    const WIDTH: usize = 16;
    let Some(id) = row.token_id else { return "-".to_owned() };
    let printable = token::printable(model, id);
    if printable.chars().count() <= WIDTH {
        printable
    } else {
        printable.chars().take(WIDTH - 1).chain(['~']).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn recovered(verdicts: &[VerdictName], equals_prompt: Option<bool>) -> Recovered {
        let position = |(position, &verdict): (usize, &VerdictName)| PositionReport {
            verdict,
            token_id: (verdict != VerdictName::Open).then_some(7),
            ..PositionReport::open(position)
        };
        let positions: Vec<PositionReport> = verdicts.iter().enumerate().map(position).collect();
        Recovered {
            verified: verdicts.iter().all(|verdict| *verdict == VerdictName::Verified),
            certain: false,
            equals_prompt,
            token_ids: positions.iter().map(|row| row.token_id).collect(),
            text: Some("Once".to_owned()),
            text_encodes_back: None,
            change: None,
            producer: None,
            order: None,
            notes: Vec::new(),
            likely_cause: None,
            positions,
            seconds: Some(1.0),
            candidates_tested: 0,
            cost: BTreeMap::new(),
        }
    }

    #[test]
    fn verified_and_equal_are_two_facts() {
        use VerdictName::Verified;
        let lines = recovered(&[Verified, Verified], None).lines();
        assert_eq!(lines[1], "verified: yes, at all 2 positions");
        assert!(lines[2].starts_with("equal to the prompt: unknown"));
        let lines = recovered(&[Verified, Verified], Some(false)).lines();
        assert_eq!(lines[1..], ["verified: yes, at all 2 positions", "equal to the prompt: no"]);
    }

    #[test]
    fn nothing_is_shown_of_positions_that_are_not_settled() {
        use VerdictName::{Failed, Open, Verified};
        let lines = recovered(&[Verified, Failed, Open], Some(false)).lines();
        assert_eq!(lines[0], "recovered up to position 0: Once");
        assert_eq!(lines[1], "verified: no, 1 of 3 positions");
        assert_eq!(recovered(&[Failed, Open], None).lines()[0], "recovered: nothing");
    }
}
