//! Tokens with equal embeddings.

use inject_states::models::{Decoder, host::to_host};
use ndarray::ArrayView2;

use crate::{answers::equal_rows, error::CollisionError, pairs::Pairs, rows::StateRows};

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
    let embedding = decoder.token_embedding();
    let shape = embedding.dims();
    let values: Vec<f32> = to_host(embedding)?;
    let values = ArrayView2::from_shape(shape, &values).expect("read from a tensor of this shape");
    let groups = equal_rows(&StateRows::new(values)?, &Pairs::All);
    Ok(groups.into_iter().map(|group| group.rows.into_iter().map(|row| row as u32).collect()).collect())
}
