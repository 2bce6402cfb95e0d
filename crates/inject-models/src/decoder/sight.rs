//! The keys that the rows of a pass see in one block, and the angles by which it rotates them.

use std::ops::Range;

use burn::tensor::{Bool, DType, Device, Tensor, TensorData};

use super::{rotary::RotaryTable, rows::Rows};
use crate::{
    config::{AttentionConfig, Span},
    tuning::LARGEST_MASK,
};

/// The view of one block.
#[derive(Clone, Debug)]
pub(super) struct Sight {
    /// Angles of the runs' positions, if the block rotates.
    pub(super) rotary: Option<RotaryTable>,
    /// The keys out of sight of the run. A run of one position needs no mask: the keys that it sees are consecutive.
    pub(super) hidden: Option<Hidden>,
    pub(super) beside: SightBeside,
}

/// The keys out of sight of the positions of a run.
#[derive(Clone, Debug)]
pub(super) struct Hidden {
    span: Span,
    /// The number of positions before the run.
    held: usize,
    /// The mask of the whole run, `[1, 1, run, held + run]`, unless it is too large to keep.
    whole: Option<Tensor<4, Bool>>,
    device: Device,
}

impl Hidden {
    fn new(span: Span, held: usize, run: usize, device: &Device) -> Self {
        let keys = held + run;
        let kept = run.saturating_mul(keys) <= LARGEST_MASK;
        let whole =
            kept.then(|| mask((held..keys).map(|query| span.keys(query)), 0..keys, device).unsqueeze());
        Hidden { span, held, whole, device: device.clone() }
    }

    /// True where one of some keys is out of sight of one of some positions of the run.
    ///
    /// # Shapes
    ///
    /// `[1, 1, positions, keys]`.
    pub(super) fn from(&self, positions: Range<usize>, keys: Range<usize>) -> Tensor<4, Bool> {
        match &self.whole {
            Some(whole) => {
                whole.clone().narrow(2, positions.start, positions.len()).narrow(3, keys.start, keys.len())
            }
            None => {
                let queries = positions.map(|position| self.held + position);
                mask(queries.map(|query| self.span.keys(query)), keys, &self.device).unsqueeze()
            }
        }
    }
}

/// The view of the rows beside the run.
#[derive(Clone, Debug)]
pub(super) struct SightBeside {
    /// Angles of each row, or of all rows if they share one place.
    pub(super) rotary: Option<RotaryTable>,
    /// The cached positions that some row sees.
    pub(super) keys: Range<usize>,
    /// True where one of these keys is out of sight of a row, `[rows, keys]`, unless every row sees all of them.
    pub(super) hidden: Option<Tensor<2, Bool>>,
}

/// The views of one pass, made once for all blocks that agree.
pub(super) struct Sights<'a> {
    rows: &'a Rows,
    device: Device,
    dtype: DType,
    known: Vec<(&'a AttentionConfig, Sight)>,
}

impl<'a> Sights<'a> {
    pub(super) fn new(rows: &'a Rows, device: Device, dtype: DType) -> Self {
        Sights { rows, device, dtype, known: Vec::new() }
    }

    /// The view of a block with this attention.
    pub(super) fn of(&mut self, config: &'a AttentionConfig) -> Sight {
        if let Some((_, sight)) = self.known.iter().find(|(other, _)| agree(other, config)) {
            return sight.clone();
        }
        let sight = self.make(config);
        self.known.push((config, sight.clone()));
        sight
    }

    fn make(&self, config: &AttentionConfig) -> Sight {
        let rows = self.rows;
        let rotary = config.rotary.as_ref().map(|rotary| {
            let positions = rows.held()..rows.held() + rows.positions();
            RotaryTable::new(rotary, positions, rows.sequence_len(), &self.device, self.dtype)
        });
        let hidden =
            (rows.run() > 1).then(|| Hidden::new(config.span, rows.held(), rows.run(), &self.device));
        Sight { beside: self.make_beside(config, rotary.as_ref()), rotary, hidden }
    }

    fn make_beside(&self, config: &AttentionConfig, rotary: Option<&RotaryTable>) -> SightBeside {
        let rows = self.rows;
        let rotary = rotary.filter(|_| rows.beside() > 0).map(|table| table.of_rows(rows.places()));
        if rows.run() == 0 {
            // All rows stand at the position after the cache, so they see the same keys.
            let keys = config.span.keys(rows.held()).start..rows.held();
            return SightBeside { rotary, keys, hidden: None };
        }
        let keys = rows.held() + rows.run();
        let hidden = (rows.beside() > 0).then(|| {
            let queries = rows.places().iter().map(|place| rows.held() + place);
            // The key in a row's own place belongs to the token that the row replaces.
            mask(queries.map(|query| config.span.keys(query).start..query), 0..keys, &self.device)
        });
        SightBeside { rotary, keys: 0..keys, hidden }
    }
}

/// Whether two blocks have the same view.
pub(super) fn agree(a: &AttentionConfig, b: &AttentionConfig) -> bool {
    (a.span, &a.rotary) == (b.span, &b.rotary)
}

/// True where a query does not see one of some keys, given the keys that each query sees.
///
/// # Shapes
///
/// `[queries, keys]`.
fn mask(
    seen: impl ExactSizeIterator<Item = Range<usize>>,
    keys: Range<usize>,
    device: &Device,
) -> Tensor<2, Bool> {
    let shape = [seen.len(), keys.len()];
    let mut hidden = Vec::with_capacity(shape[0] * shape[1]);
    for seen in seen {
        hidden.extend(keys.clone().map(|key| !seen.contains(&key)));
    }
    Tensor::from_data(TensorData::new(hidden, shape), device)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_that_is_too_large_to_keep_has_the_same_pieces() {
        for device in inject_testing::compiled() {
            for span in [Span::Full, Span::Window(5)] {
                let held = 3;
                let kept = Hidden::new(span, held, 40, &device);
                let made = Hidden { whole: None, ..kept.clone() };
                assert!(kept.whole.is_some());
                for positions in [0..16, 16..32, 32..40] {
                    let keys = span.keys(held + positions.start).start..held + positions.end;
                    let [kept, made] = [&kept, &made].map(|hidden| {
                        let hidden = hidden.from(positions.clone(), keys.clone()).into_data();
                        hidden.iter::<bool>().collect::<Vec<_>>()
                    });
                    assert_eq!(kept, made, "{span:?} {positions:?}");
                }
            }
        }
    }

    #[test]
    fn the_mask_of_a_long_run_is_not_kept() {
        let device = inject_testing::any_device();
        assert!(Hidden::new(Span::Full, 0, 100_000, &device).whole.is_none());
        assert!(Hidden::new(Span::Full, 1 << 20, 17, &device).whole.is_none());
    }
}
