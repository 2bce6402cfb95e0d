//! Transformer language models that load real checkpoints and stop at any named tap.
//!
//! The one idea: there is a single [`Decoder`], and a family of models is data. GPT-2, GPT-Neo, Llama, Mistral, Gemma 3
//! and Phi-3 differ in what [`config`] describes and in nothing else, so a state read at a [`Tap`] means the same thing in
//! all of them.
//!
//! ```
//! use burn::tensor::Device;
//! use inject_models::{Logits, Model, Origin, Precision, Tap, TokenBatch};
//!
//! # let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/gpt2");
//! let model = Model::load(Origin::of_folder(&folder), Precision::F32, &Device::flex())?;
//! assert_eq!(model.family().to_string(), "gpt2");
//!
//! let prompts = TokenBatch::new(&[vec![5, 6, 7], vec![8, 9]])?;
//! let states = model.decoder.forward(&prompts, &[Tap::FinalNorm], Logits::None)?.states;
//! assert_eq!(states[&Tap::FinalNorm].dims()[..2], [2, 3]);
//! # Ok::<(), inject_models::ModelError>(())
//! ```
//!
//! - [`Model`]: a checkpoint folder, loaded; [`Origin`] says where it came from.
//! - [`Decoder`]: tokens to states; [`PrefixCache`] continues a sequence, and many candidates share one; an [`Alternative`] shares
//!   the pass of a run of tokens.
//! - [`Matrix`]: the place of a matrix in a decoder, for experiments that change one.
//! - [`WeightDtype`]: the number format in which [`Decoder::save_weights`] writes a checkpoint.
//! - [`WeightFormat`]: a narrow number format that [`Decoder::with_weights_in`] rounds the weights to.
//! - [`Tap`]: where a state is read.
//! - [`TokenBatch`]: prompts, padded on the right.
//! - [`to_host`]: the values of a tensor, back from the device.
//! - [`Progress`]: the reports of long computations.
//! - [`Tokenizer`] and [`Bos`]: text to ids and back.
//! - [`ModelSource`]: a model as the user names it, a folder or a Hub id; [`hub`] fetches the latter.
//!
//! The device is the caller's: every tensor lives where the parameters do, and no backend is switched on here. Features:
//! `hub` compiles the client for the Hugging Face Hub; without it there is no network code at all. `training` adds the
//! module of that name: losses and gradients, over burn's optimisers.

pub mod config;
pub mod hub;
#[cfg(feature = "training")]
pub mod training;

mod checkpoint;
mod decoder;
mod error;
mod families;
mod host;
mod model;
mod progress;
mod quantise;
mod source;
mod tap;
mod tokenizer;
mod tokens;

pub use burn;

pub use self::{
    checkpoint::WeightDtype,
    config::DecoderConfig,
    decoder::{Alternative, Decoder, Forward, Logits, Matrix, PrefixCache},
    error::ModelError,
    families::Family,
    host::to_host,
    model::{Model, Origin, Precision},
    progress::{Progress, Unit, silent},
    quantise::WeightFormat,
    source::{ModelSource, SourceError},
    tap::{Tap, TapError},
    tokenizer::{Bos, Tokenizer},
    tokens::TokenBatch,
};
