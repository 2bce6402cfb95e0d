//! The arrays of a file that hold states.

use std::collections::HashSet;

use inject_models::Tap;

use crate::foreign::{
    Axes, ForeignProblem, ReadOptions,
    arrays::{Archive, Array},
    beside::Beside,
    names::TapName,
};

/// Arrays whose rows follow each other, and the meaning of their names.
pub(super) struct Source {
    pub(super) arrays: Vec<usize>,
    pub(super) name: Option<TapName>,
    pub(super) each: Each,
}

/// The meaning of each array of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Each {
    /// Further rows of the same prompts: the steps of a generation.
    Step,
    /// A prompt of its own.
    Prompt,
}

impl Source {
    fn steps(arrays: Vec<usize>, name: Option<TapName>) -> Self {
        Source { arrays, name, each: Each::Step }
    }
}

/// Chooses the arrays of states, column by column.
pub(super) fn of(
    archive: &Archive,
    beside: &Beside,
    options: &ReadOptions,
) -> Result<Vec<Source>, ForeignProblem> {
    let one = |index| vec![Source::steps(vec![index], None)];
    let list = || archive.arrays.iter().map(Array::described).collect();
    if let Some(name) = &options.tensor {
        if let Some(index) = archive.position(name) {
            let parsed = TapName::parse(name);
            if parsed.is_none() && is_hook(name) && name.contains("blocks.") {
                return Err(ForeignProblem::WithinBlock { tensor: name.clone() });
            }
            let name = parsed;
            return Ok(vec![Source::steps(vec![index], name)]);
        }
        return Err(ForeignProblem::NoTensor { name: name.clone(), found: list() });
    }
    match (archive.position("states"), archive.position("hidden_states")) {
        (Some(_), Some(_)) => return Err(ForeignProblem::TwoStates),
        (Some(index), None) | (None, Some(index)) => return Ok(one(index)),
        (None, None) => {}
    }
    if let (Some(last), Some(aux)) = (archive.position("hidden_state"), archive.position("aux_hidden_state"))
    {
        // SpecForge: some taps side by side, and the last.
        return Ok([aux, last].map(|index| Source::steps(vec![index], None)).into());
    }
    if archive.arrays.len() == 1 {
        return Ok(one(0));
    }
    let floats: Vec<usize> =
        (0..archive.arrays.len()).filter(|&index| may_be_states(&archive.arrays[index], options)).collect();
    let layers = layers(archive, &floats, beside, options)?;
    if !layers.is_empty() {
        return Ok(layers);
    }
    let at_taps: Vec<usize> =
        floats.iter().copied().filter(|&index| !is_at_no_tap(&archive.arrays[index].name)).collect();
    let is_last_state = |array: &&Array| {
        array.axes.len() == 1 && matches!(TapName::parse(&array.name), Some(TapName::Prompt(..)))
    };
    if let Some(array) = archive.arrays.iter().find(is_last_state) {
        return Err(ForeignProblem::LastStates { tensor: array.name.clone() });
    }
    match (&floats[..], &at_taps[..]) {
        (&[only], _) | (_, &[only]) => Ok(one(only)),
        _ => Err(ForeignProblem::NoStates { found: list() }),
    }
}

/// The names of the outputs of a model beside its states that are left out because they are at no further tap.
pub(super) fn set_aside(archive: &Archive, sources: &[Source], options: &ReadOptions) -> Vec<String> {
    let read: HashSet<usize> = sources.iter().flat_map(|source| source.arrays.iter().copied()).collect();
    let is_output = |array: &Array| is_at_no_tap(&array.name) || is_last(&array.name);
    let aside = archive.arrays.iter().enumerate().filter(|&(index, array)| {
        options.tensor.is_none() && array.encoding().is_some() && is_output(array) && !read.contains(&index)
    });
    aside.map(|(_, array)| array.name.clone()).collect()
}

/// Whether an array of this name is one that models compute beside their states. The embeddings of tokens may lack their scale and positions.
fn is_at_no_tap(name: &str) -> bool {
    const OUTPUTS: [&str; 6] =
        ["pooler_output", "sentence_embedding", "inputs_embeds", "embed_tokens", "wte", "wpe"];
    OUTPUTS.iter().any(|output| is_named(name, output))
}

/// Whether an array is the state after the final norm, which is also the last of a list of all layers.
fn is_last(name: &str) -> bool {
    is_named(name, "last_hidden_state")
}

/// Whether an array could be states: floats of the right width, and not another output of a model.
fn may_be_states(array: &Array, options: &ReadOptions) -> bool {
    const OTHERS: [&str; 6] = ["logits", "scores", "loss", "attentions", "past_key_values", "lm_head"];
    let fits = |width: usize| options.model.is_none_or(|model| width.is_multiple_of(model.d_model.max(1)));
    let width = array.axes.last().filter(|_| array.axes.len() >= 2).map(|axis| axis.length);
    array.encoding().is_some()
        && !array.name.split('.').any(|part| OTHERS.contains(&part))
        && width.is_some_and(fits)
}

