//! The exact prompt back from hidden states, with a verdict for every position.
//!
//! The one idea: a hidden state of a causal decoder depends on its own token and on those before it. With the prefix known,
//! each token of the vocabulary gives one state to compare; the nearest is the token, and the distance to the second
//! nearest says how sure that is.
//!
//! ```
//! use burn::tensor::Device;
//! use inject_sipit::{Extraction, Inverter, Model, Origin, Policy, Precision, Prior, Settings, Tap, TargetStates, Verdict};
//! use inject_sipit::{foreign::SourceDtype, store::Positions};
//!
//! # let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../inject-models/tests/fixtures/gpt2");
//! let model = Model::load(Origin::of_folder(&folder), Precision::F32, &Device::flex())?;
//! let prompt = vec![17, 4, 33, 4];
//! let tap = Tap::Block(2);
//! let extraction = Extraction::new(vec![tap], Positions::All)?;
//! let states = extraction.run(&model.decoder, &[prompt.clone()], &mut |_| ())?.remove(&tap).unwrap();
//!
//! let target = TargetStates::new(states.mapv(f64::from), tap, SourceDtype::F32)?;
//! let inverter = Inverter::new(&model.decoder, tap, Settings::default())?;
//! let inversion = inverter.invert(&target, &mut Policy::new().then(Prior::up_to(64)), &mut |_| ())?;
//! assert_eq!(inversion.token_ids(), prompt);
//! assert!(inversion.positions.iter().all(|p| p.verdict == Verdict::Verified && p.distance < p.noise_floor));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! - [`TargetStates`]: what is to be inverted, and in which number format it was stored.
//! - [`Inverter`] and [`Settings`]: drafts, verifies, repairs, certifies.
//! - [`Policy`], or [`Choice::auto`], which makes one: where candidates and [`Draft`]s come from.
//! - [`Proposer`]: one source of them, asked with [`Open`] and [`Place`]. Ours: [`LensProposals`], [`LensInContext`], [`Prior`],
//!   [`Secant`], [`Repeated`], [`RandomOrder`]; published ones, to compare with: [`Gradient`], [`HardPrompts`].
//! - [`LensBuilder`] and [`Lens`]: what drafts a whole prompt from its states at once.
//! - [`Acceptance`] and [`NoiseModel`]: when a candidate counts as the token.
//! - [`Inversion`], [`Position`], [`Verdict`], [`Cost`]: what was found, and what it took.
//!
//! Everything of `inject-collisions`, and so of the crates below it, is re-exported, `burn` included. Beside this crate only `burn` need be
//! a dependency, to switch on a backend.
//!
//! Features: `hub` compiles the client for the Hugging Face Hub; `parquet` reads prompts from .parquet files.

mod acceptance;
mod auto;
mod cost;
mod draft;
mod error;
mod hypothesis;
mod inversion;
mod inverter;
mod lens;
mod median;
mod noise;
mod policy;
mod proposal;
mod settings;
mod target;
mod token_rows;
mod vocabulary;

use burn::tensor::{Int, Tensor, TensorData};
pub use inject_collisions as collisions;
pub use inject_collisions::*;
pub use inject_collisions::{inject_states as states, inject_states::inject_models as models};

pub use self::{
    acceptance::Acceptance,
    auto::Choice,
    cost::{Cost, StageCost},
    draft::Draft,
    error::InvertError,
    inversion::{Inversion, Position, RecoveredText, RuledOut, Verdict},
    inverter::{Inverter, Phase, Progress as InvertProgress, ScanCost},
    lens::{FirstPosition, Lens, LensAbout, LensBuilder, LensCost, LensError, LensProgress},
    noise::NoiseModel,
    policy::Policy,
    proposal::{
        Asked, Decay, Gradient, HardPrompts, LensInContext, LensProposals, Objective, Open, Place, Prior,
        Proposer, Provisional, RandomOrder, Repeated, Secant, Tested,
    },
    settings::{Budget, OnFailure, Scan, Settings},
    target::TargetStates,
    vocabulary::Vocabulary,
};

/// Values of a tensor on the host, in row-major order.
fn read<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f64>, InvertError> {
    Ok(to_host(tensor)?)
}

/// The same in f32.
fn read_f32<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f32>, InvertError> {
    Ok(to_host(tensor)?)
}

/// The same numbers in f64.
fn widened(values: Vec<f32>) -> Vec<f64> {
    values.into_iter().map(f64::from).collect()
}

/// Places on a device, for selecting rows.
fn indices(places: impl IntoIterator<Item = usize>, device: &burn::tensor::Device) -> Tensor<1, Int> {
    let places: Vec<i32> = places.into_iter().map(|place| place as i32).collect();
    let shape = [places.len()];
    Tensor::from_data(TensorData::new(places, shape), device)
}
