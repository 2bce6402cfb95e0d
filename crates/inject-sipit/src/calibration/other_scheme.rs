//! Weights in the format of the producer, where the weights given are in that format already.
//!
//! Then the states may be those of the full weights. They differ from the weights given by a rounding of this width, which rounding again
//! does not show. So the weights are rounded to a grid that is coarser by a fifth.

use crate::{
    collisions::{distance, norm},
    error::InvertError,
    median::median,
    models::{Decoder, NumberFormat, Progress},
    rounding::map_weights_by_scale,
    tuning::{ALREADY_ROUNDED, COARSER_BY},
};

/// Whether rounding changed nothing: the states of two decoders agree.
pub(super) fn are_equal(exact: &[Vec<f64>], rounded: &[Vec<f64>]) -> bool {
    let relative = |(a, b): (&Vec<f64>, &Vec<f64>)| distance(a, b) / norm(a).max(f64::MIN_POSITIVE);
    let mut changes: Vec<f64> = exact.iter().zip(rounded).map(relative).collect();
    median(&mut changes) < ALREADY_ROUNDED
}

/// Rounds the linear maps to a grid of the format whose scales are larger by a fifth: another scheme of the same width.
pub(super) fn rounded_otherwise(
    decoder: &Decoder,
    format: NumberFormat,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<Decoder, InvertError> {
    let coarser = &mut |weights: &mut [f64]| round_coarser(weights, format);
    map_weights_by_scale(decoder, format, coarser, progress)
}

/// Rounds numbers together with one that is larger than all of them, which sets the scale.
fn round_coarser(values: &mut [f64], format: NumberFormat) {
    let largest = values.iter().fold(0.0, |largest: f64, value| largest.max(value.abs()));
    let mut with_scale = [&values[..], &[COARSER_BY * largest]].concat();
    format.round(&mut with_scale);
    values.copy_from_slice(&with_scale[..values.len()]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_on_a_grid_are_moved_by_another_one_of_the_same_width() {
        for format in [NumberFormat::Int8, NumberFormat::Int4, NumberFormat::Nf4, NumberFormat::Fp4] {
            let mut on_grid: Vec<f64> = (0..64).map(|at| (f64::from(at) * 0.7).sin()).collect();
            format.round(&mut on_grid);
            let (mut again, mut otherwise) = (on_grid.clone(), on_grid.clone());
            format.round(&mut again);
            assert_eq!(again, on_grid, "{format}");
            round_coarser(&mut otherwise, format);
            let moved = distance(&otherwise, &on_grid) / 8.0;
            let step = COARSER_BY * format.half_step(1.0);
            assert!(moved > 0.1 * step && moved <= step, "{format}: {moved} of {step}");
        }
    }
}
