//! Prompts that were made to be alike.

mod sets;

use burn::tensor::Device;
use inject_sipit::{
    collisions::{Rows, measure_noise_floors},
    models::{Bos, Decoder, ModelError, Tap, Tokenizer},
    states::{Extraction, store::Positions},
};

pub use self::sets::{StressKind, stress_set};
use super::{PromptPair, Run, StudyError, TapDistances, TapOptions, TapReport};

/// Prompts of one kind.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct StressSet {
    /// How they are alike.
    pub kind: StressKind,
    /// The prompts.
    pub texts: Vec<String>,
}

/// What prompts that were made to be alike say about collisions.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct StressStudy {
    /// Each set; those of other parts of the study are missing.
    pub sets: Vec<StressReport>,
}

/// One set of prompts.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct StressReport {
    /// How the prompts are alike.
    pub kind: StressKind,
    /// How many different ones there are, token by token.
    pub prompts: usize,
    /// How many more had the token ids of another: they cannot be told apart by any model.
    pub same_tokens: usize,
    /// Each tap. The noise floor and the verdict are those of this set.
    pub taps: Vec<TapReport>,
}

/// How many prompts of a set are computed again for the noise floor.
const NOISE_SAMPLE: usize = 8;

/// Measures the distances between the prompts of each set. A unit of the study is a set. `model` names the weights, for the
/// journal.
///
/// # Errors
///
/// [`StudyError`]: fewer than two different prompts in a set, what the decoder or the tokenizer refuses, a journal of another
/// study.
#[expect(
    clippy::too_many_arguments,
    reason = "each is one thing, and a struct of them would be made for this call only"
)]
pub fn stress(
    decoder: &Decoder,
    tokenizer: &Tokenizer,
    bos: Bos,
    model: &str,
    sets: &[StressSet],
    taps: &[Tap],
    options: &TapOptions,
    device: &Device,
    run: Run<'_>,
) -> Result<StressStudy, StudyError> {
    let extraction = Extraction::new(taps.to_vec(), Positions::Last)?;
    let about = serde_json::json!({
        "study": "stress", "model": model, "bos": bos.to_string(), "sets": sets, "taps": extraction.taps(),
        "options": options,
    });
    let measured = run.complete(&about, (0..sets.len()).collect(), |&set, done| {
        let StressSet { kind, texts } = &sets[set];
        let mut prompts: Vec<Vec<u32>> =
            texts.iter().map(|text| tokenizer.encode(text, bos)).collect::<Result<_, ModelError>>()?;
        let mut seen = std::collections::HashSet::new();
        prompts.retain(|ids| seen.insert(ids.clone()));
        if prompts.len() < 2 {
            return Err(StudyError::TooFewPrompts { found: prompts.len(), expected: 2 });
        }
        let floors =
            measure_noise_floors(options.metric, decoder, None, extraction.taps(), &prompts, NOISE_SAMPLE)?;
        let states = extraction.run(decoder, &prompts, &mut |_| ())?;
        let mut reports = Vec::new();
        for (tap, states) in states {
            let rows = Rows::new(states.view())?;
            let distances = TapDistances::measure(tap, &rows, |row| &prompts[row], options, device, done)?;
            let pair = |pair: &inject_sipit::collisions::Pair| {
                let token_ids = [prompts[pair.a].clone(), prompts[pair.b].clone()];
                let text = [tokenizer.decode(&token_ids[0])?, tokenizer.decode(&token_ids[1])?];
                let (distance, prompts) = (pair.distance, [pair.a, pair.b]);
                Ok(PromptPair { distance, prompts, token_ids, text: Some(text) })
            };
            let closest_prompts = distances.closest.iter().map(pair).collect::<Result<_, StudyError>>()?;
            let noise = floors[&tap];
            let verdict = options.metric.verdict(distances.minimum, noise.largest());
            reports.push(TapReport { tap, noise, verdict, distances, closest_prompts });
        }
        let same_tokens = texts.len() - prompts.len();
        Ok(StressReport { kind: *kind, prompts: prompts.len(), same_tokens, taps: reports })
    })?;
    Ok(StressStudy { sets: measured.into_iter().map(|(_, report)| report).collect() })
}
