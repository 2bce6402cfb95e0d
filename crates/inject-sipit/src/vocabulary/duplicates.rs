//! Tokens whose embeddings are equal or nearly so.

use std::collections::HashMap;

use burn::tensor::{DType, Tensor, TensorData};

use crate::{
    error::InvertError,
    median::median,
    models::Decoder,
    states::random::SplitMix,
    tensors::read_f32,
    tuning::{DUPLICATE_CELL, DUPLICATE_SLACK, DUPLICATE_SLACK_NARROW, PROBES},
};

/// The number of coordinates that a cell of the grid is found by.
const GRID: usize = 3;

/// The projections of all embeddings on a few directions, in a grid.
///
/// Two embeddings at a distance `d` differ by at most `d` along each direction of length one. So tokens that differ by more along any of them
/// are not duplicates. A token that does not belong to the others gets past all directions with a chance of about `(20 d / length)^16`
/// in a space of 1,000 dimensions, and is tested in vain.
#[derive(Debug)]
pub(super) struct Duplicates {
    /// The projections of each token, as shares of the median length of embeddings.
    projections: Vec<[f32; PROBES]>,
    /// The tokens of each cell.
    cells: HashMap<[i32; GRID], Vec<u32>>,
    /// The error of a projection.
    slack: f64,
}

impl Duplicates {
    /// Projects all embeddings.
    ///
    /// # Errors
    ///
    /// [`InvertError`] if the device fails.
    pub(super) fn of(decoder: &Decoder) -> Result<Self, InvertError> {
        let (width, vocab_size) = (decoder.config().d_model, decoder.config().vocab_size);
        let mut numbers = SplitMix::seeded(0);
        let directions: Vec<f32> =
            (0..PROBES).flat_map(|_| numbers.direction(width)).map(|value| value as f32).collect();
        let directions = TensorData::new(directions, [PROBES, width]);
        let directions = Tensor::<2>::from_data(directions, (&decoder.device(), decoder.dtype()));
        let products = decoder.products_with_embeddings(directions, 0..vocab_size); // [probes, tokens]
        let products = read_f32(products.cast(DType::F32))?;
        let mut projections = vec![[0.0; PROBES]; vocab_size];
        for (probe, products) in products.chunks(vocab_size).enumerate() {
            projections.iter_mut().zip(products).for_each(|(token, &product)| token[probe] = product);
        }
        // By random directions, the mean square of a projection is the square of the length, divided by the width.
        let length = |token: &[f32; PROBES]| {
            let squares: f64 = token.iter().map(|&value| f64::from(value).powi(2)).sum();
            (squares * width as f64 / PROBES as f64).sqrt()
        };
        let mut lengths: Vec<f64> = projections.iter().map(length).collect();
        let per_length = 1.0 / median(&mut lengths).max(f64::MIN_POSITIVE);
        projections.iter_mut().flatten().for_each(|value| *value = (f64::from(*value) * per_length) as f32);
        let mut cells: HashMap<_, Vec<u32>> = HashMap::new();
        for (id, token) in (0..).zip(&projections) {
            cells.entry(cell(token, 0.0)).or_default().push(id);
        }
        let slack = match decoder.dtype() {
            DType::F64 | DType::F32 => DUPLICATE_SLACK,
            _ => DUPLICATE_SLACK_NARROW,
        };
        Ok(Duplicates { projections, cells, slack })
    }

    /// Returns the other tokens whose embeddings may lie this near, as a share of the median length of embeddings: all that do.
    pub(super) fn within(&self, token: u32, distance: f64) -> Vec<u32> {
        let reach = (distance + self.slack) as f32;
        let own = &self.projections[token as usize];
        let (low, high) = (cell(own, -reach), cell(own, reach));
        let is_near = |&other: &u32| {
            let others = &self.projections[other as usize];
            other != token && own.iter().zip(others).all(|(own, other)| (own - other).abs() <= reach)
        };
        let mut near = Vec::new();
        for x in low[0]..=high[0] {
            for y in low[1]..=high[1] {
                for z in low[2]..=high[2] {
                    near.extend(self.cells.get(&[x, y, z]).into_iter().flatten().copied().filter(is_near));
                }
            }
        }
        near
    }
}

/// The cell of a token whose first projections are moved by a number.
fn cell(token: &[f32; PROBES], moved: f32) -> [i32; GRID] {
    std::array::from_fn(|axis| ((token[axis] + moved) / DUPLICATE_CELL).floor() as i32)
}

#[cfg(test)]
mod tests {
    use inject_testing::models::model;

    use super::*;
    use crate::{
        collisions::{distance, norm},
        models::Matrix,
        tensors::read,
    };

    #[test]
    fn all_tokens_with_near_embeddings_are_found() {
        for device in inject_testing::compiled() {
            let decoder = model("gpt2", &device).decoder;
            let [rows, width] = decoder.token_embedding().dims();
            let length = {
                let own = read(decoder.token_embedding()).unwrap();
                let mut lengths: Vec<f64> = own.chunks(width).map(norm).collect();
                median(&mut lengths)
            };
            // Every third token is the one before it, moved by more and more.
            let decoder = decoder.map_matrices(&mut |matrix, values| match matrix {
                Matrix::Embedding => {
                    let mut moved = read_f32(values.clone()).unwrap();
                    for token in (2..rows).step_by(3) {
                        let by = length * token as f64 / rows as f64 / 50.0;
                        let direction = SplitMix::seeded(token as u64).direction(width);
                        for axis in 0..width {
                            moved[token * width + axis] =
                                moved[(token - 1) * width + axis] + (by * direction[axis]) as f32;
                        }
                    }
                    Tensor::from_data(TensorData::new(moved, [rows, width]), &values.device())
                }
                _ => values,
            });
            let rows: Vec<f64> = read(decoder.token_embedding()).unwrap();
            let rows: Vec<&[f64]> = rows.chunks(width).collect();
            let duplicates = Duplicates::of(&decoder).unwrap();
            let (mut found, mut in_vain) = (0, 0);
            for token in 0..rows.len() {
                // The median of the estimated lengths differs from that of the lengths by less than a fifth.
                let within = 0.01;
                let listed = duplicates.within(token as u32, within);
                for (other, row) in rows.iter().enumerate().filter(|(other, _)| *other != token) {
                    let apart = distance(row, rows[token]) / length;
                    let is_listed = listed.contains(&(other as u32));
                    assert!(is_listed || apart > 0.8 * within, "{token} and {other} are {apart} apart");
                    found += usize::from(is_listed && apart <= within);
                    in_vain += usize::from(is_listed && apart > 4.0 * within);
                }
            }
            assert!(found > 20 && in_vain * 10 < found, "{found} found, {in_vain} in vain");
        }
    }
}
