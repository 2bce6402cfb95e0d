//! Endless deterministic text: short stories in English and short modules in Python.
//!
//! A [`Generator`] produces whole documents, on which a small language model can be trained, and prompts cut from them. A
//! document has structure that can be learned: the people of a story keep their names and roles, and a module uses the names that
//! it defines. A seed gives the same text on every platform. All text is ASCII, so a character is a byte.

mod code;
mod random;
mod story;
mod telling;
mod themes;
mod words;

use std::ops::RangeInclusive;

use random::Random;

/// The language of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DocumentKind {
    /// A story: English sentences about a few people and things.
    Story,
    /// A short module in Python.
    Code,
}

/// An endless source of documents, and of prompts cut from them.
///
/// Prompts are drawn independently, so a prompt may repeat. This is rare, and mostly happens among the shortest.
///
/// # Example
///
/// ```
/// use inject_prompts::Generator;
///
/// let prompts: Vec<String> = Generator::new(7).take(3).collect();
/// assert!(prompts.iter().all(|prompt| (20..=200).contains(&prompt.len())));
/// assert_eq!(prompts, Generator::new(7).take(3).collect::<Vec<_>>());
/// ```
#[derive(Clone, Debug)]
pub struct Generator {
    random: Random,
    prompt_lengths: RangeInclusive<usize>,
}

impl Generator {
    /// Creates a generator from a seed, with prompts of 20 to 200 characters.
    pub fn new(seed: u64) -> Self {
        Self { random: Random::new(seed), prompt_lengths: 20..=200 }
    }

    /// Sets the range of prompt lengths, in characters.
    ///
    /// # Panics
    ///
    /// Panics if the range is empty or contains zero.
    #[must_use]
    pub fn with_prompt_lengths(self, lengths: RangeInclusive<usize>) -> Self {
        assert!(!lengths.is_empty(), "prompt lengths from {lengths:?}: the range is empty");
        assert!(*lengths.start() > 0, "prompt lengths from {lengths:?}: a prompt has characters");
        Self { prompt_lengths: lengths, ..self }
    }

    /// Returns the next document. Three of five documents are stories.
    pub fn document(&mut self) -> (DocumentKind, String) {
        match self.random.chance(60) {
            true => (DocumentKind::Story, self.story()),
            false => (DocumentKind::Code, self.code()),
        }
    }

    /// Returns a story of 3 to 12 sentences in one or more paragraphs, with a final line feed.
    pub fn story(&mut self) -> String {
        let mut text = String::new();
        for sentence in story::sentences(&mut self.random) {
            if !text.is_empty() {
                text.push_str(if self.random.chance(6) { "\n\n" } else { " " });
            }
            text.push_str(&sentence);
        }
        text.push('\n');
        text
    }

    /// Returns a Python module that runs without errors, with a final line feed.
    pub fn code(&mut self) -> String {
        let mut text = code::module(&mut self.random);
        text.push('\n');
        text
    }

    /// Returns a prompt: a part of a document from the beginning of a word to the end of a word.
    ///
    /// A third of the prompts begin at the beginning of their document, and longer prompts are more frequent. If a prompt has to
    /// be longer than its document, it continues with other documents of the same kind, separated by empty lines.
    pub fn prompt(&mut self) -> String {
        loop {
            // After some words, no other word ends at an allowed distance.
            if let Some(prompt) = self.stretch() {
                return prompt;
            }
        }
    }

    fn stretch(&mut self) -> Option<String> {
        let (shortest, longest) = (*self.prompt_lengths.start(), *self.prompt_lengths.end());
        // The larger of two draws, because short prompts are more likely to repeat.
        let lengths = longest - shortest + 1;
        let length = shortest + self.random.below(lengths).max(self.random.below(lengths));
        let (kind, mut text) = self.document();
        while text.len() <= length {
            text.push('\n');
            text += &match kind {
                DocumentKind::Story => self.story(),
                DocumentKind::Code => self.code(),
            };
        }
        let starts_anywhere = self.random.below(3) > 0;
        let first = if starts_anywhere { self.random.below(text.len() - length) } else { 0 };
        let start = (first..text.len()).find(|&at| is_word_start(&text, at))?;
        // The last allowed end of a word within the drawn length, or otherwise the next one.
        let mut ends =
            (start + shortest..=text.len().min(start + longest)).filter(|&at| is_word_end(&text, at));
        let end = ends.next()?;
        let end = ends.take_while(|&at| at <= start + length).last().unwrap_or(end);
        Some(text[start..end].to_owned())
    }
}

/// Iterates over the prompts. The iterator never ends.
impl Iterator for Generator {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        Some(self.prompt())
    }
}

