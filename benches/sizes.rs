//! The row of docs/sizes.md for one checkpoint.
//!
//! ```text
//! inject random-model --like mistral-7b --out MODEL
//! INJECT_MODEL=MODEL INJECT_HOLD=stored cargo bench --bench sizes
//! INJECT_MODEL=MODEL INJECT_HOLD=stored cargo bench --bench sizes -- forward step
//! ```
//!
//! Arguments select columns: `forward`, `step`, `candidates` and `inversion`. Loading and the peak of memory are always measured.
//!
//! - `load`: opening the folder, before any state is computed.
//! - `peak`: the most memory that the process had after loading and after the forward pass, with the pages of mapped files that are
//!   in memory. `VmHWM` of /proc/self/status; not measured where that file is missing.
//! - `forward`: one prompt of 512 tokens up to the final norm.
//! - `step`: one token after 512 cached tokens, with logits.
//! - `candidates`: candidates a second, in batches of 512 after 16 cached tokens, at half depth.
//! - `inversion`: 20 tokens from states at half depth, without a lens, by the policy that `inject invert` chooses. The tokens are
//!   spread over the vocabulary, so no source of candidates can guess them by their meaning.
//!
//! Times are the shortest of three calls, or of one if it takes longer than ten seconds. Weights that do not fit into memory are read
//! from the disk in each pass, as in the program.

#![allow(clippy::print_stdout, reason = "a program speaks to its user")]

use std::{env, error::Error, path::PathBuf, time::Instant};

use inject_benches::{device, hold, ids, peak_memory, prefix, states_of, wait, with_lanes, within_memory};
use inject_sipit::{
    models::{Decoder, FloatFormat, Logits, Model, Origin, Precision, Tap, TokenBatch, silent},
    recover,
};

const PROMPT: usize = 512;
const PREFIX: usize = 16;
const CANDIDATES: usize = 512;
const RECOVERED: usize = 20;

fn main() -> Result<(), Box<dyn Error>> {
    // Other benchmarks run without a checkpoint. This one has nothing to measure then.
    let Some(folder) = env::var_os("INJECT_MODEL").map(PathBuf::from) else {
        println!("INJECT_MODEL names no checkpoint: nothing to measure");
        return Ok(());
    };
    let arguments: Vec<String> = env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let asked = |column: &str| arguments.is_empty() || arguments.iter().any(|argument| argument == column);
    let device = device();

    let begin = Instant::now();
    let mut model =
        Model::load(Origin::of_folder(&folder), Precision::new(hold(), FloatFormat::F32), &device)?;
    let load = begin.elapsed().as_secs_f64();
    model.decoder = with_lanes(within_memory(model.decoder));
    if model.decoder.reads_from_disk() {
        println!("not all weights fit into memory: each pass reads the rest from the disk again");
    }
    let decoder = &model.decoder;
    let half = Tap::Block(decoder.config().n_layers() / 2);

    // First, so that the peak is that of loading and of this pass.
    let forward = asked("forward").then(|| shortest(|| forward(decoder))).transpose()?;
    let peak = peak_memory().map(|bytes| bytes as f64 / 1e9);
    let step = asked("step").then(|| step(decoder)).transpose()?;
    let candidates = asked("candidates").then(|| candidates(decoder, half)).transpose()?;
    let inversion = asked("inversion").then(|| inversion(&model, half)).transpose()?;

    let shown = |number: Option<f64>, digits: usize| {
        number.map_or_else(String::new, |number| format!("{number:.digits$}"))
    };
    println!(
        "| model | load, s | peak memory, GB | forward of 512 tokens, s | one step, ms | candidates a second | 20 tokens at half depth, s |"
    );
    println!("|---|---|---|---|---|---|---|");
    println!(
        "| {} | {load:.2} | {} | {} | {} | {} | {} |",
        Origin::of_folder(&folder).id,
        shown(peak, 1),
        shown(forward, 2),
        shown(step.map(|seconds| 1e3 * seconds), 1),
        shown(candidates, 0),
        shown(inversion, 0),
    );
    Ok(())
}

fn forward(decoder: &Decoder) -> Result<(), Box<dyn Error>> {
    let len = PROMPT.min(decoder.config().max_len().unwrap_or(PROMPT));
    let tokens = TokenBatch::new(&[ids(len, decoder.config().vocab_size)])?;
    let forward = decoder.forward(&tokens, &[Tap::FinalNorm], Logits::None)?;
    wait(&decoder.device());
    drop(forward);
    Ok(())
}

fn step(decoder: &Decoder) -> Result<f64, Box<dyn Error>> {
    let len = PROMPT.min(decoder.config().max_len().unwrap_or(PROMPT) - 1);
    let mut cache = prefix(decoder, len, Tap::FinalNorm);
    let token = TokenBatch::new(&[[11]])?;
    shortest(|| {
        cache.truncate(len);
        let forward = decoder.extend(&mut cache, &token, &[], Logits::Last)?;
        wait(&decoder.device());
        drop(forward);
        Ok(())
    })
}

/// Returns the number of candidates tested in a second.
fn candidates(decoder: &Decoder, tap: Tap) -> Result<f64, Box<dyn Error>> {
    let cache = prefix(decoder, PREFIX, tap);
    let ids = ids(CANDIDATES, decoder.config().vocab_size);
    let seconds = shortest(|| {
        let states = decoder.candidates(&cache, &ids, tap)?;
        wait(&decoder.device());
        drop(states);
        Ok(())
    })?;
    Ok(CANDIDATES as f64 / seconds)
}

fn inversion(model: &Model, tap: Tap) -> Result<f64, Box<dyn Error>> {
    let prompt = ids(RECOVERED, model.decoder.config().vocab_size);
    let target = states_of(&model.decoder, &prompt, tap);
    let begin = Instant::now();
    let inversion = recover(model, &target, &mut silent)?;
    let seconds = begin.elapsed().as_secs_f64();
    match inversion.is_verified() && inversion.token_ids() == prompt {
        true => Ok(seconds),
        false => Err("the prompt was not recovered".into()),
    }
}

/// The shortest time of a call, in seconds.
fn shortest(mut call: impl FnMut() -> Result<(), Box<dyn Error>>) -> Result<f64, Box<dyn Error>> {
    let mut shortest = f64::INFINITY;
    for _ in 0..3 {
        let begin = Instant::now();
        call()?;
        shortest = shortest.min(begin.elapsed().as_secs_f64());
        if shortest > 10.0 {
            break;
        }
    }
    Ok(shortest)
}
