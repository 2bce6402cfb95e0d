//! The time of loading a checkpoint, and its peak memory.
//!
//! Loads every folder of `INJECT_REAL_MODELS`. Without that variable it loads a GPT-2 small with random weights, stored as F32 and
//! as BF16. Each load runs in a separate process, because a process has only one peak. The peak is `VmHWM` of /proc/self/status at
//! the end minus `VmRSS` before the load. On systems without that file it is not measured. `parameters` is the size of the model's
//! parameters in F32. The time is the best of three loads, so the files are already in the system's cache. It includes the
//! tokenizer.

#![allow(clippy::print_stdout, reason = "a program speaks to its user")]

use std::{
    env, fs,
    io::{self, Error},
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

use inject_benches::{Shape, device, memory, peak_memory, random, real_models};
use inject_sipit::models::{Family, FloatFormat, Model, Origin};
use serde_json::{Value, json};

const LOADS: usize = 3;
/// If this variable names a folder, the program loads it and prints a [`Load`] as JSON.
const CHILD: &str = "INJECT_BENCH_LOAD";

fn main() -> io::Result<()> {
    if let Some(folder) = env::var_os(CHILD) {
        println!("{}", load(Path::new(&folder))?);
        return Ok(());
    }
    // As with criterion, `--test` runs everything once, to check that it works.
    let loads = if env::args().any(|argument| argument == "--test") { 1 } else { LOADS };
    println!(
        "| model | parameters, MB | load, s | baseline, MB | peak over baseline, MB | peak / parameters |"
    );
    println!("|---|---|---|---|---|---|");
    match real_models() {
        Some(parent) => folders(&parent)?.iter().try_for_each(|folder| row(folder, loads)),
        None => {
            let parent = tempfile::tempdir()?;
            for (name, dtype) in
                [("gpt2-small-f32", FloatFormat::F32), ("gpt2-small-bf16", FloatFormat::Bf16)]
            {
                row(&generate(&parent.path().join(name), dtype)?, loads)?;
            }
            Ok(())
        }
    }
}

/// Returns the checkpoint folders in a folder, sorted by name.
fn folders(parent: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(parent)?.map(|entry| entry.map(|entry| entry.path()));
    let mut folders = entries.collect::<io::Result<Vec<_>>>()?;
    folders.retain(|folder| folder.join("config.json").is_file());
    folders.sort();
    Ok(folders)
}

/// Writes a GPT-2 small with random weights.
fn generate(folder: &Path, dtype: FloatFormat) -> io::Result<PathBuf> {
    fs::create_dir(folder)?;
    fs::write(folder.join("config.json"), Shape::Gpt2Small.published().config_json())?;
    let decoder = random(&Shape::Gpt2Small.config(), &device());
    decoder.save_weights(Family::Gpt2, dtype, &folder.join("model.safetensors")).map_err(Error::other)?;
    Ok(folder.to_owned())
}

/// Loads a folder several times and prints the time and memory.
fn row(folder: &Path, loads: usize) -> io::Result<()> {
    let mut seconds = f64::INFINITY;
    let mut worst = Value::Null;
    for _ in 0..loads {
        let child = Command::new(env::current_exe()?).env(CHILD, folder).output()?;
        if !child.status.success() {
            return Err(Error::other(String::from_utf8_lossy(&child.stderr).into_owned()));
        }
        let load: Value = serde_json::from_slice(&child.stdout)?;
        seconds = seconds.min(load["seconds"].as_f64().unwrap_or(f64::INFINITY));
        if worst.is_null() || load["peak"].as_f64() > worst["peak"].as_f64() {
            worst = load;
        }
    }
    let megabytes = |key: &str| worst[key].as_f64().map(|bytes| bytes / 1e6);
    let shown = |number: Option<f64>, digits: usize| {
        number.map_or_else(|| "not measured".to_owned(), |number| format!("{number:.digits$}"))
    };
    let ratio = megabytes("peak").zip(megabytes("parameters")).map(|(peak, parameters)| peak / parameters);
    println!(
        "| {} | {} | {seconds:.2} | {} | {} | {} |",
        Origin::of_folder(folder).id,
        shown(megabytes("parameters"), 0),
        shown(megabytes("baseline"), 0),
        shown(megabytes("peak"), 0),
        shown(ratio, 2),
    );
    Ok(())
}

/// Loads a folder. Returns the seconds and three sizes in bytes: the parameters, the memory before the load, and the peak beyond
/// that.
fn load(folder: &Path) -> io::Result<Value> {
    let device = device();
    let baseline = memory();
    let start = Instant::now();
    let model = Model::load(Origin::of_folder(folder), FloatFormat::F32, &device).map_err(Error::other)?;
    let seconds = start.elapsed().as_secs_f64();
    let peak = peak_memory().zip(baseline).map(|(peak, baseline)| peak.saturating_sub(baseline));
    let parameters = model.decoder.config().n_parameters() as u64 * 4;
    Ok(json!({ "seconds": seconds, "parameters": parameters, "baseline": baseline, "peak": peak }))
}
