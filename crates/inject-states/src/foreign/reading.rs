//! From named arrays to the states of prompts at taps.

mod prompts;
mod sources;

use inject_models::Tap;

pub(super) use self::prompts::Prompt;
use self::sources::{Each, Source};
use super::{
    Axes, ForeignProblem, ModelShape, ReadOptions,
    arrays::{Archive, Array, Axis},
    beside::Beside,
    layout::{Choice, Facts, Role, counted, in_words, readings_of},
    names::{TapName, of_list},
};

/// The meaning of the arrays of a file.
#[derive(Debug, Default)]
pub(super) struct Reading {
    /// The states of all prompts, one entry for each tap.
    pub(super) columns: Vec<Column>,
    pub(super) d_model: usize,
    pub(super) prompts: Vec<Prompt>,
    pub(super) taps: Option<Vec<Tap>>,
    /// Whether the taps are those of a stack or a list by its length alone, which a batch or a list of prompts may have too, or whether the
    /// axes may be in another order.
    pub(super) guessed: bool,
    /// The readings of the first tensor that fit as well as the chosen one.
    pub(super) others: Vec<Axes>,
    /// The reading in words, if it is not the only possible one or combines several tensors.
    pub(super) taken: Option<String>,
}

/// The states at one tap. The rows of the pieces follow each other.
#[derive(Clone, Debug)]
pub(super) struct Column {
    pub(super) pieces: Vec<Piece>,
    /// The tensor in words, for people who choose among columns.
    pub(super) origin: String,
}

/// The place of states in an array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    /// The index of the array.
    pub(super) array: usize,
    /// The offset of the first value, in values.
    pub(super) offset: usize,
    pub(super) batch: Axis,
    pub(super) rows: Axis,
    pub(super) dimensions: Axis,
}

/// The axis of a role that an array has no axis for.
const ONE: Axis = Axis { length: 1, stride: 0 };

const FLOATS: &str = "F16, BF16, F32 or F64";

impl Reading {
    pub(super) fn of(
        archive: &Archive,
        beside: Beside,
        options: &ReadOptions,
    ) -> Result<Self, ForeignProblem> {
        let sources = sources::of(archive, &beside, options)?;
        for array in sources.iter().flat_map(|source| &source.arrays).map(|&index| &archive.arrays[index]) {
            array.check_whole()?;
            if array.encoding().is_none() {
                return Err(array.unknown_dtype(FLOATS));
            }
            if array.axes.iter().any(|axis| axis.length == 0) {
                return Err(ForeignProblem::Empty { tensor: array.name.clone(), shape: array.shape() });
            }
            if !(2..=4).contains(&array.axes.len()) {
                return Err(ForeignProblem::Dimensions { tensor: array.name.clone(), shape: array.shape() });
            }
        }
        let d_model = width(archive, &sources, options)?;
        let metadata = match metadata_taps(archive) {
            Err(ForeignProblem::TapName { .. }) if options.tap_is_known => None,
            taps => taps?,
        };
        let prompts = beside.prompts()?;
        let several = sources.len() > 1;
        // The caller's axes of a list of single rows say what its entries are, not what the axes of an entry are.
        let arrays = || sources.iter().flat_map(|source| &source.arrays).map(|&index| &archive.arrays[index]);
        let single_rows = arrays().count() > 1 && arrays().all(|array| array.rows() == 1);
        let are_prompts = sources.iter().any(|source| source.each == Each::Prompt);
        let mut columns: Vec<Column> = Vec::new();
        let mut first: Option<Choice> = None;
        for source in &sources {
            let mut of_source: Vec<Column> = Vec::new();
            let mut of_first: Option<Axes> = None;
            for &index in &source.arrays {
                let array = &archive.arrays[index];
                let width = array.axes[array.axes.len() - 1].length;
                let of_entry = match (single_rows, array.axes.len()) {
                    (_, 3) if are_prompts => Some(Axes::BatchToken),
                    _ if are_prompts => None,
                    // The steps of several prompts.
                    (true, 3) if source.arrays.len() > 1 => Some(Axes::BatchToken),
                    (true, _) => None,
                    // That its entries are steps says nothing of their axes.
                    (false, _) if options.axes == Some(Axes::Token) && source.arrays.len() > 1 => of_first,
                    // A step has the axes of the prompt before it.
                    (false, axes) => {
                        of_first.filter(|first| first.roles().len() + 1 == axes).or(options.axes)
                    }
                };
                let facts = Facts {
                    // A step of a generation has fewer tokens than the prompt.
                    tokens: beside.tokens().filter(|_| source.arrays.len() == 1),
                    masked: beside.masked.filter(|_| source.arrays.len() == 1),
                    prompts: prompts.filter(|_| !are_prompts),
                    taps: match &metadata {
                        Some(taps) if !several => Some(taps.len()),
                        _ if several && width == d_model => Some(1),
                        _ => None,
                    }
                    .map(|taps| taps / (width / d_model).max(1)),
                    most_taps: options.model.map(|model| model.n_layers.saturating_add(2)),
                    taps_side_by_side: width > d_model,
                    axes: of_entry,
                    of_vllm: archive.is_of_vllm(),
                };
                let shape = array.shape();
                let choice = facts.axes_of(&array.name, &shape[..shape.len() - 1])?;
                of_first.get_or_insert(choice.axes);
                let more = columns_of(index, array, choice.axes, d_model);
                first.get_or_insert(choice);
                append(
                    &mut of_source,
                    match are_prompts {
                        true => more.into_iter().map(Column::by_prompt).collect(),
                        false => more,
                    },
                )?;
            }
            columns.extend(of_source);
        }
        let (axes_of_first, others) = match first {
            Some(Choice { axes, others }) => (Some(axes), others),
            None => (None, Vec::new()),
        };
        let is_named = metadata.is_some();
        let taps = match metadata {
            Some(taps) => Some(taps),
            None => named(&sources, &columns, axes_of_first, options.model),
        };
        if let Some(taps) = taps.as_ref().filter(|taps| taps.len() != columns.len()) {
            let (columns, taps) = (columns.len(), taps.len());
            return Err(ForeignProblem::TapCount { columns, taps });
        }
        let by_shape = sources
            .iter()
            .all(|source| source.arrays.len() == 1 && matches!(source.name, None | Some(TapName::Listed(_))));
        let by_length = by_shape && !is_named && prompts.is_none() && options.axes.is_none();
        let guessed = taps.is_some() && (by_length || !others.is_empty());
        let taken = taken(archive, &sources, &columns, axes_of_first, &others, taps.as_deref());
        let taken = with_left_out(taken, &beside.left_out, "it does not fit or nothing says whose it is");
        let aside = sources::set_aside(archive, &sources, options);
        let taken = with_left_out(taken, &aside, "it is at no further tap");
        let prompts = match are_prompts {
            true => prompts::of_list(&columns, &beside, options)?,
            false => {
                let listed = |source: &Source| matches!(source.name, Some(TapName::Listed(_)));
                let may_be_prompts = options.axes != Some(Axes::BatchToken)
                    && sources.iter().all(|source| listed(source) && source.arrays.len() == 1)
                    && arrays().all(|array| array.prompts().is_some());
                prompts::of(&columns, may_be_prompts, &beside, options)?
            }
        };
        Ok(Reading { columns, d_model, prompts, taps, guessed, others, taken })
    }
}

