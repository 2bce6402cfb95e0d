//! Repetitions of one token, with and without BOS.
//!
//! In a model without learned positions, `a`, `a a` and `a a a` have the same last state unless BOS stands before them, whatever the
//! weights. [`EqualityReason`] derives this from the config, and the study compares it with the measured states.

use std::{collections::BTreeMap, fmt, num::NonZeroUsize};

use inject_sipit::{
    collisions::{Metric, NoiseFloor, Resolution, distance, measure_noise_floors, norm},
    models::{Decoder, DecoderConfig, Tap, config::LearnedPositions, silent},
    states::{Extraction, States, store::Positions},
};

use crate::{
    completeness::Completeness,
    error::StudyError,
    journal::Description,
    name::StudyName,
    run::{Finished, Run},
};

/// The taps, tokens and number of repetitions that [`repeats`] compares.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
#[non_exhaustive]
pub struct RepeatOptions {
    /// The taps at which states are read.
    pub taps: Vec<Tap>,
    /// The token ids to repeat, each by itself.
    pub tokens: Vec<u32>,
    /// The largest number of repetitions, at least two. Each token is repeated once, twice and so on, up to this number.
    pub most: usize,
    /// The token that begins a sequence, if the model has one.
    pub bos: Option<u32>,
}

impl RepeatOptions {
    /// Creates options to repeat each token from once to `most` times, without BOS.
    pub fn new(taps: Vec<Tap>, tokens: Vec<u32>, most: usize) -> Self {
        RepeatOptions { taps, tokens, most, bos: None }
    }

    /// Sets the BOS token, after which each token is repeated too.
    pub fn with_bos(self, bos: Option<u32>) -> Self {
        RepeatOptions { bos, ..self }
    }
}

/// The distances between repetitions of single tokens, as [`repeats`] measures them.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
#[non_exhaustive]
pub struct RepeatStudy {
    /// Whether the model has a table of learned positions. If not, positions matter through rotation at most.
    pub learned_positions: bool,
    /// The largest number of repetitions of each token.
    pub most: usize,
    /// The repetitions of each token: without BOS, and after BOS if the model has one.
    pub repeats: Vec<Repeats>,
    /// The units of the study that this result contains.
    #[serde(default)]
    pub completeness: Completeness,
}

/// The last states of `a`, `aa`, `aaa` and so on.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
#[non_exhaustive]
pub struct Repeats {
    /// The id of the repeated token.
    pub token: u32,
    /// The token before the repetitions, if there is one.
    pub bos: Option<u32>,
    /// The distances at each tap.
    pub taps: Vec<RepeatsAt>,
}

/// The distances between repetitions of one token at one tap.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
#[non_exhaustive]
pub struct RepeatsAt {
    /// The tap at which the states were read.
    #[cfg_attr(feature = "schema", schemars(with = "crate::schema::Tap"))]
    pub tap: Tap,
    /// The smallest distance between two repetitions.
    pub smallest: f64,
    /// The largest distance between two repetitions.
    pub largest: f64,
    /// The number of pairs whose states are equal in every number.
    pub equal_pairs: u64,
    /// The number of pairs of repetitions.
    pub pairs: u64,
    /// The mean norm of the states.
    pub mean_norm: f64,
    /// The noise floor of these states.
    #[cfg_attr(feature = "schema", schemars(with = "crate::schema::NoiseFloor"))]
    pub noise: NoiseFloor,
    /// Whether the *largest* distance exceeds the noise floor. If it does not, no two repetitions can be distinguished.
    #[serde(alias = "verdict")]
    #[cfg_attr(feature = "schema", schemars(with = "crate::schema::Resolution"))]
    pub resolution: Resolution,
    /// The reason why the states must be equal, if there is one.
    #[serde(alias = "why")]
    pub reason: Option<EqualityReason>,
}

/// A reason why repetitions of one token have the same state, whatever the weights are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub enum EqualityReason {
    /// The tap is the embedding, and there is no table of positions. The state depends on the last token alone.
    EmbeddingAlone,
    /// Every position holds the same token and there is no table of positions, so every position has the same value vector.
    /// Rotation changes the attention's weights, but these add up to one, and an average of equal vectors is that vector. By
    /// induction over the blocks every position has the same state, however many there are.
    AverageOfEqualValues,
}

impl EqualityReason {
    /// Returns the reason why repetitions of a token have the same state, if there is one.
    pub fn of(config: &DecoderConfig, tap: Tap, token: u32, bos: Option<u32>) -> Option<Self> {
        match (config.embedding.positions, tap) {
            (LearnedPositions::Table { .. }, _) => None,
            (LearnedPositions::None, Tap::Embedding) => Some(EqualityReason::EmbeddingAlone),
            (LearnedPositions::None, _) if bos.is_none_or(|bos| bos == token) => {
                Some(EqualityReason::AverageOfEqualValues)
            }
            (LearnedPositions::None, _) => None,
        }
    }
}

