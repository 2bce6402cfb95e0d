//! Tokens that share one embedding.

use inject_states::{Decoder, to_host};
use ndarray::ArrayView2;

use crate::{CollisionError, Pairs, Rows, equal::equal_rows};

/// The groups of tokens whose rows of the token embedding are equal number by number, each group and the groups ascending.
///
/// Nothing behind the embedding can tell twins apart: two prompts that differ in twins only have the same states at every tap,
/// whatever the other weights are. Random rows are never equal, trained ones can be: SmolLM2-135M has four such groups
/// (docs/results.md).
///
/// # Errors
///
/// [`CollisionError`] if the embedding cannot be read from the device, has fewer than two rows, or holds what is not a number.
///
/// # Example
///
/// ```
/// use burn::tensor::Tensor;
/// use inject_collisions::{Matrix, Model, Origin, Precision, twins};
///
/// # let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../inject-models/tests/fixtures/llama");
/// # let model = Model::load(Origin::of_folder(&folder), Precision::F32, &inject_testing::compiled().remove(0))?;
/// assert!(twins(&model.decoder)?.is_empty());
/// let last_like_first = model.decoder.map_matrices(&mut |matrix, values| match matrix {
///     Matrix::Embedding => {
///         let rows = values.dims()[0];
///         Tensor::cat(vec![values.clone().narrow(0, 0, rows - 1), values.narrow(0, 0, 1)], 0)
///     }
///     _ => values,
/// });
/// let vocab_size = last_like_first.config().vocab_size as u32;
/// assert_eq!(twins(&last_like_first)?, [[0, vocab_size - 1]]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn twins(decoder: &Decoder) -> Result<Vec<Vec<u32>>, CollisionError> {
    let embedding = decoder.token_embedding();
    let shape = embedding.dims();
    let values: Vec<f32> =
        to_host(embedding).map_err(|error| CollisionError::Device { reason: error.to_string() })?;
    let values = ArrayView2::from_shape(shape, &values).expect("read from a tensor of this shape");
    let groups = equal_rows(&Rows::new(values)?, &Pairs::All);
    Ok(groups.into_iter().map(|group| group.rows.into_iter().map(|row| row as u32).collect()).collect())
}
