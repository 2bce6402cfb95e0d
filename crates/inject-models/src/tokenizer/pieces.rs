//! Tokens of several kinds, as GGUF files and the files of SentencePiece list them, and the tokenizer that is made of them.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use tokenizers::{
    AddedToken, DecoderWrapper, ModelWrapper, NormalizerWrapper, PostProcessorWrapper, PreTokenizerWrapper,
    models::{
        bpe::{BpeBuilder, Vocab},
        unigram::Unigram,
    },
};

use super::{
    guarded,
    limits::{self, Merges, TokenizerLimit},
};

/// The sign that stands for a space in tokens of SentencePiece.
pub(crate) const SPACE: char = '\u{2581}';

/// The kind of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// An ordinary token, which is part of texts.
    Plain,
    /// Represents text that no token covers. Its own text stands for it too.
    Unknown,
    /// Never part of a text.
    Control,
    /// Looked for in a text before anything else.
    UserDefined,
    /// Represents one byte of a text, or is not used.
    Unmerged,
}

impl Kind {
    /// Returns the kind that a file gives by its number.
    ///
    /// # Source
    ///
    /// github.com/google/sentencepiece, `src/sentencepiece_model.proto` (`SentencePiece.Type`). GGUF files have the same numbers:
    /// github.com/ggml-org/llama.cpp, `gguf-py/gguf/constants.py` (`TokenType`).
    pub(crate) fn of(number: i64) -> Self {
        match number {
            2 => Kind::Unknown,
            3 => Kind::Control,
            4 => Kind::UserDefined,
            5 | 6 => Kind::Unmerged,
            _ => Kind::Plain,
        }
    }
}

/// Tokens in the order of their ids, each with its kind.
#[derive(Debug)]
pub(crate) struct Pieces {
    pub(crate) tokens: Vec<String>,
    pub(crate) kinds: Vec<Kind>,
}

/// The way in which a text becomes tokens.
pub(crate) enum Algorithm {
    /// Byte-pair encoding: merges neighbouring pairs in the order of a list.
    Bpe(Box<BpeBuilder>),
    /// Chooses the most probable pieces.
    Unigram {
        /// The pieces with the logarithms of their probabilities.
        pieces: Vec<(String, f64)>,
        unknown: usize,
        byte_fallback: bool,
    },
}

/// The parts of a tokenizer apart from its tokens, as `tokenizer.json` describes them.
pub(crate) struct Parts {
    pub(crate) algorithm: Algorithm,
    pub(crate) normalizer: Option<Value>,
    pub(crate) pre_tokenizer: Option<Value>,
    pub(crate) decoder: Value,
}

/// The order of the merges to one token, by the length of their first part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Splits {
    LongestFirst,
    ShortestFirst,
}

