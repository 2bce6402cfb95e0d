//! A decoder whose weights are all held in the format that is computed in.

use super::{
    Decoder,
    weight::{Table, Weight},
};
use crate::tap::Tap;

impl Decoder {
    /// Returns the same decoder with every weight as a tensor of the format that is computed in, on the device that computes.
    ///
    /// Training needs this; the methods that change weights do it themselves. A decoder that already holds its weights so is not copied.
    pub fn widened(self) -> Self {
        let (device, dtype, blocks) = (self.device(), self.dtype(), self.blocks.len());
        let widened = self.with_blocks_widened(blocks);
        Decoder {
            embedding: Table::Tensor(widened.embedding.into_param(&device, dtype)),
            head: widened.head.map(|head| Table::Tensor(head.into_param(&device, dtype))),
            ..widened
        }
    }

    /// Returns the same decoder with the weights of the blocks up to a tap as tensors of the format that is computed in, on the device
    /// that computes. The embedding and the head stay as they are held.
    ///
    /// Gradients of states with respect to embeddings need this to be fast: otherwise each step widens each matrix again. A
    /// decoder that already holds its weights so is not copied.
    pub fn widened_to(self, tap: Tap) -> Self {
        let blocks = self.blocks_needed(tap);
        self.with_blocks_widened(blocks)
    }

    fn with_blocks_widened(mut self, blocks: usize) -> Self {
        let (device, dtype) = (self.device(), self.dtype());
        for block in &mut self.blocks[..blocks] {
            let (attention, feed_forward) = (&mut block.attention, &mut block.feed_forward);
            for linear in
                [&mut attention.qkv, &mut attention.out, &mut feed_forward.up, &mut feed_forward.down]
            {
                linear.weight = Weight::Tensor(linear.weight.clone().into_param(&device, dtype));
            }
        }
        self
    }
}
