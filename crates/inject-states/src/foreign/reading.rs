//! From named arrays to the states of prompts at taps.

mod columns;
mod prompts;
mod sources;
mod taps;
mod words;

use inject_models::Tap;

pub(super) use self::{
    columns::{Column, Piece},
    prompts::Prompt,
};
use self::{
    columns::{append, columns_of, width},
    sources::{Each, Source},
    words::{taken, with_left_out},
};
use super::{
    Axes, ForeignProblem, ReadOptions,
    arrays::{Archive, Array},
    beside::Beside,
    layout::{Choice, Facts},
    names::TapName,
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

impl Reading {
    pub(super) fn of(
        archive: &Archive,
        beside: Beside,
        options: &ReadOptions,
    ) -> Result<Self, ForeignProblem> {
        let sources = sources::of(archive, &beside, options)?;
        let arrays = || sources.iter().flat_map(|source| &source.arrays).map(|&index| &archive.arrays[index]);
        arrays().try_for_each(can_be_states)?;
        let d_model = width(archive, &sources, options)?;
        let metadata = match taps::of_metadata(archive) {
            Err(ForeignProblem::TapName { .. }) if options.tap_is_known => None,
            taps => taps?,
        };
        let prompts = beside.prompts()?;
        let several = sources.len() > 1;
        let are_prompts = sources.iter().any(|source| source.each == Each::Prompt);
        let entries = match () {
            () if are_prompts => Entries::Prompts,
            () if arrays().count() > 1 && arrays().all(|array| array.rows() == 1) => Entries::SingleRows,
            () => Entries::Tensors,
        };
        let mut columns: Vec<Column> = Vec::new();
        let mut first: Option<Choice> = None;
        for source in &sources {
            let mut of_source: Vec<Column> = Vec::new();
            let mut of_first: Option<Axes> = None;
            let alone = source.arrays.len() == 1;
            for &index in &source.arrays {
                let array = &archive.arrays[index];
                let width = array.axes[array.axes.len() - 1].length;
                let facts = Facts {
                    // A step of a generation has fewer tokens than the prompt.
                    tokens: beside.tokens().filter(|_| alone),
                    masked: beside.masked.filter(|_| alone),
                    prompts: prompts.filter(|_| !are_prompts),
                    taps: match &metadata {
                        Some(taps) if !several => Some(taps.len()),
                        _ if several && width == d_model => Some(1),
                        _ => None,
                    }
                    .map(|taps| taps / (width / d_model).max(1)),
                    most_taps: options.model.map(|model| model.n_layers.saturating_add(2)),
                    taps_side_by_side: width > d_model,
                    axes: entries.axes(array.axes.len(), alone, of_first, options.axes),
                    of_vllm: archive.is_of_vllm(),
                };
                let shape = array.shape();
                let choice = facts.axes_of(&array.name, &shape[..shape.len() - 1])?;
                of_first.get_or_insert(choice.axes);
                let mut more = columns_of(index, array, choice.axes, d_model);
                if are_prompts {
                    more = more.into_iter().map(Column::by_prompt).collect();
                }
                first.get_or_insert(choice);
                append(&mut of_source, more)?;
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
            None => taps::of_names(&sources, &columns, axes_of_first, options.model),
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

/// The entries of all lists of arrays.
#[derive(Clone, Copy)]
enum Entries {
    /// Prompts, or batches of them.
    Prompts,
    /// Several tensors of one row each. The caller's axes say what they are, not what the axes of one of them are.
    SingleRows,
    Tensors,
}

impl Entries {
    /// Returns the axes of an entry with so many of them, if they are known apart from its shape. `alone` says that its list has no other
    /// entry, `of_first` has the axes of the first one, and `given` those that the caller gave.
    fn axes(self, count: usize, alone: bool, of_first: Option<Axes>, given: Option<Axes>) -> Option<Axes> {
        match (self, count) {
            (Entries::Prompts, 3) => Some(Axes::BatchToken),
            // The steps of several prompts.
            (Entries::SingleRows, 3) if !alone => Some(Axes::BatchToken),
            (Entries::Prompts | Entries::SingleRows, _) => None,
            // That its entries are steps says nothing of their axes.
            (Entries::Tensors, _) if given == Some(Axes::Token) && !alone => of_first,
            // A step has the axes of the prompt before it.
            (Entries::Tensors, _) => of_first.filter(|first| first.roles().len() + 1 == count).or(given),
        }
    }
}

/// Fails unless an array has floats in two to four axes, none of them empty.
fn can_be_states(array: &Array) -> Result<(), ForeignProblem> {
    array.check_whole()?;
    if array.encoding().is_none() {
        return Err(array.unknown_dtype("F16, BF16, F32 or F64"));
    }
    let tensor = || array.name.clone();
    if array.axes.iter().any(|axis| axis.length == 0) {
        return Err(ForeignProblem::Empty { tensor: tensor(), shape: array.shape() });
    }
    if !(2..=4).contains(&array.axes.len()) {
        return Err(ForeignProblem::Dimensions { tensor: tensor(), shape: array.shape() });
    }
    Ok(())
}
