//! Options that would have no effect beside the others of a command line. They are refused: whoever gives one expects something of it.
//!
//! clap's `requires` is not enough for this. It is waived where the required option conflicts with one that is given.

use clap::{Arg, ArgMatches, Command, ValueEnum, parser::ValueSource};

use crate::{options::PolicyKind, outcome::Failure};

/// The need of some options.
struct Rule {
    /// The commands that it holds for. None means all of them.
    commands: &'static [&'static str],
    options: Options,
    /// The condition under which they have an effect, in words.
    needs: &'static str,
    is_met: fn(Given<'_>) -> bool,
}

enum Options {
    These(&'static [&'static str]),
    AllBut(&'static [&'static str]),
}
use Options::{AllBut, These};

const RULES: &[Rule] = &[
    Rule {
        commands: &[],
        options: These(&["field", "skip"]),
        needs: "--prompts",
        is_met: |given| given.has("prompts"),
    },
    Rule {
        commands: &["extract"],
        options: These(&["prompt_seed"]),
        needs: "--generate",
        is_met: |given| given.has("generate"),
    },
    Rule {
        commands: &["collisions", "exhaustive", "margins", "precision", "stress"],
        options: These(&["prompt_seed"]),
        needs: "generated text, without --prompts and --prompt-ids",
        is_met: |given| !given.has_prompts(),
    },
    Rule {
        commands: &["depth", "compare-policies"],
        options: These(&["prompt_seed"]),
        needs: "generated text or random tokens, without --prompts and --prompt-ids or with --random above 0",
        is_met: |given| !given.has_prompts() || given.values("random") != ["0"],
    },
    Rule {
        commands: &["depth"],
        options: These(&["margin_rivals"]),
        needs: "--noise-share",
        is_met: |given| given.has("noise_share"),
    },
    Rule {
        commands: &["depth"],
        options: These(&["skip_checksums"]),
        needs: "--lens",
        is_met: |given| given.has("lens"),
    },
    Rule {
        commands: &["compare-policies"],
        options: These(&["seed"]),
        needs: "random, gradient, gradient-released or hard-prompts among --policies",
        is_met: |given| {
            let named = given.values("policies");
            let draws = |name: &String| PolicyKind::from_str(name, false).is_ok_and(PolicyKind::draws);
            named.is_empty() || named.iter().any(draws)
        },
    },
    Rule {
        commands: &["invert"],
        options: AllBut(&["merge", "out", "json"]),
        needs: "a run without --merge, which only puts results together",
        is_met: |given| !given.has("merge"),
    },
    Rule {
        commands: &["extract"],
        options: AllBut(&["merge", "out"]),
        needs: "a run without --merge, which only puts states together",
        is_met: |given| !given.has("merge"),
    },
    Rule {
        commands: &["invert"],
        options: These(&[
            "column",
            "tensor",
            "axes",
            "row",
            "ignore_mask",
            "prefix_ids",
            "prefix",
            "missing",
            "order",
            "coordinates",
            "chat_template",
            "share",
        ]),
        needs: "--states",
        is_met: |given| given.has("states"),
    },
    Rule {
        commands: &["invert"],
        options: These(&["out"]),
        needs: "--states or --merge",
        is_met: |given| given.has("states") || given.has("merge"),
    },
    Rule {
        commands: &["invert"],
        options: These(&["skip_checksums"]),
        needs: "--states with a store, or --lens",
        is_met: |given| given.has("states") || given.has("lens"),
    },
    Rule {
        commands: &["invert"],
        options: These(&["system"]),
        needs: "--chat-template",
        is_met: |given| given.has("chat_template"),
    },
    Rule {
        commands: &["invert"],
        options: These(&["tap"]),
        needs: "--states to be found from, where it is auto",
        is_met: |given| given.has("states") || given.values("tap") != ["auto"],
    },
    Rule {
        commands: &["invert"],
        options: These(&["policy", "lens", "snap", "seed"]),
        needs: "rows in a known order: --order shuffled has a search of its own",
        is_met: |given| given.values("order") != ["shuffled"],
    },
    Rule {
        commands: &["precision"],
        options: These(&["pairs_of"]),
        needs: "--parts formats",
        is_met: |given| given.has_part(&["formats"]),
    },
    Rule {
        commands: &["precision"],
        options: These(&["count", "every", "directions", "dimensions"]),
        needs: "--parts decoding",
        is_met: |given| given.has_part(&["decoding"]),
    },
    Rule {
        commands: &["precision"],
        options: These(&["whole", "whole_taps", "noise", "lens", "rivals", "max_candidates"]),
        needs: "--parts recovery",
        is_met: |given| given.has_part(&["recovery"]),
    },
    Rule {
        commands: &["precision"],
        options: These(&["taps"]),
        needs: "--parts formats or decoding, where --whole-taps names those of recovery",
        is_met: |given| given.has_part(&["formats", "decoding"]) || !given.has("whole_taps"),
    },
    Rule {
        commands: &["training"],
        options: These(&["steps", "probes"]),
        needs: "--parts training",
        is_met: |given| given.has_part(&["training"]),
    },
    Rule {
        commands: &["training"],
        options: These(&["width", "layers", "windows"]),
        needs: "--parts training or degenerate",
        is_met: |given| given.has_part(&["training", "degenerate"]),
    },
    Rule {
        commands: &["training"],
        options: These(&["count"]),
        needs: "--parts training or random",
        is_met: |given| given.has_part(&["training", "random"]),
    },
    Rule {
        commands: &["training"],
        options: These(&["widths", "depths"]),
        needs: "--parts random",
        is_met: |given| given.has_part(&["random"]),
    },
];

