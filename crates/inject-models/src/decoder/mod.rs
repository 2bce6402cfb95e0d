//! The one decoder that all families share.

mod alternatives;
mod attention;
mod block;
mod cache;
mod feed_forward;
mod init;
mod lanes;
mod linear;
mod map;
mod mask;
mod norm;
mod rotary;
mod save;

use std::{collections::BTreeMap, ops::Range};

use burn::{
    module::{Module, Param},
    tensor::{DType, Device, Int, Tensor},
};
use rayon::prelude::*;

pub use self::{alternatives::Alternative, cache::PrefixCache, map::Matrix};
use self::{block::Block, cache::KeysValues, lanes::Lanes, mask::Masks, norm::Norm, rotary::Rotaries};
use crate::{
    ModelError, Tap,
    config::DecoderConfig,
    tokens::{TokenBatch, check_ids, check_len, ids_tensor},
};

/// A decoder-only transformer: embeddings, blocks, final norm, head.
///
/// It computes in the dtype and on the device of its parameters, runs up to the deepest tap asked for and no further,
/// and applies the head only where logits are asked for.
#[derive(Module, Debug)]
pub struct Decoder {
    /// Shape `[vocab_size, d_model]`.
    embedding: Param<Tensor<2>>,
    /// Shape `[max_len, d_model]`.
    positions: Option<Param<Tensor<2>>>,
    blocks: Vec<Block>,
    final_norm: Norm,
    /// Shape `[vocab_size, d_model]`, where the head is not the embedding.
    head: Option<Param<Tensor<2>>>,
    #[module(skip)]
    config: DecoderConfig,
    #[module(skip)]
    lanes: Lanes,
}

/// Which logits to compute beside the states.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Logits {
    /// None; the head does not run.
    None,
    /// Those after every prompt's last token, shape `[batch, 1, vocab_size]`.
    Last,
    /// Those after every token, shape `[batch, positions, vocab_size]`.
    All,
}

/// What a forward pass gives back.
#[derive(Clone, Debug)]
pub struct Forward {
    /// The states at each tap asked for, shape `[batch, positions, d_model]`. Positions beyond a prompt's own length
    /// hold the states of its padding.
    pub states: BTreeMap<Tap, Tensor<3>>,
    /// The logits, if asked for.
    pub logits: Option<Tensor<3>>,
}

impl Forward {
    /// One after another along the batch.
    fn concatenate(parts: Vec<Forward>) -> Forward {
        let mut states: BTreeMap<Tap, Vec<Tensor<3>>> = BTreeMap::new();
        let mut logits = Vec::new();
        for part in parts {
            for (tap, tensor) in part.states {
                states.entry(tap).or_default().push(tensor);
            }
            logits.extend(part.logits);
        }
        Forward {
            states: states.into_iter().map(|(tap, parts)| (tap, Tensor::cat(parts, 0))).collect(),
            logits: (!logits.is_empty()).then(|| Tensor::cat(logits, 0)),
        }
    }
}

impl Decoder {
    /// What the decoder is made of.
    pub fn config(&self) -> &DecoderConfig {
        &self.config
    }

    /// Where it computes.
    pub fn device(&self) -> Device {
        self.embedding.val().device()
    }

    /// What it computes in.
    pub fn dtype(&self) -> DType {
        self.embedding.val().dtype()
    }

    /// The same decoder, computing the rows of a batch in this many parts at once.
    ///
    /// One, the default, is right for a GPU. On a CPU backend the number of cores is: its matrix products use all of them
    /// anyway, the elementwise work between the products only so. States do not depend on it but for rounding.
    pub fn with_lanes(self, lanes: std::num::NonZeroUsize) -> Self {
        Decoder { lanes: Lanes(lanes.get()), ..self }
    }

    /// The token embedding, as stored: without positions and without the family's scale.
    ///
    /// # Shapes
    ///
    /// `[vocab_size, d_model]`.
    pub fn token_embedding(&self) -> Tensor<2> {
        self.embedding.val()
    }

