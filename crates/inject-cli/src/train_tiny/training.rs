//! The steps that bring the loss down.

use std::{f64::consts::PI, time::Instant};

use burn::{
    grad_clipping::GradientClippingConfig,
    module::{Module, ModuleVisitor, Param},
    optim::{AdamWConfig, GradientsParams},
    tensor::{Device, Tensor},
};
use inject_sipit::models::{Decoder, DecoderConfig, Progress, Unit, training::loss_and_gradients};

use super::{Options, shape::INIT_STD, text::Text};
use crate::{number, outcome::Failure, output::say, progress::Meter};

/// Trains from random weights, and reports the loss now and then.
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
    let mut meter = Meter::new();
    let steps = options.steps.get();
    let begin = Instant::now();
    for step in 0..steps {
        let windows = text.windows(options.batch.get())?;
        let (loss, gradients) = loss_and_gradients(&decoder, &windows, options.threads)?;
        if step == 0 {
            check_gradients(&decoder, &gradients)?;
        }
        decoder = optimizer.step(learning_rate(options, step), decoder, gradients);
        meter.show(Progress::new("train", Unit::Steps, step as u64 + 1, steps as u64));
        if step == 0 || (step + 1) % 100 == 0 || step + 1 == steps {
            let seconds = number::seconds(begin.elapsed().as_secs_f64());
            meter.suspend(|| say(&format!("step {:>5}: loss {loss:.3}, {seconds}", step + 1)));
        }
    }
    Ok(decoder)
}

/// The learning rate of a step: it rises over the first twentieth of the steps, then falls along half a cosine to a hundredth.
fn learning_rate(options: &Options, step: usize) -> f64 {
    let warm_up = (options.steps.get() / 20).max(1);
    if step < warm_up {
        return options.learning_rate * (step + 1) as f64 / warm_up as f64;
    }
    let share = (step - warm_up) as f64 / (options.steps.get() - warm_up) as f64;
    options.learning_rate * (0.01 + 0.99 * 0.5 * (1.0 + (PI * share).cos()))
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
