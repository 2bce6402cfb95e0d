//! Trains the small model that ships with the project, on text that the project itself writes.
//!
//! Stories and Python modules come without end from [`Generator`], so no token is seen twice and there is nothing to
//! overfit. A byte-level BPE vocabulary is learned from the first of them, a GPT-2 of about a million parameters from the
//! rest, and the result is written as an ordinary checkpoint folder: config.json, model.safetensors in F16,
//! tokenizer.json. What was written is then loaded again and measured on text of another seed.
//!
//! ```text
//! cargo run --release --example train_tiny
//! ```
//!
//! The same options give the same text, the same vocabulary and, on the same machine and device, the same weights.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program speaks to its user")]

use std::{
    error::Error, f64::consts::PI, fs, panic::resume_unwind, path::PathBuf, process::ExitCode, thread,
    time::Instant,
};

use burn::{
    grad_clipping::GradientClippingConfig,
    module::{Module, ModuleVisitor, Param},
    optim::{AdamWConfig, GradientsAccumulator, GradientsParams},
    tensor::{Device, Int, Tensor, TensorData, activation::log_softmax},
};
use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use inject_devices::DeviceKind;
use inject_sipit::{
    Bos, Decoder, DecoderConfig, Family, Logits, Model, ModelError, Origin, Precision, Tap, TokenBatch,
    WeightDtype,
    config::{
        Activation, AttentionConfig, Bias, BlockConfig, EmbeddingConfig, FeedForwardConfig, FeedForwardKind,
        Head, LearnedPositions, NormConfig, Residual, Span,
    },
    prompts::generate::{Generator, Kind},
};
use tokenizers::{
    AddedToken, Tokenizer,
    models::{
        TrainerWrapper,
        bpe::{BPE, BpeTrainer},
    },
    pre_tokenizers::byte_level::ByteLevel,
};

/// Stands before every document; the first token of the vocabulary.
const END_OF_TEXT: &str = "<|endoftext|>";
const END_OF_TEXT_ID: u32 = 0;
const VOCAB_SIZE: usize = 2048;
/// The longest sequence of the model, and the length of every training window.
const POSITIONS: usize = 256;
/// Documents the vocabulary is learned from.
const VOCABULARY_DOCUMENTS: usize = 20_000;
const NORM_EPS: f64 = 1e-5;
/// Standard deviation of the first weights. GPT-2's 0.02 suits a width of 768 and more; at 128 the blocks would start out
/// all but silent, and the loss stay near that of single tokens for hundreds of steps.
const INIT_STD: f64 = 0.06;

/// Train the small bundled model on generated stories and code.
#[derive(Debug, Parser)]
struct Options {
    /// Folder to write the checkpoint to.
    #[arg(long, default_value = "examples/model")]
    out: PathBuf,
    /// Number of optimiser steps.
    #[arg(long, default_value_t = 3000)]
    steps: usize,
    /// Windows of 256 tokens in one step.
    #[arg(long, default_value_t = 4)]
    batch: usize,
    /// Seed of the text and of the first weights. The text to measure on has the next one.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Number of blocks.
    #[arg(long, default_value_t = 5)]
    layers: usize,
    /// Width of the residual stream; a multiple of the heads.
    #[arg(long, default_value_t = 128)]
    width: usize,
    /// Number of attention heads.
    #[arg(long, default_value_t = 4)]
    heads: usize,
    /// Learning rate after the warm-up.
    #[arg(long, default_value_t = 3e-3)]
    learning_rate: f64,
    /// Parts of a batch to compute at once, each on a thread of its own. The weights depend on it, by rounding.
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Where to compute: flex, ndarray, cuda or wgpu, as far as compiled in.
    #[arg(long, default_value = "flex")]
    device: DeviceKind,
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    let Options { steps, batch, layers, heads, width, threads, .. } = *options;
    if [steps, batch, layers, heads, width, threads].contains(&0) {
        return Err("--steps, --batch, --layers, --heads, --width and --threads must be at least 1".into());
    }
    if !width.is_multiple_of(heads) {
        return Err(format!("--width {width} is not a multiple of the {heads} heads").into());
    }
    let device = options.device.open()?;
    fs::create_dir_all(&options.out)?;
    let begin = Instant::now();

    let tokenizer = train_tokenizer(options.seed).map_err(|error| error.to_string())?;
    tokenizer.save(options.out.join("tokenizer.json"), true).map_err(|error| error.to_string())?;
    println!("{} tokens learned in {:.0} s", tokenizer.get_vocab_size(true), begin.elapsed().as_secs_f64());