    /// The matrix that makes logits of states after the final norm, where it is not the token embedding.
    ///
    /// # Shapes
    ///
    /// `[vocab_size, d_model]`.
    pub fn own_head(&self) -> Option<Tensor<2>> {
        self.head.as_ref().map(Param::val)
    }

    /// The states of whole prompts at the taps asked for.
    ///
    /// # Errors
    ///
    /// [`ModelError`] for a tap the model does not have, an id outside the vocabulary, a prompt too long for the table
    /// of positions, or prompts that may not share a batch.
    pub fn forward(&self, tokens: &TokenBatch, taps: &[Tap], logits: Logits) -> Result<Forward, ModelError> {
        self.check_taps(taps)?;
        tokens.check(&self.config, 0)?;
        let pass = || Pass { held: 0, sequence_len: tokens.width(), cache: None };
        match self.lanes.groups(tokens.rows(), tokens.width()) {
            None => Ok(self.run(tokens, taps, logits, pass())),
            Some(groups) => {
                let part =
                    |group: &Range<usize>| self.run(&tokens.rows_in(group.clone()), taps, logits, pass());
                Ok(Forward::concatenate(groups.par_iter().map(part).collect()))
            }
        }
    }

    /// The states at one tap of whole sequences of points of the embedding space rather than tokens: what a search by
    /// gradients over a whole prompt follows. Rows of [`Decoder::token_embedding`] give the states of those tokens.
    ///
    /// # Shapes
    ///
    /// `[batch, positions, d_model]`, and so is the result.
    ///
    /// # Errors
    ///
    /// [`ModelError`] for a tap the model does not have, rows of another width than `d_model`, no row at all, or sequences too
    /// long for the table of positions.
    pub fn forward_from_embeddings(&self, embeddings: Tensor<3>, tap: Tap) -> Result<Tensor<3>, ModelError> {
        self.check_taps(&[tap])?;
        let [batch, positions, width] = embeddings.dims();
        if width != self.config.d_model {
            return Err(ModelError::EmbeddingWidth { found: width, expected: self.config.d_model });
        }
        if batch * positions == 0 {
            return Err(ModelError::EmptyPrompt { prompt: 0 });
        }
        check_len(&self.config, positions)?;
        let x = self.place(embeddings.reshape([batch * positions, width]), 0, positions);
        let pass = Pass { held: 0, sequence_len: positions, cache: None };
        let (mut states, _) = self.run_from(x, batch, &[tap], Logits::None, pass);
        Ok(states.remove(&tap).expect("the tap was asked for"))
    }

    /// An empty cache for `batch` sequences of `sequence_len` tokens in all, through which no tap beyond `deepest` will
    /// be read.
    ///
    /// The full length must be known from the start: LongRoPE chooses its frequencies by it.
    ///
    /// # Errors
    ///
    /// [`ModelError`] for a tap the model does not have, or a length beyond the table of positions.
    pub fn prefix_cache(
        &self,
        batch: usize,
        sequence_len: usize,
        deepest: Tap,
    ) -> Result<PrefixCache, ModelError> {
        self.check_taps(&[deepest])?;
        check_len(&self.config, sequence_len)?;
        let needed = deepest.blocks_needed(self.config.n_layers());
        let (device, dtype) = (self.device(), self.dtype());
        let blocks = self.config.blocks[..needed]
            .iter()
            .map(|block| KeysValues::new(&block.attention, batch, sequence_len, &device, dtype))
            .collect();
        Ok(PrefixCache { blocks, batch, sequence_len, deepest, len: 0 })
    }

    /// Continues the cached sequences by the same number of tokens each, and gives the states of the new positions.
    ///
    /// # Errors
    ///
    /// As [`Decoder::forward`], and when the tokens do not fit the cache: other batch, other lengths, not enough room, or
    /// a tap beyond the one it was made for. The cache is then as before.
    pub fn extend(
        &self,
        cache: &mut PrefixCache,
        tokens: &TokenBatch,
        taps: &[Tap],
        logits: Logits,
    ) -> Result<Forward, ModelError> {
        self.check_extension(cache, tokens, taps, logits)?;
        let pass = Pass { held: cache.len, sequence_len: cache.sequence_len, cache: Some(&mut cache.blocks) };
        let forward = self.run(tokens, taps, logits, pass);
        cache.len += tokens.width();
        Ok(forward)
    }

