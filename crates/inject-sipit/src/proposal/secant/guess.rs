//! The embedding to which tested candidates point.

use burn::tensor::Tensor;
use inject_collisions::models::Decoder;

use super::recall::Memory;
use crate::{
    InvertError, Place, indices,
    proposal::combination::{Basis, Combination},
    read,
};

/// The combination of tested candidates that comes closest to the state given, applied to their embeddings. What is left of the
/// state around it, what was remembered translates.
pub(super) fn guess(place: &Place<'_>, basis: Basis, memory: &Memory) -> Result<Vec<f64>, InvertError> {
    let combination = Combination::of(place, basis);
    let known = read(embeddings(place.decoder, &combination.ids))?;
    let guess = combination.of_points(&known);
    // Of a sample of the vocabulary the combination says more than a map fitted behind other prefixes does.
    let rest = match basis {
        Basis::Everywhere => None,
        Basis::Nearby => memory.difference(place.decoder, combination.rest.as_slice())?,
    };
    let rest = rest.unwrap_or_else(|| vec![0.0; guess.len()]);
    Ok(guess.iter().zip(rest).map(|(guess, rest)| guess + rest).collect())
}

/// The embeddings of some tokens, `[tokens, d_model]`.
pub(super) fn embeddings(decoder: &Decoder, ids: &[u32]) -> Tensor<2> {
    let rows = indices(ids.iter().map(|&id| id as usize), &decoder.device());
    decoder.token_embedding().select(0, rows)
}
