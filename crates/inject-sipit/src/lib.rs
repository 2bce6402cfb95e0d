//! Recovers the exact prompt from hidden states, with a verdict for every position.
//!
//! A hidden state of a causal decoder depends on its own token and on those before it. With the prefix known, each token of the
//! vocabulary gives one state to compare. The token with the nearest state is the answer, and the distance to the second nearest shows how
//! certain it is.
//!
//! ```
//! use burn::tensor::Device;
//! use inject_sipit::{TargetStates, models::{Model, Origin, Precision, silent}, recover};
//!
//! # let model_folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tiny");
//! # let states_path = model_folder.join("states.safetensors");
//! let model = Model::load(Origin::of_folder(&model_folder), Precision::default(), &Device::flex())?;
//! let target = TargetStates::open(&states_path, None)?;
//! let inversion = recover(&model, &target, &mut silent)?;
//! assert!(inversion.is_verified());
//! assert_eq!(inversion.token_ids(), [17, 4, 33, 4]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! - [`recover`]: the short path, with default settings and the policy that is expected to cost least.
//! - [`TargetStates`]: the states to invert, with their tap and number format.
//! - [`Transformation`]: a change that the producer made to all states, such as a factor, or another order of their
//!   [`Coordinates`].
//! - [`Inverter`] and [`Settings`]: draft, verify, repair, certify. The [`ScanCost`] of certifying is known before it begins.
//!   Rows in unknown order become an [`Unshuffled`] prompt.
//! - [`Policy`] and [`policy`]: the order in which sources of candidates are asked; [`PolicyChoice`] makes one. A
//!   [`Searcher`] is a policy at work, with everything that its sources learned from earlier prompts.
//! - [`sources`]: the sources of candidates and the trait for your own.
//! - [`lens`]: lenses draft a whole prompt from its states at once.
//! - [`Acceptance`] and [`NoiseModel`]: the rule by which a candidate counts as the token. [`NoiseOrigin`] says where its bound comes from.
//! - [`Calibration`]: the noise of a producer that computes in another format. [`Producer`]: the format that an inversion found.
//! - [`find_tap`]: the tap of states whose file does not name it, as a [`FoundTap`], or a [`NearMiss`]. A [`TapSearch`] holds what is
//!   known of the states, and the number of taps to try. [`likely_taps`] ranks the taps without trying them: a [`LikelyTap`] is a tap with its
//!   likelihood.
//! - [`Inversion`], [`Position`], [`Verdict`] and [`inversion`]: the result and its cost.
//! - [`InvertError`]: every failure of an inversion. A [`LensError`] and a [`CalibrationError`] are about a file of that kind, and a
//!   [`TensorFileError`] about its bytes.
//!
//! [`collisions`], [`states`] and [`models`] are the crates below this one. `burn` and `ndarray` are re-exported too, because
//! their types occur in signatures. A program still depends on `burn` itself to enable a backend.
//!
//! # Features
//!
//! All are off by default.
//!
//! - `hub`: the client of the Hugging Face Hub.
//! - `parquet`: prompts from .parquet files.
//! - `gradient`: the two published searches that descend by gradients, and gradients in the secant search. It compiles automatic
//!   differentiation.
//! - `training`: nothing here. It enables the feature of the same name of `inject-models`.

mod acceptance;
mod calibration;
mod chance;
mod cost;
mod error;
mod hypothesis;
pub mod inversion;
mod inverter;
pub mod lens;
mod likely_tap;
mod median;
mod noise;
pub mod policy;
mod recover;
mod reports;
mod rounding;
pub mod settings;
pub mod sources;
mod target;
mod tensor_file;
mod tensors;
mod token_rows;
mod transformation;
mod tuning;
mod vocabulary;
mod yardstick;

#[doc(no_inline)]
pub use burn;
#[doc(no_inline)]
pub use inject_collisions as collisions;
#[doc(no_inline)]
pub use inject_collisions::{models, states};
#[doc(no_inline)]
pub use ndarray;

#[doc(inline)]
pub use self::{
    acceptance::{Acceptance, NoiseOrigin},
    calibration::{Calibration, CalibrationError},
    error::InvertError,
    inversion::{Inversion, Position, Producer, Verdict},
    inverter::{Inverter, ScanCost, Unshuffled},
    lens::{Lens, LensError},
    likely_tap::{FoundTap, LikelyTap, NearMiss, TapSearch, find_tap, likely_taps},
    noise::NoiseModel,
    policy::{Policy, PolicyChoice, Searcher},
    recover::recover,
    settings::Settings,
    target::TargetStates,
    tensor_file::TensorFileError,
    transformation::{Coordinates, Transformation},
};

/// The examples of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
