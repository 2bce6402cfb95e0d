//! The results of pieces, as the executors return them.

use inject_studies::corpus::{CorpusPart, CorpusPiece};

use crate::error::EngineError;

/// A piece and its result.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MeasuredPiece {
    /// The piece that was measured.
    pub(crate) piece: CorpusPiece,
    /// Its result, which the client merges.
    pub(crate) part: CorpusPart,
}

/// Returns the result of each piece in their order, from the lines of an aggregate.
///
/// # Errors
///
/// [`EngineError::Result`] if a line is not a measured piece, and [`EngineError::Count`] if a piece has no result or more than one.
pub(crate) fn in_order<'a>(
    pieces: impl IntoIterator<Item = &'a CorpusPiece>,
    lines: &str,
) -> Result<Vec<CorpusPart>, EngineError> {
    let parsed = lines.lines().map(serde_json::from_str::<MeasuredPiece>);
    let mut found = parsed.collect::<Result<Vec<_>, _>>().map_err(EngineError::result)?;
    let parts = pieces.into_iter().map(|&piece| {
        let at = found.iter().position(|measured| measured.piece == piece);
        let part = at.map(|at| found.swap_remove(at).part);
        let others = found.iter().filter(|measured| measured.piece == piece).count();
        match part {
            Some(part) if others == 0 => Ok(part),
            other => Err(EngineError::Count { piece, found: usize::from(other.is_some()) + others }),
        }
    });
    parts.collect()
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;

    use inject_collisions::{ClosestPairs, models::Tap};

    use super::*;

    fn line(piece: CorpusPiece, k: usize) -> String {
        let closest = serde_json::to_value(ClosestPairs::keeping(k)).unwrap();
        serde_json::json!({ "piece": piece, "part": { "closest": closest } }).to_string()
    }

    #[test]
    fn every_piece_has_one_result() {
        let pieces = CorpusPiece::all(&[Tap::Block(1)], NonZeroUsize::new(2).unwrap());
        let lines: Vec<String> = pieces.iter().enumerate().map(|(k, &piece)| line(piece, k)).collect();
        let backwards: Vec<&str> = lines.iter().rev().map(String::as_str).collect();
        let found = in_order(&pieces, &backwards.join("\n")).unwrap();
        let kept = found.iter().map(|part| serde_json::to_value(part).unwrap()["closest"]["k"].clone());
        assert_eq!(kept.collect::<Vec<_>>(), [0, 1, 2, 3]);

        let error = in_order(&pieces, &backwards[1..].join("\n")).unwrap_err();
        assert!(matches!(error, EngineError::Count { piece, found: 0 } if piece == pieces[3]), "{error}");
        let error = in_order(&pieces, &(backwards.join("\n") + "\n" + &line(pieces[2], 9))).unwrap_err();
        assert!(matches!(error, EngineError::Count { piece, found: 2 } if piece == pieces[2]), "{error}");
        let error = in_order(&pieces, "{}").unwrap_err();
        assert!(matches!(error, EngineError::Result { .. }), "{error}");
    }
}
