//! A block of states, which are written together.

use inject_models::Tap;

use crate::store::error::StoreError;

/// The states of the next few prompts, at every tap of the store.
///
/// # Shapes
///
/// Each slice holds `[row, d_model]`, row by row. The rows are those of the prompts in their order: one for each
/// prompt with [`Positions::Last`](crate::store::Positions::Last), one for each token with
/// [`Positions::All`](crate::store::Positions::All).
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Block<'a> {
    /// The number of prompts in the block.
    pub prompts: usize,
    /// The states at each tap, in any order.
    pub states: &'a [(Tap, &'a [f32])],
}

impl<'a> Block<'a> {
    /// Creates a block of `prompts` prompts from a slice of states for each tap, in any order.
    pub fn new(prompts: usize, states: &'a [(Tap, &'a [f32])]) -> Self {
        Block { prompts, states }
    }

    /// Returns the slices in the order of `taps`. Checks that there is one for each tap, with `rows` states each.
    ///
    /// # Errors
    ///
    /// [`StoreError::BlockTaps`], [`StoreError::BlockSize`].
    pub(crate) fn in_order_of(
        &self,
        taps: &[Tap],
        rows: usize,
        d_model: usize,
    ) -> Result<Vec<&'a [f32]>, StoreError> {
        let wrong_taps = || StoreError::BlockTaps {
            found: self.states.iter().map(|&(tap, _)| tap).collect(),
            expected: taps.to_vec(),
        };
        if self.states.len() != taps.len() {
            return Err(wrong_taps());
        }
        let slice = |&tap: &Tap| {
            let &(_, values) = self.states.iter().find(|&&(found, _)| found == tap).ok_or_else(wrong_taps)?;
            let (found, expected) = (values.len(), rows * d_model);
            match found == expected {
                true => Ok(values),
                false => Err(StoreError::BlockSize { tap, found, expected, rows, d_model }),
            }
        };
        taps.iter().map(slice).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TAPS: [Tap; 2] = [Tap::Embedding, Tap::FinalNorm];

    #[test]
    fn taps_may_come_in_any_order() {
        let states: [(Tap, &[f32]); 2] = [(Tap::FinalNorm, &[2.0, 3.0]), (Tap::Embedding, &[0.0, 1.0])];
        let block = Block { prompts: 1, states: &states };
        assert_eq!(block.in_order_of(&TAPS, 1, 2).unwrap(), [[0.0, 1.0], [2.0, 3.0]]);
    }

    #[test]
    fn missing_repeated_and_foreign_taps_are_refused() {
        let slices: [&[(Tap, &[f32])]; 4] = [
            &[(Tap::Embedding, &[0.0])],
            &[(Tap::Embedding, &[0.0]), (Tap::Embedding, &[0.0])],
            &[(Tap::Embedding, &[0.0]), (Tap::Block(1), &[0.0])],
            &[(Tap::Embedding, &[0.0]), (Tap::Block(1), &[0.0]), (Tap::FinalNorm, &[0.0])],
        ];
        for states in slices {
            let error = Block { prompts: 1, states }.in_order_of(&TAPS, 1, 1).unwrap_err();
            assert!(matches!(error, StoreError::BlockTaps { .. }), "{error}");
        }
    }

    #[test]
    fn a_slice_of_another_size_is_named() {
        let states: [(Tap, &[f32]); 2] = [(Tap::Embedding, &[0.0; 6]), (Tap::FinalNorm, &[0.0; 5])];
        let error = Block { prompts: 2, states: &states }.in_order_of(&TAPS, 2, 3).unwrap_err();
        assert!(
            matches!(
                error,
                StoreError::BlockSize { tap: Tap::FinalNorm, found: 5, expected: 6, rows: 2, .. }
            ),
            "{error}"
        );
    }
}
