//! The arrays of a file that hold states.

mod entries;
mod layers;

use std::collections::HashSet;

use self::layers::layers;
use crate::foreign::{
    ForeignProblem, ReadOptions,
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

/// Whether the last part of a name is this one.
fn is_named(name: &str, last: &str) -> bool {
    name.strip_suffix(last).is_some_and(|rest| rest.is_empty() || rest.ends_with('.') || rest.ends_with("__"))
}

/// Whether a name is that of a hook of TransformerLens.
fn is_hook(name: &str) -> bool {
    name.rsplit('.').next().is_some_and(|last| last.starts_with("hook_"))
}
