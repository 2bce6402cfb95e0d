//! The meaning of the axes of a tensor.

#[cfg(test)]
mod tests;

use std::{fmt, str::FromStr};

use super::ForeignProblem;

/// The order of the axes of a tensor of states. The last axis, `d_model`, is not named.
///
/// In text the names are joined: `token-tap`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Axes {
    /// `[token, d_model]`, the states of one prompt at one tap. Of a list of single rows: they are those of its tokens.
    Token,
    /// `[token, tap, d_model]`, as vLLM writes.
    TokenTap,
    /// `[tap, token, d_model]`, as a stack of Hugging Face's `hidden_states`.
    TapToken,
    /// `[prompt, token, d_model]`, a batch.
    BatchToken,
    /// `[tap, prompt, token, d_model]`, a stack of Hugging Face's `hidden_states` with its batch axis.
    TapBatchToken,
    /// `[prompt, tap, token, d_model]`.
    BatchTapToken,
    /// `[prompt, token, tap, d_model]`.
    BatchTokenTap,
}

/// The meaning of one axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Batch,
    Tap,
    Token,
}

const ALL: [Axes; 7] = [
    Axes::Token,
    Axes::TokenTap,
    Axes::TapToken,
    Axes::BatchToken,
    Axes::TapBatchToken,
    Axes::BatchTapToken,
    Axes::BatchTokenTap,
];

impl Axes {
    pub(super) fn roles(self) -> &'static [Role] {
        use Role::{Batch, Tap, Token};
        match self {
            Axes::Token => &[Token],
            Axes::TokenTap => &[Token, Tap],
            Axes::TapToken => &[Tap, Token],
            Axes::BatchToken => &[Batch, Token],
            Axes::TapBatchToken => &[Tap, Batch, Token],
            Axes::BatchTapToken => &[Batch, Tap, Token],
            Axes::BatchTokenTap => &[Batch, Token, Tap],
        }
    }

    /// Returns the place of a role among the axes.
    pub(super) fn place(self, role: Role) -> Option<usize> {
        self.roles().iter().position(|&found| found == role)
    }

    /// Returns the places of the roles whose axes are longer than 1. Readings that agree in them are the same.
    fn long(self, shape: &[usize]) -> [Option<usize>; 3] {
        let place = |role| self.place(role).filter(|&place| shape[place] > 1);
        [Role::Batch, Role::Tap, Role::Token].map(place)
    }

    /// Returns how many prompts, taps and tokens a shape has in this reading.
    fn counts(self, shape: &[usize]) -> [usize; 3] {
        [Role::Batch, Role::Tap, Role::Token].map(|role| self.place(role).map_or(1, |place| shape[place]))
    }
}

impl fmt::Display for Axes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Axes::Token => "token",
            Axes::TokenTap => "token-tap",
            Axes::TapToken => "tap-token",
            Axes::BatchToken => "batch-token",
            Axes::TapBatchToken => "tap-batch-token",
            Axes::BatchTapToken => "batch-tap-token",
            Axes::BatchTokenTap => "batch-token-tap",
        })
    }
}

impl FromStr for Axes {
    type Err = UnknownAxes;

    fn from_str(text: &str) -> Result<Self, UnknownAxes> {
        let found = ALL.into_iter().find(|axes| axes.to_string() == text);
        found.ok_or_else(|| UnknownAxes { found: text.to_owned() })
    }
}

/// A text that does not name the axes of a tensor.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "unknown axes `{found}`: expected token, token-tap, tap-token, batch-token, tap-batch-token, batch-tap-token or \
     batch-token-tap"
)]
#[non_exhaustive]
pub struct UnknownAxes {
    /// The text that was given.
    pub found: String,
}

/// The facts about a tensor apart from its shape.
#[derive(Clone, Debug, Default)]
pub(super) struct Facts {
    /// The number of token ids of each prompt.
    pub(super) tokens: Option<usize>,
    /// The length of the token axis by a mask.
    pub(super) masked: Option<usize>,
    pub(super) prompts: Option<usize>,
    pub(super) taps: Option<usize>,
    /// The largest number of taps that the model has.
    pub(super) most_taps: Option<usize>,
    /// Whether the last axis already holds several taps.
    pub(super) taps_side_by_side: bool,
    pub(super) axes: Option<Axes>,
    /// Whether vLLM wrote it, whose axes are `[token, tap, d_model]`.
    pub(super) of_vllm: bool,
}

/// The reading of a shape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Choice {
    pub(super) axes: Axes,
    /// The readings that fit as well, if a convention chose among several.
    pub(super) others: Vec<Axes>,
}

