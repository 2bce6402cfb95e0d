//! The random-corpus study: all pairs of many different prompts, at every tap.

use std::collections::BTreeMap;

use burn::tensor::Device;
use inject_sipit::{
    collisions::{NoiseFloor, Pair, Rows, Verdict},
    models::{Tap, Tokenizer},
    states::store::Store,
};

use super::{Run, StudyError, TapDistances, TapOptions};

/// What the states of a store say about collisions.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct CorpusStudy {
    /// The model: a Hub id, or the name of a folder.
    pub model_id: String,
    /// A hash of its weights.
    pub weight_hash: String,
    /// Blocks of the model.
    pub n_layers: usize,
    /// What was done about BOS: without it, rotary models map repetitions of one token to one state.
    pub bos: String,
    /// Whether that put BOS before each prompt.
    pub bos_added: bool,
    /// How many prompts the store holds.
    pub prompts: usize,
    /// How many of them were there before, token by token. They never count as a pair.
    pub repeated_prompts: usize,
    /// Each tap, in the order of computation; those of other parts of the study are missing.
    pub taps: Vec<TapReport>,
}

/// One tap: its distances, beside its noise.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct TapReport {
    /// The tap.
    pub tap: Tap,
    /// How far apart computations of one state lie.
    pub noise: NoiseFloor,
    /// What the smallest distance means beside that.
    pub verdict: Verdict,
    /// The distances.
    pub distances: TapDistances,
    /// The prompts of the closest pairs, in the same order.
    pub closest_prompts: Vec<PromptPair>,
}

/// Two prompts whose states are close.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct PromptPair {
    /// The distance of their states.
    pub distance: f64,
    /// Their numbers among all prompts, counted from 0.
    pub prompts: [usize; 2],
    /// Their token ids, up to the position that was read.
    pub token_ids: [Vec<u32>; 2],
    /// Their text, where there is a tokenizer.
    pub text: Option<[String; 2]>,
}

/// Measures the distances between all states of a store, tap by tap. A unit of the study is a tap. `n_layers` is the number of
/// blocks of the model, which the store does not know.
///
/// # Errors
///
/// [`StudyError`]: a tap that the store lacks or whose noise floor is not given, states that are not finite, a journal of
/// another study.
#[expect(
    clippy::too_many_arguments,
    reason = "each is one thing, and a struct of them would be made for this call only"
)]
pub fn corpus(
    store: &Store,
    n_layers: usize,
    taps: &[Tap],
    noise: &BTreeMap<Tap, NoiseFloor>,
    tokenizer: Option<&Tokenizer>,
    options: &TapOptions,
    device: &Device,
    run: Run<'_>,
) -> Result<CorpusStudy, StudyError> {
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
    let about =
        serde_json::json!({ "study": "corpus", "states": manifest.without_noise(), "options": options });
    let measured = run.complete(&about, taps.to_vec(), |&tap, done| {
        let rows = Rows::of_store(store, tap)?;
        let measured = TapDistances::measure(tap, &rows, prompt, options, device, done);
        drop(rows);
        store.tap(tap)?.release();
        measured
    })?;
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
        let verdict = options.metric.verdict(distances.minimum, noise.largest());
        let closest_prompts = distances.closest.iter().map(pair).collect::<Result<_, StudyError>>()?;
        Ok(TapReport { tap, noise, verdict, distances, closest_prompts })
    };
    let different = inject_sipit::collisions::identities(store.prompts())
        .into_iter()
        .max()
        .map_or(0, |last| last as usize + 1);
    Ok(CorpusStudy {
        model_id: manifest.spec.model_id.clone(),
        weight_hash: manifest.spec.weight_hash.clone(),
        n_layers,
        bos: manifest.spec.bos.clone(),
        bos_added: manifest.spec.bos_added,
        prompts: manifest.prompt_count,
        repeated_prompts: manifest.prompt_count - different,
        taps: measured.into_iter().map(report).collect::<Result<_, StudyError>>()?,
    })
}
