//! The nearest neighbour of every row.

/// The nearest neighbour of a row.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub struct Neighbour {
    /// The row of the neighbour, counted from 0.
    pub row: usize,
    /// The distance, computed directly in f64 from the stored rows.
    pub distance: f64,
}

impl Neighbour {
    /// Creates a neighbour from its row and distance.
    pub const fn new(row: usize, distance: f64) -> Self {
        Neighbour { row, distance }
    }

    /// Whether it is nearer, or as near and the earlier row.
    pub(crate) fn is_before(&self, other: &Neighbour) -> bool {
        (self.distance, self.row) < (other.distance, other.row)
    }
}

/// The nearest neighbour of every row.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub struct NearestNeighbours {
    /// The neighbour of each row. Among equally near rows it is the first. `None` if no pair with the row counts.
    pub nearest: Vec<Option<Neighbour>>,
    /// The number of pairs that count. All of them were examined.
    pub decided: u64,
    /// The number of distances computed directly in f64. The remaining pairs were excluded by bounds.
    pub computed: u64,
}

impl NearestNeighbours {
    pub(crate) fn of(rows: usize) -> Self {
        NearestNeighbours { nearest: vec![None; rows], decided: 0, computed: 0 }
    }

    /// Returns the smallest distance of all: the global minimum.
    pub fn minimum(&self) -> Option<f64> {
        self.nearest.iter().flatten().map(|neighbour| neighbour.distance).min_by(f64::total_cmp)
    }

    pub(crate) fn push(&mut self, row: usize, neighbour: Neighbour) {
        let held = &mut self.nearest[row];
        if held.is_none_or(|held| neighbour.is_before(&held)) {
            *held = Some(neighbour);
        }
    }
}
