//! Rows of a batch computed side by side on several CPU threads.

use std::{num::NonZeroUsize, ops::Range};

use burn::tensor::Tensor;
use rayon::prelude::*;

use super::Decoder;
use crate::tuning::{LANE_FEWEST_ROWS, LANE_MOST_ROWS};

/// The number of parts in which the rows of a batch are computed at once.
///
/// A CPU backend spreads a matrix product over all cores by itself, but not the elementwise work between two products,
/// which takes as long. That work treats each row by itself, so whole groups of rows go to different threads. On a GPU one
/// kernel fills the device, and the right number is one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lanes {
    count: usize,
    /// A function that is called before each part of a pass.
    check: Option<fn()>,
}

impl Decoder {
    /// Returns the same decoder, which computes the rows of a batch in this many parts at once.
    ///
    /// One lane, the default, is right for a GPU. For a CPU backend the number of cores is right: its matrix products use
    /// all cores by themselves, but the elementwise work between the products does not. The number of lanes changes states
    /// by rounding only.
    pub fn with_lanes(self, lanes: NonZeroUsize) -> Self {
        Decoder { lanes: Lanes { count: lanes.get(), ..self.lanes }, ..self }
    }

    /// Returns the same decoder, which calls a function before each block of every pass, and before each part of a long one, on the
    /// threads that compute.
    ///
    /// The function can end a pass by unwinding, as a program does when a signal asks it to stop: the pass over a batch may take
    /// minutes.
    ///
    /// # Example
    ///
    /// ```
    /// use std::panic::{catch_unwind, resume_unwind, AssertUnwindSafe};
    ///
    /// use inject_models::{Logits, Model, Origin, Tap, TokenBatch};
    ///
    /// # let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/llama");
    /// # let device = burn::tensor::Device::flex();
    /// let model = Model::load(Origin::of_folder(&folder), inject_models::Precision::default(), &device)?;
    /// let decoder = model.decoder.with_check(|| resume_unwind(Box::new("stop")));
    /// let prompt = TokenBatch::new(&[[3, 1, 4, 1, 5]])?;
    /// let pass = AssertUnwindSafe(|| decoder.forward(&prompt, &[Tap::Block(2)], Logits::None));
    /// assert_eq!(catch_unwind(pass).unwrap_err().downcast_ref(), Some(&"stop"));
    /// # Ok::<(), inject_models::ModelError>(())
    /// ```
    pub fn with_check(self, check: fn()) -> Self {
        Decoder { lanes: Lanes { check: Some(check), ..self.lanes }, ..self }
    }

    /// Returns the number of parts in which the rows of a batch are computed at once. States computed with another number differ
    /// from these by rounding.
    pub fn lanes(&self) -> usize {
        self.lanes.count
    }

    /// Returns the prompts of a batch that are computed together, part by part. A prompt that is alone in its part is computed as
    /// it would be in a batch of its own.
    pub fn parts(&self, prompts: usize, width: usize) -> Vec<Range<usize>> {
        self.groups(prompts, width).unwrap_or_else(|| std::iter::once(0..prompts).collect())
    }

    /// Groups of prompts that go through the model by themselves. Blocks that are read from the disk each time take all prompts at
    /// once.
    pub(super) fn groups(&self, prompts: usize, width: usize) -> Option<Vec<Range<usize>>> {
        if self.paging.drops() { None } else { self.lanes.groups(prompts, width) }
    }
}

impl Lanes {
    /// One lane, and nothing that is called.
    pub(super) const ONE: Lanes = Lanes { count: 1, check: None };

    /// One lane, with the same function that is called.
    #[cfg(feature = "gradient")]
    pub(super) fn single(self) -> Self {
        Lanes { count: 1, ..self }
    }

    /// Calls the function that may end the pass.
    pub(super) fn check(self) {
        if let Some(check) = self.check {
            check();
        }
    }

    /// Applies `f`, which must treat each row by itself, to groups of rows.
    pub(super) fn map(self, x: Tensor<2>, f: impl Fn(Tensor<2>) -> Tensor<2> + Sync) -> Tensor<2> {
        let Some(groups) = self.groups(x.dims()[0], 1) else { return f(x) };
        let part = |group: &Range<usize>| {
            self.check();
            f(x.clone().narrow(0, group.start, group.len()))
        };
        Tensor::cat(groups.par_iter().map(part).collect(), 0)
    }

