//! Prompts that are made to be similar.
//!
//! Each [`StressSet`] varies one thing, such as a separator or the number of line feeds at the end, and keeps the last tokens alike.

mod sets;

use inject_sipit::{
    collisions::{StateRows, measure_noise_floors},
    models::{Bos, Decoder, ModelError, Tap, Tokenizer, silent},
    states::{Extraction, store::Positions},
};

pub use self::sets::{StressKind, stress_ids, stress_texts};
use crate::{
    completeness::Completeness,
    corpus::{PromptPair, TapReport},
    error::StudyError,
    journal::Description,
    name::StudyName,
    run::{Finished, Run},
    tap_distances::{TapDistances, TapOptions},
    tuning::NOISE_SAMPLE,
};

/// A decoder, with the tokenizer that writes its tokens as text if there is one.
#[derive(Clone, Copy, Debug)]
pub struct TextModel<'a> {
    decoder: &'a Decoder,
    tokenizer: Option<&'a Tokenizer>,
    name: &'a str,
}

impl<'a> TextModel<'a> {
    /// Combines a decoder and its tokenizer. `name` identifies the weights in the journal.
    pub fn new(decoder: &'a Decoder, tokenizer: Option<&'a Tokenizer>, name: &'a str) -> Self {
        TextModel { decoder, tokenizer, name }
    }
}

/// A set of prompts that are similar in one way.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub struct StressSet {
    /// The way in which the prompts are similar.
    pub kind: StressKind,
    /// The prompts as token ids.
    pub prompts: Vec<Vec<u32>>,
}

impl StressSet {
    /// Creates a set from prompts that are similar in the way `kind`.
    pub fn new(kind: StressKind, prompts: Vec<Vec<u32>>) -> Self {
        StressSet { kind, prompts }
    }

    /// Creates a set from texts that are similar in the way `kind`.
    ///
    /// # Errors
    ///
    /// Fails if the tokenizer refuses a text.
    pub fn of_texts(
        kind: StressKind,
        texts: &[String],
        tokenizer: &Tokenizer,
        bos: Bos,
    ) -> Result<Self, ModelError> {
        let prompts = texts.iter().map(|text| tokenizer.encode(text, bos)).collect::<Result<_, _>>()?;
        Ok(StressSet { kind, prompts })
    }
}

/// The closest pairs of each stress set, as [`stress`] measures them.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
#[non_exhaustive]
pub struct StressStudy {
    /// Each set; units that are not finished are missing.
    pub sets: Vec<StressReport>,
    /// The units of the study that this result contains.
    #[serde(default)]
    pub completeness: Completeness,
}

/// The distances between the prompts of one set.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
#[non_exhaustive]
pub struct StressReport {
    /// The similarity of the prompts.
    pub kind: StressKind,
    /// The number of prompts with different token ids.
    pub prompts: usize,
    /// The number of prompts left out because they have the token ids of another one.
    pub same_tokens: usize,
    /// The distances at each tap, with the noise floor and the resolution of this set.
    pub taps: Vec<TapReport>,
}

/// Measures the distances between the prompts of each set. A unit of the study is a set.
///
/// # Errors
///
/// [`StudyError`] if a set has fewer than two different prompts, the decoder refuses a prompt, or the journal belongs to another
/// study.
pub fn stress(
    model: &TextModel<'_>,
    sets: &[StressSet],
    taps: &[Tap],
    options: &TapOptions,
    run: Run<'_>,
) -> Result<StressStudy, StudyError> {
    let TextModel { decoder, tokenizer, name } = *model;
    let extraction = Extraction::new(taps.to_vec(), Positions::Last)?;
    let about = Description::new(
        StudyName::Stress,
        serde_json::json!({ "model": name, "sets": sets, "taps": extraction.taps(), "options": options }),
    )
    .computed_by(decoder)
    .within_memory(options.memory_budget);
    let Finished { results: measured, completeness } =
        run.complete(&about, (0..sets.len()).collect(), |&set, done| {
            let StressSet { kind, prompts: given } = &sets[set];
            let mut prompts = given.clone();
            let mut seen = std::collections::HashSet::new();
            prompts.retain(|ids| seen.insert(ids.clone()));
            if prompts.len() < 2 {
                return Err(StudyError::TooFewPrompts { found: prompts.len(), expected: 2 });
            }
            let floors = measure_noise_floors(
                options.metric,
                decoder,
                None,
                extraction.taps(),
                &prompts,
                NOISE_SAMPLE,
            )?;
            let states = extraction.run(decoder, &prompts, &mut silent)?;
            let mut reports = Vec::new();
            for (tap, states) in states {
                let rows = StateRows::new(states.view())?;
                let distances =
                    TapDistances::measure(tap, &rows, |row| &prompts[row], options, &decoder.device(), done)?;
                let pair = |pair: &inject_sipit::collisions::Pair| {
                    let token_ids = [prompts[pair.a].clone(), prompts[pair.b].clone()];
                    let text = tokenizer.map(|tokenizer| -> Result<_, ModelError> {
                        Ok([tokenizer.decode(&token_ids[0])?, tokenizer.decode(&token_ids[1])?])
                    });
                    let (distance, prompts) = (pair.distance, [pair.a, pair.b]);
                    Ok(PromptPair { distance, prompts, token_ids, text: text.transpose()? })
                };
                let closest_prompts =
                    distances.closest.iter().map(pair).collect::<Result<_, StudyError>>()?;
                let noise = floors[&tap];
                let resolution = options.metric.resolution(distances.minimum, noise.largest());
                reports.push(TapReport { tap, noise, resolution, distances, closest_prompts });
            }
            let same_tokens = given.len() - prompts.len();
            Ok(StressReport { kind: *kind, prompts: prompts.len(), same_tokens, taps: reports })
        })?;
    Ok(StressStudy { sets: measured.into_iter().map(|(_, report)| report).collect(), completeness })
}
