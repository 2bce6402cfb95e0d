//! Studies of `inject-collisions`, those that recover prompts, and those that train.
//!
//! | function | question |
//! |---|---|
//! | [`recovery`] | which prompts come back from states that are rounded, noisy, or of quantised weights? |
//! | `training` | do states stay apart while a decoder trains? |
//! | `degenerate` | which collisions of a degenerate start does gradient descent dissolve? |
//! | `random_weights` | how close do prompts come under weights drawn at random? |
//!
//! The last three need the feature `training`. docs/precision.md and docs/training.md describe the protocols and what their
//! numbers mean.

mod recovery;
#[cfg(feature = "training")]
mod training;

pub use inject_collisions::studies::*;

pub use self::recovery::{Condition, Recovered, RecoveryOptions, RecoveryStudy, least_margin, recovery};
#[cfg(feature = "training")]
pub use self::training::*;
