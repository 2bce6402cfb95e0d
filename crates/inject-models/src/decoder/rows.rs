//! The rows of one pass: which positions they have.

use std::iter;

use burn::tensor::Tensor;

use crate::host::indices;

/// The rows that go through the blocks together.
///
/// Each sequence of the batch continues `held` cached positions by a run of consecutive positions. Beside the run of a
/// single sequence there may be further rows, each in the place of one position of the run: such a row sees the
/// positions before its place and itself, and no other row sees it. Candidates for the next position are rows beside an
/// empty run.
///
/// A tensor `[rows, width]` holds the runs, one sequence after another, and then the rows beside them.
#[derive(Clone, Debug)]
pub(super) struct Rows {
    batch: usize,
    held: usize,
    run: usize,
    beside: usize,
    /// The place in the run of each row beside it, or the one place of them all.
    places: Vec<usize>,
    sequence_len: usize,
}

impl Rows {
    /// Runs of `run` positions after `held` positions, in sequences of `sequence_len` positions in all.
    pub(super) fn runs(batch: usize, held: usize, run: usize, sequence_len: usize) -> Self {
        Rows { batch, held, run, beside: 0, places: Vec::new(), sequence_len }
    }

    /// The same runs with one more row in each of these places of the run.
    pub(super) fn with_alternatives(self, places: Vec<usize>) -> Self {
        Rows { beside: places.len(), places, ..self }
    }

    /// `count` candidates for the position after `held` positions of one sequence.
    pub(super) fn candidates(held: usize, count: usize, sequence_len: usize) -> Self {
        Rows { batch: 1, held, run: 0, beside: count, places: vec![0], sequence_len }
    }

    /// Sequences computed side by side.
    pub(super) fn batch(&self) -> usize {
        self.batch
    }

    /// Positions of each sequence before its run.
    pub(super) fn held(&self) -> usize {
        self.held
    }

    /// The number of positions in each run.
    pub(super) fn run(&self) -> usize {
        self.run
    }

    /// Rows of all runs together.
    pub(super) fn in_runs(&self) -> usize {
        self.batch * self.run
    }

    /// The number of rows of the whole pass, in runs and beside them.
    pub(super) fn len(&self) -> usize {
        self.in_runs() + self.beside
    }

    /// The number of rows beside the runs: candidates or alternatives.
    pub(super) fn beside(&self) -> usize {
        self.beside
    }

    /// The place of each row beside the run, or a single place if they all share it.
    pub(super) fn places(&self) -> &[usize] {
        &self.places
    }

    /// The number of consecutive positions, from `held` on, that some row has.
    pub(super) fn positions(&self) -> usize {
        self.places.iter().map(|place| place + 1).chain(iter::once(self.run)).max().unwrap_or(0)
    }

    /// The length of each whole sequence.
    pub(super) fn sequence_len(&self) -> usize {
        self.sequence_len
    }

    /// The rows of the runs and the rows beside them, if any.
    pub(super) fn split(&self, rows: Tensor<2>) -> (Option<Tensor<2>>, Option<Tensor<2>>) {
        match (self.in_runs(), self.beside) {
            (_, 0) => (Some(rows), None),
            (0, _) => (None, Some(rows)),
            (runs, beside) => (Some(rows.clone().narrow(0, 0, runs)), Some(rows.narrow(0, runs, beside))),
        }
    }

    /// Adds its position to each row.
    ///
    /// # Shapes
    ///
    /// `states` is `[rows, d_model]`, and so is the result; `table` is `[max_len, d_model]`.
    pub(super) fn add_positions(&self, states: Tensor<2>, table: Tensor<2>) -> Tensor<2> {
        let d_model = states.dims()[1];
        let (runs, beside) = self.split(states);
        let runs = runs.map(|states| {
            let positions = table.clone().narrow(0, self.held, self.run).unsqueeze::<3>(); // [1, run, d_model]
            let states = states.reshape([self.batch, self.run, d_model]) + positions;
            states.reshape([self.in_runs(), d_model])
        });
        let beside = beside.map(|states| {
            let positions: Vec<usize> = self.places.iter().map(|place| self.held + place).collect();
            let positions = indices(&positions, &table.device());
            states + table.select(0, positions) // one position for each row, or for all of them
        });
        concatenate(runs, beside)
    }
}

/// The rows of the runs, followed by the rows beside them.
pub(super) fn concatenate(runs: Option<Tensor<2>>, beside: Option<Tensor<2>>) -> Tensor<2> {
    let mut parts: Vec<_> = runs.into_iter().chain(beside).collect();
    match parts.len() {
        1 => parts.remove(0),
        _ => Tensor::cat(parts, 0),
    }
}
