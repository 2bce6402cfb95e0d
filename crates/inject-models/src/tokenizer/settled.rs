//! The tokens of a text that do not depend on what follows it.

use std::collections::HashSet;

use super::{Bos, Tokenizer};
use crate::error::ModelError;

/// Texts that may follow: letters, digits, white space, punctuation, and an accent that combines with the letter before it.
const CONTINUATIONS: [&str; 16] =
    ["a", "s", "A", "0", " ", " a", "  ", "\n", "\n\n", ".", ",", ":", "'s", "/", "_", "\u{301}"];

impl Tokenizer {
    /// Returns the number of first tokens that a text and all its continuations share. A text is cut into tokens as a whole: the space at the
    /// end of "user: " may become a part of the word after it.
    ///
    /// Two tokens are certainly two if no token of the vocabulary contains the last character of the first beside the first character of the
    /// second, or if one of them is an added token, at which every text is divided. The last token counts only if it is an added one.
    ///
    /// # Errors
    ///
    /// As [`Tokenizer::encode`].
    pub fn settled(&self, text: &str, bos: Bos) -> Result<usize, ModelError> {
        let ids = self.encode(text, bos)?;
        let mut shared = ids.len();
        for more in CONTINUATIONS {
            let longer = self.ids(&[text, more].concat(), bos)?;
            shared = shared.min(ids.iter().zip(&longer).take_while(|(id, other)| id == other).count());
        }
        let vocabulary = self.inner.get_vocab(true);
        let within: HashSet<(char, char)> =
            vocabulary.keys().flat_map(|token| token.chars().zip(token.chars().skip(1))).collect();
        let added = self.inner.get_added_tokens_decoder();
        let is_cut = |end: usize| {
            let Some(before) = end.checked_sub(1).map(|last| ids[last]) else { return true };
            let Some(&after) = ids.get(end) else { return added.contains_key(&before) };
            let spelled = |id: u32| self.token(id).unwrap_or_default();
            let beside = spelled(before).chars().next_back().zip(spelled(after).chars().next());
            let is_within = beside.is_some_and(|beside| within.contains(&beside));
            !is_within || added.contains_key(&before) || added.contains_key(&after)
        };
        Ok((0..=shared).rev().find(|&end| is_cut(end)).unwrap_or(0))
    }
}
