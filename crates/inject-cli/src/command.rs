//! The command line, and the entry of the program.

use std::{
    error::Error,
    ffi::OsString,
    num::{IntErrorKind, ParseIntError},
    panic::AssertUnwindSafe,
    process::ExitCode,
};

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use clap_complete::Shell;

use crate::{
    compare_policies, depth, extract, interrupt, invert, lens, outcome,
    outcome::{Failure, Outcome},
    output::{self, note},
    panics, random_model, sizes, study, threads, train_tiny, without_effect,
};

/// Recovers prompts from the hidden states of language models, and measures the distances between states.
#[derive(Parser, Debug)]
#[command(name = "inject", version, max_term_width = 110, after_help = format!("{EXAMPLES}\n\n{}", outcome::STATUSES))]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  inject invert
  inject invert --text \"Any sentence.\" --tap block-2
  inject extract --prompts prompts.jsonl --positions all --out states
  inject invert --states states --out recovered.jsonl
  inject study collisions --count 2000";

#[derive(Subcommand, Debug)]
enum Command {
    Invert(Box<invert::Options>),
    Extract(Box<extract::Options>),
    Lens(Box<lens::Options>),
    Depth(Box<depth::Options>),
    ComparePolicies(Box<compare_policies::Options>),
    /// Run a study of the distances between states
    #[command(
        subcommand,
        after_help = "\
Examples:
  inject study collisions --count 2000
  inject study margins --count 100 --out margins"
    )]
    Study(study::Command),
    TrainTiny(Box<train_tiny::Options>),
    RandomModel(Box<random_model::Options>),
    Sizes(sizes::Options),
    /// Print the completions for a shell
    #[command(after_help = "\
Examples:
  inject completions bash > ~/.local/share/bash-completion/completions/inject
  inject completions zsh > ~/.zfunc/_inject
  inject completions fish > ~/.config/fish/completions/inject.fish")]
    Completions {
        /// The shell to write completions for
        shell: Shell,
    },
}

impl Command {
    /// Whether the command computes with states. The others print what they know.
    fn computes(&self) -> bool {
        !matches!(self, Command::Sizes(_) | Command::Completions { .. })
    }
}

/// Runs the program and returns its exit status.
pub fn main() -> ExitCode {
    panics::install();
    interrupt::install();
    threads::on_large_stack(run_to_end)
}

fn run_to_end() -> ExitCode {
    match panics::contained(AssertUnwindSafe(|| run_and_report(std::env::args_os()))) {
        Ok(status) => status,
        Err(payload) => match interrupt::report(payload.as_ref()) {
            Some(status) => ExitCode::from(status),
            None => {
                panics::report(payload.as_ref());
                ExitCode::from(101)
            }
        },
    }
}

fn run_and_report(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let mut program = Cli::command();
    let parsed = program.try_get_matches_from_mut(arguments).and_then(|matches| {
        let cli = Cli::from_arg_matches(&matches).map_err(|error| error.format(&mut program))?;
        Ok((cli, matches))
    });
    let (cli, matches) = match parsed {
        Ok(parsed) => parsed,
        Err(error) => {
            print_usage_error(&error);
            return match output::delivered() {
                _ if error.use_stderr() => ExitCode::from(2),
                Ok(()) => ExitCode::SUCCESS,
                Err(failure) => told(&failure),
            };
        }
    };
    if let Err(failure) = without_effect::refuse(&program, &matches) {
        return told(&failure);
    }
    if cli.command.computes() {
        threads::install();
    }
    let outcome = run(&cli).and_then(|outcome| output::delivered().map(|()| outcome));
    match outcome {
        Ok(outcome) => outcome.into(),
        Err(failure) => told(&failure),
    }
}

/// Reports a failure to the user and returns its exit status.
fn told(failure: &Failure) -> ExitCode {
    note(&format!("error: {failure}"));
    ExitCode::from(failure.status())
}

/// Prints an error of the command line, or the help that was requested. The standard library speaks of Rust's types where a
/// number is expected, so its words are replaced.
fn print_usage_error(error: &clap::Error) {
    let number = error.source().and_then(|cause| cause.downcast_ref::<ParseIntError>());
    let replaced = number.and_then(|cause| match cause.kind() {
        IntErrorKind::Zero => Some((cause, "expected 1 or more")),
        IntErrorKind::InvalidDigit => Some((cause, "expected a whole number")),
        _ => None,
    });
    match replaced {
        Some((cause, words)) => {
            note(error.render().to_string().replace(&cause.to_string(), words).trim_end());
        }
        None => output::written(error.print()),
    }
}

/// Runs the subcommand of a command line.
///
/// # Errors
///
/// [`Failure`] if it cannot be done.
pub fn run(cli: &Cli) -> Result<Outcome, Failure> {
    match &cli.command {
        Command::Invert(options) => invert::run(options),
        Command::Extract(options) => extract::run(options),
        Command::Lens(options) => lens::run(options),
        Command::Depth(options) => depth::run(options),
        Command::ComparePolicies(options) => compare_policies::run(options),
        Command::Study(study) => study::run(study),
        Command::TrainTiny(options) => train_tiny::run(options),
        Command::RandomModel(options) => random_model::run(options),
        Command::Sizes(options) => sizes::run(options),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut Cli::command(), "inject", &mut script);
            output::say(String::from_utf8_lossy(&script).trim_end());
            Ok(Outcome::Complete)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
