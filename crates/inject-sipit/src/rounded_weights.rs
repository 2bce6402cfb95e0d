//! The weights of a producer that rounded them in a known way.

use crate::{
    error::InvertError,
    inversion::Inversion,
    inverter::Inverter,
    models::{Decoder, NumberFormat, silent},
    policy::PolicyChoice,
    settings::{ComputedIn, Scan, Settings, TapCheck},
    target::TargetStates,
    tuning::{ROUNDED_CANDIDATES, ROUNDED_POSITIONS},
};

/// Rounds the weights of a decoder to the format that the settings name for the producer, and returns the rounded decoder if it explains
/// the states. None if it does not, or if the settings name no format of weights.
///
/// Programs round weights to INT8, NF4 and FP4 in one way each ([`Decoder::with_weights_in`]). So the weights of the producer are
/// known, and its states lie within the noise of computing in 16 bits, a tenth of what the rounding of weights to 4 bits adds. If
/// the weights were rounded in another way, they are as far from these as from the given ones. The first two open positions tell the two
/// apart, for a few thousand candidates at most: the rounded decoder must verify their tokens, and its states of these tokens must be
/// nearer than those of the decoder given. The caller inverts with the decoder returned and with [`ComputedIn::Auto`].
///
/// `begins` is the token that most prompts begin with.
///
/// # Errors
///
/// [`InvertError`] as of [`Inverter::invert`].
pub fn with_weights_of_producer(
    decoder: &Decoder,
    target: &TargetStates,
    settings: &Settings,
    begins: Option<u32>,
) -> Result<Option<Decoder>, InvertError> {
    let ComputedIn::Format(format) = settings.computed_in else { return Ok(None) };
    if matches!(format, NumberFormat::Float(_)) || !target.missing().is_empty() {
        return Ok(None);
    }
    let rounded = decoder.clone().with_weights_in(format)?;
    let vocab_size = decoder.config().vocab_size;
    let settings = settings
        .clone()
        .with_computed_in(ComputedIn::Auto)
        .with_tap_check(TapCheck::Never)
        .with_scan(Scan::AsNeeded)
        .with_budget(settings.budget.with_candidates(ROUNDED_CANDIDATES.min(vocab_size)));
    let end = (target.given().len() + ROUNDED_POSITIONS).min(target.positions());
    let beginning = target.part(end, target.given());
    let inverter = Inverter::new(&rounded, target.tap(), settings)?;
    let choice = PolicyChoice::auto(&rounded, target.tap(), end, None, begins);
    let inversion = inverter.invert(&beginning, &mut inverter.searcher(&choice.policy), &mut silent)?;
    let fits =
        inversion.is_verified() && error(&rounded, target, &inversion)? < error(decoder, target, &inversion)?;
    Ok(fits.then_some(rounded))
}

/// The sum of the squares of the distances from a decoder's states of recovered tokens, apart from those that were given.
fn error(decoder: &Decoder, target: &TargetStates, inversion: &Inversion) -> Result<f64, InvertError> {
    let states = TargetStates::of_prompt(decoder, target.tap(), &inversion.token_ids())?;
    let mut sum = 0.0;
    for position in target.given().len()..states.positions() {
        let mut state = states.state(position).to_vec();
        inversion.transformation.apply(&mut state, target.d_model());
        sum += state.iter().zip(target.state(position)).map(|(a, b)| (a - b).powi(2)).sum::<f64>();
    }
    Ok(sum)
}
