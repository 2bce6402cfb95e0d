//! A decoder at one step of its training.

use crate::{
    error::StudyError,
    margins::{MarginOptions, margins},
    positions::ChosenPositions,
    run::Run,
    tap_distances::Quantile,
};
use inject_sipit::{
    Inverter, Policy, Settings, TargetStates,
    collisions::{NoiseFloor, Resolution},
    models::{Decoder, Tap, silent},
    settings::Scan,
};

use super::{TapMinimum, closest_at_taps};

/// The measurements of each snapshot.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Probes {
    /// The prompts among which the closest pair is found.
    pub prompts: Vec<Vec<u32>>,
    /// The prompts at whose positions the true token is compared with all others.
    pub margin_prompts: Vec<Vec<u32>>,
    /// The positions of these prompts.
    pub margin_positions: ChosenPositions,
    /// The prompts that are inverted by scanning the whole vocabulary at every position.
    pub inverted: Vec<Vec<u32>>,
    /// The taps from whose states these are inverted.
    pub inversion_taps: Vec<Tap>,
}

impl Probes {
    /// Measures the closest pair of `prompts`, and the margins at some positions of `margin_prompts`.
    pub fn new(
        prompts: Vec<Vec<u32>>,
        margin_prompts: Vec<Vec<u32>>,
        margin_positions: ChosenPositions,
    ) -> Self {
        let (inverted, inversion_taps) = (Vec::new(), Vec::new());
        Probes { prompts, margin_prompts, margin_positions, inverted, inversion_taps }
    }

    /// Also inverts these prompts from their states at some taps.
    pub fn with_inversions(self, inverted: Vec<Vec<u32>>, inversion_taps: Vec<Tap>) -> Self {
        Probes { inverted, inversion_taps, ..self }
    }
}

/// Measurements of a decoder after some steps.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
#[non_exhaustive]
pub struct Snapshot {
    /// The number of steps before this measurement.
    pub step: usize,
    /// The loss on the whole training text, in nats a token.
    pub loss: f64,
    /// The loss on text that is not trained on, in nats a token.
    pub held_out_loss: f64,
    /// Each tap, in the order of computation.
    pub taps: Vec<TapSnapshot>,
    /// The result of inverting prompts.
    pub inversions: Vec<InversionTally>,
}

/// Distances between the states of one tap.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
#[non_exhaustive]
pub struct TapSnapshot {
    /// The closest pair of prompts.
    pub closest: TapMinimum,
    /// The margins of true tokens.
    pub margins: Margins,
}

/// One-step margins: at each position compared, the distance from the true token's state to the nearest of all other tokens.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
#[non_exhaustive]
pub struct Margins {
    /// The number of positions compared.
    pub positions: usize,
    /// The noise floor of these states.
    #[cfg_attr(feature = "schema", schemars(with = "crate::schema::NoiseFloor"))]
    pub noise: NoiseFloor,
    /// Whether the smallest margin exceeds the noise floor.
    #[serde(alias = "verdict")]
    #[cfg_attr(feature = "schema", schemars(with = "crate::schema::Resolution"))]
    pub resolution: Resolution,
    /// Quantiles of the margins, exact.
    pub quantiles: Vec<Quantile>,
    /// Quantiles of each margin as a share of the state's norm, exact.
    pub relative: Vec<Quantile>,
}

impl Margins {
    /// Returns the margin that this share of the margins does not exceed, if it is one of [`Quantile::SHARES`].
    pub fn quantile(&self, share: f64) -> Option<f64> {
        Quantile::upper_at(&self.quantiles, share)
    }
}

/// The number of prompts recovered from their states at one tap.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
#[non_exhaustive]
pub struct InversionTally {
    /// The tap at which the states were read.
    #[cfg_attr(feature = "schema", schemars(with = "crate::schema::Tap"))]
    pub tap: Tap,
    /// The number of prompts inverted.
    pub prompts: usize,
    /// The number of prompts recovered exactly, with every position verified.
    pub exact: usize,
    /// The number of tokens of all these prompts.
    pub tokens: usize,
    /// The number of tokens recovered.
    pub right: usize,
}

impl Snapshot {
    /// Returns whether every prompt was recovered from every tap.
    pub fn all_exact(&self) -> bool {
        self.inversions.iter().all(|tally| tally.exact == tally.prompts)
    }

    /// Measures a decoder. The caller provides the losses.
    pub(super) fn measure(
        decoder: &Decoder,
        probes: &Probes,
        step: usize,
        [loss, held_out_loss]: [f64; 2],
    ) -> Result<Snapshot, StudyError> {
        let taps = Tap::all(decoder.config().n_layers());
        let closest = closest_at_taps(decoder, &probes.prompts, &taps)?;
        let options = MarginOptions::new(taps, probes.margin_positions)
            .with_memory_budget(Settings::default().memory_budget);
        let run = Run::silent();
        let measured = margins(decoder, "training", &probes.margin_prompts, &options, run)?;
        let pair = |(closest, margins): (TapMinimum, crate::margins::TapMargins)| TapSnapshot {
            closest,
            margins: Margins {
                positions: margins.steps.len(),
                noise: margins.noise,
                resolution: margins.resolution,
                quantiles: margins.margins,
                relative: margins.relative,
            },
        };
        Ok(Snapshot {
            step,
            loss,
            held_out_loss,
            // Both contain every tap in the order of computation.
            taps: closest.into_iter().zip(measured.taps).map(pair).collect(),
            inversions: probes
                .inversion_taps
                .iter()
                .map(|&tap| invert(decoder, &probes.inverted, tap))
                .collect::<Result<_, _>>()?,
        })
    }
}

/// Inverts each prompt from its states at a tap. Every token is tested at every position.
fn invert(decoder: &Decoder, prompts: &[Vec<u32>], tap: Tap) -> Result<InversionTally, StudyError> {
    let inverter = Inverter::new(decoder, tap, Settings::new().with_scan(Scan::Whole))?;
    let policy = Policy::new();
    let mut tally = InversionTally { tap, prompts: prompts.len(), exact: 0, tokens: 0, right: 0 };
    for prompt in prompts {
        let target = TargetStates::of_prompt(decoder, tap, prompt)?;
        let inversion = inverter.invert(&target, &mut inverter.searcher(&policy), &mut silent)?;
        let found = inversion.token_ids();
        let right = found.iter().zip(prompt).filter(|(found, id)| found == id).count();
        tally.tokens += prompt.len();
        tally.right += right;
        tally.exact += usize::from(right == prompt.len() && inversion.is_verified());
    }
    Ok(tally)
}
