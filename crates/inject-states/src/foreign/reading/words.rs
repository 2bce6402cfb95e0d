//! A reading in words, for people who check it.

use inject_models::Tap;

use super::{
    Column,
    sources::{Each, Source},
};
use crate::foreign::{
    Axes,
    arrays::Archive,
    layout::{counted, in_words, readings_of},
};

/// Adds to a reading in words the arrays that were left out, and the reason.
pub(super) fn with_left_out(taken: Option<String>, left_out: &[String], reason: &str) -> Option<String> {
    let [first, others @ ..] = left_out else { return taken };
    let others = if others.is_empty() { String::new() } else { format!(" and {} more", others.len()) };
    let note = format!("`{first}`{others} left out, because {reason}");
    Some(taken.map_or(note.clone(), |taken| format!("{taken}; {note}")))
}

/// The reading in words. None if a file could not be read in another way.
pub(super) fn taken(
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
