//! The cause of a position that no token fits.

use inject_sipit::{Acceptance, models::Tap};

use super::{CauseKind, Describable, LikelyCause};
use crate::{
    invert::{
        change::Change,
        report::{NoiseName, PositionReport, Recovered, VerdictName},
    },
    number::measured,
};

/// The cause of a position that no token fits.
pub(super) fn failed(
    recovered: &Recovered,
    acceptance: Acceptance,
    tap: Tap,
    at: usize,
    rows: &Describable,
) -> LikelyCause {
    let given = recovered.positions.iter().take_while(|row| row.verdict == VerdictName::Given).count();
    let row = &recovered.positions[at];
    let kind = if at == given { CauseKind::TapOrWeights } else { CauseKind::Rows };
    let (Some(distance), Some(tolerance)) = (row.distance, row.tolerance) else {
        return LikelyCause { kind, text: format!("no token of the vocabulary fits position {at}") };
    };
    let seen = format!(
        "no token of the vocabulary fits position {at}: the nearest lies {} away, and {} is allowed",
        measured(distance),
        measured(tolerance)
    );
    let exact = is_exact_before(recovered, at) && row.noise == Some(NoiseName::Computing);
    if exact && acceptance == Acceptance::default() {
        let text = format!(
            "{seen}. A position before it fits as closely as computing in f32 allows, so these weights made the states, in f32, and noise does \
             not explain this row. Most likely a row is missing before it, or this row is padding or belongs to another prompt, or the rows \
             are in another order: compare the number of rows with that of the tokens{}",
            rows.with_gap_or_shuffled(at, tap)
        );
        return LikelyCause { kind: CauseKind::Rows, text };
    }
    if row.stands_out() {
        let (reason, option) = match acceptance {
            Acceptance::NoiseFloor { .. } => {
                ("the states were computed in bf16, f16 or by quantised weights", "--noise")
            }
            _ => ("the tolerance is too narrow", "--epsilon"),
        };
        let text = format!(
            "{seen}. It is much nearer than any other, so most likely it is the token, and {reason}: try {option} {}{}",
            measured(2.0 * distance),
            rows.without_noise()
        );
        return LikelyCause { kind: CauseKind::Noise, text };
    }
    let text = match kind {
        CauseKind::TapOrWeights => format!(
            "{seen}, as far as others are. Most likely the states are those of another tap ({tap} was taken: `hidden_states[-1]` of \
             transformers is final-norm, and the output of module `layers.N` is block-N+1) or of other weights, or the first rows are \
             missing (BOS cut off, a prefix cache, or the last token of each prompt alone) or in another order{}; {}",
            rows.at_other_tap_or_shuffled(tap),
            rows.other_weights()
        ),
        _ => format!(
            "{seen}, as far as others are, though the positions before it fit. Most likely this row is padding, belongs to another prompt, \
             or one before it is missing, or the rows are in another order: compare the number of rows with that of the tokens{}{}",
            rows.with_gap_or_shuffled(at, tap),
            rows.without_noise()
        ),
    };
    LikelyCause { kind, text }
}

/// Whether a position before this one is verified within the floor of computing. That of states with a factor holds the factor's error, and
/// values that are compared in the order of their size fit more easily.
fn is_exact_before(recovered: &Recovered, at: usize) -> bool {
    if matches!(recovered.change, Some(Change::Scaled { .. } | Change::Permuted { .. })) {
        return false;
    }
    let exact = |row: &PositionReport| row.verdict.is_verified() && row.noise == Some(NoiseName::Computing);
    recovered.positions[..at].iter().any(exact)
}
