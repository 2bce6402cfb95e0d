//! States in memory.

use std::ops::Deref;

use ndarray::{Array2, ArrayView2};

/// States in memory, one a row, each row contiguous and one after the other.
///
/// It is read like the [`Array2`] that it dereferences to. Unlike an array it is known to be row-major, so that
/// [`values`](States::values) and [`state`](States::state) cannot fail.
///
/// # Shapes
///
/// `[rows, d_model]`.
///
/// # Example
///
/// ```
/// use inject_states::States;
/// use ndarray::arr2;
///
/// // A transposed array is copied into row-major order.
/// let states = States::from(arr2(&[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]).reversed_axes());
/// assert_eq!(states.dim(), (2, 3));
/// assert_eq!(states.state(1), [2.0, 4.0, 6.0]);
/// assert_eq!(states.values(), [1.0, 3.0, 5.0, 2.0, 4.0, 6.0]);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct States<T = f32>(Array2<T>);

impl<T> States<T> {
    /// Makes states of numbers that lie row by row. Returns `None` if they are not a whole number of rows of `d_model` numbers.
    pub fn from_values(values: Vec<T>, d_model: usize) -> Option<Self> {
        let rows = values.len().checked_div(d_model)?;
        Array2::from_shape_vec((rows, d_model), values).ok().map(States)
    }

    /// Returns the width of a state.
    pub fn d_model(&self) -> usize {
        self.0.ncols()
    }

    /// Returns one state.
    ///
    /// # Panics
    ///
    /// Panics if there is no such row.
    pub fn state(&self, row: usize) -> &[T] {
        assert!(row < self.0.nrows(), "row {row} of {}", self.0.nrows());
        &self.values()[row * self.d_model()..][..self.d_model()]
    }

    /// Returns all numbers, row by row.
    pub fn values(&self) -> &[T] {
        self.0.as_slice().expect("states are row-major")
    }

    /// Returns the states as an array.
    pub fn into_array(self) -> Array2<T> {
        self.0
    }
}

impl States<f32> {
    /// Returns the same numbers in 64 bits.
    pub fn to_f64(&self) -> States<f64> {
        States(self.0.mapv(f64::from))
    }
}

impl<T> Deref for States<T> {
    type Target = Array2<T>;

    fn deref(&self) -> &Array2<T> {
        &self.0
    }
}

impl<T: Clone> From<Array2<T>> for States<T> {
    /// Copies only an array in another memory order.
    fn from(array: Array2<T>) -> Self {
        States(if array.is_standard_layout() { array } else { array.as_standard_layout().into_owned() })
    }
}

impl<T> From<States<T>> for Array2<T> {
    fn from(states: States<T>) -> Self {
        states.0
    }
}

impl<'a, T> From<&'a States<T>> for ArrayView2<'a, T> {
    fn from(states: &'a States<T>) -> Self {
        states.0.view()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_do_not_fill_their_rows_are_refused() {
        assert_eq!(States::from_values(vec![1.0, 2.0, 3.0, 4.0], 2).unwrap().state(1), [3.0, 4.0]);
        assert_eq!(States::from_values(vec![1.0, 2.0, 3.0], 2), None);
        assert_eq!(States::from_values(vec![1.0], 0), None);
    }

    #[test]
    #[should_panic(expected = "row 2 of 2")]
    fn a_row_that_does_not_exist_panics() {
        States::from_values(vec![0.0; 6], 3).unwrap().state(2);
    }
}
