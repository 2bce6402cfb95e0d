//! The loss of a batch and its gradients, for burn's optimisers.
//!
//! A decoder trains on a device with automatic differentiation: [`trainable`] puts it there, and burn's `Module::valid`
//! takes it back.

use std::{num::NonZeroUsize, panic::resume_unwind, thread};

use burn::{
    module::Module,
    optim::{GradientsAccumulator, GradientsParams},
    tensor::{Tensor, activation::log_softmax},
};

use crate::{
    decoder::{Decoder, Logits},
    error::ModelError,
    host::{indices, integers, to_host},
    tokens::{TokenBatch, check_ids},
};

/// Returns the same decoder with every parameter tracked for gradients, even if it came from a checkpoint. Weights that are held in
/// another format than is computed in are widened.
pub fn trainable(decoder: Decoder) -> Decoder {
    decoder.widened().unfreeze().train()
}

/// Computes the mean cross-entropy of the next token. Every token of every window counts once, except the first.
///
/// # Shapes
///
/// From windows of one or several lengths to `[1]`.
///
/// # Units
///
/// Nats per token.
///
/// # Errors
///
/// Fails with [`ModelError::ShortWindow`] for a window without a next token, and as [`Decoder::forward`] does.
pub fn next_token_loss(decoder: &Decoder, windows: &[impl AsRef<[u32]>]) -> Result<Tensor<1>, ModelError> {
    let windows: Vec<&[u32]> = windows.iter().map(AsRef::as_ref).collect();
    if let Some(window) = windows.iter().position(|ids| ids.len() < 2) {
        return Err(ModelError::ShortWindow { window, found: windows[window].len() });
    }
    let inputs: Vec<&[u32]> = windows.iter().map(|ids| &ids[..ids.len() - 1]).collect();
    let targets: Vec<i32> = windows.iter().flat_map(|ids| &ids[1..]).map(|&id| id as i32).collect();
    // No input contains the last token of a window.
    windows.iter().enumerate().try_for_each(|(window, ids)| check_ids(decoder.config(), window, ids))?;
    let batch = TokenBatch::new(&inputs)?;
    let (device, vocab_size, rows) = (decoder.device(), decoder.config().vocab_size, targets.len());
    let forward = decoder.forward(&batch, &[], Logits::All)?;
    let logits = forward.logits.expect("all logits were asked for");
    let all = logits.reshape([batch.rows() * batch.width(), vocab_size]);
    let logits = match rows == batch.rows() * batch.width() {
        true => all,
        // After the end of a shorter window there is padding.
        false => {
            let of_prompt = |(row, &len): (usize, &usize)| row * batch.width()..row * batch.width() + len;
            let real: Vec<usize> = batch.lens().iter().enumerate().flat_map(of_prompt).collect();
            all.select(0, indices(&real, &device))
        }
    };
    let targets = integers(targets, &device).reshape([rows, 1]);
    Ok(log_softmax(logits, 1).gather(1, targets).mean().neg())
}

/// Computes the loss of a batch and its gradients, in this many parts at once.
///
/// A CPU backend runs most of the work between two matrix products on one core, so there the number of cores is right. The
/// number of parts changes the gradients by rounding only. The decoder must come from [`trainable`].
///
/// # Units
///
/// Nats per token.
///
/// # Errors
///
/// Fails as [`next_token_loss`] does, where a window is numbered within its part, and for an empty batch.
pub fn loss_and_gradients(
    decoder: &Decoder,
    windows: &[Vec<u32>],
    parts: NonZeroUsize,
) -> Result<(f32, GradientsParams), ModelError> {
    let targets = |windows: &[Vec<u32>]| windows.iter().map(|ids| ids.len().saturating_sub(1)).sum::<usize>();
    if windows.is_empty() {
        return Err(ModelError::EmptyPrompt { prompt: 0 });
    }
    let all = targets(windows);
    let gradients_of = |part: &[Vec<u32>]| {
        // A fork has the same parameters and a graph of its own.
        let decoder = decoder.clone().fork(&decoder.device());
        let loss = next_token_loss(&decoder, part)? * (targets(part) as f64 / all as f64);
        let gradients = GradientsParams::from_grads(loss.backward(), &decoder);
        let loss: Vec<f32> = to_host(loss)?;
        Ok((loss[0], gradients))
    };
    let gradients_of = &gradients_of;
    let computed: Vec<Result<_, ModelError>> = thread::scope(|scope| {
        let parts = windows.chunks(windows.len().div_ceil(parts.get()));
        let running = parts.map(|part| {
            thread::Builder::new().spawn_scoped(scope, move || gradients_of(part)).map_err(|_| part)
        });
        let running: Vec<_> = running.collect();
        let finished = running.into_iter().map(|begun| match begun {
            Ok(thread) => thread.join().unwrap_or_else(|panic| resume_unwind(panic)),
            // The system allows no further thread.
            Err(part) => gradients_of(part),
        });
        finished.collect()
    });
    let (mut sum, mut accumulator) = (0.0, GradientsAccumulator::new());
    // In the order of the batch, whichever thread was first: additions round.
    for part in computed {
        let (loss, gradients) = part?;
        sum += loss;
        accumulator.accumulate(decoder, gradients);
    }
    Ok((sum, accumulator.grads()))
}

