//! The closest pair of prompts at each tap.

use inject_sipit::{
    collisions::{
        Metric, NoiseFloor, Pairs, Resolution, Search, SearchOptions, StateRows, identities,
        measure_noise_floors,
    },
    models::{Decoder, Tap, silent},
    states::{Extraction, States, store::Positions},
};

use crate::{error::StudyError, tuning::NOISE_SAMPLE};

/// The closest pair of prompts at one tap, by their last states.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
#[non_exhaustive]
pub struct TapMinimum {
    /// The tap at which the states were read.
    #[cfg_attr(feature = "schema", schemars(with = "crate::schema::Tap"))]
    pub tap: Tap,
    /// The number of pairs of different prompts. All of them were examined.
    pub pairs: u64,
    /// The smallest distance of all pairs, in f64.
    pub minimum: f64,
    /// The numbers of the two prompts.
    pub closest: [usize; 2],
    /// The noise floor of the tap.
    #[cfg_attr(feature = "schema", schemars(with = "crate::schema::NoiseFloor"))]
    pub noise: NoiseFloor,
    /// Whether the smallest distance exceeds the noise floor.
    #[serde(alias = "verdict")]
    #[cfg_attr(feature = "schema", schemars(with = "crate::schema::Resolution"))]
    pub resolution: Resolution,
}

/// Returns the closest pair of prompts at each tap, by the states of their last tokens. Prompts with the same token ids
/// never count as a pair.
///
/// # Errors
///
/// [`StudyError::TooFew`] if there are no two different prompts, and the errors of the decoder.
pub fn closest_at_taps(
    decoder: &Decoder,
    prompts: &[Vec<u32>],
    taps: &[Tap],
) -> Result<Vec<TapMinimum>, StudyError> {
    let states = Extraction::new(taps.to_vec(), Positions::Last)?.run(decoder, prompts, &mut silent)?;
    let noise = measure_noise_floors(Metric::L2, decoder, None, taps, prompts, NOISE_SAMPLE)?;
    let identities = identities(prompts.iter().map(Vec::as_slice));
    let different = identities.iter().max().map_or(0, |&last| last as usize + 1);
    let at_tap = |(tap, states): (Tap, States)| {
        let rows = StateRows::new(states.view())?.with_identities(identities.clone())?;
        let search = Search::new(&rows, &Pairs::All, SearchOptions::default(), &decoder.device())?;
        let closest = search.closest_pairs(1, &mut silent)?;
        let too_few = StudyError::TooFew { what: "different prompts", found: different, expected: 2 };
        let pair = closest.minimum().ok_or(too_few)?;
        let noise = noise[&tap];
        Ok(TapMinimum {
            tap,
            pairs: closest.decided,
            minimum: pair.distance,
            closest: [pair.a, pair.b],
            noise,
            resolution: Resolution::of(pair.distance, noise.largest()),
        })
    };
    states.into_iter().map(at_tap).collect()
}