fn is_space(text: &str, at: usize) -> bool {
    text.as_bytes().get(at).is_none_or(u8::is_ascii_whitespace)
}

fn is_word_start(text: &str, at: usize) -> bool {
    !is_space(text, at) && (at == 0 || is_space(text, at - 1))
}

fn is_word_end(text: &str, at: usize) -> bool {
    at > 0 && !is_space(text, at - 1) && is_space(text, at)
}

/// Compiles the example of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn codes(seed: u64, count: usize) -> Vec<String> {
        let mut generator = Generator::new(seed);
        (0..count).map(|_| generator.code()).collect()
    }

    #[test]
    fn same_seed_gives_the_same_text_and_another_seed_another() {
        let texts = |seed| -> Vec<(DocumentKind, String)> {
            let mut generator = Generator::new(seed);
            (0..50).map(|_| generator.document()).collect()
        };
        assert_eq!(texts(3), texts(3));
        assert_ne!(texts(3), texts(4));
    }

    #[test]
    fn text_of_a_seed_is_the_same_on_every_platform() {
        // The FNV-1a hash of the first documents. It detects any change of the grammar, which would also change the text on which
        // the bundled model was trained.
        let mut generator = Generator::new(0);
        let text: String = (0..1000).map(|_| generator.document().1).collect();
        let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        assert_eq!(hash, 0x9acc_40b2_0883_1157, "{hash:#x}");
    }

    #[test]
    fn three_documents_in_five_are_stories() {
        let mut generator = Generator::new(5);
        let stories = (0..10_000).filter(|_| generator.document().0 == DocumentKind::Story).count();
        assert!((5800..6200).contains(&stories), "{stories} of 10000");
    }

    #[test]
    fn of_twenty_thousand_prompts_99_in_100_are_distinct() {
        let prompts: HashSet<String> = Generator::new(0).take(20_000).collect();
        assert!(prompts.len() >= 19_800, "{} of 20000", prompts.len());
    }

    #[test]
    fn prompts_keep_their_lengths_and_whole_words() {
        for lengths in [20..=200, 1..=1, 7..=7, 30..=60, 3000..=3100] {
            for prompt in Generator::new(6).with_prompt_lengths(lengths.clone()).take(500) {
                assert!(lengths.contains(&prompt.len()), "{lengths:?}: {prompt:?}");
                assert_eq!(prompt.trim(), prompt);
            }
        }
    }

    #[test]
    #[should_panic(expected = "the range is empty")]
    fn no_prompt_length_is_refused() {
        let lengths = RangeInclusive::new(9, 8);
        let _ = Generator::new(0).with_prompt_lengths(lengths);
    }

    #[test]
    fn all_text_is_ascii_and_ends_with_one_line_feed() {
        let mut generator = Generator::new(7);
        for (_, text) in (0..4000).map(|_| generator.document()) {
            assert!(text.is_ascii(), "{text}");
            assert!(text.ends_with('\n') && !text.ends_with("\n\n"), "{text}");
        }
    }

    #[test]
    fn stories_end_in_the_punctuation_of_a_sentence_and_close_their_quotes() {
        let mut generator = Generator::new(8);
        for story in (0..4000).map(|_| generator.story()) {
            let end = story.trim_end().trim_end_matches('"');
            assert!(end.ends_with(['.', '!', '?']), "{story}");
            assert_eq!(story.matches('"').count() % 2, 0, "{story}");
        }
    }

    #[test]
    fn brackets_of_code_balance() {
        for code in codes(9, 4000) {
            let mut open = Vec::new();
            for bracket in code.bytes() {
                match bracket {
                    b'(' | b'[' | b'{' => open.push(bracket),
                    b')' => assert_eq!(open.pop(), Some(b'('), "{code}"),
                    b']' => assert_eq!(open.pop(), Some(b'['), "{code}"),
                    b'}' => assert_eq!(open.pop(), Some(b'{'), "{code}"),
                    _ => {}
                }
            }
            assert!(open.is_empty(), "{code}");
        }
    }

    #[test]
    fn code_indents_in_fours_and_only_after_a_colon() {
        for code in codes(10, 4000) {
            let mut before = ("", 0);
            for line in code.lines().filter(|line| !line.is_empty()) {
                let indent = line.len() - line.trim_start().len();
                assert_eq!(indent % 4, 0, "{code}");
                let step = if before.0.ends_with(':') { before.1 + 4 } else { before.1 };
                assert!(indent == step || indent < before.1, "{line:?} in\n{code}");
                before = (line, indent);
            }
        }
    }
}
