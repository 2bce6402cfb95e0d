//! Which keys are out of sight of which queries.

use burn::tensor::{Bool, Device, Tensor, TensorData};

use crate::config::{Span, visible};

/// The masks of one pass, one for each distinct span among the blocks.
pub(super) struct Masks {
    held: usize,
    positions: usize,
    device: Device,
    masks: Vec<(Span, Tensor<4, Bool>)>,
    beside: Vec<(Span, Tensor<2, Bool>)>,
}

impl Masks {
    pub(super) fn new(held: usize, positions: usize, device: Device) -> Self {
        Masks { held, positions, device, masks: Vec::new(), beside: Vec::new() }
    }

    /// True where a key is out of sight. Shape `[1, 1, positions, held + positions]`.
    pub(super) fn hidden(&mut self, span: Span) -> Tensor<4, Bool> {
        if let Some((_, mask)) = self.masks.iter().find(|(known, _)| *known == span) {
            return mask.clone();
        }
        let keys = self.held + self.positions;
        let hidden: Vec<bool> = (self.held..keys)
            .flat_map(|query| (0..keys).map(move |key| !visible(query, key, span)))
            .collect();
        let data = TensorData::new(hidden, [1, 1, self.positions, keys]);
        let mask = Tensor::from_data(data, &self.device);
        self.masks.push((span, mask.clone()));
        mask
    }

    /// True where a cached key is out of sight of a token in one of these places of the run; what the run has in that place and behind
    /// it is. Shape `[places, held + positions]`.
    pub(super) fn hidden_beside(&mut self, span: Span, places: &[usize]) -> Tensor<2, Bool> {
        if let Some((_, mask)) = self.beside.iter().find(|(known, _)| *known == span) {
            return mask.clone();
        }
        let keys = self.held + self.positions;
        let queries = places.iter().map(|place| self.held + place);
        let hidden: Vec<bool> = queries
            .flat_map(|query| (0..keys).map(move |key| key >= query || !visible(query, key, span)))
            .collect();
        let mask = Tensor::from_data(TensorData::new(hidden, [places.len(), keys]), &self.device);
        self.beside.push((span, mask.clone()));
        mask
    }
}
