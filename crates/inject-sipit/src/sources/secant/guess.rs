//! The guess of an embedding from tested candidates.

use crate::{
    error::InvertError,
    models::Decoder,
    sources::{
        OpenPosition,
        combination::{Basis, Combination},
    },
    tensors::read,
};
use burn::tensor::Tensor;

use super::memory::SecantMemory;

/// Returns the combination of tested candidates that comes closest to the given state, applied to their embeddings. The memory
/// translates the remaining difference of states, in the neighbourhood of the state.
pub(super) fn guess(
    at: &OpenPosition<'_>,
    basis: Basis,
    memory: &SecantMemory,
) -> Result<Vec<f64>, InvertError> {
    let combination = Combination::of(at, basis);
    let known = read(embeddings(at.decoder(), &combination.ids))?;
    let guess = combination.of_points(&known);
    // A combination of a vocabulary sample is more accurate than a map fitted after other prefixes.
    let rest = match basis {
        Basis::Everywhere => None,
        Basis::Nearby => memory.difference(at.decoder(), combination.rest.as_slice())?,
    };
    let rest = rest.unwrap_or_else(|| vec![0.0; guess.len()]);
    Ok(guess.iter().zip(rest).map(|(guess, rest)| guess + rest).collect())
}

/// Returns the embeddings of some tokens, `[tokens, d_model]`.
pub(super) fn embeddings(decoder: &Decoder, ids: &[u32]) -> Tensor<2> {
    decoder.embeddings_of(ids)
}
