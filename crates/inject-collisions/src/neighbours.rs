//! Every row's nearest neighbour.

/// A row's nearest neighbour.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Neighbour {
    /// The neighbour's row, counted from 0.
    pub row: usize,
    /// The distance, computed directly in f64 from the stored rows.
    pub distance: f64,
}

/// The nearest neighbour of every row, and among how many pairs they are.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Neighbours {
    /// One for each row; none for a row that is in no pair that counts. Among equally near rows it is the first.
    pub nearest: Vec<Option<Neighbour>>,
    /// How many pairs count, and so were decided on.
    pub decided: u64,
    /// How many of these were computed directly in f64; a bound excluded the others.
    pub computed: u64,
}

impl Neighbours {
    pub(crate) fn of(rows: usize) -> Self {
        Neighbours { nearest: vec![None; rows], decided: 0, computed: 0 }
    }

    /// Takes the nearest neighbours among other pairs of the same rows into account.
    ///
    /// # Panics
    ///
    /// If the other is about another number of rows.
    pub fn merge(&mut self, other: &Neighbours) {
        assert_eq!(self.nearest.len(), other.nearest.len(), "neighbours of different rows");
        for (row, neighbour) in other.nearest.iter().enumerate() {
            if let Some(neighbour) = neighbour {
                self.push(row, *neighbour);
            }
        }
        self.decided += other.decided;
        self.computed += other.computed;
    }

    /// The smallest distance of all: the global minimum.
    pub fn minimum(&self) -> Option<f64> {
        self.nearest.iter().flatten().map(|neighbour| neighbour.distance).min_by(f64::total_cmp)
    }

    pub(crate) fn push(&mut self, row: usize, neighbour: Neighbour) {
        let held = &mut self.nearest[row];
        let key = |neighbour: Neighbour| (neighbour.distance, neighbour.row);
        if held.is_none_or(|held| key(neighbour) < key(held)) {
            *held = Some(neighbour);
        }
    }
}