impl Column {
    /// The same states with a piece for each prompt of a batch.
    fn by_prompt(mut self) -> Self {
        let of_each = |piece: &Piece| {
            let Piece { offset, batch, .. } = *piece;
            let piece = Piece { batch: ONE, ..*piece };
            (0..batch.length).map(move |prompt| Piece { offset: offset + prompt * batch.stride, ..piece })
        };
        self.pieces = self.pieces.iter().flat_map(of_each).collect();
        self
    }
}

/// Returns the width of a state: the model's if it is known, else that of the narrowest array.
fn width(archive: &Archive, sources: &[Source], options: &ReadOptions) -> Result<usize, ForeignProblem> {
    let widths = sources.iter().flat_map(|source| &source.arrays).map(|&index| {
        let array = &archive.arrays[index];
        (array, array.axes[array.axes.len() - 1].length)
    });
    let widths: Vec<(&Array, usize)> = widths.collect();
    let narrowest = widths.iter().map(|(_, width)| *width).min().unwrap_or(1);
    let d_model = options.model.map_or(narrowest, |model| model.d_model);
    match widths.iter().find(|(_, width)| !width.is_multiple_of(d_model)) {
        Some(&(array, found)) => {
            Err(ForeignProblem::Width { tensor: array.name.clone(), found, expected: d_model })
        }
        None => Ok(d_model),
    }
}

/// Returns the columns of one array.
fn columns_of(index: usize, array: &Array, axes: Axes, d_model: usize) -> Vec<Column> {
    let width = array.axes[array.axes.len() - 1];
    let axis = |role| axes.place(role).map_or(ONE, |place| array.axes[place]);
    let taps = match axes.place(Role::Tap) {
        Some(place) => array.axes[place],
        None => Axis { length: width.length / d_model, stride: width.stride * d_model },
    };
    let dimensions = Axis { length: d_model, ..width };
    let columns = (0..taps.length).map(|tap| {
        let offset = tap * taps.stride;
        let (batch, rows) = (axis(Role::Batch), axis(Role::Token));
        let name = &array.name;
        let origin = if taps.length == 1 { format!("`{name}`") } else { format!("`{name}`, tap {tap}") };
        Column { pieces: vec![Piece { array: index, offset, batch, rows, dimensions }], origin }
    });
    columns.collect()
}

