//! A value that is kept for one position of a prompt.

/// A value that belongs to one position and is replaced at the next.
#[derive(Clone, Debug)]
pub(super) struct AtPosition<T> {
    held: Option<(usize, T)>,
}

impl<T> Default for AtPosition<T> {
    fn default() -> Self {
        AtPosition { held: None }
    }
}

impl<T> AtPosition<T> {
    /// Returns the value of this position. The first call for a position creates it with `begin`.
    pub(super) fn get_or_begin(&mut self, position: usize, begin: impl FnOnce() -> T) -> &mut T {
        let value = match self.held.take() {
            Some((held, value)) if held == position => value,
            _ => begin(),
        };
        &mut self.held.insert((position, value)).1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_lasts_as_long_as_its_position() {
        let mut counts = AtPosition::default();
        let mut counted = |position| {
            let count = counts.get_or_begin(position, || 0);
            *count += 1;
            *count
        };
        assert_eq!([3, 3, 4, 3].map(&mut counted), [1, 2, 1, 1]);
    }
}
