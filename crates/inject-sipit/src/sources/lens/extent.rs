//! How far a draft reaches, and how many alternatives accompany it.

use crate::tuning::{DRAFT_ALTERNATIVES, DRAFT_ROWS_OF_A_REPAIR};

/// The extent of a draft, by the cost of its pass and of a repair. Costs are in rows of a pass.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Extent {
    /// The positions of a draft at least, whatever is likely: a shorter pass costs nearly as much.
    pub(super) shortest: usize,
    /// The probability from which an alternative is worth its row.
    pub(super) worth_a_row: f64,
    /// The alternatives at most.
    pub(super) alternatives: usize,
}

impl Extent {
    /// Returns the extent of drafts where the fixed cost of a pass is that of `of_a_pass` rows.
    ///
    /// That cost is counted and not timed, so that a prompt is searched in the same way on every run.
    pub(super) fn of(of_a_pass: f64) -> Self {
        let repair = of_a_pass + DRAFT_ROWS_OF_A_REPAIR;
        Extent {
            shortest: of_a_pass.ceil() as usize,
            worth_a_row: 1.0 / repair,
            alternatives: (DRAFT_ALTERNATIVES * repair).round() as usize,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drafts_are_longer_and_have_more_alternatives_where_a_pass_costs_more() {
        // Weights of 16 bits in memory, and on a disk.
        let in_memory = Extent::of(8.0);
        assert_eq!((in_memory.shortest, in_memory.alternatives), (8, 32));
        assert!((in_memory.worth_a_row - 0.02).abs() < 1e-12, "{in_memory:?}");
        let on_disk = Extent::of(140.0);
        assert_eq!((on_disk.shortest, on_disk.alternatives), (140, 116));
        assert!((on_disk.worth_a_row - 1.0 / 182.0).abs() < 1e-12, "{on_disk:?}");
    }
}
