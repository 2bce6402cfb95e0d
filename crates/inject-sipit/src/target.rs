//! The states to invert.

mod change;
mod given;
mod grid;
mod missing;
mod rows;

use std::path::Path;

use self::change::Stored;
use crate::{
    error::InvertError,
    models::{Decoder, FloatFormat, ModelError, Tap},
    states::{
        foreign::{ColumnChoice, StatesFile},
        prompt_states,
    },
    transformation::Transformation,
};
use burn::tensor::{Tensor, TensorData};
use ndarray::{Array2, ArrayView2};

/// The states of one prompt at one tap, position by position: the input of an inversion.
///
/// # Example
///
/// ```
/// use inject_sipit::{TargetStates, models::{Tap, FloatFormat}, ndarray::array};
///
/// let states = array![[0.5, -1.0, 2.0], [0.25, 0.0, 3.0]];
/// let target = TargetStates::new(states, Tap::Block(3), FloatFormat::F16)?;
/// assert_eq!((target.positions(), target.d_model()), (2, 3));
/// # Ok::<(), inject_sipit::InvertError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct TargetStates {
    states: Array2<f64>,
    tap: Tap,
    dtype: FloatFormat,
    /// The largest shift of each position's coordinates by rounding to even steps, in addition to that of the dtype.
    half_steps: Option<Vec<f64>>,
    /// The tokens of the first positions, which are known.
    given: Vec<u32>,
    /// The number of first states that were computed for given tokens.
    computed: usize,
    /// The change that the producer made to all states.
    transformation: Transformation,
    /// The states as they were stored, if the change was undone.
    stored: Option<Stored>,
    /// The number of tokens of the whole prompt, if there are more than states.
    sequence_len: Option<usize>,
    /// Positions whose state is not known, in order. Their rows are zeros.
    missing: Vec<usize>,
    /// The number of places that each state might have had.
    places: usize,
}

impl TargetStates {
    /// Creates a target from the states of all positions of one prompt. `dtype` is the number format in which they were stored, which
    /// bounds their rounding.
    ///
    /// A row of nothing but NaN marks a missing state, as [`TargetStates::with_missing`] does. An infinity in
    /// f16 is a coordinate that exceeded the format. Nothing else is known of it, so the other coordinates decide.
    ///
    /// # Shapes
    ///
    /// `states` is `[positions, d_model]`.
    ///
    /// # Errors
    ///
    /// [`InvertError`] if there is no state, a value is not finite or beyond the range of f32, or no coordinate of a state lies
    /// within the range of its format.
    pub fn new(states: Array2<f64>, tap: Tap, dtype: FloatFormat) -> Result<Self, InvertError> {
        if states.is_empty() {
            return Err(InvertError::NoStates);
        }
        let mut states = states.as_standard_layout().into_owned();
        states.mapv_inplace(|value| dtype.within_range(value));
        let rows = states.outer_iter().enumerate();
        let missing: Vec<usize> =
            rows.filter(|(_, row)| row.iter().all(|v| v.is_nan())).map(|(at, _)| at).collect();
        if missing.len() == states.nrows() {
            return Err(InvertError::NoStates);
        }
        missing.iter().for_each(|&at| states.row_mut(at).fill(0.0));
        for ((position, coordinate), &found) in states.indexed_iter() {
            if !found.is_finite() {
                return Err(InvertError::NotFinite { position, coordinate, found });
            }
            if found.abs() > f64::from(f32::MAX) {
                return Err(InvertError::OutOfRange { position, coordinate, found });
            }
        }
        let unknown = |value: &f64| dtype.rounding_error(*value).is_infinite();
        if let Some(position) = states.outer_iter().position(|state| state.iter().all(unknown)) {
            return Err(InvertError::NotFinite { position, coordinate: 0, found: f64::INFINITY });
        }
        Ok(TargetStates {
            states,
            tap,
            dtype,
            half_steps: None,
            given: Vec::new(),
            computed: 0,
            transformation: Transformation::None,
            stored: None,
            sequence_len: None,
            missing,
            places: 1,
        })
    }

    /// Computes the states of a prompt with `decoder`, in f32.
    ///
    /// # Errors
    ///
    /// [`InvertError::Extract`] if the decoder cannot compute the prompt or has no such tap.
    pub fn of_prompt(decoder: &Decoder, tap: Tap, ids: &[u32]) -> Result<Self, InvertError> {
        TargetStates::new(prompt_states(decoder, ids, tap)?.to_f64().into_array(), tap, FloatFormat::F32)
    }

