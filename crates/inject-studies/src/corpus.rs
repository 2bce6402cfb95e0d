//! The random-corpus study: all pairs of many different prompts, at every tap.

mod pieces;

use std::collections::BTreeMap;

use burn::tensor::Device;
use inject_sipit::{
    collisions::{NoiseFloor, Pair, Resolution, StateRows},
    models::{Tap, Tokenizer},
    states::store::{BosPolicy, Store},
};

pub use self::pieces::{CorpusPart, CorpusPiece, corpus_in_pieces};
use crate::{
    completeness::Completeness,
    error::StudyError,
    journal::Description,
    name::StudyName,
    run::{Finished, Run},
    tap_distances::{TapDistances, TapOptions},
};

/// The states that [`corpus`] measures, with the number of blocks of their model and their noise floors.
#[derive(Clone, Copy, Debug)]
pub struct CorpusStates<'a> {
    store: &'a Store,
    n_layers: usize,
    noise: &'a BTreeMap<Tap, NoiseFloor>,
    tokenizer: Option<&'a Tokenizer>,
}

impl<'a> CorpusStates<'a> {
    /// Creates a description of the states of a store. `n_layers` is the number of blocks of their model, which the store does not
    /// contain, and `noise` is the noise floor of each tap.
    pub fn new(store: &'a Store, n_layers: usize, noise: &'a BTreeMap<Tap, NoiseFloor>) -> Self {
        CorpusStates { store, n_layers, noise, tokenizer: None }
    }

    /// Sets the tokenizer, with which the result contains the text of the closest prompts.
    pub fn with_tokenizer(self, tokenizer: Option<&'a Tokenizer>) -> Self {
        CorpusStates { tokenizer, ..self }
    }
}

/// The distances between the last states of many prompts at some taps, as [`corpus`] measures them.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
#[non_exhaustive]
pub struct CorpusStudy {
    /// The model: a Hub id, or the name of a folder.
    pub model_id: String,
    /// A hash of the model's weights.
    pub weight_hash: String,
    /// The number of blocks of the model.
    pub n_layers: usize,
    /// The rule for BOS. Without BOS, rotary models map repetitions of one token to one state.
    #[cfg_attr(feature = "schema", schemars(with = "crate::schema::BosPolicy"))]
    pub bos: BosPolicy,
    /// Whether each prompt begins with BOS.
    pub bos_added: bool,
    /// The number of prompts in the store.
    pub prompts: usize,
    /// The number of prompts that repeat an earlier one. They never count as a pair with it.
    pub repeated_prompts: usize,
    /// Each tap, in the order of computation; units that are not finished are missing.
    pub taps: Vec<TapReport>,
    /// The units of the study that this result contains.
    #[serde(default)]
    pub completeness: Completeness,
}

/// The distances and the noise of one tap.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
#[non_exhaustive]
pub struct TapReport {
    /// The tap at which the states were read.
    #[cfg_attr(feature = "schema", schemars(with = "crate::schema::Tap"))]
    pub tap: Tap,
    /// The noise floor of the tap.
    #[cfg_attr(feature = "schema", schemars(with = "crate::schema::NoiseFloor"))]
    pub noise: NoiseFloor,
    /// Whether the smallest distance exceeds the noise floor.
    #[serde(alias = "verdict")]
    #[cfg_attr(feature = "schema", schemars(with = "crate::schema::Resolution"))]
    pub resolution: Resolution,
    /// The distances of all pairs of prompts.
    pub distances: TapDistances,
    /// The prompts of the closest pairs, in the same order.
    pub closest_prompts: Vec<PromptPair>,
}

/// Two prompts whose states are close.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
#[non_exhaustive]
pub struct PromptPair {
    /// The distance of their states.
    pub distance: f64,
    /// The numbers of the two prompts, counted from 0.
    pub prompts: [usize; 2],
    /// The token ids of the two prompts, up to the position that was read.
    pub token_ids: [Vec<u32>; 2],
    /// The texts of the prompts, if there is a tokenizer.
    pub text: Option<[String; 2]>,
}

/// Measures the distances between all states of a store, tap by tap. A unit of the study is a tap, or a [`CorpusPiece`] with
/// [`TapOptions::with_tiles`].
///
/// # Errors
///
/// [`StudyError`] if the store lacks a tap, a noise floor is missing, states are not finite, or the journal belongs to another
/// study.
pub fn corpus(
    states: &CorpusStates<'_>,
    taps: &[Tap],
    options: &TapOptions,
    device: &Device,
    run: Run<'_>,
) -> Result<CorpusStudy, StudyError> {
    let CorpusStates { store, n_layers, noise, tokenizer } = *states;
    if let Some(&tap) = taps.iter().find(|tap| !noise.contains_key(tap)) {
        return Err(StudyError::NoNoiseFloor { tap });
    }
    taps.iter().try_for_each(|&tap| store.tap(tap).map(|_| ()))?;
    let manifest = store.manifest();
    let positions = store.rows();
    let prompt = |row: usize| {
        let (prompt, position) = (positions.prompt[row] as usize, positions.position[row] as usize);
        &store.prompt(prompt)[..=position]
    };
    let about = description(store, options);
    let Finished { results: measured, completeness } = match options.tiles {
        Some(bands) => {
            let measured = run.complete(&about, CorpusPiece::all(taps, bands), |piece, done| {
                piece.measure(store, options, device, &mut |progress| done(progress.fraction()))
            })?;
            pieces::join(measured, taps, bands, options)?
        }
        None => run.complete(&about, taps.to_vec(), |&tap, done| {
            let rows = StateRows::of_store(store, tap)?;
            let measured = TapDistances::measure(tap, &rows, prompt, options, device, done);
            drop(rows);
            store.tap(tap)?.release();
            measured
        })?,
    };
    let pair = |pair: &Pair| {
        let token_ids = [prompt(pair.a).to_vec(), prompt(pair.b).to_vec()];
        let text = tokenizer.map(|tokenizer| {
            Ok::<_, StudyError>([tokenizer.decode(&token_ids[0])?, tokenizer.decode(&token_ids[1])?])
        });
        let prompts = [pair.a, pair.b].map(|row| positions.prompt[row] as usize);
        Ok(PromptPair { distance: pair.distance, prompts, token_ids, text: text.transpose()? })
    };
    let report = |(tap, distances): (Tap, TapDistances)| {
        let noise = noise[&tap];
        let resolution = options.metric.resolution(distances.minimum, noise.largest());
        let closest_prompts = distances.closest.iter().map(pair).collect::<Result<_, StudyError>>()?;
        Ok(TapReport { tap, noise, resolution, distances, closest_prompts })
    };
    let different = inject_sipit::collisions::identities(store.prompts())
        .into_iter()
        .max()
        .map_or(0, |last| last as usize + 1);
    Ok(CorpusStudy {
        model_id: manifest.spec.model_id.clone(),
        weight_hash: manifest.spec.weight_hash.clone(),
        n_layers,
        bos: manifest.spec.bos,
        bos_added: manifest.spec.bos_added,
        prompts: manifest.prompt_count,
        repeated_prompts: manifest.prompt_count - different,
        taps: measured.into_iter().map(report).collect::<Result<_, StudyError>>()?,
        completeness,
    })
}

/// Describes the study of a store. The noise floors in its manifest play no part.
fn description(store: &Store, options: &TapOptions) -> Description {
    let states = store.manifest().without_noise();
    Description::new(StudyName::Corpus, serde_json::json!({ "states": states, "options": options }))
        .within_memory(options.memory_budget)
}
