//! The one decoder that all families share.
//!
//! A forward pass reads from top to bottom in this file: [`Decoder::forward`] and the methods in `extend` check what
//! they are given and say which [`Rows`] go through the decoder; [`Decoder::pass`] embeds these rows, takes them through
//! the blocks and collects their states.

mod attention;
mod block;
mod by_head;
mod cache;
mod check;
mod circumstances;
mod ends;
mod extend;
mod feed_forward;
mod forward;
mod full_precision;
mod held;
mod init;
mod lanes;
mod linear;
mod map;
mod mapped;
mod memory;
mod merge;
mod narrow;
mod norm;
mod paging;
mod pool;
#[cfg(feature = "gradient")]
mod pull_back;
mod quantise;
mod rotary;
mod rows;
mod rowwise;
mod save;
mod sight;
mod soft_cap;
mod weight;
mod widen;

use std::{collections::BTreeMap, ops::Range};

use burn::{
    module::{Module, Param},
    tensor::{DType, Device, Tensor},
};
use rayon::prelude::*;

use self::{
    block::Block,
    cache::{Cache, KeysValues},
    lanes::Lanes,
    norm::Norm,
    paging::Paging,
    rows::Rows,
    sight::Sights,
    weight::Table,
};
pub use self::{
    cache::PrefixCache,
    circumstances::{Circumstances, Instructions, WeightsHeldAs},
    extend::Alternative,
    forward::{Forward, Logits},
    full_precision::rounds_products,
    held::PassBytes,
    map::Matrix,
};
pub(crate) use self::{
    mapped::{CODES_TOGETHER, Codes, Layout as MappedLayout, Mapped, PlainMatrix, Segment},
    weight::{Table as HeldTable, Weight as HeldWeight},
};
use crate::{
    config::DecoderConfig,
    error::ModelError,
    host::indices,
    tap::Tap,
    tokens::{TokenBatch, check_len},
};

/// A decoder-only transformer: embeddings, blocks, final norm, head.
///
/// It computes in the dtype and on the device of its parameters. A pass ends at the deepest tap that is read, and the
/// head is applied only where logits are wanted.
#[derive(Module, Debug)]
pub struct Decoder {
    /// The token embedding. Shape `[vocab_size, d_model]`.
    embedding: Table,
    /// The learned positions, if the model has them. Shape `[max_len, d_model]`.
    positions: Option<Param<Tensor<2>>>,
    blocks: Vec<Block>,
    final_norm: Norm,
    /// Shape `[vocab_size, d_model]`, unless the embedding is the head.
    head: Option<Table>,
    #[module(skip)]
    config: DecoderConfig,
    #[module(skip)]
    lanes: Lanes,
    #[module(skip)]
    paging: Paging,
}

/// The forward pass over whole prompts.
impl Decoder {
    /// Computes the states of whole prompts at some taps.
    ///
    /// # Errors
    ///
    /// Fails for a tap that the model does not have, an id outside the vocabulary, a prompt too long for the table of
    /// positions, or prompts that may not share a batch.
    pub fn forward(&self, tokens: &TokenBatch, taps: &[Tap], logits: Logits) -> Result<Forward, ModelError> {
        self.check_taps(taps)?;
        self.check_logits(logits)?;
        tokens.check(&self.config, 0)?;
        let part = |tokens: &TokenBatch| {
            let rows = Rows::runs(tokens.rows(), 0, tokens.width(), tokens.width());
            self.read(tokens, &rows, Cache::None, taps, logits)
        };
        Ok(match self.groups(tokens.rows(), tokens.width()) {
            None => part(tokens),
            Some(groups) => {
                let part = |group: &Range<usize>| part(&tokens.rows_in(group.clone()));
                Forward::concatenate(groups.par_iter().map(part).collect())
            }
        })
    }

    /// Computes the states at one tap of whole sequences of points in the embedding space.
    ///
    /// A search by gradients over a whole prompt follows these. The rows of [`Decoder::token_embedding`] give the states of
    /// their tokens.
    ///
    /// # Shapes
    ///
    /// `[batch, positions, d_model]` to the same.
    ///
    /// # Errors
    ///
    /// Fails for a tap that the model does not have, rows of another width than `d_model`, no row at all, or sequences
    /// too long for the table of positions.
    pub fn forward_from_embeddings(&self, embeddings: Tensor<3>, tap: Tap) -> Result<Tensor<3>, ModelError> {
        self.check_taps(&[tap])?;
        let [batch, positions, d_model] = embeddings.dims();
        self.check_embeddings(batch * positions, d_model)?;
        check_len(&self.config, positions)?;
        let embeddings = embeddings.reshape([batch * positions, d_model]);
        let states = self.pass_to(tap, embeddings, &Rows::runs(batch, 0, positions, positions), Cache::None);
        Ok(states.reshape([batch, positions, d_model]))
    }

