//! The reasons why a file of SentencePiece is not read.

use crate::tokenizer::TokenizerLimit;

/// The reason why a file of SentencePiece is not read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SentencePieceError {
    /// The bytes are not such a file.
    #[error("expected a file of SentencePiece")]
    Malformed(#[from] prost::DecodeError),
    /// The pieces are more or longer than a tokenizer needs.
    #[error(transparent)]
    Limit(#[from] TokenizerLimit),
    /// The table of normalisations is malformed.
    #[error("`precompiled_charsmap` is malformed")]
    Table(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The pieces are found in another way than by merges or probabilities.
    #[error("`model_type` is {found}, expected 1 (unigram) or 2 (BPE)")]
    ModelType {
        /// The number of the way.
        found: i32,
    },
    /// A setting changes the text in a way that is not computed.
    #[error("`{name}` is {found}, expected {}", !found)]
    Setting {
        /// The name of the setting.
        name: &'static str,
        /// The value of the setting in the file.
        found: bool,
    },
    /// A score is not finite.
    #[error("the piece `{token}` has the score {found}, expected a finite number")]
    Score {
        /// The piece whose score is wrong.
        token: String,
        /// The score that the file gives it.
        found: f64,
    },
    /// No piece represents text that no piece covers.
    #[error("none of {pieces} pieces has the type UNKNOWN")]
    NoUnknown {
        /// The number of pieces in the file.
        pieces: usize,
    },
    /// Two pieces of the file are the same text.
    #[error("the piece `{token}` stands at {first} and at {second}")]
    Repeated {
        /// The text of the two pieces.
        token: String,
        /// The id of the first of the two.
        first: u32,
        /// The id of the second of the two.
        second: u32,
    },
}
