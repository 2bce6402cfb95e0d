//! The messages of a file of SentencePiece that matter for its tokenizer.
//!
//! # Source
//!
//! github.com/google/sentencepiece, `src/sentencepiece_model.proto`.

/// A whole file: the message `ModelProto`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct SentencePieceFile {
    #[prost(message, repeated, tag = "1")]
    pub(super) pieces: Vec<Piece>,
    #[prost(message, optional, tag = "2")]
    pub(super) trainer: Option<Trainer>,
    #[prost(message, optional, tag = "3")]
    pub(super) normalizer: Option<Normalizer>,
}

/// A token with its score and kind: the message `ModelProto.SentencePiece`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Piece {
    #[prost(string, optional, tag = "1")]
    pub(super) piece: Option<String>,
    #[prost(float, optional, tag = "2")]
    pub(super) score: Option<f32>,
    /// 1 if it is missing.
    #[prost(int32, optional, tag = "3")]
    pub(super) kind: Option<i32>,
}

/// The settings with which the model was trained: the message `TrainerSpec`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Trainer {
    /// 1, a unigram model, if it is missing.
    #[prost(int32, optional, tag = "3")]
    pub(super) model_type: Option<i32>,
    #[prost(bool, optional, tag = "24")]
    pub(super) treat_whitespace_as_suffix: Option<bool>,
    #[prost(bool, optional, tag = "35")]
    pub(super) byte_fallback: Option<bool>,
    /// 0 if it is missing, and negative if there is no such token.
    #[prost(int32, optional, tag = "40")]
    pub(super) unk_id: Option<i32>,
    /// 1 if it is missing, and negative if there is no such token.
    #[prost(int32, optional, tag = "41")]
    pub(super) bos_id: Option<i32>,
    /// 2 if it is missing, and negative if there is no such token.
    #[prost(int32, optional, tag = "42")]
    pub(super) eos_id: Option<i32>,
    /// `<unk>` if it is missing.
    #[prost(string, optional, tag = "45")]
    pub(super) unk_piece: Option<String>,
    /// `<s>` if it is missing.
    #[prost(string, optional, tag = "46")]
    pub(super) bos_piece: Option<String>,
    /// `</s>` if it is missing.
    #[prost(string, optional, tag = "47")]
    pub(super) eos_piece: Option<String>,
}

/// `NormalizerSpec`. The flags are true where they are missing.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Normalizer {
    #[prost(bytes = "vec", optional, tag = "2")]
    pub(super) precompiled_charsmap: Option<Vec<u8>>,
    #[prost(bool, optional, tag = "3")]
    pub(super) add_dummy_prefix: Option<bool>,
    #[prost(bool, optional, tag = "4")]
    pub(super) remove_extra_whitespaces: Option<bool>,
    #[prost(bool, optional, tag = "5")]
    pub(super) escape_whitespaces: Option<bool>,
}
