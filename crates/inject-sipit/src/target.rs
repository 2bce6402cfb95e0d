//! The states to invert.

use std::path::Path;

use crate::{
    collisions::norm,
    error::InvertError,
    models::{Decoder, FloatFormat, ModelError, Tap},
    states::{
        foreign::{ColumnChoice, StatesFile},
        prompt_states,
    },
    transformation::{Coordinates, Transformation, mean},
    tuning::CENTRED_WITHIN,
};
use burn::tensor::{Tensor, TensorData};
use ndarray::{Array2, ArrayView2, Axis, s};

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

/// What is known of states as they were stored, before a change of the producer was undone.
#[derive(Clone, Debug, PartialEq)]
struct Stored {
    /// The number by which each state was divided.
    divided_by: Vec<f64>,
    /// The largest shift of each coordinate by rounding, divided too.
    roundings: Array2<f64>,
    /// The 16-bit format on whose grid all of them lay.
    grid: Option<FloatFormat>,
}

impl TargetStates {
    /// States of all positions of one prompt, and the number format they were stored in, which bounds their rounding.
    ///
    /// A row of nothing but NaN is the place of a state that is missing, as [`TargetStates::with_missing`] puts one there. An infinity in
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

    /// Reads the states of one prompt from a `.safetensors` or `.npy` file.
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