    /// The state at one tap of every candidate for the next token of one cached sequence.
    ///
    /// The candidates share the cached keys and values; none of them enters the cache.
    ///
    /// # Shapes
    ///
    /// `[candidates, d_model]`.
    ///
    /// # Errors
    ///
    /// As [`Decoder::extend`]; and when the cache holds more than one sequence.
    pub fn candidates(&self, cache: &PrefixCache, ids: &[u32], tap: Tap) -> Result<Tensor<2>, ModelError> {
        let mut states = self.candidates_at(cache, ids, &[tap])?;
        Ok(states.remove(&tap).expect("the tap was asked for"))
    }

    /// The states of every candidate at several taps, computed in one pass; otherwise as [`Decoder::candidates`].
    ///
    /// # Shapes
    ///
    /// For each tap `[candidates, d_model]`.
    ///
    /// # Errors
    ///
    /// As [`Decoder::candidates`].
    pub fn candidates_at(
        &self,
        cache: &PrefixCache,
        ids: &[u32],
        taps: &[Tap],
    ) -> Result<BTreeMap<Tap, Tensor<2>>, ModelError> {
        self.check_taps(taps)?;
        check_ids(&self.config, 0, ids)?;
        self.check_next(cache, ids.len(), taps)?;
        let looked_up = self.embedding.val().select(0, ids_tensor(ids, &self.device()));
        Ok(self.next(cache, looked_up, taps))
    }

    /// The states of candidates that are points of the embedding space rather than tokens: what a search by gradients
    /// follows. A row of [`Decoder::token_embedding`] gives the state of that token.
    ///
    /// # Shapes
    ///
    /// `[candidates, d_model]`, and so is the result.
    ///
    /// # Errors
    ///
    /// As [`Decoder::candidates`]; and when the rows have another width than `d_model`.
    pub fn candidates_from_embeddings(
        &self,
        cache: &PrefixCache,
        embeddings: Tensor<2>,
        tap: Tap,
    ) -> Result<Tensor<2>, ModelError> {
        self.check_taps(&[tap])?;
        let [candidates, width] = embeddings.dims();
        if width != self.config.d_model {
            return Err(ModelError::EmbeddingWidth { found: width, expected: self.config.d_model });
        }
        self.check_next(cache, candidates, &[tap])?;
        let mut states = self.next(cache, embeddings, &[tap]);
        Ok(states.remove(&tap).expect("the tap was asked for"))
    }

    /// Checks that the cached sequences can be continued so.
    fn check_extension(
        &self,
        cache: &PrefixCache,
        tokens: &TokenBatch,
        taps: &[Tap],
        logits: Logits,
    ) -> Result<(), ModelError> {
        self.check_taps(taps)?;
        self.check_cache(cache, taps, logits)?;
        tokens.check(&self.config, cache.len)?;
        let mismatch = |found: String, expected: String| Err(ModelError::CacheMismatch { found, expected });
        if tokens.rows() != cache.batch {
            return mismatch(format!("{} sequences", tokens.rows()), format!("{} sequences", cache.batch));
        }
        if let Some(&len) = tokens.lens().iter().find(|&&len| len != tokens.width()) {
            return mismatch(
                format!("{len} tokens"),
                format!("{} tokens for every sequence", tokens.width()),
            );
        }
        if cache.len + tokens.width() > cache.sequence_len {
            return Err(ModelError::CacheFull {
                held: cache.len,
                capacity: cache.sequence_len,
                more: tokens.width(),
            });
        }
        Ok(())
    }

    /// Checks that candidates for the next position can be computed through the cache.
    fn check_next(&self, cache: &PrefixCache, candidates: usize, taps: &[Tap]) -> Result<(), ModelError> {
        self.check_cache(cache, taps, Logits::None)?;
        if candidates == 0 {
            return Err(ModelError::EmptyPrompt { prompt: 0 });
        }
        if cache.batch != 1 {
            return Err(ModelError::CacheMismatch {
                found: "candidates after one sequence".to_owned(),
                expected: format!("{} sequences", cache.batch),
            });
        }
        if cache.len == cache.sequence_len {
            return Err(ModelError::CacheFull { held: cache.len, capacity: cache.sequence_len, more: 1 });
        }
        Ok(())
    }

