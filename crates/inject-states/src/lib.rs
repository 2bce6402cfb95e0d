//! Hidden states of transformer language models at named taps, in memory and on disk.
//!
//! The one idea: a state is worth nothing without its origin. Every state here knows its tap, prompt, position and token,
//! every store on disk says which weights and which tokenizer made it, and how far apart two computations of the same
//! state lie (the noise floor).
//!
//! ```
//! use burn::tensor::Device;
//! use inject_states::{Extraction, Model, Origin, Precision, Tap, measure_noise, store::Positions};
//!
//! # let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../inject-models/tests/fixtures/gemma3");
//! let model = Model::load(Origin::of_folder(&folder), Precision::F32, &Device::flex())?;
//! let prompts = [vec![2, 3, 5], vec![7, 11, 13, 17]];
//! let extraction = Extraction::new(vec![Tap::Block(3), Tap::FinalNorm], Positions::Last)?;
//! let states = extraction.run(&model.decoder, &prompts, &mut |_| ())?;
//! assert_eq!(states[&Tap::FinalNorm].nrows(), 2);
//!
//! let noise = measure_noise(&extraction, &model.decoder, &prompts, 2)?;
//! assert!(noise.floors[&Tap::Block(3)].is_some_and(|floor| floor < 1e-3));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! - [`Extraction`]: prompts to states, in batches within a memory budget; [`extract_to_store`] the same to disk.
//! - [`measure_noise`]: the noise floor of each tap.
//! - [`store`]: states on disk, resumable, memory-mappable.
//! - [`foreign`]: states that other programs wrote.
//! - [`prompts`]: prompts from files.
//! - [`Disturbance`]: states as they may leak, rounded ([`StateFormat`]), with noise, with gaps.
//! - [`SplitMix`]: random numbers for whatever draws lots, the same on every platform.
//!
//! Everything of `inject-models` is re-exported, `burn` included. Beside this crate only `burn` need be a dependency, to switch on a
//! backend. Features: `hub` and `training` as there; `parquet` reads prompts from .parquet files.

pub mod foreign;
pub mod prompts;
pub mod store;

mod disturb;
mod extract;
mod locked_file;
mod split_mix;

pub use inject_models;
pub use inject_models::*;

pub use self::{
    disturb::{Disturbance, DisturbanceError, ScaledBy, StateFormat},
    extract::{ExtractError, Extraction, Progress, batches_by_length, extract_to_store, measure_noise},
    locked_file::LockedFile,
    split_mix::SplitMix,
};

/// Taps for the eye, as they are written on a command line.
fn tap_names(taps: &[Tap]) -> String {
    taps.iter().map(Tap::to_string).collect::<Vec<_>>().join(", ")
}