    /// Puts known tokens before these states, such as a system prompt whose states a server did not compute again. They are taken as given
    /// and not searched. Their states are those that `decoder` computes.
    ///
    /// # Errors
    ///
    /// [`InvertError::Extract`] if the decoder cannot compute the tokens, [`InvertError::Width`] if the states have another width than
    /// the model's, and [`InvertError::HalfSteps`] if the states are marked as rounded already.
    ///
    /// # Example
    ///
    /// ```
    /// use inject_sipit::{TargetStates, models::{FloatFormat, Model, Origin, Tap}, ndarray::s};
    /// use burn::tensor::Device;
    ///
    /// # let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tiny");
    /// let model = Model::load(Origin::of_folder(&folder), FloatFormat::F32, &Device::flex())?;
    /// let whole = TargetStates::of_prompt(&model.decoder, Tap::Block(2), &[31, 41, 59])?;
    /// let last = whole.states().slice(s![1.., ..]).to_owned();
    /// let target = TargetStates::new(last, Tap::Block(2), FloatFormat::F32)?.after(&model.decoder, &[31])?;
    /// assert_eq!((target.positions(), target.given()), (3, &[31][..]));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn after(self, decoder: &Decoder, given: &[u32]) -> Result<Self, InvertError> {
        if given.is_empty() {
            return Ok(self);
        }
        if let Some(half_steps) = &self.half_steps {
            let (found, expected) = (half_steps.len(), given.len() + self.positions());
            return Err(InvertError::HalfSteps { found, expected });
        }
        let (found, expected) = (self.d_model(), decoder.config().d_model);
        if found != expected {
            return Err(InvertError::Width { found, expected });
        }
        let before = prompt_states(decoder, given, self.tap)?.to_f64().into_array();
        let joined = ndarray::concatenate(Axis(0), &[before.view(), self.states.view()]);
        let states = joined.map_err(|_| InvertError::Width { found, expected })?;
        let stored = self.stored.map(|stored| {
            let exact = Array2::zeros((given.len(), found));
            let rows = [exact.view(), stored.roundings.view()];
            Stored {
                divided_by: [vec![1.0; given.len()], stored.divided_by].concat(),
                roundings: ndarray::concatenate(Axis(0), &rows).expect("of one width"),
                ..stored
            }
        });
        let missing = self.missing.iter().map(|missing| given.len() + missing).collect();
        let (computed, given) = (given.len() + self.computed, [given, &self.given].concat());
        Ok(TargetStates { states, given, computed, stored, missing, ..self })
    }

    /// Names the tokens of the first of these states. They are taken as given and not searched.
    ///
    /// # Errors
    ///
    /// [`InvertError::MoreGiven`] unless there are more states than tokens.
    pub fn beginning_with(self, tokens: &[u32]) -> Result<Self, InvertError> {
        let (found, positions) = (tokens.len(), self.positions());
        if found >= positions {
            return Err(InvertError::MoreGiven { found, positions });
        }
        Ok(TargetStates { given: tokens.to_vec(), ..self })
    }

    /// Marks the states as those of the model with the mean over its coordinates subtracted from each, as TransformerLens writes them.
    /// Candidates are compared without their means.
    ///
    /// # Example
    ///
    /// ```
    /// use inject_sipit::{TargetStates, Transformation, models::{FloatFormat, Tap}, ndarray::array};
    ///
    /// let target = TargetStates::new(array![[1.0, 3.0]], Tap::Block(1), FloatFormat::F32)?.centred();
    /// assert_eq!(target.state(0), [-1.0, 1.0]);
    /// assert_eq!(*target.transformation(), Transformation::Centred);
    /// # Ok::<(), inject_sipit::InvertError>(())
    /// ```
    pub fn centred(self) -> Self {
        let by = vec![1.0; self.positions()];
        let mut changed = self.changed(by, Transformation::Centred);
        changed.states.outer_iter_mut().for_each(|mut row| {
            let mean = row.mean().unwrap_or(0.0);
            row.mapv_inplace(|value| value - mean);
        });
        changed
    }

    /// Undoes a multiplication of all states by one number, which is known but for a relative error of at most `within`. The states
    /// that [`TargetStates::after`] computed are not changed.
    ///
    /// # Errors
    ///
    /// [`InvertError::Scale`] unless the number is positive and finite.
    ///
    /// # Example
    ///
    /// ```
    /// use inject_sipit::{TargetStates, models::{FloatFormat, Tap}, ndarray::array};
    ///
    /// let target = TargetStates::new(array![[1.0, 3.0]], Tap::Block(1), FloatFormat::F32)?.scaled(0.5, 0.0)?;
    /// assert_eq!(target.state(0), [2.0, 6.0]);
    /// # Ok::<(), inject_sipit::InvertError>(())
    /// ```
    pub fn scaled(self, by: f64, within: f64) -> Result<Self, InvertError> {
        if !(by.is_finite() && by > 0.0 && within.is_finite() && within >= 0.0) {
            return Err(InvertError::Scale { found: by });
        }
        let computed = self.computed;
        let by_row = (0..self.positions()).map(|position| if position < computed { 1.0 } else { by });
        let by_row = by_row.collect();
        Ok(self.changed(by_row, Transformation::Scaled { by, within }))
    }

    /// Divides every state by its length, because it was multiplied by an unknown number. Candidates are compared by their direction.
    pub fn by_direction(self) -> Self {
        let lengths = self.states.outer_iter().map(|state| norm(&state.to_vec()).max(f64::MIN_POSITIVE));
        let lengths = lengths.collect();
        self.changed(lengths, Transformation::Direction)
    }

    /// The states with their coordinates in the order of the model's, as far as it is known. States that were computed are in that order.
    pub(crate) fn permuted(self, coordinates: &Coordinates) -> Self {
        let (by, computed) = (vec![1.0; self.positions()], self.computed);
        let transformation = Transformation::Permuted { coordinates: coordinates.clone() };
        let mut permuted = self.changed(by, transformation);
        let restore = |rows: &mut Array2<f64>, restored: &dyn Fn(&[f64]) -> Vec<f64>| {
            for mut row in rows.outer_iter_mut().skip(computed) {
                let values = restored(&row.to_vec());
                row.iter_mut().zip(values).for_each(|(to, from)| *to = from);
            }
        };
        restore(&mut permuted.states, &|row| coordinates.restored(row));
        if let Some(stored) = &mut permuted.stored {
            // Within a group any coordinate may have the largest error.
            restore(&mut stored.roundings, &|row| coordinates.largest(row));
        }
        permuted
    }

    /// The states divided by a number each, with what was known of them before.
    fn changed(self, divided_by: Vec<f64>, transformation: Transformation) -> Self {
        let mut roundings = Array2::zeros(self.states.dim());
        for (position, (mut row, by)) in roundings.outer_iter_mut().zip(&divided_by).enumerate() {
            row.iter_mut().zip(self.roundings(position)).for_each(|(to, from)| *to = from / by);
        }
        let stored = Some(Stored { grid: self.grid(), divided_by, roundings });
        let mut changed = TargetStates { transformation, stored, ..self };
        if let Some(Stored { divided_by, .. }) = &changed.stored {
            let rows = changed.states.outer_iter_mut().zip(divided_by);
            rows.for_each(|(mut row, by)| row.mapv_inplace(|value| value / by));
        }
        changed
    }

    /// Puts positions without a state among these states. `missing` are positions of the prompt that results.
    ///
    /// # Errors
    ///
    /// [`InvertError::Missing`] if a position is named twice or lies beyond the prompt that results.
    ///
    /// # Example
    ///
    /// ```
    /// use inject_sipit::{TargetStates, models::{FloatFormat, Tap}, ndarray::array};
    ///
    /// let rows = array![[0.5, -1.0], [0.25, 3.0]];
    /// let target = TargetStates::new(rows, Tap::Block(3), FloatFormat::F32)?.with_missing(&[1])?;
    /// assert_eq!((target.positions(), target.state(2)), (3, &[0.25, 3.0][..]));
    /// # Ok::<(), inject_sipit::InvertError>(())
    /// ```
    pub fn with_missing(self, missing: &[usize]) -> Result<Self, InvertError> {
        let positions = self.positions() + missing.len();
        let mut sorted = missing.to_vec();
        sorted.sort_unstable();
        let twice = sorted.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| pair[0]);
        if let Some(found) = sorted.last().copied().filter(|&last| last >= positions).or(twice) {
            return Err(InvertError::Missing { found, positions });
        }
        let known: Vec<usize> = (0..positions).filter(|at| sorted.binary_search(at).is_err()).collect();
        let spread = |rows: &Array2<f64>| {
            let mut all = Array2::zeros((positions, rows.ncols()));
            known.iter().zip(rows.outer_iter()).for_each(|(&at, row)| all.row_mut(at).assign(&row));
            all
        };
        let by_position = |values: Vec<f64>, otherwise: f64| {
            let mut all = vec![otherwise; positions];
            known.iter().zip(values).for_each(|(&at, value)| all[at] = value);
            all
        };
        let stored = self.stored.map(|stored| Stored {
            divided_by: by_position(stored.divided_by, 1.0),
            roundings: spread(&stored.roundings),
            ..stored
        });
        let half_steps = self.half_steps.map(|half_steps| by_position(half_steps, 0.0));
        let states = spread(&self.states);
        // Those that were missing before have other numbers now.
        let mut missing = [sorted, self.missing.iter().map(|&at| known[at]).collect()].concat();
        missing.sort_unstable();
        Ok(TargetStates { states, half_steps, stored, missing, ..self })
    }

    /// The positions without a state, in order.
    pub fn missing(&self) -> &[usize] {
        &self.missing
    }

    /// The same states with a computed one at a position that had none.
    pub(crate) fn filled(mut self, position: usize, mut state: Vec<f64>) -> Self {
        self.transformation.apply(&mut state, self.d_model());
        self.states.row_mut(position).iter_mut().zip(state).for_each(|(value, state)| *value = state);
        self.missing.retain(|&missing| missing != position);
        self
    }

    /// The states of the positions before `end`, of which the first have these tokens.
    pub(crate) fn part(&self, end: usize, given: &[u32]) -> Self {
        let head = |rows: &Array2<f64>| rows.slice(s![..end, ..]).to_owned();
        TargetStates {
            states: head(&self.states),
            half_steps: self.half_steps.as_ref().map(|half_steps| half_steps[..end].to_vec()),
            given: given.to_vec(),
            stored: self.stored.as_ref().map(|stored| Stored {
                divided_by: stored.divided_by[..end].to_vec(),
                roundings: head(&stored.roundings),
                grid: stored.grid,
            }),
            sequence_len: Some(self.sequence_len()),
            missing: self.missing.iter().copied().take_while(|&missing| missing < end).collect(),
            ..self.clone()
        }
    }

    /// Some of these states in another order. Each of them was looked for at every position.
    pub(crate) fn reordered(&self, order: &[usize]) -> Self {
        TargetStates {
            states: self.states.select(Axis(0), order),
            half_steps: self.half_steps.as_ref().map(|steps| order.iter().map(|&row| steps[row]).collect()),
            stored: self.stored.as_ref().map(|stored| Stored {
                divided_by: order.iter().map(|&row| stored.divided_by[row]).collect(),
                roundings: stored.roundings.select(Axis(0), order),
                grid: stored.grid,
            }),
            sequence_len: Some(self.sequence_len()),
            places: order.len(),
            ..self.clone()
        }
    }

    /// The number of first states that were computed for given tokens.
    pub(crate) fn computed(&self) -> usize {
        self.computed
    }

    /// The number of places that each state might have had.
    pub(crate) fn places(&self) -> usize {
        self.places
    }

    /// The same states with that of one position at another too.
    pub(crate) fn with_row_at(&self, from: usize, to: usize) -> Self {
        let mut changed = self.clone();
        let row = self.states.row(from).to_owned();
        changed.states.row_mut(to).assign(&row);
        if let Some(half_steps) = &mut changed.half_steps {
            half_steps[to] = half_steps[from];
        }
        if let Some(stored) = &mut changed.stored {
            stored.divided_by[to] = stored.divided_by[from];
            let row = stored.roundings.row(from).to_owned();
            stored.roundings.row_mut(to).assign(&row);
        }
        changed.missing.retain(|&missing| missing != to);
        changed
    }

    /// Says that the prompt has more tokens than there are states. LongRoPE chooses its frequencies by the length of the whole prompt.
    pub fn of_longer_prompt(self, tokens: usize) -> Self {
        TargetStates { sequence_len: Some(tokens), ..self }
    }

    /// The number of tokens of the whole prompt.
    pub(crate) fn sequence_len(&self) -> usize {
        self.sequence_len.unwrap_or(0).max(self.positions())
    }

    /// The given tokens and the first state after them.
    pub(crate) fn first_open(&self, decoder: &Decoder) -> Result<Self, InvertError> {
        let (at, tokens) = (self.given.len(), self.sequence_len());
        let first = self.states.slice(s![at..=at, ..]).to_owned();
        let first = TargetStates::new(first, self.tap, self.dtype)?;
        Ok(first.after(decoder, &self.given)?.of_longer_prompt(tokens))
    }

    /// The change that the producer made to all states.
    pub fn transformation(&self) -> &Transformation {
        &self.transformation
    }

    /// Whether the states not given have no mean over their coordinates, but for rounding: the sum of independent errors.
    pub(crate) fn has_no_means(&self) -> bool {
        let known = |position: &usize| !self.missing.contains(position);
        (self.computed..self.positions()).filter(known).all(|position| {
            let state = self.state(position);
            let spread = norm(state) / (state.len() as f64).sqrt();
            let rounding: Vec<f64> = self.roundings(position).collect();
            let rounded = norm(&rounding) / state.len() as f64;
            spread > 0.0 && mean(state).abs() <= CENTRED_WITHIN * spread + 4.0 * rounded
        })
    }

    /// A distance of stored states in the unit of the states.
    pub(crate) fn in_units(&self, position: usize, distance: f64) -> f64 {
        self.stored.as_ref().map_or(distance, |stored| distance / stored.divided_by[position])
    }

    /// Returns the tokens of the first positions, as far as they were given.
    pub fn given(&self) -> &[u32] {
        &self.given
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
    /// If there is no such position.
    pub fn state(&self, position: usize) -> &[f64] {
        let d_model = self.d_model();
        let values = self.states.as_slice().expect("made contiguous when the target was made");
        &values[position * d_model..][..d_model]
    }

    /// The 16-bit format on whose grid all states lie, if there is one: the format they were probably computed in, whatever they are
    /// stored in.
    pub(crate) fn grid(&self) -> Option<FloatFormat> {
        if let Some(stored) = &self.stored {
            return stored.grid;
        }
        let on_grid = |format: &FloatFormat| self.states.iter().all(|&value| format.round(value) == value);
        [FloatFormat::Bf16, FloatFormat::F16].into_iter().find(on_grid)
    }

    /// The same states with another one at the first position.
    pub(crate) fn with_first(&self, state: &[f64]) -> Self {
        let mut changed = self.clone();
        changed.states.row_mut(0).iter_mut().zip(state).for_each(|(value, state)| *value = *state);
        changed
    }

    /// The largest shift of each coordinate by storing the state in its number format.
    pub(crate) fn roundings(&self, position: usize) -> impl Iterator<Item = f64> {
        let half_step = self.half_steps.as_ref().map_or(0.0, |half_steps| half_steps[position]);
        self.state(position).iter().enumerate().map(move |(coordinate, &value)| match &self.stored {
            None => self.dtype.rounding_error(value) + half_step,
            Some(stored) => stored.roundings[[position, coordinate]],
        })
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
