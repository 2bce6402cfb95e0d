//! Finds the tap of states whose file does not name it.
//!
//! Every tap's states of a few hundred tokens are computed in one pass. A state that lies next to one of them names its tap at once,
//! as BOS does. Otherwise the taps are ranked by the likelihood of the state under a normal distribution fitted to each tap's sample.
//! The ranking only decides the order in which taps are tried: a tap is found when some token fits there. Few candidates are tested at each tap
//! first, and more where none of them fits. If none fits at any tap, the one is found at which a token is much nearer than all others tested.
//!
//! Otherwise, if a token is yet nearer than those of another model are, its weights may have been rounded. Then the weights are rounded as
//! the usual programs do it, and the tap is looked for with them.

mod another;
mod attempts;
mod found;
mod normal;
mod rounded;
mod samples;
mod search;
mod trial;

pub(crate) use self::another::another_tap;
use self::samples::Samples;
pub use self::{
    found::{FoundTap, NearMiss},
    search::{TapSearch, find_tap},
};
use crate::{
    error::InvertError,
    models::{Decoder, Tap},
    transformation::Transformation,
};

/// A tap, with the likelihood that a state was read there.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct LikelyTap {
    /// The tap that the state may belong to.
    pub tap: Tap,
    /// The distance of the nearest sample over the median distance of all.
    pub nearest: f64,
    /// The logarithm of the likelihood, up to a constant that is the same for all taps.
    pub log_likelihood: f64,
}

/// Ranks the taps of a model by the likelihood that a state after the tokens `given` was read there, the likeliest first. `begins` is a token
/// that prompts often begin with, such as BOS.
///
/// # Errors
///
/// [`InvertError::Width`] if the state has another width than the model's, and [`InvertError::Model`] if the device fails.
pub fn likely_taps(
    decoder: &Decoder,
    given: &[u32],
    state: &[f64],
    begins: Option<u32>,
) -> Result<Vec<LikelyTap>, InvertError> {
    check_width(decoder, state.len())?;
    Samples::compute(decoder, given, begins)?.ranked(state, &Transformation::None)
}

fn check_width(decoder: &Decoder, found: usize) -> Result<(), InvertError> {
    let expected = decoder.config().d_model;
    if found == expected { Ok(()) } else { Err(InvertError::Width { found, expected }) }
}
