//! Options that would have no effect beside the others of a command line. They are refused: whoever gives one expects something of it.
//!
//! clap's `requires` is not enough for this. It is waived where the required option conflicts with one that is given.

use clap::{Arg, ArgMatches, Command, ValueEnum, parser::ValueSource};

use crate::{options::PolicyKind, outcome::Failure};

/// The need of some options.
struct Rule {
    /// The commands that it holds for, separated by spaces. None means all of them.
    commands: &'static str,
    options: Options,
    /// The condition under which they have an effect, in words.
    needs: &'static str,
    is_met: fn(Given<'_>) -> bool,
}

/// Ids of options, separated by spaces.
enum Options {
    These(&'static str),
    AllBut(&'static str),
}
use Options::{AllBut, These};

const fn rule(
    commands: &'static str,
    options: Options,
    needs: &'static str,
    is_met: fn(Given<'_>) -> bool,
) -> Rule {
    Rule { commands, options, needs, is_met }
}

const RULES: &[Rule] = &[
    rule("", These("field max_prompt_bytes skip"), "--prompts", |given| given.has("prompts")),
    rule("extract", These("prompt_seed"), "--generate", |given| given.has("generate")),
    rule(
        "collisions exhaustive margins precision stress",
        These("prompt_seed"),
        "generated text, without --prompts and --prompt-ids",
        |given| !given.has_prompts(),
    ),
    rule(
        "depth compare-policies",
        These("prompt_seed"),
        "generated text or random tokens, without --prompts and --prompt-ids or with --random above 0",
        |given| !given.has_prompts() || given.values("random") != ["0"],
    ),
    rule("depth", These("margin_rivals"), "--noise-share", |given| given.has("noise_share")),
    rule("depth", These("skip_checksums"), "--lens", |given| given.has("lens")),
    rule(
        "compare-policies",
        These("seed"),
        "random, gradient, gradient-released or hard-prompts among --policies",
        |given| {
            let named = given.values("policies");
            let draws = |name: &String| PolicyKind::from_str(name, false).is_ok_and(PolicyKind::draws);
            named.is_empty() || named.iter().any(draws)
        },
    ),
    rule(
        "invert",
        AllBut("merge out json"),
        "a run without --merge, which only puts results together",
        |given| !given.has("merge"),
    ),
    rule("extract", AllBut("merge out"), "a run without --merge, which only puts states together", |given| {
        !given.has("merge")
    }),
    rule(
        "invert",
        These(
            "column tensor axes row ignore_mask prefix_ids prefix missing order coordinates chat_template share",
        ),
        "--states",
        |given| given.has("states"),
    ),
    rule("invert", These("out"), "--states or --merge", |given| given.has("states") || given.has("merge")),
    rule("invert", These("skip_checksums"), "--states with a store, or --lens", |given| {
        given.has("states") || given.has("lens")
    }),
    rule("invert", These("system"), "--chat-template", |given| given.has("chat_template")),
    rule("invert", These("tap"), "--states to be found from, where it is auto", |given| {
        given.has("states") || given.values("tap") != ["auto"]
    }),
    rule(
        "invert",
        These("policy lens snap seed"),
        "rows in a known order: --order shuffled has a search of its own",
        |given| given.values("order") != ["shuffled"],
    ),
    rule("precision", These("pairs_of"), "--parts formats", |given| given.has_part(&["formats"])),
    rule("precision", These("count every directions dimensions"), "--parts decoding", |given| {
        given.has_part(&["decoding"])
    }),
    rule(
        "precision",
        These("whole whole_taps noise lens rivals max_candidates"),
        "--parts recovery",
        |given| given.has_part(&["recovery"]),
    ),
    rule(
        "precision",
        These("taps"),
        "--parts formats or decoding, where --whole-taps names those of recovery",
        |given| given.has_part(&["formats", "decoding"]) || !given.has("whole_taps"),
    ),
    rule("training", These("steps probes"), "--parts training", |given| given.has_part(&["training"])),
    rule("training", These("width layers windows"), "--parts training or degenerate", |given| {
        given.has_part(&["training", "degenerate"])
    }),
    rule("training", These("count"), "--parts training or random", |given| {
        given.has_part(&["training", "random"])
    }),
    rule("training", These("widths depths"), "--parts random", |given| given.has_part(&["random"])),
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
        let is_listed = |ids: &str| ids.split(' ').any(|id| option.get_id() == id);
        let is_meant = match self.options {
            These(options) => is_listed(options),
            AllBut(others) => !is_listed(others),
        };
        is_meant && self.is_about(command)
    }

    fn is_about(&self, command: &str) -> bool {
        self.commands.is_empty() || self.commands.split(' ').any(|own| own == command)
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
            let names = rule.commands.split(' ').filter(|name| !name.is_empty());
            for name in names.clone() {
                assert!(commands.iter().any(|command| command.get_name() == name), "{name}");
            }
            let (These(options) | AllBut(options)) = rule.options;
            for option in options.split(' ') {
                let concerned = commands.iter().filter(|command| rule.is_about(command.get_name()));
                let has = |command: &&&Command| command.get_arguments().any(|own| own.get_id() == option);
                let having = concerned.clone().filter(has).count();
                let expected = if names.clone().count() == 0 { 1 } else { concerned.count() };
                assert!(having >= expected, "{option}: {}", rule.needs);
            }
        }
    }
}
