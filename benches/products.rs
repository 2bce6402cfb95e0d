//! The rate of matrix products with weights held as stored, at the shapes of published models.
//!
//! ```text
//! cargo bench --bench products                       # every format, shape and number of rows
//! cargo bench --bench products -- bf16 576x1536      # some formats, some shapes
//! ```
//!
//! Each row names the inputs and outputs of a matrix and the rows that are multiplied with it. `share` is the rate as a share of the
//! matrix rate: that of burn's product of F32 tensors, `[512, 4096] x [4096, 4096]`, measured in the same run. It is not an upper
//! bound: other products run faster than that one, and a share may exceed 100 %. `GB/s` counts the
//! weights, once a product. It compares with the read rate: that at which all cores add up the numbers of a large array.
//!
//! Weights are random and come from files of their own. Products take different parts of a matrix of 128 MB in turn, so no weight is in
//! a cache. The vocabulary table serves as the matrix. The labels `gpt2-blocks` and `smollm2-blocks` stand for all blocks of a model, with
//! prompts of one token: the maps of each, and the little else that a block computes. GPT-2 stores its maps input by input, which
//! cannot be computed alone. With `INJECT_HOLD=f32` weights of blocks are held in F32, for comparison.
//!
//! Times are the shortest of at least three calls.

#![allow(clippy::print_stdout, reason = "a program speaks to its user")]

use std::{env, error::Error, fs::File, hint::black_box, ops::Range, time::Instant};

use burn::tensor::{DType, Device, Distribution, Tensor};
use inject_benches::{device, hold, ids, wait, with_lanes};
use inject_sipit::models::{
    Decoder, FloatFormat, Hold, Logits, Model, Origin, Precision, RandomCheckpoint, Tap, TokenBatch, silent,
};
use rayon::prelude::*;
use serde_json::{Value, json};

type Failure = Box<dyn Error>;

/// Inputs and outputs of maps of SmolLM2-135M and Llama-3.1-8B.
const SHAPES: [[usize; 2]; 7] =
    [[576, 192], [576, 576], [576, 1536], [1536, 576], [4096, 4096], [4096, 14336], [14336, 4096]];
/// Models whose blocks are measured.
const BLOCKS: [(&str, fn() -> Value); 2] = [("gpt2-blocks", gpt2), ("smollm2-blocks", smollm2)];
const ROWS: [usize; 9] = [1, 2, 4, 8, 16, 32, 64, 128, 512];
const FORMATS: [FloatFormat; 3] = [FloatFormat::Bf16, FloatFormat::F16, FloatFormat::F32];
/// The weights of a matrix, beyond what caches hold.
const WEIGHTS: usize = 64 << 20;
/// The shortest time of measuring one product, in seconds.
const LEAST: f64 = 0.2;
/// Products of this size are not multiplied with many rows: one takes seconds.
const MOST_FLOP: f64 = 4e10;

/// The rates of the machine.
#[derive(Clone, Copy)]
struct Machine {
    /// The rate of matrix products, in GFLOP/s.
    products: f64,
    /// The rate of reading memory, in GB/s.
    reads: f64,
}

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    // With names of one kind given, all others of that kind are left out.
    let asked = |names: &[String], name: &str| {
        let some = arguments.iter().any(|argument| names.contains(argument));
        !some || arguments.iter().any(|argument| argument == name)
    };
    let device = device();
    let machine = Machine { products: matrix_rate(&device), reads: read_rate() };
    println!("matrix rate {:.0} GFLOP/s, read rate {:.1} GB/s", machine.products, machine.reads);
    println!(
        "{:6} {:12} {:>5} {:>10} {:>9} {:>6} {:>6}",
        "format", "matrix", "rows", "ms", "GFLOP/s", "share", "GB/s"
    );

    let formats: Vec<String> = FORMATS.iter().map(ToString::to_string).collect();
    let models = BLOCKS.map(|(name, _)| name.to_owned());
    let shapes: Vec<String> = SHAPES.iter().map(label).chain(models).collect();
    for format in FORMATS.into_iter().filter(|format| asked(&formats, &format.to_string())) {
        for shape in SHAPES.iter().filter(|shape| asked(&shapes, &label(shape))) {
            table(*shape, format, &device, machine)?;
        }
        for (name, config) in BLOCKS.into_iter().filter(|(name, _)| asked(&shapes, name)) {
            blocks(name, &config(), format, &device, machine)?;
        }
    }
    Ok(())
}

fn label([inputs, outputs]: &[usize; 2]) -> String {
    format!("{inputs}x{outputs}")
}

/// Measures products with parts of a vocabulary table.
fn table(
    [inputs, outputs]: [usize; 2],
    format: FloatFormat,
    device: &Device,
    machine: Machine,
) -> Result<(), Failure> {
    let parts = (WEIGHTS / (inputs * outputs)).max(1);
    let config = json!({
        "model_type": "llama", "hidden_size": inputs, "vocab_size": parts * outputs, "num_hidden_layers": 1,
        "num_attention_heads": 1, "num_key_value_heads": 1, "head_dim": 2, "intermediate_size": 2,
        "hidden_act": "silu", "rms_norm_eps": 1e-5, "rope_theta": 1e4, "max_position_embeddings": 64,
        "attention_bias": false, "mlp_bias": false, "tie_word_embeddings": true, "initializer_range": 0.02,
    });
    let (_folder, decoder) = opened(&config, format, Hold::Stored, device)?;
    for rows in ROWS {
        let flop = 2.0 * (rows * inputs * outputs) as f64;
        if flop > MOST_FLOP {
            continue;
        }
        let x = Tensor::<2>::random([rows, inputs], Distribution::Normal(0.0, 1.0), (device, DType::F32));
        let mut part = 0;
        let seconds = shortest(|| {
            part = (part + 1) % parts;
            let outputs: Range<usize> = part * outputs..(part + 1) * outputs;
            black_box(decoder.logits_of(x.clone(), outputs));
            wait(device);
        });
        let bytes = inputs * outputs * format.bytes();
        print(&label(&[inputs, outputs]), format, rows, flop, bytes, seconds, machine);
    }
    Ok(())
}

