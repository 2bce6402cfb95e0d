//! The share of a file of results.

use std::ops::Range;

use inject_sipit::states::Share;
use serde::{Deserialize, Serialize};

use crate::{number::counted, output::say};

/// The share of the prompts that a file of results is for, as its header says it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ResultShare {
    /// The number of the share, and the number of shares.
    pub(super) share: Share,
    /// The first prompt, from 0.
    pub(super) first_prompt: usize,
    /// The number of prompts of this share.
    pub(super) prompts: usize,
}

impl ResultShare {
    /// The share of prompts that are inverted in groups.
    pub(super) fn of(share: Share, groups: &[Range<usize>]) -> Self {
        let own = &groups[share.range(groups.len())];
        let first_prompt = own.first().map_or(0, |group| group.start);
        let end = own.last().map_or(0, |group| group.end);
        ResultShare { share, first_prompt, prompts: end - first_prompt }
    }

    /// Whether the number of each of its prompts can be counted. A header that was read may say anything.
    pub(super) fn is_possible(&self) -> bool {
        self.first_prompt.checked_add(self.prompts).is_some()
    }

    /// The numbers of the prompts.
    pub(super) fn range(&self) -> Range<usize> {
        self.first_prompt..self.first_prompt + self.prompts
    }

    /// Says that there is nothing to do, if that is so.
    pub(super) fn tell_if_empty(&self, groups: usize) -> bool {
        if self.prompts == 0 {
            say(&self.nothing_to_do(groups));
        }
        self.prompts == 0
    }

    fn nothing_to_do(&self, groups: usize) -> String {
        let (groups, share) = (counted(groups, "group"), self.share);
        format!(
            "share {share} has 0 prompts, nothing to do: shares are whole groups of prompts, and there are {groups}"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_without_prompts_says_why() {
        let share = ResultShare::of("1/3".parse().unwrap(), &[0..256, 256..300]);
        let text = share.nothing_to_do(2);
        assert_eq!(share.prompts, 0);
        assert!(
            text.starts_with("share 1/3 has 0 prompts, nothing to do") && text.contains("2 groups"),
            "{text}"
        );
    }

    #[test]
    fn shares_are_whole_groups_and_all_of_them() {
        let groups = [0..2, 2..5, 5..6, 6..10];
        for of in 1..7 {
            let shares = (0..of).map(|number| ResultShare::of(Share::new(number, of).unwrap(), &groups));
            let prompts: Vec<usize> = shares.flat_map(|share| share.range()).collect();
            assert_eq!(prompts, (0..10).collect::<Vec<_>>(), "{of}");
        }
    }
}