    let config = decoder_config(options);
    let decoder = train(options, &config, Text::new(options.seed, tokenizer.clone()), device.clone())?;
    let minutes = begin.elapsed().as_secs_f64() / 60.0;

    fs::write(options.out.join("config.json"), config_json(options)? + "\n")?;
    decoder.save_weights(Family::Gpt2, WeightDtype::F16, &options.out.join("model.safetensors"))?;

    // From here on only what was written counts.
    let model = Model::load(Origin::of_folder(&options.out), Precision::F32, &device)?;
    assert_eq!(model.decoder.config(), &config, "config.json describes another model than was trained");
    let held_out = held_out_losses(&model.decoder, options.seed + 1, &tokenizer)?;
    let figures = format!(
        "{} parameters; held-out loss {:.3} nats a token ({:.3} stories, {:.3} code)",
        config.n_parameters(),
        held_out.all,
        held_out.stories,
        held_out.code,
    );
    println!("{figures}; {minutes:.1} minutes");
    fs::write(options.out.join("README.md"), readme(options, &figures))?;
    for prompt in ["Once upon a time", "def "] {
        println!("---\n{}", continuation(&model, prompt, 120)?);
    }
    Ok(())
}

/// Learns a byte-level vocabulary. Every byte is in it, so every text encodes, and decodes to itself.
fn train_tokenizer(seed: u64) -> tokenizers::Result<Tokenizer> {
    let mut tokenizer = Tokenizer::new(BPE::default());
    let bytes = ByteLevel::default().add_prefix_space(false);
    tokenizer.with_pre_tokenizer(Some(bytes)).with_decoder(Some(bytes));
    let trainer = BpeTrainer::builder()
        .vocab_size(VOCAB_SIZE)
        .show_progress(false)
        .special_tokens(vec![AddedToken::from(END_OF_TEXT, true)])
        .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
        .build();
    let mut generator = Generator::new(seed);
    let documents = std::iter::repeat_with(move || generator.document().1).take(VOCABULARY_DOCUMENTS);
    tokenizer.train(&mut TrainerWrapper::from(trainer), documents)?;
    Ok(tokenizer)
}

/// Documents as one endless row of tokens, each begun by [`END_OF_TEXT`].
struct Text {
    generator: Generator,
    tokenizer: Tokenizer,
    /// Only this kind of document, or both.
    kind: Option<Kind>,
    /// Tokens not yet handed out.
    ids: Vec<u32>,
}

impl Text {
    fn new(seed: u64, tokenizer: Tokenizer) -> Self {
        Text { generator: Generator::new(seed), tokenizer, kind: None, ids: Vec::new() }
    }

    fn only(self, kind: Kind) -> Self {
        Text { kind: Some(kind), ..self }
    }

    /// The next windows: [`POSITIONS`] tokens and the one after them, with which the next window begins.
    fn windows(&mut self, count: usize) -> Result<Vec<Vec<u32>>, Box<dyn Error>> {
        let len = count * POSITIONS;
        while self.ids.len() <= len {
            let document = match self.kind {
                None => self.generator.document().1,
                Some(Kind::Story) => self.generator.story(),
                Some(Kind::Code) => self.generator.code(),
            };
            let encoding = self.tokenizer.encode_fast(document, false).map_err(|error| error.to_string())?;
            self.ids.push(END_OF_TEXT_ID);
            self.ids.extend(encoding.get_ids());
        }
        let window = |i: usize| self.ids[i * POSITIONS..][..=POSITIONS].to_vec();
        let windows = (0..count).map(window).collect();
        self.ids.drain(..len);
        Ok(windows)
    }
}

/// A GPT-2.
fn decoder_config(options: &Options) -> DecoderConfig {
    let norm = NormConfig::Layer { eps: NORM_EPS };
    let d_head = options.width / options.heads;
    let block = BlockConfig {
        norm,
        residual: Residual::Pre,
        attention: AttentionConfig {
            n_heads: options.heads,
            n_kv_heads: options.heads,
            d_head,
            score_scale: (d_head as f64).powf(-0.5),
            span: Span::Full,
            rotary: None,
            qk_norm: None,
            qkv_bias: Bias::With,
            out_bias: Bias::With,
        },
        feed_forward: FeedForwardConfig {
            d_ff: 4 * options.width,
            kind: FeedForwardKind::Plain(Activation::GeluTanh),
            bias: Bias::With,
        },
    };
    DecoderConfig {
        d_model: options.width,
        vocab_size: VOCAB_SIZE,
        embedding: EmbeddingConfig { scale: None, positions: LearnedPositions::Table { max_len: POSITIONS } },
        blocks: vec![block; options.layers],
        final_norm: norm,
        head: Head::Tied,
    }
}

