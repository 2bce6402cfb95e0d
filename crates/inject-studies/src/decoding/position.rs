//! All tokens at one position, compared with every view of the true state.

use std::collections::BTreeMap;

use inject_sipit::{
    collisions::{distance, norm},
    models::{Decoder, PrefixCache, Tap, host::to_host, silent},
    states::{Extraction, random::SplitMix, store::Positions},
};
use ndarray::Array2;
use rayon::prelude::*;

use super::{DecodingOptions, Measured, Producer, Projection, Seen};
use crate::{
    error::StudyError,
    extension::{Beside, beside_all_others},
    tuning::CANDIDATES_A_THREAD,
};

/// The inputs of the study.
pub(super) struct Measuring<'a> {
    pub(super) decoder: &'a Decoder,
    pub(super) producers: &'a [Producer<'a>],
    pub(super) options: &'a DecodingOptions,
    pub(super) projections: &'a [Projection],
}

/// The states of a whole prompt, for each tap and view.
type Views = BTreeMap<Tap, Vec<Array2<f64>>>;

impl Measuring<'_> {
    /// Measures the chosen positions of one prompt.
    pub(super) fn prompt(
        &self,
        number: usize,
        ids: &[u32],
        done: &mut dyn FnMut(f64),
    ) -> Result<BTreeMap<Tap, Vec<Measured>>, StudyError> {
        let views = self.views(number, ids)?;
        let mut measured: BTreeMap<Tap, Vec<Measured>> = BTreeMap::new();
        let look = |cache: &PrefixCache, position: usize, token: u32, done: &mut dyn FnMut(f64)| {
            let place = ((number as u64) << 32 | position as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let mut numbers = SplitMix::seeded(self.options.seed ^ place);
            let width = self.decoder.config().d_model;
            let directions: Vec<Vec<f64>> =
                (0..self.options.directions).map(|_| numbers.direction(width)).collect();
            for (tap, of_tap) in self.position(cache, position, token, &views, &directions, done)? {
                measured.entry(tap).or_default().push(of_tap);
            }
            Ok(())
        };
        self.options.positions.walk(self.decoder, ids, &self.options.taps, done, look)?;
        Ok(measured)
    }

    /// Returns the prompt's own states, disturbed, then those of the producers.
    fn views(&self, number: usize, ids: &[u32]) -> Result<Views, StudyError> {
        let extraction = Extraction::new(self.options.taps.clone(), Positions::All)?;
        let prompt = [ids.to_vec()];
        let mut views: Views = BTreeMap::new();
        for (tap, states) in extraction.run(self.decoder, &prompt, &mut silent)? {
            let states = states.mapv(f64::from);
            let disturbed = self.options.disturbances.iter().map(|disturbance| {
                let mut states = states.clone();
                disturbance.apply(&mut states, self.options.seed ^ number as u64);
                states
            });
            views.insert(tap, disturbed.collect());
        }
        for producer in self.producers {
            for (tap, states) in extraction.run(producer.decoder, &prompt, &mut silent)? {
                views.entry(tap).or_default().push(states.mapv(f64::from));
            }
        }
        let at_tap =
            |(tap, views): (&Tap, &Vec<Array2<f64>>)| Some((*tap, views.iter().find_map(not_finite)?));
        if let Some((tap, (position, column, found))) = views.iter().find_map(at_tap) {
            return Err(StudyError::View { tap, position, column, found });
        }
        Ok(views)
    }

    fn position(
        &self,
        cache: &PrefixCache,
        position: usize,
        token: u32,
        views: &Views,
        directions: &[Vec<f64>],
        done: &mut dyn FnMut(f64),
    ) -> Result<BTreeMap<Tap, Measured>, StudyError> {
        let Measuring { decoder, options, projections, .. } = *self;
        let width = decoder.config().d_model;
        let mut found: BTreeMap<Tap, Found> = BTreeMap::new();
        let mut look = |Beside { tap, truth, others, states, tensor }: Beside<'_>| {
            let wanted: Vec<Vec<f64>> = views[&tap].iter().map(|view| view.row(position).to_vec()).collect();
            let of_batch = Found::among(truth, others, states, directions, &wanted);
            let projected = projections.iter().map(|projection| {
                let differences = tensor.clone().narrow(0, 1, others.len()) - tensor.clone().narrow(0, 0, 1);
                let squares: Vec<f32> = to_host(projection.squares(differences))?;
                let nearest =
                    (0..others.len()).min_by(|&a, &b| squares[a].total_cmp(&squares[b])).unwrap_or(0);
                let state = &states[nearest * width..][..width];
                let difference: Vec<f64> =
                    state.iter().zip(truth).map(|(a, b)| f64::from(*a) - f64::from(*b)).collect();
                Ok::<_, StudyError>(projection.norm(&difference))
            });
            let of_batch = Found { projected: projected.collect::<Result<_, _>>()?, ..of_batch };
            match found.remove(&tap) {
                None => found.insert(tap, of_batch),
                Some(before) => found.insert(tap, before.with(of_batch)),
            };
            Ok(())
        };
        beside_all_others(decoder, cache, token, &options.taps, options.memory_budget, &mut look, done)?;
        Ok(found.into_iter().map(|(tap, found)| (tap, found.measured(position, token))).collect())
    }
}

