//! Studies of training: the effect of gradient descent, its initial weights and the choice of an activation on the distances
//! between states.
//!
//! The theorem (arXiv 2510.15511, theorems 2.2 and 2.3, corollary 2.3.1): a decoder with analytic parts whose weights are drawn
//! from a density is injective almost surely, and stays so after any finite number of steps of gradient descent with a learning
//! rate in (0, 1), on any batches.

mod batches;
mod cases;
mod closest;
mod degenerate;
mod optimiser;
mod random_weights;
mod run;
mod snapshot;
mod start;

pub use self::{
    cases::{DegenerateCase, Fate, degenerate_cases},
    closest::{TapMinimum, closest_at_taps},
    degenerate::{AtStep, DegenerateOptions, DegenerateStudy, TapFate, degenerate},
    optimiser::Optimiser,
    random_weights::{RandomShape, RandomWeights, RandomWeightsStudy, random_weights},
    run::{TrainingData, TrainingEvent, TrainingOptions, TrainingStudy, log_spaced, training},
    snapshot::{InversionTally, Margins, Probes, Snapshot, TapSnapshot},
    start::DegenerateStart,
};