/// The same, as transformers writes it.
fn config_json(options: &Options) -> serde_json::Result<String> {
    serde_json::to_string_pretty(&serde_json::json!({
        "activation_function": "gelu_new",
        "architectures": ["GPT2LMHeadModel"],
        "attn_pdrop": 0.0,
        "bos_token_id": END_OF_TEXT_ID,
        "dtype": "float16",
        "embd_pdrop": 0.0,
        "eos_token_id": END_OF_TEXT_ID,
        "initializer_range": INIT_STD,
        "layer_norm_epsilon": NORM_EPS,
        "model_type": "gpt2",
        "n_embd": options.width,
        "n_head": options.heads,
        "n_inner": null,
        "n_layer": options.layers,
        "n_positions": POSITIONS,
        "reorder_and_upcast_attn": false,
        "resid_pdrop": 0.0,
        "scale_attn_by_inverse_layer_idx": false,
        "scale_attn_weights": true,
        "tie_word_embeddings": true,
        "use_cache": true,
        "vocab_size": VOCAB_SIZE,
    }))
}

fn train(
    options: &Options,
    config: &DecoderConfig,
    mut text: Text,
    device: Device,
) -> Result<Decoder, Box<dyn Error>> {
    let device = device.autodiff();
    device.seed(options.seed);
    let mut decoder = config.init(INIT_STD, &device);
    let mut optimizer = AdamWConfig::new()
        .with_beta_2(0.99)
        .with_epsilon(1e-8)
        .with_weight_decay(0.05)
        .with_grad_clipping(Some(GradientClippingConfig::Norm(1.0)))
        .init();
    let bar = ProgressBar::new(options.steps as u64)
        .with_style(ProgressStyle::with_template("{wide_bar} {pos}/{len} {eta_precise} {msg}")?);
    let begin = Instant::now();
    for step in 0..options.steps {
        let (loss, gradients) = gradients(&decoder, &text.windows(options.batch)?, options.threads)?;
        if step == 0 {
            check_gradients(&decoder, &gradients)?;
        }
        decoder = optimizer.step(learning_rate(options, step), decoder, gradients);
        bar.inc(1);
        if (step + 1) % 100 == 0 || step == 0 || step + 1 == options.steps {
            let seconds = begin.elapsed().as_secs_f64();
            bar.suspend(|| println!("step {:>5}: loss {loss:.3}, {seconds:.0} s", step + 1));
        }
    }
    bar.finish_and_clear();
    Ok(decoder)
}

/// The loss of a batch and its gradients, computed in parts side by side: a CPU backend runs most of what lies between two
/// matrix products on one core.
fn gradients(
    decoder: &Decoder,
    windows: &[Vec<u32>],
    threads: usize,
) -> Result<(f32, GradientsParams), ModelError> {
    let part = |windows_here: &[Vec<u32>]| {
        // A fork has the same parameters and a graph of its own.
        let decoder = decoder.clone().fork(&decoder.device());
        let share = windows_here.len() as f64 / windows.len() as f64;
        let loss = loss(&decoder, windows_here)? * share;
        let gradients = GradientsParams::from_grads(loss.backward(), &decoder);
        Ok((loss.into_scalar::<f32>(), gradients))
    };
    let parts: Vec<Result<_, ModelError>> = thread::scope(|scope| {
        let parts = windows.chunks(windows.len().div_ceil(threads));
        let running: Vec<_> = parts.map(|windows| scope.spawn(|| part(windows))).collect();
        running.into_iter().map(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic))).collect()
    });
    let (mut sum, mut accumulator) = (0.0, GradientsAccumulator::new());
    for part in parts {
        let (loss, gradients) = part?;
        sum += loss;
        accumulator.accumulate(decoder, gradients);
    }
    Ok((sum, accumulator.grads()))
}

/// Up over the first twentieth of the steps, then half a cosine down to a hundredth.
fn learning_rate(options: &Options, step: usize) -> f64 {
    let warm_up = (options.steps / 20).max(1);
    if step < warm_up {
        return options.learning_rate * (step + 1) as f64 / warm_up as f64;
    }
    let share = (step - warm_up) as f64 / (options.steps - warm_up).max(1) as f64;
    options.learning_rate * (0.01 + 0.99 * 0.5 * (1.0 + (PI * share).cos()))
}