#[cfg(test)]
mod tests {
    use burn::module::{ModuleVisitor, Param};

    use super::*;
    use crate::config::DecoderConfig;

    fn decoder(device: &burn::tensor::Device) -> Decoder {
        let text = include_str!("../tests/fixtures/gpt2/config.json");
        trainable(DecoderConfig::parse(text).unwrap().init(0.2, device))
    }

    fn value(loss: Tensor<1>) -> f64 {
        to_host::<f64, 1>(loss).unwrap()[0]
    }

    /// The gradient of the parameter of this shape.
    struct Of<'a>([usize; 2], &'a GradientsParams, Vec<f64>);

    impl ModuleVisitor for Of<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if param.dims().as_slice() == self.0 {
                self.2 = to_host(self.1.get::<D>(param.id).unwrap()).unwrap();
            }
        }
    }

    #[test]
    fn the_loss_of_windows_of_several_lengths_is_the_mean_over_their_tokens() {
        for decoder in inject_testing::on_each(decoder) {
            let windows = [vec![1, 2, 3, 4, 5], vec![9, 8], vec![7, 7, 7]];
            let alone = windows.each_ref().map(|ids| value(next_token_loss(&decoder, &[ids]).unwrap()));
            let expected = (4.0 * alone[0] + alone[1] + 2.0 * alone[2]) / 7.0;
            let together = value(next_token_loss(&decoder, &windows).unwrap());
            assert!((together - expected).abs() < 1e-5 * expected, "{together} {expected}");
        }
    }

    #[test]
    fn a_decoder_whose_weights_are_in_files_can_be_trained() {
        use crate::{Hold, Model, Origin, Precision};

        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/llama-bf16-shards");
        let load = |hold: Hold| {
            let precision = Precision::new(hold, crate::FloatFormat::F32);
            let device = inject_testing::any_device();
            trainable(Model::load(Origin::of_folder(folder.as_ref()), precision, &device).unwrap().decoder)
        };
        let windows = [vec![1, 2, 3, 4]];
        let of_embedding = |decoder: Decoder| {
            let (_, gradients) = loss_and_gradients(&decoder, &windows, NonZeroUsize::MIN).unwrap();
            let mut embedding = Of([97, 32], &gradients, Vec::new());
            decoder.visit(&mut embedding);
            embedding.2
        };
        let expected = of_embedding(load(Hold::Computed));
        assert!(expected.iter().any(|slope| *slope != 0.0));
        assert_eq!(of_embedding(load(Hold::Stored)), expected);
    }

    #[test]
    fn the_loss_is_the_cross_entropy_of_the_logits() {
        for decoder in inject_testing::on_each(decoder) {
            let ids = vec![1, 2, 3];
            let batch = TokenBatch::new(&[&ids[..2]]).unwrap();
            let logits = decoder.forward(&batch, &[], Logits::All).unwrap().logits.unwrap();
            let logits: Vec<f64> = to_host(logits).unwrap();
            let surprise = |(row, &next): (&[f64], &u32)| {
                row.iter().map(|logit| logit.exp()).sum::<f64>().ln() - row[next as usize]
            };
            let expected = logits.chunks(97).zip(&ids[1..]).map(surprise).sum::<f64>() / 2.0;
            let found = value(next_token_loss(&decoder, &[ids]).unwrap());
            assert!((found - expected).abs() < 1e-5, "{found} {expected}");
        }
    }

    #[test]
    fn parts_change_a_gradient_by_rounding_only() {
        for decoder in inject_testing::on_each(decoder) {
            let windows = [vec![1, 2, 3, 4], vec![4, 3, 2], vec![5, 6, 7, 8, 9]].to_vec();
            let of_embedding = |parts: usize| {
                let parts = NonZeroUsize::new(parts).unwrap();
                let (loss, gradients) = loss_and_gradients(&decoder, &windows, parts).unwrap();
                let mut embedding = Of([97, 24], &gradients, Vec::new());
                decoder.visit(&mut embedding);
                (f64::from(loss), embedding.2)
            };
            let (whole, parts) = (of_embedding(1), of_embedding(3));
            assert!((whole.0 - parts.0).abs() < 1e-5);
            let apart = whole.1.iter().zip(&parts.1).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            assert!(apart < 1e-5, "{apart}");
            assert!(whole.1.iter().any(|value| value.abs() > 1e-3));
        }
    }

    #[test]
    fn a_window_without_a_next_token_is_refused() {
        let decoder = decoder(&inject_testing::any_device());
        let error = next_token_loss(&decoder, &[vec![1, 2], vec![3]]).unwrap_err();
        assert!(matches!(error, ModelError::ShortWindow { window: 1, found: 1 }), "{error}");
        let error = next_token_loss(&decoder, &[vec![1, 97]]).unwrap_err();
        assert!(matches!(error, ModelError::TokenId { found: 97, .. }), "{error}");
    }
}
