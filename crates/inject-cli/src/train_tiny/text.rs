//! Generated documents as tokens.

use inject_prompts::{DocumentKind, Generator};
use tokenizers::{
    AddedToken, Tokenizer,
    models::{
        TrainerWrapper,
        bpe::{BPE, BpeTrainer},
    },
    pre_tokenizers::byte_level::ByteLevel,
};

use super::shape::POSITIONS;
use crate::outcome::Failure;

pub(crate) const VOCAB_SIZE: usize = 2048;

/// The special token before every document.
const END_OF_TEXT: &str = "<|endoftext|>";
/// Special tokens come first in a vocabulary.
pub(crate) const END_OF_TEXT_ID: u32 = 0;

/// Learns a byte-level vocabulary from the first documents of a seed. Every byte is in it, so every text encodes, and
/// decodes to itself.
pub(crate) fn learn_vocabulary(seed: u64) -> Result<Tokenizer, Failure> {
    const DOCUMENTS: usize = 20_000;
    let mut tokenizer = Tokenizer::new(BPE::default());
    let bytes = ByteLevel::default().add_prefix_space(false);
    tokenizer.with_pre_tokenizer(Some(bytes)).with_decoder(Some(bytes));
    let trainer = BpeTrainer::builder()
        .vocab_size(VOCAB_SIZE)
        .show_progress(false)
        .special_tokens(vec![AddedToken::from(END_OF_TEXT, true)])
        .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
        .build();
    let mut generator = Generator::new(seed);
    let documents = std::iter::repeat_with(move || generator.document().1).take(DOCUMENTS);
    tokenizer.train(&mut TrainerWrapper::from(trainer), documents).map_err(failure)?;
    assert_eq!(tokenizer.token_to_id(END_OF_TEXT), Some(END_OF_TEXT_ID));
    Ok(tokenizer)
}

/// Documents as one endless row of tokens, each begun by the token that ends a text.
pub(crate) struct Text {
    generator: Generator,
    tokenizer: Tokenizer,
    /// Only this kind of document, or both.
    kind: Option<DocumentKind>,
    /// Tokens not yet handed out.
    ids: Vec<u32>,
}

impl Text {
    pub(crate) fn new(seed: u64, tokenizer: Tokenizer) -> Self {
        Text { generator: Generator::new(seed), tokenizer, kind: None, ids: Vec::new() }
    }

    pub(crate) fn only(self, kind: DocumentKind) -> Self {
        Text { kind: Some(kind), ..self }
    }

    /// The next windows: [`POSITIONS`] tokens and the one after them, which begins the next window.
    pub(crate) fn windows(&mut self, count: usize) -> Result<Vec<Vec<u32>>, Failure> {
        let len = count * POSITIONS;
        while self.ids.len() <= len {
            let document = match self.kind {
                Some(DocumentKind::Story) => self.generator.story(),
                Some(DocumentKind::Code) => self.generator.code(),
                _ => self.generator.document().1,
            };
            let encoding = self.tokenizer.encode_fast(document, false).map_err(failure)?;
            self.ids.push(END_OF_TEXT_ID);
            self.ids.extend(encoding.get_ids());
        }
        let window = |i: usize| self.ids[i * POSITIONS..][..=POSITIONS].to_vec();
        let windows = (0..count).map(window).collect();
        self.ids.drain(..len);
        Ok(windows)
    }
}

fn failure(error: tokenizers::Error) -> Failure {
    Failure::new(error.to_string())
}