fn not_finite(states: &Array2<f64>) -> Option<(usize, usize, f64)> {
    states
        .indexed_iter()
        .find(|(_, value)| !value.is_finite())
        .map(|((row, column), value)| (row, column, *value))
}

/// The result of comparing one position with some of the other tokens.
#[derive(Clone, Debug)]
struct Found {
    norm: f64,
    margin: f64,
    breaking: Vec<f64>,
    views: Vec<Seen>,
    projected: Vec<f64>,
}

impl Found {
    /// Compares every state of a batch with the true one and with every view of it.
    fn among(
        truth: &[f32],
        ids: &[u32],
        states: &[f32],
        directions: &[Vec<f64>],
        wanted: &[Vec<f64>],
    ) -> Self {
        let nothing = Found {
            norm: norm(truth),
            margin: f64::INFINITY,
            breaking: vec![f64::INFINITY; directions.len()],
            views: wanted
                .iter()
                .map(|view| Seen { error: distance(truth, view), nearer: 0, nearest: None })
                .collect(),
            projected: Vec::new(),
        };
        // Equal distances are resolved by the smaller id, so the result does not depend on how the work is divided.
        ids.par_iter()
            .zip(states.par_chunks(truth.len()))
            .with_min_len(CANDIDATES_A_THREAD)
            .fold(
                || nothing.clone(),
                |mut found, (&id, state)| {
                    found.take(id, state, truth, directions, wanted);
                    found
                },
            )
            .reduce(|| nothing.clone(), Found::with)
    }

    fn take(&mut self, id: u32, state: &[f32], truth: &[f32], directions: &[Vec<f64>], wanted: &[Vec<f64>]) {
        let apart = distance(state, truth);
        self.margin = self.margin.min(apart);
        for (breaking, direction) in self.breaking.iter_mut().zip(directions) {
            // The product is at most the distance, so only a state nearer than twice the breaking point can reduce it.
            if apart < 2.0 * *breaking {
                let along = along(state, truth, direction);
                if along > 0.0 {
                    *breaking = breaking.min(apart * apart / (2.0 * along));
                }
            }
        }
        for (seen, view) in self.views.iter_mut().zip(wanted) {
            // By the triangle inequality, a state farther than this from the true one is farther from the view too.
            if apart <= 2.0 * seen.error * (1.0 + 1e-9) {
                let distance = distance(state, view);
                if distance < seen.error {
                    seen.nearer += 1;
                    seen.nearest = nearer(seen.nearest, Some((id, distance)));
                }
            }
        }
    }

    fn with(mut self, other: Found) -> Self {
        let least = |a: &mut Vec<f64>, b: Vec<f64>| a.iter_mut().zip(b).for_each(|(a, b)| *a = a.min(b));
        self.margin = self.margin.min(other.margin);
        least(&mut self.breaking, other.breaking);
        least(&mut self.projected, other.projected);
        for (seen, other) in self.views.iter_mut().zip(other.views) {
            seen.nearer += other.nearer;
            seen.nearest = nearer(seen.nearest, other.nearest);
        }
        self
    }

    fn measured(self, position: usize, token: u32) -> Measured {
        let Found { norm, margin, breaking, views, projected } = self;
        let breaking = breaking.into_iter().map(|norm| norm.is_finite().then_some(norm)).collect();
        Measured { position, token, norm, margin, breaking, views, projected }
    }
}

fn nearer(a: Option<(u32, f64)>, b: Option<(u32, f64)>) -> Option<(u32, f64)> {
    [a, b].into_iter().flatten().min_by(|a, b| a.1.total_cmp(&b.1).then(a.0.cmp(&b.0)))
}

/// Returns the product of a difference of two states with a direction, in f64.
fn along(state: &[f32], truth: &[f32], direction: &[f64]) -> f64 {
    // Eight partial sums, as for distances.
    let mut sums = [0.0_f64; 8];
    let difference = |i: usize| f64::from(state[i]) - f64::from(truth[i]);
    for (i, direction) in direction.iter().enumerate() {
        sums[i % 8] += difference(i) * direction;
    }
    sums.iter().sum()
}
