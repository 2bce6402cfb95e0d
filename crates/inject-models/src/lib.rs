//! Transformer language models that load real checkpoints and stop at any named tap.
//!
//! The one idea: there is a single [`Decoder`], and a family of models is data. GPT-2, Llama, Gemma 3, Qwen3, GPT-NeoX and
//! the other families differ only in their [`config`], so a state at a [`Tap`] means the same thing in
//! all of them.
//!
//! ```
//! use burn::tensor::Device;
//! use inject_models::{Logits, Model, Origin, Precision, Tap, TokenBatch};
//!
//! # let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/gpt2");
//! let model = Model::load(Origin::of_folder(&folder), Precision::default(), &Device::flex())?;
//! assert_eq!(model.family().to_string(), "gpt2");
//!
//! let prompts = TokenBatch::new(&[vec![5, 6, 7], vec![8, 9]])?;
//! let states = model.decoder.forward(&prompts, &[Tap::FinalNorm], Logits::None)?.states;
//! assert_eq!(states[&Tap::FinalNorm].dims()[..2], [2, 3]);
//! # Ok::<(), inject_models::ModelError>(())
//! ```
//!
//! # Loading
//!
//! - [`Model`]: a loaded checkpoint folder. [`Origin`] says where it came from, and [`Family`] which description it has.
//! - [`ModelFiles`]: the same folder before its weights are read, to learn how much memory they take.
//! - [`Note`]: a fact about a checkpoint that does not prevent its use, such as the [`Evidence`] by which its family was recognised.
//! - [`ModelSource`]: a model as the user names it, a folder or a Hub id.
//! - [`Tokenizer`]: text to token ids and back; [`Bos`] says whether prompts begin with the BOS token.
//! - [`DecoderConfig`]: the shape of a decoder, block by block, as [`Family`] translates it from a config.json.
//! - [`checkpoint`]: the headers and indices of weight files.
//!
//! # Computing
//!
//! - [`Decoder`]: token ids to states and [`Logits`]; [`Forward`] is the result of a pass.
//! - [`TokenBatch`]: prompts, padded on the right.
//! - [`Tap`]: a named place where states are read.
//! - [`PrefixCache`]: a sequence that is continued. Many candidates for its next token share it, and each
//!   [`Alternative`] shares the pass of a run of tokens.
//! - [`PassBytes`]: the weights that a pass reads. [`host`]: the values of tensors, from and to the device.
//!
//! # Changing
//!
//! - [`Precision`]: the format in which weights are held ([`Hold`]), and the format of the computation.
//! - [`Circumstances`]: the circumstances on which the rounding of states depends: lanes, the form of the weights
//!   ([`WeightsHeldAs`]) and the [`Instructions`] of the processor. [`rounds_products`] says whether a device
//!   rounds the factors of F32 products.
//! - [`FloatFormat`] and [`NumberFormat`]: number formats of weights and states. [`Decoder::with_weights_in`] rounds the
//!   weights to one, and [`Decoder::save_weights`] writes a checkpoint.
//! - [`RandomCheckpoint`]: a checkpoint of random weights, at a [`PublishedShape`] or any other.
//! - [`Matrix`]: the place of a matrix in a decoder, for experiments that change one.
//! - [`Progress`]: the reports of long computations, in a [`Unit`]. [`silent`] ignores them.
//! - [`panics`]: the message of a panic that was caught.
//!
//! Every tensor lives on the device of the model's parameters. This crate enables no backend: the caller's crate
//! does.
//!
//! # Errors
//!
//! [`ModelError`] is every failure of loading and computing. A [`ConfigProblem`] names a key of a config.json, and a [`TensorFault`] a
//! tensor of a file. A [`SourceError`] is about a text that names neither a folder nor a repository, and a [`TapError`] about one that
//! is not the name of a tap.
//!
//! # Features
//!
//! All are off by default.
//!
//! - `hub`: the client of the Hugging Face Hub, [`hub`], and `ModelSource::fetch`. Without it no network code is compiled.
//! - `gradient`: gradients of states with respect to embeddings, `Decoder::pulled_back`.
//! - `training`: the module of that name, with losses and gradients for burn's optimisers.

pub mod checkpoint;
pub mod config;
pub mod format;
pub mod host;
pub mod hub;
pub mod panics;
pub mod random_checkpoint;
pub mod tokenizer;
#[cfg(feature = "training")]
pub mod training;

mod as_text;
mod decoder;
mod error;
mod families;
mod listed;
mod model;
mod note;
mod precision;
mod progress;
mod source;
mod tap;
mod tokens;
mod tuning;
mod whole_file;

#[doc(no_inline)]
pub use burn;

#[doc(inline)]
pub use self::{
    config::DecoderConfig,
    decoder::{
        Alternative, Circumstances, Decoder, Forward, Instructions, Logits, Matrix, PassBytes, PrefixCache,
        WeightsHeldAs, rounds_products,
    },
    error::{ConfigProblem, ModelError, TensorFault},
    families::Family,
    format::{FloatFormat, NumberFormat},
    model::{Model, ModelFiles, Origin},
    note::{Evidence, Note},
    precision::{Hold, Precision},
    progress::{Progress, Unit, silent},
    random_checkpoint::{PublishedShape, RandomCheckpoint},
    source::{ModelSource, SourceError},
    tap::{Tap, TapError},
    tokenizer::{Bos, Tokenizer},
    tokens::TokenBatch,
};

/// Compiles the example of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