    /// `looked_up` is `[candidates, d_model]`: rows as the embedding stores them.
    fn next(&self, cache: &PrefixCache, looked_up: Tensor<2>, taps: &[Tap]) -> BTreeMap<Tap, Tensor<2>> {
        let (device, dtype) = (self.device(), self.dtype());
        let mut x = self.place(looked_up, cache.len, 1);
        let mut states = BTreeMap::new();
        let mut keep = |tap: Tap, x: &Tensor<2>| {
            if taps.contains(&tap) {
                states.insert(tap, x.clone());
            }
        };
        keep(Tap::Embedding, &x);
        let needed = taps.iter().map(|&tap| self.blocks_needed(tap)).max().unwrap_or(0);
        let mut rotaries = Rotaries::new(cache.len, 1, cache.sequence_len, device, dtype);
        for (i, (block, keys_values)) in self.blocks.iter().zip(&cache.blocks).enumerate().take(needed) {
            let rotary = block.attention.config.rotary.as_ref().map(|config| rotaries.table(config));
            x = block.candidates(x, rotary.as_ref(), keys_values, self.lanes);
            keep(Tap::Block(i + 1), &x);
        }
        if taps.contains(&Tap::FinalNorm) {
            keep(Tap::FinalNorm, &self.final_norm.forward(x));
        }
        states
    }

    /// The final norm of states at the last block: what [`Decoder::logits`] takes.
    ///
    /// # Shapes
    ///
    /// `[rows, d_model]`, and so is the result.
    pub fn final_norm(&self, states: Tensor<2>) -> Tensor<2> {
        self.final_norm.forward(states)
    }

    /// Logits of states after the final norm.
    ///
    /// # Shapes
    ///
    /// `[rows, d_model]` to `[rows, vocab_size]`.
    pub fn logits(&self, states: Tensor<2>) -> Tensor<2> {
        self.logits_of(states, 0..self.config.vocab_size)
    }

    /// The logits of consecutive tokens only.
    ///
    /// # Shapes
    ///
    /// `[rows, d_model]` to `[rows, tokens.len()]`.
    ///
    /// # Panics
    ///
    /// When `tokens` are not within the vocabulary.
    pub fn logits_of(&self, states: Tensor<2>, tokens: Range<usize>) -> Tensor<2> {
        let head = self.own_head().unwrap_or_else(|| self.token_embedding());
        // The large matrix stays on the left, in the order it is stored in; a transposed view of it would be read out
        // of order.
        head.narrow(0, tokens.start, tokens.len()).matmul(states.transpose()).transpose()
    }

    fn check_taps(&self, taps: &[Tap]) -> Result<(), ModelError> {
        taps.iter()
            .try_for_each(|tap| tap.checked(self.config.n_layers()).map(|_| ()).map_err(ModelError::from))
    }

    /// A cache serves up to one tap.
    fn check_cache(&self, cache: &PrefixCache, taps: &[Tap], logits: Logits) -> Result<(), ModelError> {
        let deepest = match logits {
            Logits::None => taps.iter().copied().max(),
            Logits::Last | Logits::All => Some(Tap::FinalNorm),
        };
        match deepest {
            Some(tap) if self.blocks_needed(tap) > cache.blocks.len() => Err(ModelError::CacheMismatch {
                found: tap.to_string(),
                expected: format!("taps up to {}", cache.deepest),
            }),
            _ => Ok(()),
        }
    }

    fn blocks_needed(&self, tap: Tap) -> usize {
        tap.blocks_needed(self.config.n_layers())
    }

    /// # Shapes
    ///
    /// `ids` is `[rows * positions]`, and the result `[rows * positions, d_model]`.
    fn embed(&self, ids: Tensor<1, Int>, held: usize, positions: usize) -> Tensor<2> {
        self.place(self.embedding.val().select(0, ids), held, positions)
    }

