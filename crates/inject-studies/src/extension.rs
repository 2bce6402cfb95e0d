//! All one-token extensions of a prompt.

use std::path::Path;

use burn::tensor::Tensor;
use inject_sipit::{
    collisions::CollisionError,
    models::{Decoder, Logits, PrefixCache, Tap, TokenBatch, host::to_host},
    states::store::{Block, Opened, Store, StoreSpec, StoreWriter},
};

use crate::{error::StudyError, tuning::MOST_CANDIDATES};

/// Writes the states of a prompt followed by each token of the vocabulary into a store. Row `i` belongs to token `i`.
///
/// The extensions share the keys and values of the prompt, and are computed in batches, so that memory does not grow with the
/// vocabulary. If the process is killed, a call with the same arguments continues after the last batch on disk. If the store is
/// finished, a call computes nothing. `spec` names the taps, and its positions must be
/// [`Positions::Last`](inject_sipit::states::store::Positions::Last).
///
/// # Errors
///
/// [`StudyError`] if the decoder refuses the prompt or a tap, or if the folder contains the store of another job.
pub fn extend_to_store(
    decoder: &Decoder,
    prefix: &[u32],
    spec: StoreSpec,
    dir: &Path,
    memory_budget: usize,
    done: &mut dyn FnMut(f64),
) -> Result<Store, StudyError> {
    let config = decoder.config();
    let taps = spec.taps.clone();
    let prompts: Vec<Vec<u32>> =
        (0..config.vocab_size as u32).map(|token| [prefix, &[token]].concat()).collect();
    let mut writer = match StoreWriter::open(dir, spec, &prompts)? {
        Opened::Complete(store) => return Ok(store),
        Opened::Writing(writer) => writer,
    };
    let deepest = taps.iter().copied().max().unwrap_or(Tap::Embedding);
    let mut cache = decoder.prefix_cache(1, prefix.len() + 1, deepest)?;
    if !prefix.is_empty() {
        decoder.extend(&mut cache, &TokenBatch::new(&[prefix])?, &[], Logits::None)?;
    }
    let batch = candidates_at_once(decoder, prefix.len() + 1, taps.len(), memory_budget);
    while writer.next_prompt() < prompts.len() {
        let begin = writer.next_prompt();
        let ids: Vec<u32> = (begin as u32..config.vocab_size as u32).take(batch).collect();
        let states = decoder.candidates_at(&cache, &ids, &taps)?;
        let states: Vec<(Tap, Vec<f32>)> = states
            .into_iter()
            .map(|(tap, states)| Ok((tap, to_host(states)?)))
            .collect::<Result<_, StudyError>>()?;
        let views: Vec<(Tap, &[f32])> =
            states.iter().map(|(tap, values)| (*tap, values.as_slice())).collect();
        writer.append(&Block::new(ids.len(), &views))?;
        done(writer.next_prompt() as f64 / prompts.len() as f64);
    }
    Ok(writer.finish(None)?)
}

/// A batch of tokens that could follow a prefix, with the true token.
pub(crate) struct Beside<'a> {
    pub(crate) tap: Tap,
    /// The true token's state. It is computed in this batch, so that its rounding errors are the same as those of the others.
    pub(crate) truth: &'a [f32],
    /// The ids of other tokens of the vocabulary.
    pub(crate) others: &'a [u32],
    /// The states of the other tokens, row by row.
    pub(crate) states: &'a [f32],
    /// All these states on the device, with the true token's first.
    pub(crate) tensor: &'a Tensor<2>,
}

/// Computes the states of every token of the vocabulary after a cached prefix. Calls `look` with each batch of them and the state
/// of `token`, and `done` with the share that was looked at.
///
/// # Errors
///
/// The errors of the decoder and of `look`, and [`CollisionError::NotFinite`], in which the row is the token id.
pub(crate) fn beside_all_others(
    decoder: &Decoder,
    cache: &PrefixCache,
    token: u32,
    taps: &[Tap],
    memory_budget: usize,
    look: &mut dyn FnMut(Beside<'_>) -> Result<(), StudyError>,
    done: &mut dyn FnMut(f64),
) -> Result<(), StudyError> {
    let (vocab_size, d_model) = (decoder.config().vocab_size as u32, decoder.config().d_model);
    let others: Vec<u32> = (0..vocab_size).filter(|&other| other != token).collect();
    let at_once = candidates_at_once(decoder, cache.len() + 1, taps.len(), memory_budget);
    for (batch, others) in others.chunks(at_once).enumerate() {
        let ids: Vec<u32> = std::iter::once(token).chain(others.iter().copied()).collect();
        for (tap, tensor) in decoder.candidates_at(cache, &ids, taps)? {
            let states: Vec<f32> = to_host(tensor.clone())?;
            if let Some(at) = states.iter().position(|value| !value.is_finite()) {
                let (row, column) = (ids[at / d_model] as usize, at % d_model);
                return Err(CollisionError::NotFinite { row, column, found: states[at] }.into());
            }
            let (truth, states) = states.split_at(d_model);
            look(Beside { tap, truth, others, states, tensor: &tensor })?;
        }
        done((batch * at_once + others.len() + 1) as f64 / f64::from(vocab_size));
    }
    Ok(())
}

/// Returns the number of candidates for the last of `len` positions that fit into the memory budget, but at least one.
fn candidates_at_once(decoder: &Decoder, len: usize, taps: usize, memory_budget: usize) -> usize {
    (memory_budget / decoder.bytes_per_token(len, taps).max(1)).clamp(1, MOST_CANDIDATES)
}
