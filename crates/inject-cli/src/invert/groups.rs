//! Groups of prompts that are inverted together.

use std::ops::Range;

use inject_sipit::{Inverter, settings::Scan};

use crate::options::{PolicyKind, PolicyOptions};

/// Floating-point operations of one group: some seconds of two cores of a CPU. A kill loses no more than a group.
/// Not compared with other values.
const GROUP_FLOP: f64 = 4e11;

/// The most prompts of one group. More of them would not make the shared forward passes larger.
const MOST_PROMPTS: usize = 256;

/// The most tokens of one group, which bounds the memory for its states where they cost next to nothing.
const MOST_TOKENS: usize = 1 << 14;

/// States computed for each position where a lens drafts the prompt: the draft, and some of it again after a token it missed.
/// `inject invert --states STORE --lens LENSES --out FILE` prints the number of a model.
const WITH_LENS: f64 = 4.0;

/// States computed for each position by a search without calibration, after the first prompts, which it learns from. The same command
/// without a lens prints the number.
const WITHOUT_LENS: f64 = 16.0;

/// The tokens of the first prompts, in groups, from which sources learn for all others. A continued run recovers these
/// prompts again for it, so that it finds what an uninterrupted one finds. Not compared with other values.
const TEACHING: usize = 4;

/// The limits of one group.
#[derive(Clone, Copy, Debug)]
pub(super) struct GroupLimits {
    prompts: usize,
    tokens: usize,
}

impl GroupLimits {
    pub(super) fn of(inverter: &Inverter<'_>, policy: &PolicyOptions) -> Self {
        let config = inverter.decoder().config();
        let by_lens = policy.lens.is_some() && matches!(policy.policy, PolicyKind::Auto | PolicyKind::Lens);
        let states = match inverter.settings().scan {
            Scan::Whole => config.vocab_size as f64,
            _ if by_lens => WITH_LENS,
            _ => WITHOUT_LENS,
        };
        let tokens = GROUP_FLOP / (states * config.flops_per_token(inverter.tap())).max(1.0);
        // Each prompt is charged an equal part of the time of a common pass, however long the prompt is.
        let alone = inverter.settings().budget.time.is_some();
        GroupLimits {
            prompts: if alone { 1 } else { MOST_PROMPTS },
            tokens: (tokens as usize).min(MOST_TOKENS),
        }
    }

    /// Whether sources learn from a group that begins after this many tokens.
    pub(super) fn teaches(self, tokens_before: usize) -> bool {
        tokens_before < TEACHING * self.tokens.max(1)
    }

    /// Prompts of these lengths as groups of neighbours, each of at least one prompt. They depend on nothing else, so a run that
    /// was interrupted continues with the same groups.
    pub(super) fn groups(self, lens: impl Iterator<Item = usize>) -> Vec<Range<usize>> {
        let mut groups: Vec<Range<usize>> = Vec::new();
        let mut tokens = 0;
        for (prompt, len) in lens.enumerate() {
            tokens += len;
            match groups.last_mut() {
                Some(group) if tokens <= self.tokens && group.len() < self.prompts => group.end += 1,
                _ => {
                    groups.push(prompt..prompt + 1);
                    tokens = len;
                }
            }
        }
        groups
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_neighbours_within_the_limits_and_hold_at_least_one_prompt() {
        let limits = GroupLimits { prompts: 3, tokens: 10 };
        let groups = limits.groups([4, 6, 1, 50, 2, 2, 2, 2].into_iter());
        assert_eq!(groups, [0..2, 2..3, 3..4, 4..7, 7..8]);
        assert!(limits.groups(std::iter::empty()).is_empty());
    }

    #[test]
    fn the_first_groups_teach() {
        let limits = GroupLimits { prompts: 3, tokens: 10 };
        assert_eq!([0, 39, 40].map(|before| limits.teaches(before)), [true, true, false]);
        assert!(GroupLimits { prompts: 1, tokens: 0 }.teaches(0));
    }

    #[test]
    fn no_limit_is_too_small_for_one_prompt() {
        let groups = GroupLimits { prompts: 1, tokens: 0 }.groups([1, 9].into_iter());
        assert_eq!(groups, [0..1, 1..2]);
    }
}
