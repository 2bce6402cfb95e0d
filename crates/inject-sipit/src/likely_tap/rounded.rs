//! The tap of states whose producer rounded the weights.

use super::{
    samples::Samples,
    trial::{Nearest, Trial, Trialled},
};
use crate::{
    acceptance::Acceptance,
    error::InvertError,
    inverter::weights_known,
    models::{NumberFormat, Progress, Tap, Unit},
    rounding::with_weights_in,
    settings::ComputedIn,
    transformation::Transformation,
    tuning::{ROUNDED_NEARER, TAP_CANDIDATES},
};

/// The tap at which weights rounded in a known way have a token that fits, if the weights given have none.
///
/// Each format of weights takes one pass over some tokens, `nearest` among them, and the tap at which one of them comes much nearer is tried.
/// `shown` is the change that the state itself shows.
pub(super) fn find_rounded(
    trial: &Trial<'_>,
    nearest: &Nearest,
    shown: &Transformation,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<Option<Tap>, InvertError> {
    let known: Vec<NumberFormat> = match trial.settings.computed_in {
        _ if trial.settings.acceptance != Acceptance::default() => Vec::new(),
        ComputedIn::Auto => weights_known().collect(),
        ComputedIn::Format(NumberFormat::Float(_)) => Vec::new(),
        ComputedIn::Format(format) => vec![format],
    };
    let total = known.len() as u64;
    for (turn, format) in known.into_iter().enumerate() {
        if trial.is_up() {
            return Ok(None);
        }
        let mut tried = |inner: Progress<'_>| {
            let report =
                Progress::new("look for the tap with rounded weights", Unit::Units, turn as u64, total);
            progress(report.with_part(inner.fraction()));
        };
        let decoder = with_weights_in(trial.decoder, format, &mut tried)?;
        let samples = Samples::compute(&decoder, trial.given, Some(nearest.token))?;
        let trial = Trial { decoder: &decoder, first: trial.first.clone(), ..*trial };
        let first = trial.first.as_slice().expect("in standard layout");
        let Some((tap, share)) = samples.nearest(first, shown)? else { continue };
        if ROUNDED_NEARER * share > nearest.miss.share {
            continue;
        }
        let (inverter, candidates) = (trial.inverter(tap)?, TAP_CANDIDATES.min(decoder.config().vocab_size));
        let fits = trial.fits(&inverter, &Transformation::None, candidates, &mut tried)?;
        if matches!(fits, Trialled::Fits(_)) {
            return Ok(Some(tap));
        }
    }
    Ok(None)
}