    /// Computes the states of prompts, and the logits after them.
    fn read(
        &self,
        tokens: &TokenBatch,
        rows: &Rows,
        cache: Cache<'_, [KeysValues]>,
        taps: &[Tap],
        logits: Logits,
    ) -> Forward {
        let wanted: Vec<Tap> = taps.iter().copied().chain(logits.tap()).collect();
        let (mut states, logits) = self.on_pool(rows.len(), || {
            let states = self.pass(&wanted, self.embeddings_of(tokens.padded_ids()), rows, cache);
            let logits = logits.tap().map(|tap| self.logits_after(tokens, logits, states[&tap].clone()));
            (states, logits)
        });
        states.retain(|tap, _| taps.contains(tap));
        let by_prompt =
            |states: Tensor<2>| states.reshape([tokens.rows() as isize, tokens.width() as isize, -1]);
        Forward { states: states.into_iter().map(|(tap, states)| (tap, by_prompt(states))).collect(), logits }
    }

    /// Takes rows through the decoder and collects their states at one tap.
    fn pass_to(
        &self,
        tap: Tap,
        embeddings: Tensor<2>,
        rows: &Rows,
        cache: Cache<'_, [KeysValues]>,
    ) -> Tensor<2> {
        let mut states = self.pass(&[tap], embeddings, rows, cache);
        states.remove(&tap).expect("a pass collects every tap it is given")
    }

    /// Takes rows through the decoder and collects their states at some taps.
    ///
    /// # Shapes
    ///
    /// `embeddings` is `[rows, d_model]`, as the table of embeddings stores them; so is each result.
    fn pass(
        &self,
        taps: &[Tap],
        embeddings: Tensor<2>,
        rows: &Rows,
        cache: Cache<'_, [KeysValues]>,
    ) -> BTreeMap<Tap, Tensor<2>> {
        self.on_pool(rows.len(), || self.walk(taps, embeddings, rows, cache))
    }

    /// The same, on the thread that calls.
    fn walk(
        &self,
        taps: &[Tap],
        embeddings: Tensor<2>,
        rows: &Rows,
        mut cache: Cache<'_, [KeysValues]>,
    ) -> BTreeMap<Tap, Tensor<2>> {
        let mut collected = BTreeMap::new();
        let mut collect = |tap: Tap, states: &Tensor<2>| {
            if taps.contains(&tap) {
                collected.insert(tap, states.clone());
            }
        };
        let mut states = self.embed(embeddings, rows);
        collect(Tap::Embedding, &states);

        let depth = match &cache {
            // A cache is filled to its full depth, whatever is read this time.
            Cache::Write(blocks) => blocks.len(),
            Cache::None | Cache::Read(_) => {
                taps.iter().map(|&tap| self.blocks_needed(tap)).max().unwrap_or(0)
            }
        };
        let mut sights = Sights::new(rows, self.device(), self.dtype());
        let blocks = &self.blocks[..depth];
        let mut walk = self.paging.walk(blocks);
        for (i, block) in blocks.iter().enumerate() {
            self.lanes.check();
            walk.reached(i);
            let sight = sights.of(&block.attention.config);
            states = block.forward(states, rows, &sight, cache.block(i), self.lanes);
            collect(Tap::Block(i + 1), &states);
            walk.left(i);
        }

        if taps.contains(&Tap::FinalNorm) {
            collect(Tap::FinalNorm, &self.final_norm.forward(states));
        }
        collected
    }

    /// Turns embeddings into the input of the first block: scales them and adds the learned positions.
    fn embed(&self, embeddings: Tensor<2>, rows: &Rows) -> Tensor<2> {
        let states = match self.config.embedding.scale {
            None => embeddings,
            Some(scale) => embeddings.mul_scalar(scale),
        };
        match &self.positions {
            None => states,
            Some(table) => rows.add_positions(states, table.val()),
        }
    }

    /// Applies the head to the states of prompts after the final norm.
    fn logits_after(&self, tokens: &TokenBatch, logits: Logits, states: Tensor<2>) -> Tensor<3> {
        let states = match logits {
            Logits::None | Logits::All => states,
            Logits::Last => {
                let rows = tokens.lens().iter().enumerate();
                let last: Vec<usize> = rows.map(|(row, len)| row * tokens.width() + len - 1).collect();
                let last = indices(&last, &states.device());
                states.select(0, last)
            }
        };
        self.logits(states).reshape([tokens.rows() as isize, -1, self.config.vocab_size as isize])
    }

    fn blocks_needed(&self, tap: Tap) -> usize {
        tap.blocks_needed(self.config.n_layers())
    }
}

/// The circumstances of the computation.
impl Decoder {
    /// Returns the description of the computation.
    pub fn config(&self) -> &DecoderConfig {
        &self.config
    }

    /// Returns the device that holds the parameters and computes.
    pub fn device(&self) -> Device {
        self.final_norm.weight.val().device()
    }

    /// Returns the number format of the computation, and of all parameters that are not matrices.
    pub fn dtype(&self) -> DType {
        self.final_norm.weight.val().dtype()
    }
}
