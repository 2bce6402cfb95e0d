//! Numbers that begin at a line of the cache.

use std::ops::{Deref, DerefMut};

/// Numbers in a line of the cache. A vector that is read across two lines takes twice the time.
const LINE: usize = 16;

/// A slice of numbers that begins at a line of the cache.
#[derive(Debug)]
pub(super) struct Lines {
    numbers: Vec<f32>,
    begin: usize,
    len: usize,
}

impl Lines {
    pub(super) fn zeros(len: usize) -> Self {
        let numbers = vec![0.0; len + LINE - 1];
        // An alignment that cannot be reached costs time only.
        let begin = numbers.as_ptr().align_offset(LINE * size_of::<f32>()).min(LINE - 1);
        Lines { numbers, begin, len }
    }
}

impl Deref for Lines {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.numbers[self.begin..][..self.len]
    }
}

impl DerefMut for Lines {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.numbers[self.begin..][..self.len]
    }
}