/// Lets the rows of further columns follow those of the first.
fn append(columns: &mut Vec<Column>, more: Vec<Column>) -> Result<(), ForeignProblem> {
    if columns.is_empty() {
        *columns = more;
        return Ok(());
    }
    let same = columns.len() == more.len()
        && columns
            .iter()
            .zip(&more)
            .all(|(column, more)| column.pieces[0].batch.length == more.pieces[0].batch.length);
    if !same {
        return Err(ForeignProblem::Steps { tensor: more[0].origin.clone() });
    }
    columns.iter_mut().zip(more).for_each(|(column, more)| column.pieces.extend(more.pieces));
    Ok(())
}

/// Returns the taps that the names of tensors, or the number of layers, give.
fn named(
    sources: &[Source],
    columns: &[Column],
    axes: Option<Axes>,
    model: Option<ModelShape>,
) -> Option<Vec<Tap>> {
    if sources.len() == columns.len() && sources.iter().all(|source| source.name.is_some()) {
        let known = sources.iter().map(|source| match source.name {
            Some(TapName::Known(tap)) => Some(tap),
            _ => None,
        });
        if let Some(taps) = known.collect() {
            return Some(taps);
        }
        let whole = sources.iter().enumerate().all(|(at, source)| source.name == Some(TapName::Listed(at)));
        return if whole && sources.len() > 1 { of_list(columns.len(), model?.n_layers) } else { None };
    }
    let n_layers = model?.n_layers;
    let stacked = axes?.place(Role::Tap).is_some() && sources.len() == 1;
    // Elsewhere than in a stack of hidden_states one tap fewer than all can mean any.
    let stack = matches!(axes?, Axes::TapToken | Axes::TapBatchToken | Axes::BatchTapToken);
    let whole = stacked && columns.len() > 1 && (stack || columns.len() == n_layers + 2);
    if whole { of_list(columns.len(), n_layers) } else { None }
}

fn metadata_taps(archive: &Archive) -> Result<Option<Vec<Tap>>, ForeignProblem> {
    let text = |key| archive.metadata.get(key);
    let taps: Vec<Tap> = match (text("tap"), text("taps")) {
        (None, None) => return Ok(None),
        (Some(_), Some(_)) => return Err(ForeignProblem::TapAndTaps),
        // Another program's name of a layer says too little, so the tap is not known.
        (Some(name), None) if name.contains(['.', '_']) && TapName::parse(name).is_some() => {
            match name.parse() {
                Ok(tap) => vec![tap],
                Err(_) => return Ok(None),
            }
        }
        (Some(name), None) => vec![name.parse::<Tap>()?],
        (None, Some(list)) => list.split(',').map(|name| name.trim().parse()).collect::<Result<_, _>>()?,
    };
    let mut seen = std::collections::HashSet::new();
    match taps.iter().find(|&&tap| !seen.insert(tap)) {
        Some(&tap) => Err(ForeignProblem::RepeatedTap { tap }),
        None => Ok(Some(taps)),
    }
}

/// Adds to a reading in words the arrays that were left out, and the reason.
fn with_left_out(taken: Option<String>, left_out: &[String], reason: &str) -> Option<String> {
    let [first, others @ ..] = left_out else { return taken };
    let others = if others.is_empty() { String::new() } else { format!(" and {} more", others.len()) };
    let note = format!("`{first}`{others} left out, because {reason}");
    Some(taken.map_or(note.clone(), |taken| format!("{taken}; {note}")))
}

fn taken(
    archive: &Archive,
    sources: &[Source],
    columns: &[Column],
    axes: Option<Axes>,
    others: &[Axes],
    taps: Option<&[Tap]>,
) -> Option<String> {
    let arrays = &sources.first()?.arrays;
    let array = &archive.arrays[arrays[0]];
    if sources.len() == 1 && arrays.len() == 1 && array.axes.len() == 2 && columns.len() == 1 {
        return None;
    }
    let shape = array.shape();
    let mut words = in_words(axes?, &shape[..shape.len() - 1]);
    if sources[0].each == Each::Prompt {
        let pieces = &columns.first()?.pieces;
        let tokens = counted(pieces[0].rows.length, "token");
        words = format!("{}, the first of {tokens}", counted(pieces.len(), "prompt"));
    } else if let [_, steps @ ..] = &arrays[..]
        && !steps.is_empty()
    {
        let more: usize = columns.first()?.pieces[1..].iter().map(|piece| piece.rows.length).sum();
        words += &format!(", followed by {more} of a generation");
    }
    let tensors = match sources.iter().map(|source| source.arrays.len()).sum() {
        1 => format!("`{}` of shape {shape:?}", array.name),
        count => format!("{count} tensors such as `{}` of shape {shape:?}", array.name),
    };
    let beside = match (columns.len(), taps) {
        (1, _) => String::new(),
        (count, Some([first, .., last])) => format!(", {count} named taps, {first} to {last}"),
        (count, _) => format!(", {count} taps without names"),
    };
    let otherwise = match others {
        [] => String::new(),
        others => {
            let readings = readings_of(others, &shape[..shape.len() - 1]);
            format!("; if it is to be read as {readings}, say so by `axes`")
        }
    };
    Some(format!("{tensors} read as {words}{beside}{otherwise}"))
}
