//! Numbers that begin at a line of the cache.

use std::{
    cell::RefCell,
    ops::{Deref, DerefMut},
};

/// Numbers in a line of the cache. A vector that is read across two lines takes twice the time.
const LINE: usize = 16;

/// A slice of numbers that begins at a line of the cache.
#[derive(Debug)]
pub(super) struct Lines {
    numbers: Vec<f32>,
    begin: usize,
    len: usize,
}

thread_local! {
    static ROOM: RefCell<Lines> = const { RefCell::new(Lines { numbers: Vec::new(), begin: 0, len: 0 }) };
}

/// Lends room for some numbers to a computation, which must not ask for more. The thread keeps it for the next one.
pub(super) fn with_room<T>(len: usize, compute: impl FnOnce(&mut [f32]) -> T) -> T {
    ROOM.with_borrow_mut(|room| {
        if room.len < len {
            *room = Lines::zeros(len);
        }
        compute(&mut room[..len])
    })
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