impl Facts {
    /// Returns the reading of a shape. `shape` is that of all axes but the last.
    pub(super) fn axes_of(&self, tensor: &str, shape: &[usize]) -> Result<Choice, ForeignProblem> {
        let mut readings = self.readings(shape, self.tokens);
        let short = readings.is_empty();
        if short {
            // Rows may be missing, or more than there are ids.
            readings = self.readings(shape, None);
        }
        if let Some(axes) = self.chosen(&readings, shape, short) {
            // Rows are missing in the files of servers alone, whose axes are known.
            let others = readings.into_iter().filter(|&other| other != axes && !short).collect();
            return Ok(Choice { axes, others });
        }
        match readings.is_empty() || short {
            false => {
                Err(ForeignProblem::Ambiguous { tensor: tensor.to_owned(), shape: shape.to_vec(), readings })
            }
            true => Err(ForeignProblem::Mismatch {
                tensor: tensor.to_owned(),
                shape: shape.to_vec(),
                n_tokens: self.tokens.or(self.masked),
                by_mask: self.tokens.is_none() && self.masked.is_some(),
                n_taps: self.taps,
                n_prompts: self.prompts,
                axes: self.axes,
            }),
        }
    }

    /// Chooses among the readings that fit: the only one, that of the format, or that of a stack of all taps.
    fn chosen(&self, readings: &[Axes], shape: &[usize], short: bool) -> Option<Axes> {
        match *readings {
            [only] => Some(only),
            _ if self.of_vllm && readings.contains(&Axes::TokenTap) => Some(Axes::TokenTap),
            _ if short => None,
            _ => self.whole_stack(readings, shape),
        }
    }

    /// Returns the readings that differ from each other.
    fn readings(&self, shape: &[usize], tokens: Option<usize>) -> Vec<Axes> {
        let mut readings: Vec<Axes> = Vec::new();
        for axes in ALL {
            let known = axes.roles().len() == shape.len() && self.fits(axes, shape, tokens);
            if known && !readings.iter().any(|other| other.long(shape) == axes.long(shape)) {
                readings.push(axes);
            }
        }
        if readings.len() > 1 && self.axes.is_none() {
            prefer_one_prompt(&mut readings, shape);
        }
        readings
    }

    /// Decides what nothing in the file decides: an axis as long as the list of all taps is that list. Hugging Face's `hidden_states`, one
    /// shorter, is recognised as the first axis only.
    fn whole_stack(&self, readings: &[Axes], shape: &[usize]) -> Option<Axes> {
        let most = self.most_taps.filter(|_| self.axes.is_none())?;
        let whole = |axes: &Axes| {
            let taps = axes.counts(shape)[1];
            taps == most || (taps + 1 == most && axes.place(Role::Tap) == Some(0))
        };
        match readings.iter().copied().filter(whole).collect::<Vec<_>>()[..] {
            [only] => Some(only),
            _ => None,
        }
    }

    fn fits(&self, axes: Axes, shape: &[usize], tokens: Option<usize>) -> bool {
        let [prompts, taps, length] = axes.counts(shape);
        (self.axes.is_none_or(|known| known == axes) || shape.len() == 1)
            && tokens.is_none_or(|known| known == length)
            && self.masked.is_none_or(|known| known == length)
            && self.prompts.is_none_or(|known| known == prompts)
            && self.taps.is_none_or(|known| known == taps)
            && self.most_taps.is_none_or(|most| taps <= most)
            && !(self.taps_side_by_side && axes.place(Role::Tap).is_some())
    }
}

/// Decides what nothing in the file decides: an axis of length 1 that may be a batch is one. Programs that keep a batch axis write
/// it for a single prompt too, and hardly anyone stores a single token at many taps.
fn prefer_one_prompt(readings: &mut Vec<Axes>, shape: &[usize]) {
    if let [1, tokens] = *shape {
        if let Some(&axes) = readings.iter().find(|axes| axes.counts(shape) == [1, 1, tokens]) {
            *readings = vec![axes];
        }
    } else if readings.iter().any(|axes| axes.place(Role::Batch).is_some_and(|place| shape[place] == 1)) {
        readings.retain(|axes| axes.counts(shape)[0] == 1);
    }
}

/// Returns readings in words, each with its name.
pub(super) fn readings_of(readings: &[Axes], shape: &[usize]) -> String {
    let words = readings.iter().map(|&axes| format!("{} ({axes})", in_words(axes, shape)));
    words.collect::<Vec<_>>().join(" or as ")
}

/// Returns a count and its noun: `1 tap`, `3 taps`.
pub(super) fn counted(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// Returns a reading in words: `5 taps of 37 tokens`.
pub(super) fn in_words(axes: Axes, shape: &[usize]) -> String {
    let [prompts, taps, tokens] = axes.counts(shape);
    let batch = if axes.place(Role::Batch).is_some() {
        format!("{} of ", counted(prompts, "prompt"))
    } else {
        String::new()
    };
    match axes.place(Role::Tap) {
        Some(_) => format!("{batch}{} at {}", counted(tokens, "token"), counted(taps, "tap")),
        None => format!("{batch}{}", counted(tokens, "token")),
    }
}
