//! A decoder whose weights are all held in the format that is computed in.

use super::{
    Decoder,
    weight::{Table, Weight},
};

impl Decoder {
    /// Returns the same decoder with every weight as a tensor of the format that is computed in, on the device that computes.
    ///
    /// Training needs this. The methods that change weights do it themselves. Nothing is copied of a decoder
    /// that holds its weights so.
    pub fn widened(mut self) -> Self {
        let (device, dtype) = (self.device(), self.dtype());
        self.embedding = Table::Tensor(self.embedding.into_param(&device, dtype));
        self.head = self.head.map(|head| Table::Tensor(head.into_param(&device, dtype)));
        for block in &mut self.blocks {
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
