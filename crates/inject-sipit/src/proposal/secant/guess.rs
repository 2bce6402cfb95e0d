//! The embedding to which tested candidates point.

use burn::tensor::Tensor;
use inject_collisions::{Decoder, weighted_distance};
use nalgebra::{DMatrix, DVector};

use super::recall::Memory;
use crate::{InvertError, Place, indices, median::centre_and_spread, read};

/// From which tested candidates a guess is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Basis {
    /// Those around the state looked for, the nearest most.
    Nearby,
    /// A sample of the vocabulary, all alike.
    Everywhere,
}

impl Basis {
    /// Tested candidates used, the nearest first.
    fn most(self) -> usize {
        match self {
            Basis::Nearby => 256,
            Basis::Everywhere => 768,
        }
    }
}

/// Ridge, as a share of the mean square of the tested states' distances.
const RIDGE: f64 = 1e-2;

/// The affine combination of tested states that comes closest to the state given, applied to their embeddings. What is left of the
/// state around it, what was remembered translates.
///
/// With `x_i` the difference of a tested state and the one given, `G` their products and `w_i` weights that fall with distance,
/// the combination is `z / sum(z)` with `(G + lambda / w) z = 1`: ridge regression's intercept at the state given.
pub(super) fn guess(place: &Place<'_>, basis: Basis, memory: &Memory) -> Result<Vec<f64>, InvertError> {
    let wanted = place.target.state(place.position());
    // At an attention sink, as the first position is in most models, a few coordinates are a thousand times the others and say
    // little about the token, so each counts in units of its own spread. Around one state plain distances point better.
    let weights: Vec<f64> = match basis {
        Basis::Everywhere => by_spread(place.tested.sample(), wanted.len()),
        Basis::Nearby => vec![1.0; wanted.len()],
    };
    let mut near: Vec<(f64, &(u32, Vec<f64>))> = place
        .tested
        .sample()
        .iter()
        .map(|tested| (weighted_distance(&tested.1, wanted, &weights), tested))
        .collect();
    near.sort_by(|a, b| a.0.total_cmp(&b.0));
    near.truncate(basis.most());
    let (n, d) = (near.len(), wanted.len());
    let differences = DMatrix::from_fn(d, n, |i, j| (near[j].1.1[i] - wanted[i]) * weights[i]);
    let mut products = differences.transpose() * &differences;
    let nearest = near.first().map_or(0.0, |(away, _)| *away).max(f64::MIN_POSITIVE);
    let scale = RIDGE * products.trace() / n as f64;
    for (i, (away, _)) in near.iter().enumerate() {
        let mistrust = match basis {
            Basis::Everywhere => 1.0,
            Basis::Nearby => (away / nearest).powi(2),
        };
        products[(i, i)] += scale * mistrust + f64::MIN_POSITIVE;
    }
    let ones = DVector::from_element(n, 1.0);
    let z = match products.cholesky() {
        Some(factor) => factor.solve(&ones),
        None => ones,
    };
    let shares = &z / z.sum();
    let ids: Vec<u32> = near.iter().map(|(_, tested)| tested.0).collect();
    let known = read(embeddings(place.decoder, &ids))?;
    let known = DMatrix::from_column_slice(known.len() / n, n, &known);
    let guess = known * &shares;
    // Of a sample of the vocabulary the combination says more than a map fitted behind other prefixes does.
    let rest = match basis {
        Basis::Everywhere => None,
        Basis::Nearby => memory.difference(place.decoder, (-differences * &shares).as_slice())?,
    };
    let rest = rest.unwrap_or_else(|| vec![0.0; guess.len()]);
    Ok(guess.iter().zip(rest).map(|(guess, rest)| guess + rest).collect())
}

/// What makes each coordinate count in units of its spread over some states; one that does not vary says nothing.
fn by_spread(sample: &[(u32, Vec<f64>)], d_model: usize) -> Vec<f64> {
    let spread = |i: usize| centre_and_spread(sample.iter().map(|(_, state)| state[i]).collect()).1;
    (0..d_model).map(spread).map(|spread| if spread > 0.0 { 1.0 / spread } else { 0.0 }).collect()
}

/// The embeddings of some tokens, `[tokens, d_model]`.
pub(super) fn embeddings(decoder: &Decoder, ids: &[u32]) -> Tensor<2> {
    let rows = indices(ids.iter().map(|&id| id as usize), &decoder.device());
    decoder.token_embedding().select(0, rows)
}