/// One source for each layer, if every array of floats is named after one. Of the hooks of a TransformerLens cache only those at taps are.
fn layers(
    archive: &Archive,
    floats: &[usize],
    beside: &Beside,
    options: &ReadOptions,
) -> Result<Vec<Source>, ForeignProblem> {
    let mut named: Vec<(TapName, usize)> = Vec::new();
    let may_repeat = |index: usize| {
        let name = &archive.arrays[index].name;
        name.ends_with("hook_resid_pre") || is_last(name)
    };
    let (repeating, others): (Vec<usize>, Vec<usize>) = floats.iter().partition(|&&index| may_repeat(index));
    for index in others.into_iter().chain(repeating) {
        let name = &archive.arrays[index].name;
        match TapName::parse(name) {
            // The state before a block is that after the block before it, and the last state is that after the norm.
            Some(TapName::Known(tap)) if named.iter().any(|&(known, _)| known == TapName::Known(tap)) => {
                if !(is_hook(name) || is_last(name) && tap_of_another(&named, archive, tap)) {
                    return Err(ForeignProblem::RepeatedTap { tap });
                }
            }
            // The last of the list is the same.
            Some(_) if is_last(name) && named.iter().any(|(named, _)| named.is_of_list()) => {}
            Some(name) => named.push((name, index)),
            None if is_hook(name) || is_at_no_tap(name) => {}
            None => return Ok(Vec::new()),
        }
    }
    named.sort_unstable();
    list_if_no_modules(&mut named, archive, options);
    if !named.is_empty() {
        no_entry_is_left_out(archive, floats)?;
    }
    let each = match () {
        () if are_prompts(archive, &named, beside, options)? => Some(Each::Prompt),
        () if are_steps(archive, &named, beside, options)? => Some(Each::Step),
        () => None,
    };
    if let Some(each) = each {
        let arrays = named.into_iter().map(|(_, index)| index).collect();
        return Ok(vec![Source { arrays, name: None, each }]);
    }
    can_be_layers(archive, &named, options)?;
    let each = each_of_steps(archive, &named, beside, options)?;
    let mut layers: Vec<Source> = Vec::new();
    for &(name, index) in &named {
        match name {
            TapName::Step(_, layer) => {
                let listed = Some(TapName::Listed(layer));
                match layers.iter_mut().find(|source| source.name == listed) {
                    Some(source) => source.arrays.push(index),
                    None => layers.push(Source { arrays: vec![index], name: listed, each }),
                }
            }
            TapName::Prompt(tap, _) => {
                let known = Some(TapName::Known(tap));
                let is_same = |source: &&mut Source| source.name == known && source.each == Each::Prompt;
                match layers.last_mut().filter(is_same) {
                    Some(source) => source.arrays.push(index),
                    None => layers.push(Source { arrays: vec![index], name: known, each: Each::Prompt }),
                }
            }
            name => layers.push(Source::steps(vec![index], Some(name))),
        }
    }
    Ok(layers)
}

/// Whether the array at this tap is not named as the last state. Two of that name are those of two prompts.
fn tap_of_another(named: &[(TapName, usize)], archive: &Archive, tap: Tap) -> bool {
    let at_tap = |&&(name, _): &&(TapName, usize)| name == TapName::Known(tap);
    named.iter().find(at_tap).is_some_and(|&(_, index)| !is_last(&archive.arrays[index].name))
}

/// Reads names of modules as those of a list, if there is one more than the model has blocks, or two: no module has the last number.
fn list_if_no_modules(named: &mut Vec<(TapName, usize)>, archive: &Archive, options: &ReadOptions) {
    let Some(n_layers) = options.model.map(|model| model.n_layers) else { return };
    // The state after the norm comes after all blocks, and is the last of the list.
    let count = named.iter().filter(|(_, index)| !is_last(&archive.arrays[*index].name)).count();
    let is_whole = [1, 2].iter().any(|more| count == n_layers.saturating_add(*more));
    let in_order =
        named[..count].iter().enumerate().all(|(at, (name, _))| *name == TapName::Known(Tap::Block(at + 1)));
    if is_whole && in_order {
        named.truncate(count);
        for (at, (name, _)) in named.iter_mut().enumerate() {
            *name = TapName::Listed(at);
        }
    }
}

/// Whether the names are those of one list: 0, 1, and so on.
fn is_list(named: &[(TapName, usize)]) -> bool {
    named.len() > 1 && named.iter().enumerate().all(|(at, &(name, _))| name == TapName::Listed(at))
}

/// Whether a list is one of prompts or of batches: the caller says so, or there are ids or lengths of as many prompts.
fn are_prompts(
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
fn can_be_layers(
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
fn each_of_steps(
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
fn are_steps(
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
fn no_entry_is_left_out(archive: &Archive, floats: &[usize]) -> Result<(), ForeignProblem> {
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

/// Whether the last part of a name is this one.
fn is_named(name: &str, last: &str) -> bool {
    name.strip_suffix(last).is_some_and(|rest| rest.is_empty() || rest.ends_with('.') || rest.ends_with("__"))
}

/// Whether a name is that of a hook of TransformerLens.
fn is_hook(name: &str) -> bool {
    name.rsplit('.').next().is_some_and(|last| last.starts_with("hook_"))
}
