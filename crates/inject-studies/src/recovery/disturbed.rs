//! The states of one prompt under one condition.

use inject_sipit::{
    Inverter, Searcher, Settings, TargetStates,
    collisions::distance,
    models::{Decoder, FloatFormat, Tap, silent},
    states::{Disturbance, Extraction, Rounding, store::Positions},
};
use ndarray::Array2;

use super::{Case, Condition, least_margin};
use crate::{error::StudyError, tuning::MARGIN_RIVALS};

/// The disturbed states of one prompt, and their distance from the computed ones.
#[derive(Clone, Debug)]
pub(super) struct Disturbed {
    /// The states that the inverter is given.
    pub(super) target: TargetStates,
    /// The largest distance between a given state and that of the inverter's model.
    pub(super) largest_error: f64,
}

impl Disturbed {
    pub(super) fn new(
        case: &Case<'_>,
        number: usize,
        prompt: &[u32],
        inverter: &Inverter<'_>,
        searcher: &mut Searcher<'_>,
    ) -> Result<Self, StudyError> {
        let seed = case.options.seed ^ (number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let clean = states(case.decoder, case.tap, prompt)?;
        match case.condition {
            Condition::Exact | Condition::KnownWeights { .. } => Disturbed::as_computed(clean, case.tap),
            Condition::UnknownWeights { .. } => {
                let produced = states(case.producer, case.tap, prompt)?;
                Disturbed::moved(&clean, produced, case.tap)
            }
            Condition::States { disturbance: Disturbance::Rounded(format) } => {
                Disturbed::rounded(&clean, format, case.tap)
            }
            Condition::States { disturbance } => {
                let mut states = clean.clone();
                disturbance.apply(&mut states, seed);
                Disturbed::moved(&clean, states, case.tap)
            }
            Condition::Noise { share_of_margin } => {
                let inverter = inverter.with_settings(Settings::new())?;
                let exact = TargetStates::new(clean.clone(), case.tap, FloatFormat::F32)?;
                let margin = least_margin(&inverter, &exact, searcher, MARGIN_RIVALS)?.unwrap_or(0.0);
                let mut states = clean.clone();
                Disturbance::Noise { norm: share_of_margin * margin }.apply(&mut states, seed);
                Disturbed::moved(&clean, states, case.tap)
            }
        }
    }

    fn as_computed(states: Array2<f64>, tap: Tap) -> Result<Self, StudyError> {
        let target = TargetStates::new(states, tap, FloatFormat::F32)?;
        Ok(Disturbed { target, largest_error: 0.0 })
    }

    fn rounded(clean: &Array2<f64>, format: Rounding, tap: Tap) -> Result<Self, StudyError> {
        let mut states = clean.clone();
        let half_steps = format.round(&mut states);
        let largest_error = errors(clean, &states).into_iter().fold(0.0, f64::max);
        let target = TargetStates::new(states, tap, format.dtype())?.rounded_by(half_steps)?;
        Ok(Disturbed { target, largest_error })
    }

    fn moved(clean: &Array2<f64>, states: Array2<f64>, tap: Tap) -> Result<Self, StudyError> {
        let errors = errors(clean, &states);
        let largest_error = errors.iter().copied().fold(0.0, f64::max);
        // The error of a coordinate times the root of the width is the error in L2.
        let width = (states.ncols() as f64).sqrt();
        let half_steps = errors.into_iter().map(|error| error / width).collect();
        let target = TargetStates::new(states, tap, FloatFormat::F64)?.rounded_by(half_steps)?;
        Ok(Disturbed { target, largest_error })
    }
}

fn states(decoder: &Decoder, tap: Tap, prompt: &[u32]) -> Result<Array2<f64>, StudyError> {
    let mut states =
        Extraction::new(vec![tap], Positions::All)?.run(decoder, &[prompt.to_vec()], &mut silent)?;
    Ok(states.remove(&tap).expect("the tap was requested").mapv(f64::from))
}

/// Returns the distance by which each state was moved.
fn errors(clean: &Array2<f64>, states: &Array2<f64>) -> Vec<f64> {
    let of_row = |(a, b): (ndarray::ArrayView1<'_, f64>, ndarray::ArrayView1<'_, f64>)| {
        distance(&a.to_vec(), &b.to_vec())
    };
    clean.outer_iter().zip(states.outer_iter()).map(of_row).collect()
}
