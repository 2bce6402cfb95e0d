//! The measurement: a few hundred tokens, computed by the decoder as it is and as the producer computes.

use std::sync::Arc;

use crate::{
    collisions::norm,
    error::InvertError,
    median::median,
    models::{Decoder, FloatFormat, Logits, NumberFormat, Progress, Tap, TokenBatch, Unit},
    noise::spread,
    reports::shared,
    rounding::with_weights_in,
    sources::most_likely,
    tensors::read,
    tuning::{CALIBRATION_BATCH, CALIBRATION_LEN, CALIBRATION_SEQUENCES, CALIBRATION_TWINS},
    vocabulary::Vocabulary,
};

use super::{
    Calibration, PlaceNoise,
    other_scheme::{are_equal, rounded_otherwise},
    sink_from,
};

impl Calibration {
    /// Measures the noise of a producer that computes in `format`: 16 bits, or weights in 8 or 4 bits. None if the model overflows
    /// in that format.
    ///
    /// It takes about as long as 1,600 tokens of forward passes to the tap, and the memory of a copy of the model in the format.
    ///
    /// # Errors
    ///
    /// [`InvertError`] if the model has no such tap, or the device fails.
    pub fn measure(
        vocabulary: &Vocabulary<'_>,
        tap: Tap,
        format: NumberFormat,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Option<Self>, InvertError> {
        let decoder = vocabulary.decoder();
        let rounds_weights = !matches!(format, NumberFormat::Float(_));
        let producer = match format {
            NumberFormat::Float(float @ (FloatFormat::F16 | FloatFormat::Bf16)) => {
                decoder.clone().computing_in(float)
            }
            // Programs that hold weights in 8 or 4 bits compute in 16.
            weights => given_weights_in(decoder, weights, tap, progress)?.computing_in(FloatFormat::Bf16),
        };
        let len = CALIBRATION_LEN.min(decoder.config().max_len().unwrap_or(usize::MAX));
        let vocab_size = decoder.config().vocab_size as u32;
        let ids: Vec<u32> = spread(vocab_size).take(CALIBRATION_SEQUENCES * len).collect();
        let firsts = in_prompts(&ids, 1);
        let sequences = in_prompts(&ids, len);
        let report = shared(progress);
        let states = |decoder: &Decoder, prompts: &[Vec<u32>]| states_of(decoder, prompts, tap, &mut &report);
        // `first` is the norm of first states, where only states after them are wanted.
        let place = |prompts: &[Vec<u32>], first: Option<f64>| -> Result<Option<PlaceNoise>, InvertError> {
            let (len, from) = (prompts[0].len(), usize::from(first.is_some()));
            let (exact, produced) = (states(decoder, prompts)?, states(&producer, prompts)?);
            let twins = prompts.iter().take(CALIBRATION_TWINS).map(|prompt| {
                report(passes(0, 1));
                with_twin(vocabulary, prompt)
            });
            let twins = states(decoder, &twins.collect::<Result<Vec<_>, _>>()?)?;
            let last = |states: &[Vec<f64>]| -> Vec<Vec<f64>> {
                states.iter().skip(len - 1).step_by(len).cloned().collect()
            };
            let mut twins: Vec<_> = last(&exact).into_iter().zip(last(&twins)).collect();
            let wanted = |states: Vec<Vec<f64>>| -> Vec<Vec<f64>> {
                states.chunks(len).flat_map(|prompt| prompt[from..].to_vec()).collect()
            };
            let mut pairs: Vec<_> = wanted(exact).into_iter().zip(wanted(produced)).collect();
            if let Some(first) = first.filter(|_| rounds_weights) {
                remove_sinks(&mut pairs, &mut twins, first);
            }
            let (exact, produced): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
            Ok(PlaceNoise::of(&exact, &produced, &twins))
        };
        let Some(first) = place(&firsts, None)? else { return Ok(None) };
        // A model of one position has no later ones.
        let later = if len == 1 { Some(first.clone()) } else { place(&sequences, Some(first.typical_norm))? };
        Ok(later.map(|later| Calibration { tap, format, first: Arc::new(first), later: Arc::new(later) }))
    }
}

/// The decoder with its weights in a format, or rounded by another scheme if they are in that format already.
fn given_weights_in(
    decoder: &Decoder,
    format: NumberFormat,
    tap: Tap,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<Decoder, InvertError> {
    let rounded = with_weights_in(decoder, format, progress)?;
    let ids: Vec<u32> = spread(decoder.config().vocab_size as u32).take(CALIBRATION_BATCH).collect();
    let firsts = in_prompts(&ids, 1);
    let exact = states_of(decoder, &firsts, tap, progress)?;
    match are_equal(&exact, &states_of(&rounded, &firsts, tap, progress)?) {
        true => rounded_otherwise(decoder, format, progress),
        false => Ok(rounded),
    }
}

/// Two computations of a state after the first position: the exact one, and that of the producer or that for another token.
type Pair = (Vec<f64>, Vec<f64>);

/// Removes later states that are attention sinks, in part or in one of the two computations. They are not compared as ordinary ones.
/// Other weights make sinks of other tokens, and a few of them would make the noise of all others seem to vary by a factor of ten.
fn remove_sinks(pairs: &mut Vec<Pair>, twins: &mut Vec<Pair>, first: f64) {
    let mut norms: Vec<f64> = pairs.iter().map(|(exact, _)| norm(exact)).collect();
    if let Some(sink) = sink_from(first, median(&mut norms)) {
        let is_ordinary = |(a, b): &Pair| norm(a) <= sink && norm(b) <= sink;
        pairs.retain(is_ordinary);
        twins.retain(is_ordinary);
    }
}

fn in_prompts(ids: &[u32], len: usize) -> Vec<Vec<u32>> {
    ids.chunks(len).map(<[u32]>::to_vec).collect()
}

/// The states of every position of some prompts of one length.
fn states_of(
    decoder: &Decoder,
    prompts: &[Vec<u32>],
    tap: Tap,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<Vec<Vec<f64>>, InvertError> {
    let d_model = decoder.config().d_model;
    let mut all = Vec::new();
    for batch in prompts.chunks(CALIBRATION_BATCH) {
        let forward = decoder.forward(&TokenBatch::new(batch)?, &[tap], Logits::None)?;
        all.extend(read(forward.states[&tap].clone())?.chunks(d_model).map(<[f64]>::to_vec));
        progress(passes(all.len(), prompts.iter().map(Vec::len).sum()));
    }
    Ok(all)
}

fn passes(done: usize, total: usize) -> Progress<'static> {
    Progress::new("measure the noise of the producer", Unit::Positions, done as u64, total as u64)
}

/// A prompt with its last token replaced by the one whose embedding is nearest.
fn with_twin(vocabulary: &Vocabulary<'_>, prompt: &[u32]) -> Result<Vec<u32>, InvertError> {
    let mut twin = prompt.to_vec();
    if let Some(last) = twin.last_mut() {
        let row = vocabulary.decoder().embeddings_of(&[*last]);
        let nearness: Vec<f64> = vocabulary.nearness(row)?.into_iter().map(f64::from).collect();
        *last = most_likely(&nearness, 2).into_iter().find(|other| other != last).unwrap_or(*last);
    }
    Ok(twin)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_states_that_are_sinks_with_one_of_the_two_weights_are_left_out() {
        let state = |norm: f64| vec![norm, 0.0];
        let mut pairs = vec![(state(1.0), state(1.1)); 5];
        pairs.push((state(1.0), state(60.0)));
        pairs.push((state(60.0), state(1.0)));
        let mut twins = vec![(state(1.0), state(2.0)), (state(1.0), state(60.0))];
        remove_sinks(&mut pairs, &mut twins, 100.0);
        assert_eq!((pairs.len(), twins.len()), (5, 1));
        // Where first states are no longer than others, none is a sink.
        pairs.push((state(1.0), state(60.0)));
        remove_sinks(&mut pairs, &mut twins, 3.0);
        assert_eq!(pairs.len(), 6);
    }
}
