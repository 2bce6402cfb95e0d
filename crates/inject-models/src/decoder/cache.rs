//! Keys and values of positions already computed.

use burn::tensor::{DType, Device, Tensor};

use super::attention::Projected;
use crate::{Tap, config::AttentionConfig};

/// The keys and values of a prefix, for every block below one tap.
///
/// Made by [`Decoder::prefix_cache`](crate::Decoder::prefix_cache). A clone shares the tensors until one of the two is
/// extended.
#[derive(Clone, Debug)]
pub struct PrefixCache {
    pub(super) blocks: Vec<KeysValues>,
    pub(super) batch: usize,
    pub(super) sequence_len: usize,
    pub(super) deepest: Tap,
    pub(super) len: usize,
}

impl PrefixCache {
    /// Positions held.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether no position is held.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Sequences computed side by side.
    pub fn batch(&self) -> usize {
        self.batch
    }

    /// The length of the whole sequence the prefix belongs to: the most positions that fit, and what LongRoPE chooses
    /// its frequencies by.
    pub fn sequence_len(&self) -> usize {
        self.sequence_len
    }

    /// The deepest tap that can be read through this cache.
    pub fn deepest(&self) -> Tap {
        self.deepest
    }

    /// Forgets all but the first `len` positions. Free: what is forgotten is overwritten later.
    ///
    /// # Panics
    ///
    /// If fewer than `len` positions are held.
    pub fn truncate(&mut self, len: usize) {
        assert!(len <= self.len, "cannot keep {len} of {} positions", self.len);
        self.len = len;
        for block in &mut self.blocks {
            block.len = len;
        }
    }
}

/// The keys and values of one block.
#[derive(Clone, Debug)]
pub(super) struct KeysValues {
    /// Shape `[batch, n_kv_heads, capacity, d_head]`, of which the first `len` positions are filled.
    keys: Tensor<4>,
    values: Tensor<4>,
    len: usize,
}

impl KeysValues {
    pub(super) fn new(
        config: &AttentionConfig,
        batch: usize,
        capacity: usize,
        device: &Device,
        dtype: DType,
    ) -> Self {
        let zeros = || Tensor::zeros([batch, config.n_kv_heads, capacity, config.d_head], (device, dtype));
        KeysValues { keys: zeros(), values: zeros(), len: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Takes up the keys and values of new positions, and puts those of all positions, as views, in their place.
    pub(super) fn extend(&mut self, parts: &mut [Projected]) {
        let mut end = self.len;
        for Projected { heads, keys, values, .. } in parts.iter() {
            let [batch, _, positions, d_head] = keys.dims();
            end = self.len + positions;
            let place = [0..batch, heads.clone(), self.len..end, 0..d_head];
            // In place: a second owner of the tensor would make this a copy of the whole cache.
            self.keys.inplace(|held| held.slice_assign(place.clone(), keys.clone()));
            self.values.inplace(|held| held.slice_assign(place, values.clone()));
        }
        self.len = end;
        for Projected { heads, keys, values, .. } in parts {
            let view = |t: &Tensor<4>| t.clone().narrow(1, heads.start, heads.len()).narrow(2, 0, end);
            (*keys, *values) = (view(&self.keys), view(&self.values));
        }
    }

    /// The positions from `first` on, of a cache for one sequence, as views.
    ///
    /// # Shapes
    ///
    /// Two of `[n_kv_heads, len - first, d_head]`.
    pub(super) fn shared(&self, first: usize) -> (Tensor<3>, Tensor<3>) {
        let view = |t: &Tensor<4>| t.clone().narrow(2, first, self.len - first).squeeze_dim::<3>(0);
        (view(&self.keys), view(&self.values))
    }
}