    /// As [`Lanes::map`], for two tensors of as many rows.
    pub(super) fn zip(
        self,
        a: Tensor<2>,
        b: Tensor<2>,
        f: impl Fn(Tensor<2>, Tensor<2>) -> Tensor<2> + Sync,
    ) -> Tensor<2> {
        let Some(groups) = self.groups(a.dims()[0], 1) else { return f(a, b) };
        let narrow = |t: &Tensor<2>, group: &Range<usize>| t.clone().narrow(0, group.start, group.len());
        let part = |group: &Range<usize>| {
            self.check();
            f(narrow(&a, group), narrow(&b, group))
        };
        Tensor::cat(groups.par_iter().map(part).collect(), 0)
    }

    /// Applies `f` to groups of `count` things of `rows` rows each.
    pub(super) fn each<T: Send>(
        self,
        count: usize,
        rows: usize,
        f: impl Fn(Range<usize>) -> T + Sync,
    ) -> Vec<T> {
        match self.groups(count, rows) {
            None => vec![f(0..count)],
            Some(groups) => groups.into_par_iter().map(&f).collect(),
        }
    }

    /// Applies `f` to the results of [`Lanes::each`], again at once.
    pub(super) fn over<P: Send, T: Send>(parts: Vec<P>, f: impl Fn(P) -> T + Sync) -> Vec<T> {
        // A single part stays on this thread: a GPU gives each thread a stream of its own.
        match parts.len() {
            1 => parts.into_iter().map(f).collect(),
            _ => parts.into_par_iter().map(&f).collect(),
        }
    }

    /// Divides `count` things of `rows` rows each into groups to be computed at once, unless one group is best.
    pub(super) fn groups(self, count: usize, rows: usize) -> Option<Vec<Range<usize>>> {
        if self.count < 2 {
            return None;
        }
        let total = count * rows;
        let wanted = self.count.max(total.div_ceil(LANE_MOST_ROWS)).min(total / LANE_FEWEST_ROWS).min(count);
        if wanted < 2 {
            return None;
        }
        let size = count.div_ceil(wanted);
        Some((0..count).step_by(size).map(|begin| begin..count.min(begin + size)).collect())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use burn::tensor::Device;

    use super::*;
    use crate::{config::DecoderConfig, decoder::Logits, tap::Tap, tokens::TokenBatch};

    #[test]
    fn groups_cover_every_row_once() {
        for count in 0..700 {
            for lanes in 1..5 {
                let groups = Lanes { count: lanes, ..Lanes::ONE }
                    .groups(count, 3)
                    .unwrap_or_else(|| std::iter::once(0..count).collect());
                let ends: Vec<usize> = groups.iter().map(|group| group.end).collect();
                let begins: Vec<usize> = groups.iter().map(|group| group.start).collect();
                assert_eq!(begins[0], 0);
                assert_eq!(begins[1..], ends[..ends.len() - 1]);
                assert_eq!(ends.last(), Some(&count));
            }
        }
    }

    #[test]
    fn a_function_is_called_before_each_block_and_each_part_of_a_long_prompt() {
        static CALLS: AtomicUsize = AtomicUsize::new(0);
        fn count() {
            CALLS.fetch_add(1, Ordering::SeqCst);
        }

        let text = include_str!("../../tests/fixtures/llama/config.json");
        let decoder = DecoderConfig::parse(text).unwrap().init(0.2, &Device::flex()).with_check(count);
        let n_layers = decoder.config().n_layers();
        let calls = |length: u32, tap: Tap| {
            CALLS.store(0, Ordering::SeqCst);
            let prompt: Vec<u32> = (0..length).map(|at| at % 97).collect();
            decoder.forward(&TokenBatch::new(&[prompt]).unwrap(), &[tap], Logits::None).unwrap();
            CALLS.load(Ordering::SeqCst)
        };
        assert!(calls(2, Tap::FinalNorm) >= n_layers);
        assert_eq!(calls(2, Tap::Embedding), 0);
        // Scores are computed 128 positions at a time.
        assert!(calls(1280, Tap::Block(1)) > 10);
    }
}
