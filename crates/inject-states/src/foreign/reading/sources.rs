//! The arrays of a file that hold states.

use crate::foreign::{
    ForeignProblem, ReadOptions,
    arrays::{Archive, Array},
    names::TapName,
};

/// Arrays whose rows follow each other, and the meaning of their names.
pub(super) struct Source {
    pub(super) arrays: Vec<usize>,
    pub(super) name: Option<TapName>,
}

/// Chooses the arrays of states, column by column.
pub(super) fn of(archive: &Archive, options: &ReadOptions) -> Result<Vec<Source>, ForeignProblem> {
    let one = |index| vec![Source { arrays: vec![index], name: None }];
    let list = || archive.arrays.iter().map(Array::described).collect();
    if let Some(name) = &options.tensor {
        if let Some(index) = archive.position(name) {
            let name = TapName::parse(name);
            return Ok(vec![Source { arrays: vec![index], name }]);
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
        return Ok([aux, last].map(|index| Source { arrays: vec![index], name: None }).into());
    }
    if archive.arrays.len() == 1 {
        return Ok(one(0));
    }
    let floats: Vec<usize> =
        (0..archive.arrays.len()).filter(|&index| may_be_states(&archive.arrays[index], options)).collect();
    let layers = layers(archive, &floats);
    if !layers.is_empty() {
        return Ok(layers);
    }
    match floats[..] {
        [only] => Ok(one(only)),
        _ => Err(ForeignProblem::NoStates { found: list() }),
    }
}

/// Whether an array could be states: floats of the right width, and not another output of a model.
fn may_be_states(array: &Array, options: &ReadOptions) -> bool {
    const OTHERS: [&str; 5] = ["logits", "scores", "loss", "attentions", "past_key_values"];
    let name = array.name.split('.').next().unwrap_or_default();
    let fits = |width: usize| options.model.is_none_or(|model| width.is_multiple_of(model.d_model.max(1)));
    let width = array.axes.last().filter(|_| array.axes.len() >= 2).map(|axis| axis.length);
    array.encoding().is_some() && !OTHERS.contains(&name) && width.is_some_and(fits)
}

/// One source for each layer, if every array of floats is named after one.
fn layers(archive: &Archive, floats: &[usize]) -> Vec<Source> {
    let mut named: Vec<(TapName, usize)> = Vec::new();
    for &index in floats {
        match TapName::parse(&archive.arrays[index].name) {
            Some(name) => named.push((name, index)),
            None => return Vec::new(),
        }
    }
    named.sort_unstable();
    let mut layers: Vec<Source> = Vec::new();
    for &(name, index) in &named {
        match name {
            TapName::Step(_, layer) => {
                let listed = Some(TapName::Listed(layer));
                match layers.iter_mut().find(|source| source.name == listed) {
                    Some(source) => source.arrays.push(index),
                    None => layers.push(Source { arrays: vec![index], name: listed }),
                }
            }
            name => layers.push(Source { arrays: vec![index], name: Some(name) }),
        }
    }
    layers
}
