//! `inject sizes`: the memory and work of a model, from its shape alone.

use std::path::{Path, PathBuf};

use clap::Args;
use inject_sipit::models::{DecoderConfig, FloatFormat, PublishedShape, Tap};

use crate::{
    options::room::BESIDE,
    outcome::{Failure, Outcome},
    output::say,
    table::{Cell, Table, rows},
};

/// Print how much memory and work models take, computed from their shapes
#[derive(Args, Debug)]
#[command(
    long_about = "Print how much memory and work models take, computed from their shapes. Nothing is loaded or measured.\n\n\
A machine fits if its memory holds the weights and 2 GB more, for the program, the states and a prefix cache. A GB is a thousand \
million bytes. Only the text part of a multimodal model is counted.",
    after_help = "\
Examples:
  inject sizes
  inject sizes my-model/config.json"
)]
pub(crate) struct Options {
    /// Files config.json, or folders with one, in place of the published shapes
    #[arg(value_name = "CONFIG")]
    configs: Vec<PathBuf>,
}

/// The sizes of memory that machines come with, in GB.
const MACHINES: [u64; 11] = [4, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192];
const GB: f64 = 1e9;

/// Prints the table.
///
/// # Errors
///
/// [`Failure`] if a config cannot be read.
pub(crate) fn run(options: &Options) -> Result<Outcome, Failure> {
    let models = if options.configs.is_empty() {
        published()
    } else {
        options.configs.iter().map(|path| read(path)).collect::<Result<_, _>>()?
    };
    say(&table(models).text());
    Ok(Outcome::Complete)
}

fn published() -> Vec<(String, DecoderConfig)> {
    PublishedShape::all().iter().map(|shape| (shape.to_string(), shape.config())).collect()
}

fn read(path: &Path) -> Result<(String, DecoderConfig), Failure> {
    let file = if path.is_dir() { path.join("config.json") } else { path.to_owned() };
    Ok((path.display().to_string(), DecoderConfig::read(&file)?))
}

fn table(models: Vec<(String, DecoderConfig)>) -> Table {
    let bytes =
        |config: &DecoderConfig, format: FloatFormat| config.n_parameters() as u64 * format.bytes() as u64;
    let cache = |config: &DecoderConfig| config.cached_numbers_per_token() * FloatFormat::F32.bytes();
    rows("", models).columns([
        ("model", &|(name, _)| Cell::of(name)),
        ("parameters", &|(_, config)| config.n_parameters().into()),
        ("GB in bf16", &|(_, config)| Cell::Number(bytes(config, FloatFormat::Bf16) as f64 / GB)),
        ("GB in f32", &|(_, config)| Cell::Number(bytes(config, FloatFormat::F32) as f64 / GB)),
        ("machine, bf16", &|(_, config)| Cell::Text(machine(bytes(config, FloatFormat::Bf16)))),
        ("machine, f32", &|(_, config)| Cell::Text(machine(bytes(config, FloatFormat::F32)))),
        ("cache, kB a token", &|(_, config)| Cell::Number(cache(config) as f64 / 1e3)),
        ("GFLOP a token", &|(_, config)| Cell::Number(config.flops_per_token(Tap::FinalNorm) / 1e9)),
    ])
}

/// The smallest machine whose memory holds some bytes of weights and the other memory of a run.
fn machine(weights: u64) -> String {
    let needed = weights + BESIDE;
    let fits = MACHINES.into_iter().find(|gigabytes| gigabytes * 1_000_000_000 >= needed);
    fits.map_or_else(|| "larger".to_owned(), |gigabytes| format!("{gigabytes} GB"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documentation_has_this_table() {
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/sizes.md");
        let page = std::fs::read_to_string(page).unwrap();
        let table = table(published()).text();
        assert!(
            page.contains(&format!("```text\n{table}\n```")),
            "docs/sizes.md has another table than\n{table}"
        );
    }

    #[test]
    fn a_machine_has_room_beside_the_weights() {
        // 8,030,261,248 parameters.
        assert_eq!(machine(16_060_522_496), "24 GB");
        assert_eq!(machine(2_000_000_000), "4 GB");
        assert_eq!(machine(2_000_000_001), "8 GB");
        assert_eq!(machine(1_000_000_000_000), "larger");
    }
}
