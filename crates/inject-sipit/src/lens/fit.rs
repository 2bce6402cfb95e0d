//! Fits the maps of a lens to the states of ordinary text.

use std::collections::BTreeMap;

use crate::{
    error::InvertError,
    median::{centre_and_spread, median},
    models::{Tap, host},
    tensors::{read, read_f32},
    tuning::{LENS_FAR, LENS_LEAST_NOISE, LENS_PREFIXES_COUNT, LENS_RIDGE, LENS_SHRINKAGE},
};
use burn::tensor::{Device, IndexingUpdateOp, Tensor};
use nalgebra::DMatrix;

use super::{LensError, PriorMap, tensor};

/// States of text at one tap, one row per sample.
pub(super) struct Samples {
    /// The state of each sample, `[samples, d_model]`.
    pub(super) states: Tensor<2>,
    /// The state of the previous position of each sample, `[samples, d_model]`.
    pub(super) before: Tensor<2>,
    /// The index of each sample's token among the distinct tokens.
    pub(super) tokens: Vec<usize>,
    /// The state of the previous position of each sample after the final norm, `[samples, d_model]`.
    pub(super) final_before: Tensor<2>,
}

/// The maps that are fitted to the text. The codebook's points are computed afterwards.
pub(super) struct Fitted {
    /// The map from a state and the previous one to a point, `[2 d_model, rank]`.
    pub(super) projection: Tensor<2>,
    /// The constant that is added to such a point, `[1, rank]`.
    pub(super) offset: Tensor<2>,
    /// The map from a token's mean state to its point, `[d_model, rank]`.
    pub(super) token_projection: Tensor<2>,
    /// The constant that is added to a token's point, `[1, rank]`.
    pub(super) token_offset: Tensor<2>,
    /// The map of the prior. Its weight is chosen later.
    pub(super) prior: PriorMap,
}

/// Fits a lens of `rank` coordinates to samples. `classes` are the mean states of the distinct tokens over the prefixes.
pub(super) fn fit(
    tap: Tap,
    samples: &Samples,
    classes: Tensor<2>,
    rank: usize,
) -> Result<Fitted, InvertError> {
    let device = classes.device();
    let [_, d] = samples.states.dims();

    // The previous state is standardised, because its coordinates differ by orders of magnitude.
    let mean = samples.before.clone().mean_dim(0); // [1, d]
    let deviation = ((samples.before.clone() - mean.clone()).powi_scalar(2).mean_dim(0)).sqrt() + 1e-6; // [1, d]
    let features = (samples.before.clone() - mean.clone()) / deviation.clone();
    let mut normal = host(features.clone().transpose().matmul(features.clone()))?;
    (0..d).for_each(|i| normal[(i, i)] += LENS_RIDGE);
    let normal = normal.cholesky().ok_or_else(|| degenerate(tap, "a state is not finite"))?;

    // The difference that the context makes to a token's mean state, predicted from the previous state. Gives its mean, the map,
    // and the residuals.
    let context_beside = |means: Tensor<2>| -> Result<_, InvertError> {
        let added = samples.states.clone() - means;
        let added_mean = added.clone().mean_dim(0);
        let added = added - added_mean.clone();
        let context = normal.solve(&host(features.clone().transpose().matmul(added.clone()))?); // [d, d]
        let context_map = on_device(&context, &device);
        let rest = added - features.clone().matmul(context_map.clone());
        Ok((added_mean, context_map, rest))
    };
    // The map is fitted twice: first with the means over the prefixes, then with means that include the token's occurrences in the
    // text, less their predicted context.
    let after_prefixes = classes.clone().select(0, host::indices(&samples.tokens, &device));
    let (.., rest) = context_beside(after_prefixes.clone())?;
    let (added_mean, context_map, rest) =
        context_beside(means_without_own(after_prefixes, rest, &samples.tokens))?;

    // The map that predicts the final state, and so the distribution of the next token, from the previous state.
    let final_mean = samples.final_before.clone().mean_dim(0);
    let final_centred = samples.final_before.clone() - final_mean.clone();
    let expected = on_device(&normal.solve(&host(features.transpose().matmul(final_centred))?), &device);
    let scaled = expected / deviation.clone().transpose(); // [d, d], for the previous state without standardisation
    let prior =
        PriorMap { offset: final_mean - mean.clone().matmul(scaled.clone()), map: scaled, weight: 0.0 };

    let (token_projection, token_offset) = axes_of_tokens(tap, rest, classes, rank)?;
    // A point is the state minus the expected contribution of the context, whitened and rotated.
    let from_before = (context_map / deviation.transpose()).matmul(token_projection.clone()); // [d, rank]
    let offset =
        token_offset.clone() - added_mean.matmul(token_projection.clone()) + mean.matmul(from_before.clone());
    let projection = Tensor::cat(vec![token_projection.clone(), -from_before], 0);
    Ok(Fitted { projection, offset, token_projection, token_offset, prior })
}

