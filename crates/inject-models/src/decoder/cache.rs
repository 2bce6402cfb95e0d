//! Keys and values of positions already computed.

use std::ops::Range;

use burn::tensor::{DType, Device, Tensor};

use super::attention::Projected;
use crate::{config::AttentionConfig, tap::Tap};

/// The keys and values of a prefix, in every block up to one tap.
///
/// [`Decoder::prefix_cache`](crate::Decoder::prefix_cache) makes one. A clone shares the tensors until one of the two is
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
    /// Returns the number of positions held.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Returns whether no position is held.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Returns the number of sequences computed side by side.
    pub fn batch(&self) -> usize {
        self.batch
    }

    /// Returns the length of the whole sequence that the prefix belongs to, which is the number of positions that fit. LongRoPE chooses its
    /// frequencies by it.
    pub fn sequence_len(&self) -> usize {
        self.sequence_len
    }

    /// Returns the number of positions that fit.
    pub(super) fn capacity(&self) -> usize {
        self.blocks.first().map_or(self.sequence_len, |block| block.keys.dims()[2])
    }

    /// Returns the deepest tap that can be read through this cache.
    pub fn deepest(&self) -> Tap {
        self.deepest
    }

    /// Returns a cache of `batch` sequences that all begin like this one, with room for `more` tokens after the positions held.
    ///
    /// Every sequence has a copy of the keys and values.
    ///
    /// # Panics
    ///
    /// Panics if this cache is of several sequences, or the tokens exceed the whole sequence.
    pub fn repeated(&self, batch: usize, more: usize) -> PrefixCache {
        let capacity = self.len + more;
        assert!(self.batch == 1 && capacity <= self.sequence_len, "a cache of one sequence, with room");
        let repeated = |t: &Tensor<4>| t.clone().narrow(2, 0, capacity).repeat_dim(0, batch);
        let of_block = |block: &KeysValues| KeysValues {
            keys: repeated(&block.keys),
            values: repeated(&block.values),
            len: block.len,
        };
        PrefixCache { blocks: self.blocks.iter().map(of_block).collect(), batch, ..*self }
    }

    /// Forgets all but the first `len` positions. This costs nothing: later positions overwrite the forgotten ones.
    ///
    /// # Panics
    ///
    /// Panics if fewer than `len` positions are held.
    pub fn truncate(&mut self, len: usize) {
        assert!(len <= self.len, "cannot keep {len} of {} positions", self.len);
        self.len = len;
        for block in &mut self.blocks {
            block.len = len;
        }
    }
}

/// The use that a pass makes of cached keys and values: of all blocks, or of one.
#[derive(Debug)]
pub(super) enum Cache<'a, T: ?Sized> {
    /// There is no cache: the runs are whole sequences.
    None,
    /// Every row sees the cached positions, and none enters the cache.
    Read(&'a T),
    /// Every row sees the cached positions, and the runs enter the cache.
    Write(&'a mut T),
}

impl Cache<'_, [KeysValues]> {
    /// The part of one block.
    pub(super) fn block(&mut self, block: usize) -> Cache<'_, KeysValues> {
        match self {
            Cache::None => Cache::None,
            Cache::Read(blocks) => Cache::Read(&blocks[block]),
            Cache::Write(blocks) => Cache::Write(&mut blocks[block]),
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

    /// Adds the keys and values of new positions, and replaces them by views of all positions.
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

    /// Views of the keys and values at some positions of a cache for one sequence.
    ///
    /// # Shapes
    ///
    /// Two of `[n_kv_heads, positions, d_head]`.
    pub(super) fn at(&self, positions: Range<usize>) -> (Tensor<3>, Tensor<3>) {
        let view = |t: &Tensor<4>| t.clone().narrow(2, positions.start, positions.len()).squeeze_dim::<3>(0);
        (view(&self.keys), view(&self.values))
    }
}
