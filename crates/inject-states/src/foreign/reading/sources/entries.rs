//! The meaning of the entries of a list of arrays: layers, prompts, or steps of a generation.

use super::Each;
use crate::foreign::{
    Axes, ForeignProblem, ReadOptions,
    arrays::{Archive, Array},
    beside::Beside,
    names::TapName,
};

/// Whether the names are those of one list: 0, 1, and so on.
fn is_list(named: &[(TapName, usize)]) -> bool {
    named.len() > 1 && named.iter().enumerate().all(|(at, &(name, _))| name == TapName::Listed(at))
}

/// Whether a list is one of prompts or of batches: the caller says so, or there are ids or lengths of as many prompts.
pub(super) fn are_prompts(
    archive: &Archive,
    named: &[(TapName, usize)],
    beside: &Beside,
    options: &ReadOptions,
) -> Result<bool, ForeignProblem> {
    let listed = named.iter().all(|(name, _)| matches!(name, TapName::Listed(_)));
    let arrays: Vec<&Array> = named.iter().map(|&(_, index)| &archive.arrays[index]).collect();
    let ([first, later @ ..], Some(prompts)) = (&arrays[..], prompts_of(&arrays)) else { return Ok(false) };
    if !listed || later.is_empty() || archive.metadata.contains_key("taps") {
        return Ok(false);
    }
    if is_list(named) && beside.prompts()? == Some(prompts) {
        return Ok(true);
    }
    let of_one_each = is_list(named) && prompts == arrays.len();
    // Layers of a batch have equally many rows of equally many prompts, and there are no more of them than taps. Single rows are steps.
    let size = |array: &Array| (array.prompts(), array.rows());
    let differ = later.iter().any(|array| size(array) != size(first));
    let steps = later.iter().all(|array| array.rows() == 1);
    let no_layers = !steps && (differ || arrays.len() > most_taps(options));
    Ok(options.axes == Some(Axes::BatchToken) && (of_one_each || no_layers))
}

/// The number of prompts of some arrays, if they are those of prompts or of batches.
fn prompts_of(arrays: &[&Array]) -> Option<usize> {
    arrays.iter().map(|array| array.prompts()).sum()
}

fn most_taps(options: &ReadOptions) -> usize {
    options.model.map_or(usize::MAX, |model| model.n_layers.saturating_add(2))
}

/// Fails if two entries have one number, and if there are more entries than the model has taps.
pub(super) fn can_be_layers(
    archive: &Archive,
    named: &[(TapName, usize)],
    options: &ReadOptions,
) -> Result<(), ForeignProblem> {
    let listed = |name: TapName| name.is_of_list();
    if let Some(pair) = named.windows(2).find(|pair| pair[0].0 == pair[1].0 && listed(pair[0].0)) {
        let [first, second] = [0, 1].map(|at| archive.arrays[pair[at].1].name.clone());
        return Err(ForeignProblem::RepeatedEntry { first, second });
    }
    let most_taps = most_taps(options);
    if is_list(named) && named.len() > most_taps {
        let first = &archive.arrays[named[0].1];
        let (tensor, shape, entries) = (first.name.clone(), first.shape(), named.len());
        return Err(ForeignProblem::MoreEntries { tensor, shape, entries, most_taps });
    }
    Ok(())
}

/// The meaning of the entries of a list of lists of layers: steps of a generation, the first with the rows of its prompt, or prompts. A step
/// has one row, unless tokens were drafted.
pub(super) fn each_of_steps(
    archive: &Archive,
    named: &[(TapName, usize)],
    beside: &Beside,
    options: &ReadOptions,
) -> Result<Each, ForeignProblem> {
    let step = |&(name, index): &(TapName, usize)| match name {
        TapName::Step(step, layer) => Some((step, layer, &archive.arrays[index])),
        _ => None,
    };
    let steps: Vec<(usize, usize, &Array)> = named.iter().filter_map(step).collect();
    let (Some(&(_, first, _)), Some(&(last, _, array))) = (steps.first(), steps.last()) else {
        return Ok(Each::Step);
    };
    let of_layer: Vec<&Array> =
        steps.iter().filter(|(_, layer, _)| *layer == first).map(|&(_, _, array)| array).collect();
    let prompts = prompts_of(&of_layer);
    let mut later = steps.iter().filter(|(step, ..)| *step > 0);
    let several = last > 0 && later.all(|(_, _, array)| array.rows() > 1);
    // Without a cache each step has the rows of all tokens before it too.
    let grows = last > 0 && of_layer.windows(2).all(|pair| pair[1].rows() == pair[0].rows() + 1);
    match options.axes {
        None if grows && several => {
            Err(ForeignProblem::GrowingSteps { tensor: array.name.clone(), rows: array.rows(), last })
        }
        Some(Axes::BatchTapToken) if prompts.is_some() => Ok(Each::Prompt),
        _ if prompts.is_some() && beside.prompts()? == prompts && last > 0 => Ok(Each::Prompt),
        None if several => Err(ForeignProblem::StepOfRows { tensor: array.name.clone(), rows: array.rows() }),
        _ => Ok(Each::Step),
    }
}

/// Whether a list is one of the steps of a generation at one tap: the rows of the prompt, then single rows. Layers have equally many, and
/// a name may say that entries are layers.
///
/// A list of nothing but single rows is one of steps after a prompt of one token, or one of layers of such a prompt. The number of ids
/// decides, or there are too many for layers, or the caller.
pub(super) fn are_steps(
    archive: &Archive,
    named: &[(TapName, usize)],
    beside: &Beside,
    options: &ReadOptions,
) -> Result<bool, ForeignProblem> {
    let in_order =
        is_list(named) && named.iter().all(|&(_, index)| !archive.arrays[index].name.contains("layer"));
    let [(_, first), steps @ ..] = named else { return Ok(false) };
    let single = steps.iter().all(|&(_, step)| archive.arrays[step].rows() == 1);
    if !in_order || steps.is_empty() || !single || archive.metadata.contains_key("taps") {
        return Ok(false);
    }
    if archive.arrays[*first].rows() > 1 {
        return Ok(true);
    }
    let count = named.len();
    match options.axes {
        Some(axes) => Ok(axes == Axes::Token),
        None if beside.tokens() == Some(count) || count > most_taps(options) => Ok(true),
        None => Err(ForeignProblem::Ambiguous {
            tensor: format!("{} and the entries after it", archive.arrays[*first].name),
            shape: vec![count, 1],
            readings: vec![Axes::Token, Axes::TapToken],
        }),
    }
}

/// Fails if a list of layers or steps has floats that are not read as one. Otherwise its rows would be dropped silently.
pub(super) fn no_entry_is_left_out(archive: &Archive, floats: &[usize]) -> Result<(), ForeignProblem> {
    let lost = archive.arrays.iter().enumerate().find(|(index, array)| {
        let listed = TapName::parse(&array.name).is_some_and(TapName::is_of_list);
        listed && array.encoding().is_some() && !array.axes.is_empty() && !floats.contains(index)
    });
    match lost {
        None => Ok(()),
        Some((_, array)) => {
            Err(ForeignProblem::ListEntry { tensor: array.name.clone(), shape: array.shape() })
        }
    }
}
