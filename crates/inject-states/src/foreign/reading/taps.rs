//! The taps of columns, as far as the file names them.

use std::collections::HashSet;

use inject_models::Tap;

use super::{Column, sources::Source};
use crate::foreign::{
    Axes, ForeignProblem, ModelShape,
    arrays::Archive,
    layout::Role,
    names::{TapName, of_list},
};

/// Returns the taps that the names of tensors, or the number of layers, give.
pub(super) fn of_names(
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

/// Returns the taps that the texts beside the arrays name, `tap` or `taps`.
pub(super) fn of_metadata(archive: &Archive) -> Result<Option<Vec<Tap>>, ForeignProblem> {
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
    let mut seen = HashSet::new();
    match taps.iter().find(|&&tap| !seen.insert(tap)) {
        Some(&tap) => Err(ForeignProblem::RepeatedTap { tap }),
        None => Ok(Some(taps)),
    }
}