/// The tokens around every text, each with its id.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Around<'a> {
    pub(crate) before: Option<(u32, &'a str)>,
    pub(crate) after: Option<(u32, &'a str)>,
}

impl Pieces {
    /// Returns the tokens with their ids.
    pub(crate) fn ids(&self) -> impl Iterator<Item = (u32, &str)> {
        (0..).zip(self.tokens.iter().map(String::as_str))
    }

    /// Returns the id of each token, or the first token that stands twice, with both ids.
    pub(crate) fn table(&self) -> Result<Vocab, (&str, [u32; 2])> {
        let mut table = Vocab::default();
        for (id, token) in self.ids() {
            if let Some(first) = table.insert(token.to_owned(), id) {
                return Err((token, [first, id]));
            }
        }
        Ok(table)
    }

    /// Returns the merges that lead to each token, in the order in which SentencePiece prefers them.
    ///
    /// A token of a higher score comes first. Tokens that users defined come before all others: SentencePiece looks for them before
    /// it merges. Of several merges to one token, that with the longest first part comes first, as in Hugging Face
    /// transformers 5.24, `tokenization_utils_base.py` (`generate_merges`).
    ///
    /// # Errors
    ///
    /// Fails if there are more merges than a tokenizer needs.
    pub(crate) fn merges_by_score(
        &self,
        scores: &[f64],
        table: &Vocab,
    ) -> Result<Vec<(String, String)>, TokenizerLimit> {
        let rank = |id: u32| match self.kinds[id as usize] {
            Kind::UserDefined => f64::INFINITY,
            // The first piece often has the score -0.0, which is no lower than 0.0.
            _ => scores[id as usize] + 0.0,
        };
        let mut order: Vec<u32> = self.ids().map(|(id, _)| id).collect();
        order.sort_by(|&a, &b| rank(b).total_cmp(&rank(a)));
        self.merges(order.into_iter(), Splits::LongestFirst, |part| table.contains_key(part))
    }

    /// Returns the merges of two parts that lead to each of these tokens, in this order.
    ///
    /// # Errors
    ///
    /// Fails if there are more merges than a tokenizer needs.
    pub(super) fn merges(
        &self,
        tokens: impl Iterator<Item = u32>,
        splits: Splits,
        is_part: impl Fn(&str) -> bool,
    ) -> Result<Vec<(String, String)>, TokenizerLimit> {
        let mut merges = Merges::default();
        for id in tokens {
            let token = self.tokens[id as usize].as_str();
            let mut cuts: Vec<usize> = token.char_indices().skip(1).map(|(cut, _)| cut).collect();
            if splits == Splits::LongestFirst {
                cuts.reverse();
            }
            for (first, second) in cuts.into_iter().map(|cut| token.split_at(cut)) {
                if is_part(first) && is_part(second) {
                    merges.push(first, second)?;
                }
            }
        }
        Ok(merges.into_pairs())
    }

    /// Puts the tokenizer together.
    ///
    /// # Errors
    ///
    /// Fails if the tokens that a text is searched for are too long, or if the tokenizers library refuses a part.
    pub(crate) fn assemble(
        &self,
        parts: Parts,
        around: Around<'_>,
    ) -> tokenizers::Result<tokenizers::Tokenizer> {
        let template = part::<PostProcessorWrapper>(Some(around.template()))?;
        limits::check_added(self.added().map(|(_, token)| token))?;
        let added = self
            .added()
            .map(|(kind, token)| AddedToken::from(token, kind != Kind::UserDefined).normalized(false));
        let (special, plain): (Vec<AddedToken>, Vec<AddedToken>) = added.partition(|token| token.special);
        guarded(|| {
            let mut tokenizer = parts.build()?;
            tokenizer.with_post_processor(template);
            tokenizer.add_special_tokens(special)?;
            tokenizer.add_tokens(plain)?;
            Ok(tokenizer)
        })
    }

    /// Returns the tokens that a text is searched for before anything else.
    fn added(&self) -> impl Iterator<Item = (Kind, &str)> {
        // SentencePiece finds runs of its own sign for spaces in the text by merging them.
        let is_spaces = |token: &str| token.chars().all(|sign| sign == SPACE);
        let tokens = self.kinds.iter().copied().zip(self.tokens.iter().map(String::as_str));
        tokens.filter(move |(kind, token)| match *kind {
            Kind::Control | Kind::Unknown => true,
            Kind::UserDefined => !is_spaces(token),
            Kind::Plain | Kind::Unmerged => false,
        })
    }
}

impl Parts {
    /// Returns the tokenizer without added tokens and tokens around texts.
    pub(super) fn build(self) -> tokenizers::Result<tokenizers::Tokenizer> {
        let mut tokenizer = tokenizers::Tokenizer::new(self.algorithm.build()?);
        tokenizer.with_normalizer(part::<NormalizerWrapper>(self.normalizer)?)?;
        tokenizer.with_pre_tokenizer(part::<PreTokenizerWrapper>(self.pre_tokenizer)?);
        tokenizer.with_decoder(part::<DecoderWrapper>(Some(self.decoder))?);
        Ok(tokenizer)
    }
}

impl Algorithm {
    fn build(self) -> tokenizers::Result<ModelWrapper> {
        Ok(match self {
            Algorithm::Bpe(builder) => builder.build()?.into(),
            Algorithm::Unigram { pieces, unknown, byte_fallback } => {
                Unigram::from(pieces, Some(unknown), byte_fallback)?.into()
            }
        })
    }
}

impl Around<'_> {
    /// Returns the post-processor that puts them there, as `tokenizer.json` describes it.
    pub(super) fn template(self) -> Value {
        let piece = |token: &(u32, &str)| json!({ "SpecialToken": { "id": token.1, "type_id": 0 } });
        let text = json!({ "Sequence": { "id": "A", "type_id": 0 } });
        let tokens = || self.before.iter().chain(&self.after);
        let single: Vec<Value> =
            self.before.iter().map(piece).chain([text]).chain(self.after.iter().map(piece)).collect();
        let special: Map<String, Value> = tokens()
            .map(|&(id, token)| (token.to_owned(), json!({ "id": token, "ids": [id], "tokens": [token] })))
            .collect();
        let pair =
            json!([{ "Sequence": { "id": "A", "type_id": 0 } }, { "Sequence": { "id": "B", "type_id": 1 } }]);
        json!({ "type": "TemplateProcessing", "single": single, "pair": pair, "special_tokens": special })
    }
}

/// Returns the normaliser that writes signs for spaces after the others.
pub(crate) fn signs_for_spaces(mut others: Vec<Value>) -> Value {
    others.push(json!({ "type": "Replace", "pattern": { "String": " " }, "content": SPACE }));
    json!({ "type": "Sequence", "normalizers": others })
}

/// Returns the decoder that writes spaces for signs. It takes the space off with which every text begins.
pub(crate) fn spaces_for_signs(begins_with_space: bool) -> Value {
    let mut decoders = vec![
        json!({ "type": "Replace", "pattern": { "String": SPACE }, "content": " " }),
        json!({ "type": "ByteFallback" }),
        json!({ "type": "Fuse" }),
    ];
    if begins_with_space {
        decoders.push(json!({ "type": "Strip", "content": " ", "start": 1, "stop": 0 }));
    }
    json!({ "type": "Sequence", "decoders": decoders })
}

fn part<T: DeserializeOwned>(description: Option<Value>) -> tokenizers::Result<Option<T>> {
    Ok(description.map(serde_json::from_value).transpose()?)
}
