//! What a decoder is like at one step of its training.

use crate::{MarginOptions, Quantile, Run, margins};
use inject_sipit::{
    Inverter, Policy, Scan, Settings, TargetStates,
    collisions::{NoiseFloor, Verdict},
    models::{Decoder, Tap},
    states::{Extraction, foreign::SourceDtype, store::Positions},
};

use super::{TapMinimum, closest_at_taps};
use crate::StudyError;

/// What is measured at each snapshot, the same every time.
#[derive(Clone, Debug, PartialEq)]
pub struct Probes {
    /// Prompts among which the closest pair is searched.
    pub prompts: Vec<Vec<u32>>,
    /// Prompts at whose positions the true token is compared with all others.
    pub margin_prompts: Vec<Vec<u32>>,
    /// The first position that is compared, counted from 0.
    pub margin_first: usize,
    /// Every so many positions after it are compared.
    pub margin_every: usize,
    /// Prompts that are inverted by scanning the whole vocabulary at every position.
    pub inverted: Vec<Vec<u32>>,
    /// Where their states are read.
    pub inversion_taps: Vec<Tap>,
}

/// A decoder at one step.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Snapshot {
    /// Steps taken so far.
    pub step: usize,
    /// Loss on the whole training text, in nats a token.
    pub loss: f64,
    /// Loss on text that is not trained on, in nats a token.
    pub held_out_loss: f64,
    /// Each tap, in the order of computation.
    pub taps: Vec<TapSnapshot>,
    /// Whether prompts come back from their states.
    pub inversions: Vec<InversionTally>,
}

/// The states of one tap.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct TapSnapshot {
    /// The closest pair of prompts.
    pub closest: TapMinimum,
    /// How far true tokens are from all others.
    pub margins: Margins,
}

/// One-step margins: at each position compared, the distance from the true token's state to the nearest of all other tokens.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Margins {
    /// How many positions were compared.
    pub positions: usize,
    /// How far apart computations of one of these states lie.
    pub noise: NoiseFloor,
    /// What the smallest margin means beside that.
    pub verdict: Verdict,
    /// Quantiles of the margins, exact.
    pub quantiles: Vec<Quantile>,
    /// Quantiles of each margin as a share of the state's norm, exact.
    pub relative: Vec<Quantile>,
}

impl Margins {
    /// The margin that this share of the margins does not exceed, if it is one of [`Quantile::SHARES`].
    pub fn quantile(&self, share: f64) -> Option<f64> {
        Quantile::upper_at(&self.quantiles, share)
    }
}

/// How many prompts came back from their states at one tap.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct InversionTally {
    /// The tap.
    pub tap: Tap,
    /// How many were inverted.
    pub prompts: usize,
    /// How many of them came back token for token, every position verified.
    pub exact: usize,
    /// Tokens in all.
    pub tokens: usize,
    /// Tokens that came back.
    pub right: usize,
}

impl Snapshot {
    /// Whether every prompt came back from every tap.
    pub fn all_exact(&self) -> bool {
        self.inversions.iter().all(|tally| tally.exact == tally.prompts)
    }

    /// Measures a decoder. The losses are the caller's.
    pub(super) fn measure(
        decoder: &Decoder,
        probes: &Probes,
        step: usize,
        [loss, held_out_loss]: [f64; 2],
    ) -> Result<Snapshot, StudyError> {
        let taps = Tap::all(decoder.config().n_layers());
        let closest = closest_at_taps(decoder, &probes.prompts, &taps)?;
        let options = MarginOptions {
            taps,
            first: probes.margin_first,
            every: probes.margin_every,
            memory_budget: Settings::default().memory_budget,
        };
        let mut quiet = |_| ();
        let run = Run::in_memory(&mut quiet);
        let measured = margins(decoder, "training", &probes.margin_prompts, &options, run)?;
        let pair = |(closest, margins): (TapMinimum, crate::TapMargins)| TapSnapshot {
            closest,
            margins: Margins {
                positions: margins.steps.len(),
                noise: margins.noise,
                verdict: margins.verdict,
                quantiles: margins.margins,
                relative: margins.relative,
            },
        };
        Ok(Snapshot {
            step,
            loss,
            held_out_loss,
            // Both are in the order of computation, and hold every tap.
            taps: closest.into_iter().zip(measured.taps).map(pair).collect(),
            inversions: probes
                .inversion_taps
                .iter()
                .map(|&tap| invert(decoder, &probes.inverted, tap))
                .collect::<Result<_, _>>()?,
        })
    }
}

/// Inverts each prompt from its states at a tap, every token tested at every position.
fn invert(decoder: &Decoder, prompts: &[Vec<u32>], tap: Tap) -> Result<InversionTally, StudyError> {
    let inverter = Inverter::new(decoder, tap, Settings { scan: Scan::Whole, ..Settings::default() })?;
    let extraction = Extraction::new(vec![tap], Positions::All)?;
    let mut tally = InversionTally { tap, prompts: prompts.len(), exact: 0, tokens: 0, right: 0 };
    for prompt in prompts {
        let states = extraction.run(decoder, std::slice::from_ref(prompt), &mut |_| ())?;
        let target = TargetStates::new(states[&tap].mapv(f64::from), tap, SourceDtype::F32)?;
        let inversion = inverter.invert(&target, &mut Policy::new(), &mut |_| ())?;
        let found = inversion.token_ids();
        let right = found.iter().zip(prompt).filter(|(found, id)| found == id).count();
        tally.tokens += prompt.len();
        tally.right += right;
        tally.exact += usize::from(right == prompt.len() && inversion.is_verified());
    }
    Ok(tally)
}
