//! The two ends of a decoder: the token embedding, and the final norm with the head.

use std::ops::Range;

use burn::tensor::Tensor;

use super::{Decoder, soft_cap::capped};
use crate::config::Head;

impl Decoder {
    /// Returns the token embedding as stored: without positions and without the family's scale.
    ///
    /// # Shapes
    ///
    /// `[vocab_size, d_model]`.
    pub fn token_embedding(&self) -> Tensor<2> {
        self.embedding.tensor(&self.device(), self.dtype())
    }

    /// Returns the embeddings of some tokens as stored, as [`Decoder::token_embedding`] does for all.
    ///
    /// # Shapes
    ///
    /// `[ids, d_model]`.
    ///
    /// # Panics
    ///
    /// Panics if an id is not in the vocabulary.
    pub fn embeddings_of(&self, ids: &[u32]) -> Tensor<2> {
        self.embedding.select(ids, &self.device(), self.dtype())
    }

    /// Returns consecutive rows of [`Decoder::token_embedding`], without computing the others.
    ///
    /// # Panics
    ///
    /// Panics if `tokens` lies outside the vocabulary.
    pub fn token_embeddings(&self, tokens: Range<usize>) -> Tensor<2> {
        self.embedding.rows(tokens, &self.device(), self.dtype())
    }

    /// Multiplies points in the embedding space with consecutive rows of [`Decoder::token_embedding`], where they are held.
    ///
    /// # Shapes
    ///
    /// `[points, d_model]` to `[points, tokens.len()]`.
    ///
    /// # Panics
    ///
    /// Panics if `tokens` lies outside the vocabulary.
    pub fn products_with_embeddings(&self, points: Tensor<2>, tokens: Range<usize>) -> Tensor<2> {
        self.embedding.product(points, tokens)
    }

    /// Returns the matrix that turns states after the final norm into logits, unless it is the token embedding.
    ///
    /// # Shapes
    ///
    /// `[vocab_size, d_model]`.
    pub fn own_head(&self) -> Option<Tensor<2>> {
        self.head.as_ref().map(|head| head.tensor(&self.device(), self.dtype()))
    }

    /// Returns consecutive rows of the matrix that turns states after the final norm into logits: the model's own head or the token
    /// embedding.
    ///
    /// # Shapes
    ///
    /// `[tokens.len(), d_model]`.
    ///
    /// # Panics
    ///
    /// Panics if `tokens` lies outside the vocabulary.
    pub fn head_rows(&self, tokens: Range<usize>) -> Tensor<2> {
        self.head.as_ref().unwrap_or(&self.embedding).rows(tokens, &self.device(), self.dtype())
    }

    /// Applies the final norm to states at the last block. The result is the input of [`Decoder::logits`].
    ///
    /// # Shapes
    ///
    /// `[rows, d_model]` to the same.
    pub fn final_norm(&self, states: Tensor<2>) -> Tensor<2> {
        self.final_norm.forward(states)
    }

    /// Returns whether the model has a head, its own or the token embedding.
    pub fn has_head(&self) -> bool {
        self.config.head != Head::Absent
    }

    /// Computes the logits of states after the final norm.
    ///
    /// # Shapes
    ///
    /// `[rows, d_model]` to `[rows, vocab_size]`.
    ///
    /// # Panics
    ///
    /// Panics if the model [has no head](Self::has_head).
    pub fn logits(&self, states: Tensor<2>) -> Tensor<2> {
        self.logits_of(states, 0..self.config.vocab_size)
    }

    /// Computes the logits of consecutive tokens only.
    ///
    /// # Shapes
    ///
    /// `[rows, d_model]` to `[rows, tokens.len()]`.
    ///
    /// # Panics
    ///
    /// Panics if `tokens` lies outside the vocabulary, or if the model [has no head](Self::has_head).
    pub fn logits_of(&self, states: Tensor<2>, tokens: Range<usize>) -> Tensor<2> {
        assert!(self.has_head(), "the model has no head");
        let logits = self.head.as_ref().unwrap_or(&self.embedding).product(states, tokens);
        capped(logits, self.config.logit_cap)
    }
}