/// Whitens by the residuals, then chooses the axes along which the tokens differ most. Returns the map from a token's mean state to its point,
/// and the constant that is added there.
fn axes_of_tokens(
    tap: Tap,
    residuals: Tensor<2>,
    classes: Tensor<2>,
    rank: usize,
) -> Result<(Tensor<2>, Tensor<2>), InvertError> {
    let device = classes.device();
    let [count, d] = residuals.dims();
    let mut covariance = host(residuals.clone().transpose().matmul(residuals))? / count as f64;
    let spread = classes.clone() - classes.clone().mean_dim(0);
    let spread = read(spread.powi_scalar(2).mean())?[0];
    let shrinkage = (LENS_SHRINKAGE * covariance.trace() / d as f64).max(LENS_LEAST_NOISE * spread);
    (0..d).for_each(|i| covariance[(i, i)] += shrinkage.max(f64::MIN_POSITIVE));
    let root = covariance.cholesky().ok_or_else(|| degenerate(tap, "it does not vary"))?.l();
    let whitening = root
        .solve_lower_triangular(&DMatrix::identity(d, d))
        .ok_or_else(|| degenerate(tap, "it does not vary"))?; // L^-1
    let white = classes.clone().matmul(on_device(&whitening.transpose(), &device)); // [classes, d]
    let white_mean = white.clone().mean_dim(0);
    let centred = white - white_mean.clone();
    let between = host(centred.clone().transpose().matmul(centred))? / classes.dims()[0] as f64;
    let axes = leading_axes(between, rank); // [d, rank]
    let to_point = whitening.transpose() * &axes; // [d, rank]
    Ok((on_device(&to_point, &device), -white_mean.matmul(on_device(&axes, &device))))
}

fn degenerate(tap: Tap, reason: &'static str) -> InvertError {
    InvertError::Lens(LensError::Degenerate { tap, reason })
}

/// Returns for each sample the mean of its token over the prefixes and the token's other occurrences in the text. The sample
/// itself is left out, because a rare token would otherwise explain itself.
///
/// `rest` is each sample minus its token's mean over the prefixes and minus the predicted context.
fn means_without_own(after_prefixes: Tensor<2>, rest: Tensor<2>, tokens: &[usize]) -> Tensor<2> {
    let device = rest.device();
    let distinct = tokens.iter().max().map_or(0, |&last| last + 1);
    let mut counts = vec![0_u32; distinct];
    tokens.iter().for_each(|&token| counts[token] += 1);
    let of_sample = host::indices(tokens, &device);
    let sums = Tensor::zeros([distinct, rest.dims()[1]], &device);
    let sums = sums.select_assign(0, of_sample.clone(), rest.clone(), IndexingUpdateOp::Add);
    let others = sums.select(0, of_sample) - rest;
    let share = |&token: &usize| (1.0 / (LENS_PREFIXES_COUNT + f64::from(counts[token]) - 1.0)) as f32;
    let shares = tensor(tokens.iter().map(share).collect(), [tokens.len(), 1], &device);
    after_prefixes + others * shares
}

/// Moves the points of tokens towards the points of their occurrences in the text.
///
/// # Shapes
///
/// `points`: `[vocab_size, rank]`; `seen`: `[samples, rank]`; both row-major. `ids` are the tokens of the samples.
pub(super) fn refine_points(points: &mut [f32], rank: usize, ids: &[u32], seen: &[f32]) {
    let mut sums: BTreeMap<u32, (f64, Vec<f64>)> = BTreeMap::new();
    for (&id, point) in ids.iter().zip(seen.chunks(rank)) {
        let (count, sum) = sums.entry(id).or_insert_with(|| (0.0, vec![0.0; rank]));
        *count += 1.0;
        sum.iter_mut().zip(point).for_each(|(sum, &value)| *sum += f64::from(value));
    }
    for (id, (count, sum)) in sums {
        let point = &mut points[id as usize * rank..][..rank];
        for (value, sum) in point.iter_mut().zip(sum) {
            *value = ((LENS_PREFIXES_COUNT * f64::from(*value) + sum) / (LENS_PREFIXES_COUNT + count)) as f32;
        }
    }
}

