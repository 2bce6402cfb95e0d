//! The search against the same search in plain loops.

use std::{
    cell::Cell,
    time::{Duration, Instant},
};

use crate::{
    collisions::{Arithmetic, distance},
    models::{Decoder, FloatFormat, Tap, silent},
};
use ndarray::Array2;

use super::{
    super::{Tested, descent::tests::for_each_model},
    *,
};
use crate::{target::TargetStates, vocabulary::Vocabulary};

const POSITIONS: usize = 3;
const VOCAB: usize = 97;

/// Returns states that no prompt has, so that no search ends before its last step.
fn target(decoder: &Decoder, tap: Tap) -> TargetStates {
    let shape = (POSITIONS, decoder.config().d_model);
    let states = Array2::from_shape_fn(shape, |(row, at)| ((7 * row + 3 * at) as f64).sin());
    TargetStates::new(states, tap, FloatFormat::F64).unwrap()
}

fn searched(
    source: &HardPrompts,
    decoder: &Decoder,
    target: &TargetStates,
    deadline: Option<Instant>,
) -> Search {
    let vocabulary = Vocabulary::new(decoder, Arithmetic::F32OnDevice);
    let prompt = Prompt::new(&vocabulary, target, 0);
    let at =
        OpenPosition { prompt: &prompt, prefix: &[], tested: &Tested::new(), deadline, progress: &silent };
    source.search(&at).unwrap()
}

/// The search in plain loops: a projection, a step of the points against the gradient there, one decay.
struct Replay<'a> {
    source: &'a HardPrompts,
    decoder: &'a Decoder,
    target: &'a TargetStates,
}

impl Replay<'_> {
    /// Returns the points and the best prompt after `steps` steps. Passes the norm of every gradient to `norm_is`.
    fn run(&self, steps: usize, mut norm_is: impl FnMut(f64)) -> (Vec<f64>, Vec<u32>) {
        let Replay { source, decoder, target } = *self;
        let d_model = target.d_model();
        let table = read(decoder.token_embedding()).unwrap();
        let table: Vec<&[f64]> = table.chunks(d_model).collect();
        let mut points = source.begin(&EmbeddingRows::of(decoder), VOCAB, POSITIONS).unwrap().points;
        let (mut best, mut lowest) = (Vec::new(), f64::INFINITY);
        for step in 0..steps {
            let nearest = |point: &[f64]| {
                let nearer =
                    |a: &usize, b: &usize| distance(table[*a], point).total_cmp(&distance(table[*b], point));
                (0..VOCAB).min_by(nearer).unwrap()
            };
            let ids: Vec<usize> = points.chunks(d_model).map(nearest).collect();
            let projected: Vec<f64> = ids.iter().flat_map(|&id| table[id].to_vec()).collect();
            let (loss, gradient) = self.slope(&projected);
            if loss < lowest {
                (lowest, best) = (loss, ids.iter().map(|&id| id as u32).collect());
            }
            let norm = gradient.iter().map(|slope| slope.powi(2)).sum::<f64>().sqrt();
            norm_is(norm);
            let size = 1.0 - step as f64 / steps as f64 + 0.01 * step as f64 / steps as f64;
            for (coordinate, slope) in points.iter_mut().zip(&gradient) {
                *coordinate -= size * if norm > 1.0 { slope / norm } else { *slope };
            }
        }
        (points, best)
    }

    fn slope(&self, projected: &[f64]) -> (f64, Vec<f64>) {
        let Replay { source, decoder, target } = *self;
        let shape = [POSITIONS, target.d_model()];
        let wanted: Vec<f64> = target.states().iter().copied().collect();
        let tensor = |values: &[f64]| upload(values, shape, decoder, wide(decoder));
        let loss = |projected: burn::tensor::Tensor<2>| {
            let states = decoder.forward_from_embeddings(projected.unsqueeze::<3>(), target.tap())?;
            let squares = (states.reshape(shape) - tensor(&wanted)).powi_scalar(2).sum();
            Ok(squares.mul_scalar(match source.objective {
                Objective::HalfSquaredDistance => 0.5,
                Objective::MeanSquaredDifference => 1.0 / wanted.len() as f64,
            }))
        };
        slope(tensor(projected), loss).unwrap()
    }
}

#[test]
fn every_step_moves_the_points_by_the_gradient_at_their_projection() {
    let (long, short) = (Cell::new(0), Cell::new(0));
    for_each_model(|case, decoder| {
        let last = Tap::Block(decoder.config().n_layers());
        let taps =
            [(last, Objective::HalfSquaredDistance), (Tap::Embedding, Objective::MeanSquaredDifference)];
        for (tap, objective) in taps {
            let (target, source) = (target(decoder, tap), HardPrompts::seeded(5).minimising(objective));
            // The published number of steps, and a smaller one. The decay is over the actual number.
            for (source, steps) in [(source.clone(), POSITIONS * VOCAB / 4), (source.at_most(10), 10)] {
                let label = format!("{case}, {tap}, {steps} steps");
                let found = searched(&source, decoder, &target, None);
                let replay = Replay { source: &source, decoder, target: &target };
                let (points, best) = replay.run(steps, |norm| {
                    let seen = if norm > 1.0 { &long } else { &short };
                    seen.set(seen.get() + 1);
                });
                assert_eq!((found.steps, found.best), (steps, best), "{label}");
                // In f64, rounding moves the points by less than 1e-12.
                let apart = distance(&found.points, &points);
                assert!(apart < 1e-9, "{label}: {apart}");
            }
        }
    });
    // Some gradients are clipped and some are not.
    assert!(long.get() > 0 && short.get() > 0, "{long:?} {short:?}");
}

#[test]
fn as_many_steps_are_taken_as_published_or_as_allowed() {
    let source = HardPrompts::seeded(1);
    // 20 tokens of GPT-2, as in the published benchmark.
    assert_eq!(source.steps(20, 50_257), 251_285);
    assert_eq!(source.clone().at_most(500).steps(20, 50_257), 500);
    assert_eq!(source.clone().at_most(500).steps(1, 97), 24);
    // A draft takes at least one step.
    assert_eq!(source.clone().at_most(0).steps(1, 97), 1);
    assert_eq!(source.steps(1, 3), 1);
}

#[test]
fn a_search_out_of_time_ends_with_the_step_at_hand() {
    for_each_model(|case, decoder| {
        let target = target(decoder, Tap::Block(1));
        let now = Instant::now();
        let source = HardPrompts::seeded(1).at_most(20);
        let steps = |source, deadline| searched(source, decoder, &target, deadline).steps;
        assert_eq!(steps(&source, None), 20, "{case}");
        assert_eq!(steps(&source, now.checked_add(Duration::from_secs(3600))), 20, "{case}");
        assert_eq!(steps(&source, Some(now)), 1, "{case}");
    });
}
