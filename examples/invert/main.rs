//! Recovers prompts from hidden states alone.
//!
//! ```text
//! cargo run --release --example invert
//! cargo run --release --example invert -- --text "Any sentence." --tap block-2
//! cargo run --release --example invert -- --model FOLDER_OR_HUB_ID --states FILE.safetensors --json
//! cargo run --release --example invert -- --model FOLDER_OR_HUB_ID --states STORE_DIR --out FILE.jsonl
//! ```
//!
//! Without `--states` the program computes the states of a prompt itself, forgets the prompt, and recovers it. With a store, as
//! the extract program writes it with `--positions all`, it recovers every prompt of it.

mod groups;
mod jsonl;
mod report;
mod single;
mod store;
mod table;
mod tally;

use std::{path::PathBuf, process::ExitCode};

use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use inject_examples::{Failure, ModelArgs, PolicyArgs, finish, note};
use inject_sipit::{
    Inverter, Scan,
    models::{Bos, Tap},
};

/// Recovers prompts from hidden states alone.
#[derive(Parser, Debug)]
#[command(version)]
pub(crate) struct Options {
    #[command(flatten)]
    model: ModelArgs,
    /// Compute the states of this text, forget it, recover it
    #[arg(long, conflicts_with_all = ["ids", "states"])]
    text: Option<String>,
    /// The same with token ids, taken exactly as given (no BOS is added)
    #[arg(long, value_delimiter = ',', conflicts_with = "states")]
    ids: Option<Vec<u32>>,
    /// Recover the prompt of states in a file, .safetensors or .npy, one row a position; or every prompt of a store
    #[arg(long, value_name = "FILE_OR_STORE_DIR")]
    states: Option<PathBuf>,
    /// Which column of a file that holds several taps without naming them (from 0)
    #[arg(long, requires = "states")]
    column: Option<usize>,
    /// Where the states are read: embedding, block-N or final-norm [default: as the file says; the deepest of a store; else the
    /// middle block]
    #[arg(long, visible_alias = "taps")]
    tap: Option<Tap>,
    /// Whether BOS stands before the text: auto follows the tokenizer
    #[arg(long, default_value_t = Bos::Auto)]
    bos: Bos,
    #[command(flatten)]
    policy: PolicyArgs,
    /// One JSON object on standard output instead of the table
    #[arg(long)]
    json: bool,
    /// With a store: the file for one JSON object a prompt. Run again with the same options, the program goes on where it stopped
    #[arg(long, value_name = "FILE.jsonl", requires = "states")]
    out: Option<PathBuf>,
}

#[allow(dead_code, reason = "the tests take the program in without its entry")]
fn main() -> ExitCode {
    finish(run(&Options::parse()))
}

pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    match &options.states {
        Some(folder) if folder.is_dir() => store::run(options, folder),
        _ if options.out.is_some() => {
            Err(Failure::new("--out is for the prompts of a store; a single prompt goes to standard output"))
        }
        _ => single::run(options),
    }
}

/// Says what a scan of the whole vocabulary costs, before it begins: to a script too, as it may take hours.
fn announce_scan(inverter: &Inverter<'_>, positions: usize) {
    if inverter.settings().scan == Scan::Whole {
        let cost = inverter.scan_cost(positions);
        let (candidates, operations) = (cost.candidates, operations(cost.flop));
        note(&format!("scanning the whole vocabulary: {candidates} candidates, {operations}"));
    }
}

/// Floating-point operations in a unit that leaves something before the point.
fn operations(flop: f64) -> String {
    match flop >= 1e12 {
        true => format!("{:.1} TFLOP", flop / 1e12),
        false => format!("{:.1} GFLOP", flop / 1e9),
    }
}

fn bar(length: usize, template: &str) -> ProgressBar {
    let bar = ProgressBar::new(length as u64);
    bar.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}

#[cfg(test)]
mod tests {
    use super::operations;

    #[test]
    fn a_small_scan_is_told_in_gflop() {
        let told = [6.6e9, 4.2e7, 9.99e11, 1e12, 2.36e14].map(operations);
        assert_eq!(told, ["6.6 GFLOP", "0.0 GFLOP", "999.0 GFLOP", "1.0 TFLOP", "236.0 TFLOP"]);
    }
}
