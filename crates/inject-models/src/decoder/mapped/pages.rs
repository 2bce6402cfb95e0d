//! The pages of a mapped matrix: read ahead of their use, and given back after it.

#[cfg(unix)]
use std::ops::Range;

#[cfg(unix)]
use memmap2::{Advice, Mmap};

use super::Mapped;
#[cfg(unix)]
use super::Matrix;

impl Mapped {
    /// Asks the system to read the matrix into memory, in the order in which it is in its files.
    pub(in crate::decoder) fn read_ahead(&self) {
        // Linux reads no more than a window at a time, whatever is asked for. This is the smallest usual one.
        #[cfg(unix)]
        const WINDOW: usize = 128 << 10;
        #[cfg(unix)]
        for (map, bytes) in self.0.places() {
            for begin in bytes.clone().step_by(WINDOW) {
                // A system that does not do so reads the pages when they are used.
                let _ = map.advise_range(Advice::WillNeed, begin, WINDOW.min(bytes.end - begin));
            }
        }
    }

    /// Tells the system that the matrix is not needed for a while, so that its pages are the first to make room.
    pub(in crate::decoder) fn drop_pages(&self) {
        #[cfg(target_os = "linux")]
        for (map, bytes) in self.0.places() {
            // Whole pages only: the ends belong to the neighbours too.
            const PAGE: usize = 64 << 10;
            let (begin, end) = (bytes.start.next_multiple_of(PAGE), bytes.end / PAGE * PAGE);
            if begin < end {
                // SAFETY: the range is in the map, and begins at a page. The pages are read from the file again when they are used.
                unsafe {
                    libc::madvise(map.as_ptr().add(begin).cast_mut().cast(), end - begin, libc::MADV_PAGEOUT)
                };
            }
        }
    }
}

#[cfg(unix)]
impl Matrix {
    /// The places of the matrix in its files, in their order there. Neighbours are one place.
    fn places(&self) -> Vec<(&Mmap, Range<usize>)> {
        let mut places: Vec<(&Mmap, Range<usize>)> = match self {
            Matrix::Plain(plain) => plain.places().collect(),
            Matrix::Coded(coded) => coded.places().collect(),
        };
        places.sort_by_key(|(map, bytes)| (map.as_ptr(), bytes.start));
        places.dedup_by(|(map, bytes), (map_before, before)| {
            let adjoins = map.as_ptr() == map_before.as_ptr() && bytes.start == before.end;
            if adjoins {
                before.end = bytes.end;
            }
            adjoins
        });
        places
    }
}
