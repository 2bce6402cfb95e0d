//! Arrays that are named after layers.

use inject_models::Tap;

use super::{
    Each, Source,
    entries::{are_prompts, are_steps, can_be_layers, each_of_steps, no_entry_is_left_out},
    is_at_no_tap, is_hook, is_last,
};
use crate::foreign::{ForeignProblem, ReadOptions, arrays::Archive, beside::Beside, names::TapName};

/// One source for each layer, if every array of floats is named after one. Of the hooks of a TransformerLens cache only those at taps are.
pub(super) fn layers(
    archive: &Archive,
    floats: &[usize],
    beside: &Beside,
    options: &ReadOptions,
) -> Result<Vec<Source>, ForeignProblem> {
    let Some(mut named) = named_after_layers(archive, floats)? else { return Ok(Vec::new()) };
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
    Ok(source_of_each(&named, each))
}

/// The arrays of floats that are named after layers, in their order. None if one of them is named after something else.
fn named_after_layers(
    archive: &Archive,
    floats: &[usize],
) -> Result<Option<Vec<(TapName, usize)>>, ForeignProblem> {
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
            None => return Ok(None),
        }
    }
    named.sort_unstable();
    Ok(Some(named))
}

/// One source for each layer. `each` is the meaning of the entries of a list of lists.
fn source_of_each(named: &[(TapName, usize)], each: Each) -> Vec<Source> {
    let mut layers: Vec<Source> = Vec::new();
    for &(name, index) in named {
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
    layers
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
