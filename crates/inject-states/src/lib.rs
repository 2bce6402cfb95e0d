//! Hidden states of transformer language models at named taps, in memory and on disk.
//!
//! The one idea: a state is worth nothing without its origin. Every state here knows its tap, prompt, position and token.
//! Every store on disk names the weights and the tokenizer that made it, and the distance between two computations of the
//! same state (the noise floor).
//!
//! ```
//! use burn::tensor::Device;
//! use inject_states::{
//!     Extraction,
//!     models::{Model, Origin, Precision, Tap, silent},
//!     prompt_states,
//!     store::Positions,
//! };
//!
//! let folder = std::path::Path::new("tests/fixtures/tiny"); // a checkpoint as the Hub has it
//! let model = Model::load(Origin::of_folder(folder), Precision::default(), &Device::flex())?;
//!
//! // One prompt: a state for each token.
//! let states = prompt_states(&model.decoder, &[2, 3, 5], Tap::Block(1))?;
//! assert_eq!(states.dim(), (3, 8));
//!
//! // Many prompts at many taps, here at their last positions.
//! let prompts = [vec![2, 3, 5], vec![7, 11, 13, 17]];
//! let extraction = Extraction::new(vec![Tap::Block(1), Tap::FinalNorm], Positions::Last)?;
//! let last = extraction.run(&model.decoder, &prompts, &mut silent)?;
//! let distance = (&last[&Tap::Block(1)].row(0) - &states.row(2)).mapv(f32::abs).sum();
//! assert!(distance < 1e-5);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! - [`prompt_states`], [`Extraction`]: prompts to [`States`]. [`extract_to_store`] writes them to disk instead, and
//!   [`extract_share_to_store`] one [`Share`] of them; [`SharePrompts`] keeps only the prompts of a share in memory.
//! - [`measure_noise`]: the noise floor of each tap.
//! - [`store`]: states on disk, resumable and read in place.
//! - [`foreign`]: states that other programs wrote.
//! - [`prompts`]: prompts from files.
//! - [`Disturbance`]: changes that states may have after a leak: [`Rounding`] (in steps [`ScaledBy`] a row or the whole tensor), noise,
//!   dropout, clipping.
//! - [`batches`]: the division of prompts into batches.
//! - [`durable`]: files that survive a kill. [`random`]: random numbers that are the same on every platform.
//! - [`ShareResult`]: the place of one share's result. [`ShareResult::cover`] checks that there is one of each share, or returns a
//!   [`CoverError`].
//!
//! An [`ExtractError`] is every failure of an extraction. A [`ShareError`] is about a text that is not a share, and a [`DisturbanceError`]
//! about one that is not a disturbance. The modules have errors of their own.
//!
//! The crate below is re-exported as [`models`], and with it `burn` and `ndarray`. A dependency on `burn` is needed only to enable a
//! backend.
//!
//! # Features
//!
//! All are off by default.
//!
//! - `parquet`: prompts from .parquet files.
//! - `hub`, `gradient`, `training`: the features of the same names of `inject-models`.

pub mod batches;
pub mod durable;
pub mod foreign;
pub mod prompts;
pub mod random;
pub mod store;

mod difference;
mod disturb;
#[cfg(test)]
mod error_chains;
mod extract;
mod share;
mod states;

#[doc(no_inline)]
pub use burn;
#[doc(no_inline)]
pub use inject_models as models;
#[doc(no_inline)]
pub use ndarray;

#[doc(inline)]
pub use self::{
    disturb::{Disturbance, DisturbanceError, Rounding, ScaledBy},
    extract::{
        ExtractError, Extraction, SharePrompts, extract_share_to_store, extract_to_store, is_noise,
        measure_noise, prompt_states,
    },
    share::{CoverError, Share, ShareError, ShareResult},
    states::States,
};

/// Joins the names of taps as they are written on a command line.
fn tap_names(taps: &[inject_models::Tap]) -> String {
    taps.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// Compiles the example of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