/// The options of one command that stand on the command line.
#[derive(Clone, Copy)]
struct Given<'a>(&'a ArgMatches);

impl Given<'_> {
    /// Whether the user gave an option.
    fn has(self, id: &str) -> bool {
        self.0.try_contains_id(id).is_ok() && self.0.value_source(id) == Some(ValueSource::CommandLine)
    }

    fn has_prompts(self) -> bool {
        self.has("prompts") || self.has("prompt_ids")
    }

    /// The values of an option as they were written, or its default.
    fn values(self, id: &str) -> Vec<String> {
        let values = self.0.try_get_raw(id).ok().flatten();
        values.into_iter().flatten().map(|value| value.to_string_lossy().into_owned()).collect()
    }

    /// Whether a study runs one of some parts.
    fn has_part(self, parts: &[&str]) -> bool {
        self.values("parts").iter().any(|part| parts.contains(&part.as_str()))
    }
}

impl Rule {
    fn holds_for(&self, command: &str, option: &Arg) -> bool {
        let id = option.get_id().as_str();
        let is_among = match self.options {
            These(options) => options.contains(&id),
            AllBut(others) => !others.contains(&id),
        };
        is_among && (self.commands.is_empty() || self.commands.contains(&command))
    }
}

/// Refuses the options of a command line that would have no effect.
///
/// # Errors
///
/// [`Failure`] that names the first of them and what it needs.
pub(crate) fn refuse(program: &Command, matches: &ArgMatches) -> Result<(), Failure> {
    let (mut command, mut matches) = (program, matches);
    while let Some((name, of_subcommand)) = matches.subcommand() {
        let Some(subcommand) = command.find_subcommand(name) else { break };
        (command, matches) = (subcommand, of_subcommand);
    }
    let given = Given(matches);
    for option in command.get_arguments().filter(|option| given.has(option.get_id().as_str())) {
        let mut rules = RULES.iter().filter(|rule| rule.holds_for(command.get_name(), option));
        if let (Some(rule), Some(name)) = (rules.find(|rule| !(rule.is_met)(given)), option.get_long()) {
            return Err(Failure::usage(format!("--{name} needs {}", rule.needs)));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::command::Cli;

    /// The commands that compute, with those below `study`.
    fn commands(program: &Command) -> Vec<&Command> {
        let below = |command| std::iter::once(command).chain(Command::get_subcommands(command));
        program.get_subcommands().flat_map(below).collect()
    }

    #[test]
    fn every_rule_is_about_options_that_exist() {
        let program = Cli::command();
        let commands = commands(&program);
        for rule in RULES {
            for name in rule.commands {
                assert!(commands.iter().any(|command| command.get_name() == *name), "{name}");
            }
            let (These(options) | AllBut(options)) = rule.options;
            for option in options {
                let concerned = commands.iter().filter(|command| {
                    rule.commands.is_empty() || rule.commands.contains(&command.get_name())
                });
                let has = |command: &&Command| command.get_arguments().any(|own| own.get_id() == *option);
                let having: Vec<bool> = concerned.map(has).collect();
                let expected = if rule.commands.is_empty() { 1 } else { having.len() };
                assert!(
                    having.into_iter().filter(|has| *has).count() >= expected,
                    "{option}: {}",
                    rule.needs
                );
            }
        }
    }
}