/// The blocks of GPT-2 small.
fn gpt2() -> Value {
    json!({
        "model_type": "gpt2", "n_embd": 768, "n_head": 12, "n_layer": 12, "n_positions": 64, "vocab_size": 512,
        "activation_function": "gelu_new", "layer_norm_epsilon": 1e-5, "initializer_range": 0.02,
    })
}

/// The blocks of SmolLM2-135M.
fn smollm2() -> Value {
    json!({
        "model_type": "llama", "hidden_size": 576, "vocab_size": 512, "num_hidden_layers": 30,
        "num_attention_heads": 9, "num_key_value_heads": 3, "intermediate_size": 1536,
        "hidden_act": "silu", "rms_norm_eps": 1e-5, "rope_theta": 1e5, "max_position_embeddings": 64,
        "attention_bias": false, "mlp_bias": false, "tie_word_embeddings": true, "initializer_range": 0.02,
    })
}

/// Measures the blocks of a model.
fn blocks(
    name: &str,
    config: &Value,
    format: FloatFormat,
    device: &Device,
    machine: Machine,
) -> Result<(), Failure> {
    let hold = match hold() {
        Hold::Fastest => Hold::Stored,
        given => given,
    };
    let (_folder, decoder) = opened(config, format, hold, device)?;
    let tap = Tap::Block(decoder.config().blocks.len());
    for rows in ROWS {
        let prompts: Vec<[u32; 1]> =
            ids(rows, decoder.config().vocab_size).into_iter().map(|id| [id]).collect();
        let prompts = TokenBatch::new(&prompts)?;
        let seconds = shortest(|| {
            black_box(decoder.forward(&prompts, &[tap], Logits::None).expect("the prompts fit"));
            wait(device);
        });
        let flop = rows as f64 * decoder.config().flops_per_token(tap);
        print(name, format, rows, flop, decoder.bytes_of_a_pass(tap).from_memory, seconds, machine);
    }
    Ok(())
}

/// Writes a checkpoint of random weights and maps it.
fn opened(
    config: &Value,
    format: FloatFormat,
    hold: Hold,
    device: &Device,
) -> Result<(tempfile::TempDir, Decoder), Failure> {
    let folder = tempfile::tempdir()?;
    for file in RandomCheckpoint::of_config(&config.to_string(), format, 1)?.files() {
        file.write_to(&mut File::create(folder.path().join(file.name()))?, &mut silent)?;
    }
    let precision = Precision::new(hold, FloatFormat::F32);
    let decoder = with_lanes(Model::load(Origin::of_folder(folder.path()), precision, device)?.decoder);
    Ok((folder, decoder))
}

fn print(
    matrix: &str,
    format: FloatFormat,
    rows: usize,
    flop: f64,
    bytes: usize,
    seconds: f64,
    machine: Machine,
) {
    let (rate, read) = (flop / seconds / 1e9, bytes as f64 / seconds / 1e9);
    let (ms, share) = (1e3 * seconds, 100.0 * rate / machine.products);
    println!("{:6} {matrix:12} {rows:5} {ms:10.3} {rate:9.1} {share:5.0}% {read:6.1}", format.to_string());
}

/// The rate of burn's product of F32 tensors, in GFLOP/s.
fn matrix_rate(device: &Device) -> f64 {
    let random =
        |shape: [usize; 2]| Tensor::<2>::random(shape, Distribution::Normal(0.0, 1.0), (device, DType::F32));
    let (x, weight) = (random([512, 4096]), random([4096, 4096]));
    let seconds = shortest(|| {
        black_box(x.clone().matmul(weight.clone()));
        wait(device);
    });
    2.0 * 512.0 * 4096.0 * 4096.0 / seconds / 1e9
}

/// The rate at which all cores read an array from memory, in GB/s.
fn read_rate() -> f64 {
    let numbers = vec![1_u64; WEIGHTS];
    let part = WEIGHTS.div_ceil(rayon::current_num_threads());
    let seconds = shortest(|| {
        let sums =
            numbers.par_chunks(part).map(|part| part.iter().fold(0, |sum: u64, n| sum.wrapping_add(*n)));
        black_box(sums.sum::<u64>());
    });
    8.0 * WEIGHTS as f64 / seconds / 1e9
}

/// The shortest time of a call, in seconds.
fn shortest(mut call: impl FnMut()) -> f64 {
    let (begin, mut shortest, mut calls) = (Instant::now(), f64::INFINITY, 0);
    while calls < 3 || begin.elapsed().as_secs_f64() < LEAST {
        let call_begin = Instant::now();
        call();
        shortest = shortest.min(call_begin.elapsed().as_secs_f64());
        calls += 1;
    }
    shortest
}
