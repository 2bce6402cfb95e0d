//! The facts about rows that options can state, and so the commands that can be suggested.

use inject_sipit::{TargetStates, models::Tap};

/// Whether options describe the rows of the states. Only those that the program accepts for the same states are suggested.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::invert) enum Describable {
    /// None does: the rows are those of a prompt among many.
    Not,
    /// The order of the rows is looked for.
    Shuffled,
    /// The order of the coordinates is looked for. Whether an option names the format that the states were computed in.
    Permuted { format_named: bool },
    /// The rows are those of one prompt, in its order.
    Rows {
        /// The positions before the first row. `--missing` counts from the first row.
        before: usize,
        /// The positions without a row, counted from the first position. None if the file numbers its rows, which rules `--missing` out.
        missing: Option<Vec<usize>>,
        /// Whether the tap was found from the states, so that `--tap auto` finds no other.
        tap_found: bool,
    },
}

impl Describable {
    /// The rows of one prompt.
    pub(in crate::invert) fn of(target: &TargetStates, numbered: bool, tap_found: bool) -> Self {
        let missing = (!numbered).then(|| target.missing().to_vec());
        Describable::Rows { before: target.computed(), missing, tap_found }
    }

    /// The advice where a row before this position may be missing, or the order may be another.
    pub(super) fn with_gap_or_shuffled(&self, at: usize, tap: Tap) -> String {
        let options: Vec<String> = self.missing(at).into_iter().chain(self.shuffled(tap)).collect();
        if options.is_empty() { String::new() } else { format!(", and try {}", options.join(" or ")) }
    }

    /// The advice where the tap or the order may be another.
    pub(super) fn at_other_tap_or_shuffled(&self, tap: Tap) -> String {
        let at_other_tap = matches!(self, Describable::Rows { tap_found: false, .. });
        let at_other_tap = at_other_tap.then(|| "--tap auto".to_owned());
        let options: Vec<String> = at_other_tap.into_iter().chain(self.shuffled(tap)).collect();
        if options.is_empty() { String::new() } else { format!(": try {}", options.join(" or ")) }
    }

    /// The advice where noise may explain the states although none was estimated: the values of permuted states may not show their format.
    pub(super) fn without_noise(&self) -> &'static str {
        match self {
            Describable::Permuted { format_named: false } => {
                ". If the states were computed in 16 bits, try --computed-in bf16 or f16: the values show it only if they were stored so"
            }
            _ => "",
        }
    }

    /// The words on weights that differ from those given.
    pub(super) fn other_weights(&self) -> String {
        match self {
            Describable::Permuted { .. } => {
                format!(
                    "rounded weights are not tried where coordinates are permuted{}",
                    self.without_noise()
                )
            }
            _ => "weights rounded to 8 or 4 bits are tried unless --computed-in excludes them".to_owned(),
        }
    }

    /// The option for a missing row at a position, with the rows that are known to be missing.
    fn missing(&self, at: usize) -> Option<String> {
        let Describable::Rows { before, missing: Some(missing), .. } = self else { return None };
        let mut positions = missing.clone();
        positions.push(at);
        positions.sort_unstable();
        let positions: Vec<String> =
            positions.iter().filter_map(|at| Some(at.checked_sub(*before)?.to_string())).collect();
        Some(format!("--missing {}", positions.join(",")))
    }

    /// The option for rows in unknown order, which needs the tap, and all rows.
    fn shuffled(&self, tap: Tap) -> Option<String> {
        match self {
            Describable::Rows { missing: Some(missing), .. } if missing.is_empty() => {
                Some(format!("--order shuffled --tap {tap}"))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_row_is_counted_from_the_first_row_beside_those_known() {
        let (tap, at) = (Tap::Block(3), 6);
        let advice = |before, missing: &[usize]| {
            let rows = Describable::Rows { before, missing: Some(missing.to_vec()), tap_found: false };
            rows.with_gap_or_shuffled(at, tap)
        };
        assert_eq!(advice(0, &[]), ", and try --missing 6 or --order shuffled --tap block-3");
        assert_eq!(advice(2, &[]), ", and try --missing 4 or --order shuffled --tap block-3");
        assert_eq!(advice(2, &[8, 3]), ", and try --missing 1,4,6");
    }

    #[test]
    fn no_option_is_suggested_where_none_is_accepted() {
        let tap = Tap::Block(3);
        let rows = |missing, tap_found| Describable::Rows { before: 2, missing, tap_found };
        let numbered = rows(None, false);
        assert_eq!(numbered.with_gap_or_shuffled(6, tap), "");
        assert_eq!(numbered.at_other_tap_or_shuffled(tap), ": try --tap auto");
        assert_eq!(rows(None, true).at_other_tap_or_shuffled(tap), "");
        let all_there = rows(Some(Vec::new()), true);
        assert_eq!(all_there.at_other_tap_or_shuffled(tap), ": try --order shuffled --tap block-3");
        assert_eq!(Describable::Not.with_gap_or_shuffled(6, tap), "");
        assert_eq!(Describable::Not.at_other_tap_or_shuffled(tap), "");
    }
}
