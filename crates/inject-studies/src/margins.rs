//! One-step margins: the true token against every other.

use std::collections::BTreeMap;

use inject_sipit::{
    collisions::{Metric, NoiseFloor, Verdict, distance, measure_noise_floors, norm},
    models::{Decoder, Logits, PrefixCache, Tap, TokenBatch},
};

use super::{Quantile, Run, StudyError, tap_distances::exact_quantiles};
use crate::extension::{Beside, beside_all_others};

/// Which margins are measured.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct MarginOptions {
    /// Where the states are read.
    pub taps: Vec<Tap>,
    /// The first position that is measured, counted from 0.
    pub first: usize,
    /// Every so many positions after it are measured.
    pub every: usize,
    /// Bytes that one batch may use. The margins depend on it in their last digits at most.
    #[serde(skip)]
    pub memory_budget: usize,
}

/// How far the states of true tokens are from those of all other tokens.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct MarginStudy {
    /// How many tokens each true token was compared with.
    pub others: usize,
    /// Each tap, in the order of computation.
    pub taps: Vec<TapMargins>,
}

/// The margins at one tap.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct TapMargins {
    /// The tap.
    pub tap: Tap,
    /// How far apart computations of one state lie.
    pub noise: NoiseFloor,
    /// What the smallest margin means beside that.
    pub verdict: Verdict,
    /// Quantiles of the margins, exact.
    pub margins: Vec<Quantile>,
    /// Quantiles of each margin as a share of the state's norm, exact.
    pub relative: Vec<Quantile>,
    /// Every margin, the smallest first.
    pub steps: Vec<OneStep>,
}

/// One position: the nearest other token.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct OneStep {
    /// Number of the prompt.
    pub prompt: usize,
    /// The position, counted from 0.
    pub position: usize,
    /// The token that stands there.
    pub token: u32,
    /// The other token whose state is nearest: the first of equally near ones.
    pub nearest: u32,
    /// The distance between the two states, in f64.
    pub margin: f64,
    /// The norm of the true token's state.
    pub norm: f64,
}

/// Computes, at chosen positions of prompts, the states of all tokens that could stand there, and how far the nearest is from
/// that of the true one. A unit of the study is a prompt. `model` names the weights, for the journal.
///
/// # Errors
///
/// [`StudyError`]: no prompts, what the decoder refuses, a journal of another study.
pub fn margins(
    decoder: &Decoder,
    model: &str,
    prompts: &[Vec<u32>],
    options: &MarginOptions,
    run: Run<'_>,
) -> Result<MarginStudy, StudyError> {
    if prompts.is_empty() {
        return Err(StudyError::TooFewPrompts { found: 0, expected: 1 });
    }
    let about = serde_json::json!({
        "study": "margins", "model": model, "prompts": crate::fingerprint(prompts), "options": options,
    });
    let measured = run.complete(&about, (0..prompts.len()).collect(), |&prompt, done| {
        margins_of(decoder, prompt, &prompts[prompt], options, done)
    })?;
    let mut steps: BTreeMap<Tap, Vec<OneStep>> = BTreeMap::new();
    for (tap, of_prompt) in measured.into_iter().flat_map(|(_, of_prompt)| of_prompt) {
        steps.entry(tap).or_default().extend(of_prompt);
    }
    let taps: Vec<Tap> = steps.keys().copied().collect();
    let noise = match taps.is_empty() {
        true => BTreeMap::new(),
        false => measure_noise_floors(Metric::L2, decoder, None, &taps, prompts, 8)?,
    };
    let report = |(tap, mut steps): (Tap, Vec<OneStep>)| {
        steps.sort_by(|a, b| a.margin.total_cmp(&b.margin));
        let smallest = steps.first()?.margin;
        Some(TapMargins {
            tap,
            noise: noise[&tap],
            verdict: Verdict::of(smallest, noise[&tap].largest()),
            margins: exact_quantiles(steps.iter().map(|step| step.margin).collect()),
            relative: exact_quantiles(
                steps.iter().map(|step| step.margin / step.norm.max(f64::MIN_POSITIVE)).collect(),
            ),
            steps,
        })
    };
    let others = decoder.config().vocab_size.saturating_sub(1);
    Ok(MarginStudy { others, taps: steps.into_iter().filter_map(report).collect() })
}

fn margins_of(
    decoder: &Decoder,
    prompt: usize,
    ids: &[u32],
    options: &MarginOptions,
    done: &mut dyn FnMut(f64),
) -> Result<BTreeMap<Tap, Vec<OneStep>>, StudyError> {
    let deepest = options.taps.iter().copied().max().unwrap_or(Tap::Embedding);
    let mut cache = decoder.prefix_cache(1, ids.len(), deepest)?;
    let mut steps: BTreeMap<Tap, Vec<OneStep>> = BTreeMap::new();
    for (position, &token) in ids.iter().enumerate() {
        if position >= options.first && (position - options.first).is_multiple_of(options.every.max(1)) {
            for (tap, (nearest, margin, norm)) in step(decoder, &cache, token, options)? {
                let step = OneStep { prompt, position, token, nearest, margin, norm };
                steps.entry(tap).or_default().push(step);
            }
        }
        done((position + 1) as f64 / ids.len() as f64);
        decoder.extend(&mut cache, &TokenBatch::new(&[[token]])?, &[], Logits::None)?;
    }
    Ok(steps)
}

/// The nearest other token at each tap, its distance, and the norm of the true token's state.
///
/// # Errors
///
/// [`CollisionError::NotFinite`](inject_sipit::collisions::CollisionError::NotFinite) names the token as the row.
fn step(
    decoder: &Decoder,
    cache: &PrefixCache,
    token: u32,
    options: &MarginOptions,
) -> Result<BTreeMap<Tap, (u32, f64, f64)>, StudyError> {
    let mut found: BTreeMap<Tap, (u32, f64, f64)> = BTreeMap::new();
    let mut look = |Beside { tap, truth, others, states, .. }: Beside<'_>| {
        for (&other, state) in others.iter().zip(states.chunks(truth.len())) {
            let distance = distance(truth, state);
            let held = found.entry(tap).or_insert((other, f64::INFINITY, norm(truth)));
            if distance < held.1 {
                (held.0, held.1) = (other, distance);
            }
        }
        Ok(())
    };
    beside_all_others(decoder, cache, token, &options.taps, options.memory_budget, &mut look)?;
    Ok(found)
}