    /// Scales looked-up rows and adds the learned positions from `held` on.
    ///
    /// # Shapes
    ///
    /// `[rows * positions, d_model]`, and so is the result.
    fn place(&self, looked_up: Tensor<2>, held: usize, positions: usize) -> Tensor<2> {
        let scaled = self.scale(looked_up);
        match &self.positions {
            None => scaled,
            Some(table) => {
                let [rows, d_model] = scaled.dims();
                let table = table.val().narrow(0, held, positions).unsqueeze::<3>(); // [1, positions, d_model]
                let x = scaled.reshape([rows / positions, positions, d_model]) + table;
                x.reshape([rows, d_model])
            }
        }
    }

    /// Looked-up rows as the first block is given them, but for the positions.
    fn scale(&self, looked_up: Tensor<2>) -> Tensor<2> {
        match self.config.embedding.scale {
            None => looked_up,
            Some(scale) => looked_up.mul_scalar(scale),
        }
    }

    fn run(&self, tokens: &TokenBatch, taps: &[Tap], logits: Logits, pass: Pass<'_>) -> Forward {
        let (batch, positions) = (tokens.rows(), tokens.width());
        let x = self.embed(tokens.to_tensor(&self.device()), pass.held, positions); // [batch * positions, d_model]
        let (states, x) = self.run_from(x, batch, taps, logits, pass);
        let logits = match logits {
            Logits::None => None,
            Logits::All => Some(self.logits(x).reshape([batch as isize, positions as isize, -1])),
            Logits::Last => {
                let last: Vec<u32> = tokens
                    .lens()
                    .iter()
                    .enumerate()
                    .map(|(row, len)| (row * positions + len - 1) as u32)
                    .collect();
                let rows = ids_tensor(&last, &x.device());
                Some(self.logits(x.select(0, rows)).reshape([batch as isize, 1, -1]))
            }
        };
        Forward { states, logits }
    }

    /// The states at the taps, and what the last layer computed gives: the final norm, where logits are wanted.
    ///
    /// # Shapes
    ///
    /// `x` is `[batch * positions, d_model]`: scaled rows with their positions added.
    fn run_from(
        &self,
        mut x: Tensor<2>,
        batch: usize,
        taps: &[Tap],
        logits: Logits,
        mut pass: Pass<'_>,
    ) -> (BTreeMap<Tap, Tensor<3>>, Tensor<2>) {
        let (device, dtype) = (self.device(), self.dtype());
        let [rows, d_model] = x.dims();
        let positions = rows / batch;
        let mut states = BTreeMap::new();
        let mut keep = |tap: Tap, x: &Tensor<2>| {
            if taps.contains(&tap) {
                states.insert(tap, x.clone().reshape([batch, positions, d_model]));
            }
        };
        keep(Tap::Embedding, &x);

        let needed = match (&pass.cache, logits) {
            // A cache is filled to its full depth, whatever is read this time.
            (Some(cache), _) => cache.len(),
            (None, Logits::None) => taps.iter().map(|&tap| self.blocks_needed(tap)).max().unwrap_or(0),
            (None, Logits::Last | Logits::All) => self.blocks.len(),
        };
        let mut rotaries = Rotaries::new(pass.held, positions, pass.sequence_len, device.clone(), dtype);
        let mut masks = Masks::new(pass.held, positions, device);
        for (i, block) in self.blocks.iter().enumerate().take(needed) {
            let config = &block.attention.config;
            let rotary = config.rotary.as_ref().map(|config| rotaries.table(config));
            let keys_values = pass.cache.as_mut().map(|cache| &mut cache[i]);
            x = block.forward(x, batch, rotary.as_ref(), masks.hidden(config.span), keys_values, self.lanes);
            keep(Tap::Block(i + 1), &x);
        }

        if taps.contains(&Tap::FinalNorm) || logits != Logits::None {
            x = self.final_norm.forward(x);
            keep(Tap::FinalNorm, &x);
        }
        (states, x)
    }
}

/// Where a pass stands in its sequences, and what it continues.
struct Pass<'a> {
    held: usize,
    sequence_len: usize,
    cache: Option<&'a mut Vec<KeysValues>>,
}
