//! The files of a model, and how large each may be.
//!
//! A limit is several times the largest file of its kind that is in use, and small enough to be read into memory whole where
//! that is done.

pub(super) const CONFIG: &str = "config.json";
pub(super) const TOKENIZER: &str = "tokenizer.json";
pub(super) const TOKENIZER_CONFIG: &str = "tokenizer_config.json";
pub(super) const VOCABULARY: &str = "vocab.json";
pub(super) const MERGES: &str = "merges.txt";
pub(super) const SENTENCE_PIECE: &str = "tokenizer.model";
pub(super) const SAFETENSORS: &str = "model.safetensors";
pub(super) const SAFETENSORS_INDEX: &str = "model.safetensors.index.json";
pub(super) const PICKLE: &str = "pytorch_model.bin";
pub(super) const PICKLE_INDEX: &str = "pytorch_model.bin.index.json";

/// Configs have a few kilobytes; one that lists every layer has a few tens.
const MAX_CONFIG: u64 = 4 << 20;
/// The tokenizer of Gemma 3, with 262 thousand tokens, has 33 MB.
const MAX_TOKENIZER: u64 = 256 << 20;
/// One line for each tensor: the index of a model of 60 thousand tensors has about 6 MB.
const MAX_INDEX: u64 = 32 << 20;
/// The Hub itself takes no file over 500 GB.
const MAX_WEIGHTS: u64 = 1 << 40;
/// Most shards of one model; the largest models have a few hundred.
pub(super) const MAX_SHARDS: usize = 10_000;

/// The largest size in bytes that a file of this name may have. Any other file of JSON is a tokenizer for some release of transformers,
/// and any other name is one of a shard.
pub(super) fn limit(file: &str) -> u64 {
    match file {
        CONFIG | TOKENIZER_CONFIG => MAX_CONFIG,
        TOKENIZER | VOCABULARY | MERGES | SENTENCE_PIECE => MAX_TOKENIZER,
        SAFETENSORS_INDEX | PICKLE_INDEX => MAX_INDEX,
        versioned if versioned.ends_with(".json") => MAX_TOKENIZER,
        _ => MAX_WEIGHTS,
    }
}
