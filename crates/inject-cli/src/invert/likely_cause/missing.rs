//! The cause of a position that has no row.

use super::{CauseKind, LikelyCause};
use crate::invert::report::{Recovered, VerdictName};

impl LikelyCause {
    /// The cause if the first position that is not settled has no row.
    pub(in crate::invert) fn of_missing(recovered: &Recovered, missing: &[usize]) -> Option<Self> {
        let settled = |verdict: VerdictName| verdict.is_verified() || verdict == VerdictName::Given;
        let row = recovered.positions.iter().find(|row| !settled(row.verdict))?;
        let at = row.position;
        if !missing.contains(&at) {
            return None;
        }
        let pair = missing.contains(&(at + 1));
        let given = recovered.positions.iter().take_while(|row| row.verdict == VerdictName::Given).count();
        let text = match row.verdict {
            VerdictName::Open if (at..recovered.positions.len()).all(|later| missing.contains(&later)) => {
                format!("position {at} has no row, and no row follows that shows its token")
            }
            VerdictName::Open => format!(
                "position {at} has no row, and no token tried for it leads to the next row: a gap of one row is bridged if the rows around \
                 it are right, a gap of two if the model expects the first token, and a wider one is not; what follows is a guess or open{}",
                if at == given {
                    "; if the first tokens are known, give them with --prefix-ids or --prefix"
                } else {
                    ""
                }
            ),
            VerdictName::Ambiguous if pair => format!(
                "positions {at} and {} have no rows, and a pair of tokens that the model expects leads to the next row: other pairs were not \
                 tested, so the pair is likely and not verified",
                at + 1
            ),
            _ => return None,
        };
        Some(LikelyCause { kind: CauseKind::Rows, text })
    }
}
