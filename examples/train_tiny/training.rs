//! The loss, and the steps that bring it down.

use std::{f64::consts::PI, panic::resume_unwind, thread, time::Instant};

use burn::{
    grad_clipping::GradientClippingConfig,
    module::{Module, ModuleVisitor, Param},
    optim::{AdamWConfig, GradientsAccumulator, GradientsParams},
    tensor::{Device, Int, Tensor, TensorData, activation::log_softmax},
};
use indicatif::{ProgressBar, ProgressStyle};
use inject_examples::Failure;
use inject_sipit::{Decoder, DecoderConfig, Logits, ModelError, TokenBatch};

use crate::{
    Options,
    shape::{INIT_STD, POSITIONS},
    text::{Text, VOCAB_SIZE},
};

/// Trains from random weights, and says how it goes.
pub(crate) fn train(
    options: &Options,
    config: &DecoderConfig,
    mut text: Text,
    device: Device,
) -> Result<Decoder, Failure> {
    let device = device.autodiff();
    device.seed(options.seed);
    let mut decoder = config.init(INIT_STD, &device);
    let mut optimizer = AdamWConfig::new()
        .with_beta_2(0.99)
        .with_epsilon(1e-8)
        .with_weight_decay(0.05)
        .with_grad_clipping(Some(GradientClippingConfig::Norm(1.0)))
        .init();
    let style = ProgressStyle::with_template("{wide_bar} {pos}/{len} {eta_precise}")?;
    let bar = ProgressBar::new(options.steps as u64).with_style(style);
    let begin = Instant::now();
    for step in 0..options.steps {
        let windows = text.windows(options.batch)?;
        let (loss, gradients) = gradients(&decoder, &windows, options.threads)?;
        if step == 0 {
            check_gradients(&decoder, &gradients)?;
        }
        decoder = optimizer.step(learning_rate(options, step), decoder, gradients);
        bar.inc(1);
        if step == 0 || (step + 1) % 100 == 0 || step + 1 == options.steps {
            let seconds = begin.elapsed().as_secs_f64();
            bar.suspend(|| println!("step {:>5}: loss {loss:.3}, {seconds:.0} s", step + 1));
        }
    }
    bar.finish_and_clear();
    Ok(decoder)
}

/// Up over the first twentieth of the steps, then half a cosine down to a hundredth.
fn learning_rate(options: &Options, step: usize) -> f64 {
    let warm_up = (options.steps / 20).max(1);
    if step < warm_up {
        return options.learning_rate * (step + 1) as f64 / warm_up as f64;
    }
    let share = (step - warm_up) as f64 / (options.steps - warm_up) as f64;
    options.learning_rate * (0.01 + 0.99 * 0.5 * (1.0 + (PI * share).cos()))
}

/// The mean cross-entropy of each next token.
///
/// # Units
///
/// Nats a token.
pub(crate) fn loss(decoder: &Decoder, windows: &[Vec<u32>]) -> Result<Tensor<1>, ModelError> {
    let inputs: Vec<&[u32]> = windows.iter().map(|window| &window[..POSITIONS]).collect();
    let targets: Vec<i32> = windows.iter().flat_map(|window| &window[1..]).map(|&id| id as i32).collect();
    let rows = targets.len();
    let targets = Tensor::<2, Int>::from_data(TensorData::new(targets, [rows, 1]), &decoder.device());
    let forward = decoder.forward(&TokenBatch::new(&inputs)?, &[], Logits::All)?;
    let logits = forward.logits.expect("all logits were asked for").reshape([rows, VOCAB_SIZE]);
    Ok(log_softmax(logits, 1).gather(1, targets).mean().neg())
}

/// The loss of a batch and its gradients, computed in parts side by side: a CPU backend runs most of what lies between two
/// matrix products on one core.
fn gradients(
    decoder: &Decoder,
    windows: &[Vec<u32>],
    threads: usize,
) -> Result<(f32, GradientsParams), ModelError> {
    let gradients_of = |part: &[Vec<u32>]| {
        // A fork has the same parameters and a graph of its own.
        let decoder = decoder.clone().fork(&decoder.device());
        let loss = loss(&decoder, part)? * (part.len() as f64 / windows.len() as f64);
        let gradients = GradientsParams::from_grads(loss.backward(), &decoder);
        Ok((loss.into_scalar::<f32>(), gradients))
    };
    let parts: Vec<Result<_, ModelError>> = thread::scope(|scope| {
        let parts = windows.chunks(windows.len().div_ceil(threads));
        let running: Vec<_> = parts.map(|part| scope.spawn(|| gradients_of(part))).collect();
        running.into_iter().map(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic))).collect()
    });
    let (mut sum, mut accumulator) = (0.0, GradientsAccumulator::new());
    // In the order of the batch, whichever thread was first: additions round.
    for part in parts {
        let (loss, gradients) = part?;
        sum += loss;
        accumulator.accumulate(decoder, gradients);
    }
    Ok((sum, accumulator.grads()))
}

/// Every parameter must move: one that the loss does not depend on would stay as it was drawn.
fn check_gradients(decoder: &Decoder, gradients: &GradientsParams) -> Result<(), Failure> {
    let mut still = Still { gradients, shapes: Vec::new() };
    decoder.visit(&mut still);
    match still.shapes.as_slice() {
        [] => Ok(()),
        shapes => Err(Failure::new(format!("no gradient reaches the parameters of shapes {shapes:?}"))),
    }
}

/// Collects the parameters without a gradient.
struct Still<'a> {
    gradients: &'a GradientsParams,
    shapes: Vec<Vec<usize>>,
}

impl ModuleVisitor for Still<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let gradient = self.gradients.get::<D>(param.id);
        if gradient.is_none_or(|gradient| gradient.abs().max().into_scalar::<f32>() == 0.0) {
            self.shapes.push(param.dims().to_vec());
        }
    }
}
