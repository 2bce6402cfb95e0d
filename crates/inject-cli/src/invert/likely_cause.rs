//! The likeliest cause where a prompt is not recovered, and the command to try next.

use super::report::{AcceptanceRule, Recovered, Report, VerdictName};
use crate::number::measured;

/// A nearest candidate that lies nearer than this share of the runner-up stands out: its state is the one given, but for noise.
const STANDS_OUT: f64 = 0.5;

/// Says in one paragraph what was seen at the first position that is not settled, what that most likely means, and what to try.
pub(super) fn likely_cause(report: &Report) -> Option<String> {
    let recovered = &report.recovered;
    if recovered.equals_prompt == Some(false) && recovered.verified {
        return Some(
            "the states are those of the tokens recovered, at every position, and not of the prompt given beside them: most likely the \
             ids belong to another prompt"
                .to_owned(),
        );
    }
    let settled = |verdict: VerdictName| verdict.is_verified() || verdict == VerdictName::Given;
    let row = recovered.positions.iter().find(|row| !settled(row.verdict))?;
    let at = row.position;
    Some(match row.verdict {
        VerdictName::Ambiguous => format!(
            "several tokens fit position {at}: they have the same state there, or the tolerance is too wide; --certify tests the whole \
             vocabulary, and a narrower --noise or --epsilon excludes more"
        ),
        VerdictName::Open => format!(
            "position {at} is open: the budget was spent before a token that fits was found; try a larger --max-candidates or \
             --max-seconds, or a lens (`inject lens`, then --lens FOLDER)"
        ),
        _ => failed(report, recovered, at),
    })
}

/// The cause of a position that no token fits.
fn failed(report: &Report, recovered: &Recovered, at: usize) -> String {
    let row = &recovered.positions[at];
    let (Some(distance), Some(tolerance)) = (row.distance, row.tolerance) else {
        return format!("no token of the vocabulary fits position {at}");
    };
    let seen = format!(
        "no token of the vocabulary fits position {at}: the nearest lies {} away, and {} is allowed",
        measured(distance),
        measured(tolerance)
    );
    let alone = row.runner_up.is_some_and(|other| distance < STANDS_OUT * other.distance);
    let noise = matches!(report.acceptance, AcceptanceRule::NoiseFloor { .. });
    match (at, alone) {
        (_, true) if noise => format!(
            "{seen}. It is much nearer than any other, so most likely it is the token, and the states were computed in bf16, f16 or by \
             quantised weights: try --noise {}",
            measured(2.0 * distance)
        ),
        (0, _) => format!(
            "{seen}, as far as others are. Most likely the states are those of another tap ({} was taken: `hidden_states[-1]` of \
             transformers is final-norm, and the output of module `layers.N` is block-N+1) or of other weights, or the first rows are \
             missing (BOS cut off, a prefix cache, rows in another order): try --tap with each neighbouring tap",
            report.tap
        ),
        _ => format!(
            "{seen}, as far as others are, though the positions before it fit. Most likely this row is padding, belongs to another prompt, \
             or one before it is missing: compare the number of rows with that of the tokens"
        ),
    }
}