/// The mean cross-entropy of each next token.
///
/// # Units
///
/// Nats a token.
fn loss(decoder: &Decoder, windows: &[Vec<u32>]) -> Result<Tensor<1>, ModelError> {
    let inputs: Vec<&[u32]> = windows.iter().map(|window| &window[..POSITIONS]).collect();
    let targets: Vec<i32> = windows.iter().flat_map(|window| &window[1..]).map(|&id| id as i32).collect();
    let rows = targets.len();
    let targets = Tensor::<2, Int>::from_data(TensorData::new(targets, [rows, 1]), &decoder.device());
    let forward = decoder.forward(&TokenBatch::new(&inputs)?, &[], Logits::All)?;
    let logits = forward.logits.expect("all logits were asked for").reshape([rows, VOCAB_SIZE]);
    Ok(log_softmax(logits, 1).gather(1, targets).mean().neg())
}

/// Every parameter must move: one that the loss does not depend on would stay as it was drawn.
fn check_gradients(decoder: &Decoder, gradients: &GradientsParams) -> Result<(), String> {
    struct Still<'a> {
        gradients: &'a GradientsParams,
        found: Vec<Vec<usize>>,
    }
    impl ModuleVisitor for Still<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let gradient = self.gradients.get::<D>(param.id);
            if gradient.is_none_or(|gradient| gradient.abs().max().into_scalar::<f32>() == 0.0) {
                self.found.push(param.dims().to_vec());
            }
        }
    }
    let mut still = Still { gradients, found: Vec::new() };
    decoder.visit(&mut still);
    match still.found.as_slice() {
        [] => Ok(()),
        found => Err(format!("no gradient reaches the parameters of shapes {found:?}")),
    }
}

/// Losses on text the model has not seen, in nats a token.
struct HeldOut {
    all: f64,
    stories: f64,
    code: f64,
}

fn held_out_losses(decoder: &Decoder, seed: u64, tokenizer: &Tokenizer) -> Result<HeldOut, Box<dyn Error>> {
    const BATCHES: usize = 16;
    let text = || Text::new(seed, tokenizer.clone());
    let mean = |mut text: Text| -> Result<f64, Box<dyn Error>> {
        let mut sum = 0.0;
        for _ in 0..BATCHES {
            sum += f64::from(loss(decoder, &text.windows(8)?)?.into_scalar::<f32>());
        }
        Ok(sum / BATCHES as f64)
    };
    Ok(HeldOut {
        all: mean(text())?,
        stories: mean(text().only(Kind::Story))?,
        code: mean(text().only(Kind::Code))?,
    })
}

/// The prompt and the most likely tokens after it, up to the end of the document.
fn continuation(model: &Model, prompt: &str, tokens: usize) -> Result<String, ModelError> {
    let tokenizer = model.tokenizer()?;
    let mut ids = tokenizer.encode(prompt, Bos::Yes)?;
    let mut cache = model.decoder.prefix_cache(1, ids.len() + tokens, Tap::FinalNorm)?;
    let mut new = ids.clone();
    for _ in 0..tokens {
        let forward = model.decoder.extend(&mut cache, &TokenBatch::new(&[new])?, &[], Logits::Last)?;
        let logits = forward.logits.expect("the last logits were asked for");
        let next = logits.reshape([VOCAB_SIZE]).argmax(0).into_scalar::<u32>();
        if next == END_OF_TEXT_ID {
            break;
        }
        ids.push(next);
        new = vec![next];
    }
    tokenizer.decode(&ids)
}

fn readme(options: &Options, figures: &str) -> String {
    let Options { steps, batch, seed, layers, width, heads, learning_rate, threads, .. } = options;
    format!(
        "A small GPT-2 trained on the stories and Python-like code that this project's own generator writes.\n\
         Made by `cargo run --release --example train_tiny -- --steps {steps} --batch {batch} --seed {seed} \
         --layers {layers} --width {width} --heads {heads} --learning-rate {learning_rate} --threads {threads}`.\n\
         Seed {seed}: text, vocabulary and first weights; the held-out text has seed {}.\n\
         {figures}; weights in F16.\n\
         Licence: as the repository, MIT OR Apache-2.0.\n",
        seed + 1,
    )
}