/// Returns the projection, `[d_model, rank]`, and the offset, `[1, rank]`, of the table of first positions, where a state depends
/// on its token alone. Each coordinate is divided by its typical spread, and the result is rotated onto the axes of largest
/// variance.
///
/// Most first tokens become attention sinks. The few that do not are thousands of times farther away than the distances among the
/// others. So medians are used instead of means, and the axes are those of the other tokens.
pub(super) fn fit_first(classes: Tensor<2>, rank: usize) -> Result<(Tensor<2>, Tensor<2>), InvertError> {
    let device = classes.device();
    let states = host(classes)?;
    let of_column =
        |column: nalgebra::DVectorView<'_, f64>| centre_and_spread(column.iter().copied().collect());
    let (centre, spread): (Vec<f64>, Vec<f64>) = states.column_iter().map(of_column).unzip();
    let spread: Vec<f64> = spread.into_iter().map(|spread| spread.max(1e-6)).collect();
    let scaled = DMatrix::from_fn(states.nrows(), states.ncols(), |row, column| {
        (states[(row, column)] - centre[column]) / spread[column]
    });
    let lengths: Vec<f64> = scaled.row_iter().map(|row| row.norm()).collect();
    let ordinary = LENS_FAR * median(&mut lengths.clone());
    let kept: Vec<usize> = (0..lengths.len()).filter(|&row| lengths[row] <= ordinary).collect();
    let kept = on_device(&scaled.select_rows(kept.iter()), &device);
    let covariance = host(kept.clone().transpose().matmul(kept.clone()))? / kept.dims()[0].max(1) as f64;
    let mut axes = leading_axes(covariance, rank);
    for (mut row, spread) in axes.row_iter_mut().zip(&spread) {
        row /= *spread;
    }
    let offset = -DMatrix::from_row_slice(1, centre.len(), &centre) * &axes;
    Ok((on_device(&axes, &device), on_device(&offset, &device)))
}

/// Returns the eigenvectors of the largest eigenvalues, as columns.
fn leading_axes(matrix: DMatrix<f64>, rank: usize) -> DMatrix<f64> {
    let eigen = matrix.symmetric_eigen();
    let mut order: Vec<usize> = (0..eigen.eigenvalues.len()).collect();
    order.sort_by(|&a, &b| eigen.eigenvalues[b].total_cmp(&eigen.eigenvalues[a]));
    eigen.eigenvectors.select_columns(order[..rank.min(order.len())].iter())
}

fn host(matrix: Tensor<2>) -> Result<DMatrix<f64>, InvertError> {
    let [rows, columns] = matrix.dims();
    Ok(DMatrix::from_row_slice(rows, columns, &read(matrix)?))
}

fn on_device(matrix: &DMatrix<f64>, device: &Device) -> Tensor<2> {
    // nalgebra stores matrices by columns, so the memory of the transposed matrix contains the rows of this one.
    let values = matrix.transpose().iter().map(|&value| value as f32).collect();
    tensor(values, [matrix.nrows(), matrix.ncols()], device)
}

/// Returns the first `rank` columns of a matrix.
pub(super) fn columns(matrix: &Tensor<2>, rank: usize) -> Tensor<2> {
    matrix.clone().narrow(1, 0, rank)
}

/// Copies rows of a host matrix to the device.
pub(super) fn gather(
    rows: &ndarray::Array2<f32>,
    which: impl Iterator<Item = usize>,
    device: &Device,
) -> Tensor<2> {
    let width = rows.ncols();
    let values: Vec<f32> = which.flat_map(|row| rows.row(row).to_vec()).collect();
    let count = values.len() / width.max(1);
    tensor(values, [count, width], device)
}

/// Returns the values of a projected batch, row by row.
pub(super) fn projected(
    states: Tensor<2>,
    projection: &Tensor<2>,
    offset: &Tensor<2>,
) -> Result<Vec<f32>, InvertError> {
    read_f32(states.cast(burn::tensor::DType::F32).matmul(projection.clone()) + offset.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_samples_own_state_is_not_in_its_tokens_mean() {
        let tokens = [1, 0, 1, 1];
        let rest = [5.0_f32, 100.0, 7.0, -3.0];
        for device in inject_testing::compiled() {
            let means = tensor(vec![20.0, 10.0, 20.0, 20.0], [4, 1], &device);
            let found =
                read_f32(means_without_own(means, tensor(rest.to_vec(), [4, 1], &device), &tokens)).unwrap();
            let expected = |i: usize| {
                let others = (0..4).filter(|&j| j != i && tokens[j] == tokens[i]);
                let (count, sum) = others.fold((0.0, 0.0), |(n, sum), j| (n + 1.0, sum + f64::from(rest[j])));
                [20.0, 10.0, 20.0, 20.0][i] + sum / (LENS_PREFIXES_COUNT + count)
            };
            for (i, &found) in found.iter().enumerate() {
                assert!((f64::from(found) - expected(i)).abs() < 1e-5, "sample {i}: {found}");
            }
        }
    }

    #[test]
    fn a_point_moves_towards_where_its_token_occurs() {
        let mut points = vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        refine_points(&mut points, 2, &[2, 0, 2], &[10.0, 0.0, 1.0, 2.0, 20.0, 0.0]);
        // The first token is seen at its own point, the second is never seen, and the third is seen twice elsewhere.
        assert_eq!(points[..4], [1.0, 2.0, 3.0, 4.0]);
        let mean =
            |own: f64, sum: f64| ((LENS_PREFIXES_COUNT * own + sum) / (LENS_PREFIXES_COUNT + 2.0)) as f32;
        assert_eq!(points[4..], [mean(5.0, 30.0), mean(6.0, 0.0)]);
    }
}