    /// Reads the states of one prompt from a file in one of the formats of [`foreign`](crate::states::foreign).
    ///
    /// Give the tap if the file does not name it or holds several.
    ///
    /// # Errors
    ///
    /// [`InvertError::File`] if the file cannot be read; [`InvertError::TapNotInFile`] if it names other taps than `tap`;
    /// [`InvertError::UnknownTap`] if neither the file nor `tap` determines the tap; and the errors of [`TargetStates::new`].
    pub fn open(path: &Path, tap: Option<Tap>) -> Result<Self, InvertError> {
        let mut file = StatesFile::open(path)?;
        let unknown = |file: &StatesFile| InvertError::UnknownTap {
            path: path.to_owned(),
            columns: file.columns(),
            named: file.taps().map_or(0, <[Tap]>::len),
        };
        let (column, tap) = match (file.taps(), tap) {
            (Some(named), Some(tap)) if named.contains(&tap) => (ColumnChoice::Tap(tap), tap),
            (Some(named), Some(expected)) => {
                let (path, found) = (path.to_owned(), named.to_vec());
                return Err(InvertError::TapNotInFile { path, found, expected });
            }
            (Some(&[tap]), None) => (ColumnChoice::Only, tap),
            (None, Some(tap)) if file.columns() == 1 => (ColumnChoice::Only, tap),
            (Some(_), None) | (None, _) => return Err(unknown(&file)),
        };
        TargetStates::new(file.column(column)?.into_array(), tap, file.dtype())
    }

    /// Marks the states as rounded to even steps. `half_steps` has half a step for each position, as
    /// [`Rounding::round`](crate::states::Rounding::round) gives it.
    ///
    /// # Errors
    ///
    /// [`InvertError::HalfSteps`] unless there is one for each position, and [`InvertError::Tolerance`] if one is negative or not
    /// finite.
    pub fn rounded_by(self, half_steps: Vec<f64>) -> Result<Self, InvertError> {
        let (found, expected) = (half_steps.len(), self.positions());
        if found != expected {
            return Err(InvertError::HalfSteps { found, expected });
        }
        match half_steps.iter().find(|half_step| !(half_step.is_finite() && **half_step >= 0.0)) {
            None => Ok(TargetStates { half_steps: Some(half_steps), ..self }),
            Some(&found) => Err(InvertError::Tolerance { found }),
        }
    }

    /// Says that the prompt has more tokens than there are states. LongRoPE chooses its frequencies by the length of the whole prompt.
    pub fn of_longer_prompt(self, tokens: usize) -> Self {
        TargetStates { sequence_len: Some(tokens), ..self }
    }

    /// The number of tokens of the whole prompt.
    pub(crate) fn sequence_len(&self) -> usize {
        self.sequence_len.unwrap_or(0).max(self.positions())
    }

    /// Returns the number of positions.
    pub fn positions(&self) -> usize {
        self.states.nrows()
    }

    /// Returns the width of a state.
    pub fn d_model(&self) -> usize {
        self.states.ncols()
    }

    /// Returns the tap at which the states were read.
    pub fn tap(&self) -> Tap {
        self.tap
    }

    /// The number format in which the states were stored.
    pub(crate) fn dtype(&self) -> FloatFormat {
        self.dtype
    }

    /// Returns the states, `[positions, d_model]`. An f16 infinity is given as +-65,520, the least magnitude that f16 rounds to
    /// infinity.
    pub fn states(&self) -> ArrayView2<'_, f64> {
        self.states.view()
    }

    /// Returns the state of one position, `d_model` numbers.
    ///
    /// # Panics
    ///
    /// Panics if there is no such position.
    pub fn state(&self, position: usize) -> &[f64] {
        let d_model = self.d_model();
        let values = self.states.as_slice().expect("made contiguous when the target was made");
        &values[position * d_model..][..d_model]
    }

    /// The largest shift of each coordinate by storing the state in its number format.
    pub(crate) fn roundings(&self, position: usize) -> impl Iterator<Item = f64> {
        let half_step = self.half_steps.as_ref().map_or(0.0, |half_steps| half_steps[position]);
        self.state(position).iter().enumerate().map(move |(coordinate, &value)| match &self.stored {
            None => self.dtype.rounding_error(value) + half_step,
            Some(stored) => stored.roundings[[position, coordinate]],
        })
    }

    /// The coordinates that exceeded the format of the states. Nothing else is known of them.
    pub(crate) fn beyond_format(&self, position: usize) -> impl Iterator<Item = usize> {
        let roundings = self.roundings(position).enumerate();
        roundings.filter(|(_, rounding)| rounding.is_infinite()).map(|(coordinate, _)| coordinate)
    }

    /// The state of one position on a decoder's device, in its dtype: `[1, d_model]`.
    pub(crate) fn row_tensor(&self, position: usize, decoder: &Decoder) -> Tensor<2> {
        let data = TensorData::new(self.state(position).to_vec(), [1, self.d_model()]);
        Tensor::from_data(data.convert_dtype(decoder.dtype()), (&decoder.device(), decoder.dtype()))
    }

    /// Checks the states against the model they are said to come from.
    pub(crate) fn check(&self, d_model: usize, n_layers: usize) -> Result<(), InvertError> {
        self.tap.checked(n_layers).map_err(ModelError::from)?;
        if self.d_model() == d_model {
            Ok(())
        } else {
            Err(InvertError::Width { found: self.d_model(), expected: d_model })
        }
    }
}
