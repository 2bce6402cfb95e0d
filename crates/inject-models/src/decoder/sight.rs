//! The keys that the rows of a pass see in one block, and the angles by which it rotates them.

use std::ops::Range;

use burn::tensor::{Bool, DType, Device, Tensor, TensorData};

use super::{rotary::RotaryTable, rows::Rows};
use crate::config::AttentionConfig;

/// The view of one block.
#[derive(Clone, Debug)]
pub(super) struct Sight {
    /// Angles of the runs' positions, if the block rotates.
    pub(super) rotary: Option<RotaryTable>,
    /// True where a key is out of sight of a position of the run, `[1, 1, run, held + run]`. A run of one position needs
    /// no mask: the keys that it sees are consecutive.
    pub(super) hidden: Option<Tensor<4, Bool>>,
    pub(super) beside: SightBeside,
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
        let agrees = |other: &AttentionConfig| (other.span, &other.rotary) == (config.span, &config.rotary);
        if let Some((_, sight)) = self.known.iter().find(|(other, _)| agrees(other)) {
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
        let keys = rows.held() + rows.run();
        let hidden = (rows.run() > 1).then(|| {
            let seen = |query: usize| config.span.keys(query);
            self.mask((rows.held()..keys).map(seen), keys).unsqueeze()
        });
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
            self.mask(queries.map(|query| config.span.keys(query).start..query), keys)
        });
        SightBeside { rotary, keys: 0..keys, hidden }
    }

    /// True where a query does not see a key, given the keys that each query sees.
    ///
    /// # Shapes
    ///
    /// `[queries, keys]`.
    fn mask(&self, seen: impl Iterator<Item = Range<usize>>, keys: usize) -> Tensor<2, Bool> {
        let hidden: Vec<bool> =
            seen.flat_map(|seen| (0..keys).map(move |key| !seen.contains(&key))).collect();
        let queries = hidden.len() / keys;
        Tensor::from_data(TensorData::new(hidden, [queries, keys]), &self.device)
    }
}
