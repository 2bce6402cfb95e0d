//! The meaning of the axes of a tensor.

use std::{fmt, str::FromStr};

use super::ForeignProblem;

/// The order of the axes of a tensor of states. The last axis, `d_model`, is not named.
///
/// In text the names are joined: `token-tap`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Axes {
    /// `[token, d_model]`, the states of one prompt at one tap.
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
pub(super) struct Evidence {
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
    /// Whether fewer rows than ids are those of vLLM's `[token, tap, d_model]`.
    pub(super) of_vllm: bool,
}

impl Evidence {
    /// Returns the only reading of a shape that fits. `shape` is that of all axes but the last.
    pub(super) fn axes_of(&self, tensor: &str, shape: &[usize]) -> Result<Axes, ForeignProblem> {
        let mut readings = self.readings(shape, self.tokens);
        let short = readings.is_empty();
        if short {
            // Rows may be missing, or more than there are ids.
            readings = self.readings(shape, None);
            if readings.len() > 1 && self.of_vllm {
                readings.retain(|&axes| axes == Axes::TokenTap);
            }
        }
        match readings[..] {
            [only] => Ok(only),
            [_, ..] if !short => {
                Err(ForeignProblem::Ambiguous { tensor: tensor.to_owned(), shape: shape.to_vec(), readings })
            }
            _ => Err(ForeignProblem::Mismatch {
                tensor: tensor.to_owned(),
                shape: shape.to_vec(),
                n_tokens: self.tokens.or(self.masked),
                n_taps: self.taps,
                n_prompts: self.prompts,
                axes: self.axes,
            }),
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

/// Returns a reading in words: `5 taps of 37 tokens`.
pub(super) fn in_words(axes: Axes, shape: &[usize]) -> String {
    let [prompts, taps, tokens] = axes.counts(shape);
    let counted = |count: usize, noun: &str| format!("{count} {noun}{}", if count == 1 { "" } else { "s" });
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Prompts, taps and tokens of a shape without its last axis, beside this many token ids and tap names.
    fn read(
        shape: &[usize],
        tokens: Option<usize>,
        taps: Option<usize>,
        axes: Option<Axes>,
    ) -> Result<[usize; 3], ForeignProblem> {
        let prompts = tokens.map(|_| 1);
        let evidence = Evidence { tokens, prompts, taps, axes, ..Evidence::default() };
        Ok(evidence.axes_of("states", shape)?.counts(shape))
    }

    #[test]
    fn two_axes_are_tokens_and_dimensions() {
        for axes in [None, Some(Axes::TokenTap), Some(Axes::TapToken)] {
            assert_eq!(read(&[5], None, None, axes).unwrap(), [1, 1, 5]);
            assert_eq!(read(&[5], Some(5), Some(1), axes).unwrap(), [1, 1, 5]);
        }
    }

    #[test]
    fn token_ids_decide_between_the_readings() {
        assert_eq!(read(&[5, 3], Some(5), None, None).unwrap(), [1, 3, 5]);
        assert_eq!(read(&[3, 5], Some(5), None, None).unwrap(), [1, 3, 5]);
        assert_eq!(read(&[1, 5], Some(5), None, None).unwrap(), [1, 1, 5]);
        assert_eq!(read(&[1, 5], Some(1), None, None).unwrap(), [1, 5, 1]);
        assert_eq!(read(&[3, 1, 5], Some(5), None, None).unwrap(), [1, 3, 5]);
    }

    #[test]
    fn tap_names_decide_between_the_readings() {
        assert_eq!(read(&[5, 3], Some(5), Some(3), None).unwrap(), [1, 3, 5]);
        // Two rows are missing.
        assert_eq!(read(&[5, 3], Some(5), Some(5), None).unwrap(), [1, 5, 3]);
        assert_eq!(read(&[1, 5], None, Some(1), None).unwrap(), [1, 1, 5]);
        let evidence = Evidence { taps: Some(3), prompts: Some(1), ..Evidence::default() };
        assert_eq!(evidence.axes_of("states", &[3, 5]).unwrap(), Axes::TapToken);
    }

    #[test]
    fn the_caller_decides_between_the_readings() {
        assert_eq!(read(&[5, 5], Some(5), Some(5), Some(Axes::TokenTap)).unwrap(), [1, 5, 5]);
        assert_eq!(read(&[1, 5], None, None, Some(Axes::TokenTap)).unwrap(), [1, 5, 1]);
        assert_eq!(read(&[2, 5], None, None, Some(Axes::BatchToken)).unwrap(), [2, 1, 5]);
        assert_eq!(read(&[2, 5], None, None, Some(Axes::TapToken)).unwrap(), [1, 2, 5]);
    }

    #[test]
    fn an_axis_of_one_is_a_batch_of_one() {
        assert_eq!(read(&[1, 1], None, None, None).unwrap(), [1, 1, 1]);
        assert_eq!(read(&[1, 5], None, None, None).unwrap(), [1, 1, 5]);
        assert_eq!(read(&[4, 1, 5], None, None, None).unwrap(), [1, 4, 5]);
    }

    #[test]
    fn the_depth_of_the_model_excludes_readings() {
        let evidence = Evidence { most_taps: Some(6), prompts: Some(1), ..Evidence::default() };
        assert_eq!(evidence.axes_of("states", &[37, 6]).unwrap(), Axes::TokenTap);
        assert_eq!(evidence.axes_of("states", &[6, 37]).unwrap(), Axes::TapToken);
    }

    #[test]
    fn three_axes_with_nothing_beside_them_are_ambiguous() {
        for shape in [[5, 3], [5, 1], [5, 5], [2, 37]] {
            let problem = read(&shape, None, None, None).unwrap_err();
            assert!(matches!(problem, ForeignProblem::Ambiguous { .. }), "{problem}");
        }
        let text = read(&[2, 37], None, None, None).unwrap_err().to_string();
        assert!(text.contains("2 prompts of 37 tokens (batch-token)"), "{text}");
        assert!(text.contains("37 tokens at 2 taps (tap-token)"), "{text}");
    }

    #[test]
    fn as_many_tokens_as_taps_are_ambiguous() {
        for taps in [None, Some(5)] {
            let problem = read(&[5, 5], Some(5), taps, None).unwrap_err();
            assert!(matches!(problem, ForeignProblem::Ambiguous { .. }), "{problem}");
        }
    }

    #[test]
    fn a_shape_that_does_not_fit_what_stands_beside_it_is_refused() {
        for (shape, tokens, taps, axes) in [
            (&[5][..], None, Some(2), None),
            (&[5, 3], Some(4), None, None),
            (&[5, 3], None, Some(4), None),
            (&[5, 3], Some(5), Some(2), None),
            (&[1, 2, 3, 4], None, None, None),
            (&[], None, None, None),
        ] {
            let problem = read(shape, tokens, taps, axes).unwrap_err();
            assert!(matches!(problem, ForeignProblem::Mismatch { .. }), "{problem}");
        }
    }

    #[test]
    fn names_of_axes_are_read_back() {
        for axes in ALL {
            assert_eq!(axes.to_string().parse(), Ok(axes));
        }
        assert!("token_tap".parse::<Axes>().unwrap_err().to_string().contains("batch-token-tap"));
    }
}
