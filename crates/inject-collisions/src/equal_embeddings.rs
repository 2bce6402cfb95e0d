//! Tokens with equal embeddings.

use std::collections::HashMap;

use inject_states::models::{Decoder, host::to_host};
use rayon::prelude::*;

use crate::{answers::hash_of_row, error::CollisionError, tuning::EMBEDDINGS_TOGETHER};

/// Returns the groups of two or more tokens whose embeddings are equal in every coordinate. Each group is in ascending order,
/// and the groups are ordered by their first tokens.
///
/// Such tokens cannot be distinguished by any state: prompts that differ only in them have the same states at every tap, whatever
/// the other weights are. Random embeddings are never equal, but trained ones can be: SmolLM2-135M has four such groups.
///
/// # Errors
///
/// [`CollisionError`] if the embedding cannot be read from the device, has fewer than two rows, or holds a number that is not
/// finite.
///
/// # Example
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use inject_collisions::models::{DecoderConfig, Matrix};
/// use inject_collisions::tokens_with_equal_embeddings;
///
/// let text = r#"{ "model_type": "gpt2", "n_embd": 8, "n_head": 2, "n_layer": 1, "n_positions": 16, "vocab_size": 50 }"#;
/// let decoder = DecoderConfig::parse(text)?.init(0.2, &Device::flex());
/// assert!(tokens_with_equal_embeddings(&decoder)?.is_empty());
/// let last_like_first = decoder.map_matrices(&mut |matrix, values| match matrix {
///     Matrix::Embedding => Tensor::cat(vec![values.clone().narrow(0, 0, 49), values.narrow(0, 0, 1)], 0),
///     _ => values,
/// });
/// assert_eq!(tokens_with_equal_embeddings(&last_like_first)?, [[0, 49]]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn tokens_with_equal_embeddings(decoder: &Decoder) -> Result<Vec<Vec<u32>>, CollisionError> {
    let vocab_size = decoder.config().vocab_size;
    if vocab_size < 2 {
        return Err(CollisionError::TooFewRows { found: vocab_size });
    }
    // A few rows at a time: the embedding of a large model is in its files, and would not fit into memory in f32.
    let mut by_hash: HashMap<u64, Vec<u32>> = HashMap::new();
    for begin in (0..vocab_size).step_by(EMBEDDINGS_TOGETHER) {
        let tokens = begin..vocab_size.min(begin + EMBEDDINGS_TOGETHER);
        let rows = to_host(decoder.token_embeddings(tokens.clone()))?;
        let hashes = hashes(&rows, decoder.config().d_model, begin)?;
        for (token, hash) in tokens.zip(hashes) {
            by_hash.entry(hash).or_default().push(token as u32);
        }
    }
    let mut groups = Vec::new();
    for mut alike in by_hash.into_values() {
        while let [first, others @ ..] = &alike[..] {
            let (equal, rest) = equal_to(decoder, *first, others)?;
            groups.extend((equal.len() > 1).then_some(equal));
            alike = rest;
        }
    }
    groups.sort_unstable_by_key(|group| group[0]);
    Ok(groups)
}

/// Returns the hash of each of some rows. The first of them has the number `begin`.
fn hashes(rows: &[f32], d_model: usize, begin: usize) -> Result<Vec<u64>, CollisionError> {
    let hash = |(row, values): (usize, &[f32])| match values.iter().position(|value| !value.is_finite()) {
        None => Ok(hash_of_row(values)),
        Some(column) => Err(CollisionError::NotFinite { row: begin + row, column, found: values[column] }),
    };
    rows.par_chunks(d_model).enumerate().map(hash).collect::<Vec<_>>().into_iter().collect()
}

/// Divides tokens into those whose embedding is that of the first, which come after it, and the others.
fn equal_to(decoder: &Decoder, first: u32, others: &[u32]) -> Result<(Vec<u32>, Vec<u32>), CollisionError> {
    let row = |ids: &[u32]| to_host::<f32, 2>(decoder.embeddings_of(ids));
    let (mut equal, mut rest) = (vec![first], Vec::new());
    let first = if others.is_empty() { Vec::new() } else { row(&[first])? };
    for ids in others.chunks(EMBEDDINGS_TOGETHER) {
        let rows = row(ids)?;
        for (&id, row) in ids.iter().zip(rows.chunks(first.len())) {
            // -0 equals 0.
            if row == first { equal.push(id) } else { rest.push(id) }
        }
    }
    Ok((equal, rest))
}

#[cfg(test)]
mod tests {
    use burn::tensor::Tensor;
    use inject_states::models::{DecoderConfig, Matrix};

    use super::*;

    /// Returns a model of more tokens than are looked at together, of which these have the embedding of token 1.
    fn with_equal(tokens: &[u32]) -> Decoder {
        let vocab_size = EMBEDDINGS_TOGETHER + 50;
        let text = format!(
            r#"{{ "model_type": "gpt2", "n_embd": 8, "n_head": 2, "n_layer": 1, "n_positions": 16, "vocab_size": {vocab_size} }}"#
        );
        let decoder = DecoderConfig::parse(&text).unwrap().init(0.2, &inject_testing::any_device());
        decoder.map_matrices(&mut |matrix, values| match matrix {
            Matrix::Embedding => tokens.iter().fold(values, |values, &token| {
                let token = token as usize;
                let row = values.clone().narrow(0, 1, 1);
                values.slice_assign([token..token + 1, 0..8], row)
            }),
            _ => values,
        })
    }

    #[test]
    fn equal_tokens_are_found_across_the_pieces_of_a_large_vocabulary() {
        let last = EMBEDDINGS_TOGETHER as u32 + 49;
        let decoder = with_equal(&[last, 7, EMBEDDINGS_TOGETHER as u32]);
        let expected = [[1, 7, EMBEDDINGS_TOGETHER as u32, last]];
        assert_eq!(tokens_with_equal_embeddings(&decoder).unwrap(), expected);
    }

    #[test]
    fn a_number_that_is_not_finite_is_named_by_its_token() {
        let token = EMBEDDINGS_TOGETHER + 3;
        let decoder = with_equal(&[]).map_matrices(&mut |matrix, values| match matrix {
            Matrix::Embedding => {
                let device = values.device();
                values.slice_assign([token..token + 1, 2..3], Tensor::full([1, 1], f32::NAN, &device))
            }
            _ => values,
        });
        let error = tokens_with_equal_embeddings(&decoder).unwrap_err();
        assert!(
            matches!(error, CollisionError::NotFinite { row, column: 2, found } if row == token && found.is_nan()),
            "{error}"
        );
    }

    #[test]
    fn tokens_of_one_hash_are_divided_by_their_embeddings() {
        let decoder = with_equal(&[7]);
        assert_eq!(equal_to(&decoder, 1, &[2, 7]).unwrap(), (vec![1, 7], vec![2]));
        assert_eq!(equal_to(&decoder, 2, &[]).unwrap(), (vec![2], vec![]));
    }
}
