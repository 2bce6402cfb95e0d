//! The exact prompt back from hidden states, with a verdict for every position.
//!
//! The one idea: a hidden state of a causal decoder depends on its own token and on those before it. With the prefix known,
//! each token of the vocabulary gives one state to compare; the nearest is the token, and the distance to the second
//! nearest says how sure that is.
//!
//! ```
//! use burn::tensor::Device;
//! use inject_sipit::{Exhaustive, Extraction, Model, Origin, Precision, Tap, TargetStates, Verdict};
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
//! let inversion = Exhaustive::default().invert(&model.decoder, &target, &mut |_| ())?;
//! assert_eq!(inversion.token_ids(), prompt);
//! assert!(inversion.positions.iter().all(|p| p.verdict == Verdict::Verified && p.distance < p.noise_floor));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! - [`TargetStates`]: what is to be inverted, and in which number format it was stored.
//! - [`Exhaustive`]: tests the whole vocabulary at every position.
//! - [`Inversion`], [`Position`], [`Verdict`]: what was found.
//! - [`NoiseModel`]: within which distance a candidate counts as the state.
//!
//! Everything of `inject-collisions`, and so of the crates below it, is re-exported: one dependency is enough.

mod error;
mod exhaustive;
mod inversion;
mod noise;
mod target;

use burn::tensor::Tensor;
pub use inject_collisions;
pub use inject_collisions::*;

pub use self::{
    error::InvertError,
    exhaustive::{Exhaustive, Progress as InvertProgress},
    inversion::{Inversion, Position, RecoveredText, Verdict},
    noise::NoiseModel,
    target::TargetStates,
};

/// Values of a tensor on the host, in row-major order.
fn read<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f64>, InvertError> {
    let device_error = |reason: String| InvertError::Model(ModelError::Device { reason });
    let data = tensor.try_into_data().map_err(|error| device_error(error.to_string()))?;
    data.convert::<f64>().try_to_vec::<f64>().map_err(|error| device_error(format!("{error:?}")))
}