impl fmt::Display for EqualityReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            EqualityReason::EmbeddingAlone => "the state is the embedding of the last token and does not depend on the tokens before it",
            EqualityReason::AverageOfEqualValues => {
                "without learned positions and without another token before them, all positions have equal value vectors; \
                 attention averages them with weights that add up to one, so every number of repetitions gives the same state"
            }
        })
    }
}

/// Compares the last states of repetitions of single tokens. A unit of the study is a token, with or without BOS.
///
/// If [`EqualityReason::of`] returns a reason, repetitions collide in exact arithmetic. Computed in f32 they differ by rounding
/// errors, so their resolution is [`Resolution::AtTheNoiseFloor`]. A decoder in f64 computes equal states.
///
/// # Errors
///
/// [`StudyError`] if the decoder refuses a prompt or a tap, there are fewer than two repetitions, or the journal belongs to
/// another study.
pub fn repeats(decoder: &Decoder, options: &RepeatOptions, run: Run<'_>) -> Result<RepeatStudy, StudyError> {
    if options.most < 2 {
        return Err(StudyError::TooFewPrompts { found: options.most, expected: 2 });
    }
    if options.tokens.is_empty() {
        return Err(StudyError::TooFew { what: "tokens to repeat", found: 0, expected: 1 });
    }
    let about = Description::new(
        StudyName::Repeats,
        serde_json::json!({ "decoder": format!("{:?}", decoder.config()), "dtype": format!("{:?}", decoder.dtype()),
            "options": options,
        }),
    )
    .computed_by(decoder);
    let without = options.tokens.iter().map(|&token| (token, None));
    let with =
        options.bos.into_iter().flat_map(|bos| options.tokens.iter().map(move |&token| (token, Some(bos))));
    let units: Vec<(u32, Option<u32>)> = without.chain(with).collect();
    let extraction = Extraction::new(options.taps.clone(), Positions::Last)?;
    let Finished { results: measured, completeness } = run.complete(&about, units, |&(token, bos), _| {
        let repetition = |often: usize| bos.into_iter().chain(std::iter::repeat_n(token, often)).collect();
        let prompts: Vec<Vec<u32>> = (1..=options.most).map(repetition).collect();
        let states = extraction.run(decoder, &prompts, &mut silent)?;
        let floors =
            measure_noise_floors(Metric::L2, decoder, None, extraction.taps(), &prompts, NonZeroUsize::MAX)?;
        let at = |(tap, states): (Tap, States)| {
            let states: Vec<Vec<f32>> = states.rows().into_iter().map(|state| state.to_vec()).collect();
            compare(tap, &states, floors[&tap], EqualityReason::of(decoder.config(), tap, token, bos))
        };
        Ok::<_, StudyError>(states.into_iter().map(at).collect::<Vec<_>>())
    })?;
    let repeats = measured.into_iter().map(|((token, bos), taps)| Repeats { token, bos, taps }).collect();
    let learned_positions = decoder.config().embedding.positions != LearnedPositions::None;
    Ok(RepeatStudy { learned_positions, most: options.most, repeats, completeness })
}

fn compare(tap: Tap, states: &[Vec<f32>], noise: NoiseFloor, reason: Option<EqualityReason>) -> RepeatsAt {
    let pairs = states.iter().enumerate().flat_map(|(i, a)| states[..i].iter().map(move |b| distance(a, b)));
    let distances: Vec<f64> = pairs.collect();
    let largest = distances.iter().copied().fold(0.0, f64::max);
    RepeatsAt {
        tap,
        smallest: distances.iter().copied().fold(f64::INFINITY, f64::min),
        largest,
        equal_pairs: distances.iter().filter(|&&distance| distance == 0.0).count() as u64,
        pairs: distances.len() as u64,
        mean_norm: states.iter().map(|state| norm(state)).sum::<f64>() / states.len() as f64,
        noise,
        resolution: Resolution::of(largest, noise.largest()),
        reason,
    }
}

impl RepeatStudy {
    /// Returns the number of combinations of token, tap and BOS for which repetitions must collide, and the number of those for
    /// which they do.
    pub fn expected_and_found(&self) -> (usize, usize) {
        let places = self.repeats.iter().flat_map(|repeats| &repeats.taps).filter(|at| at.reason.is_some());
        let mut count = BTreeMap::from([(true, 0), (false, 0)]);
        places.for_each(|at| *count.entry(at.resolution != Resolution::Separated).or_default() += 1);
        (count[&true] + count[&false], count[&true])
    }
}
