//! Studies of `inject-collisions`, and those that recover prompts.
//!
//! | function | question |
//! |---|---|
//! | [`recovery`] | which prompts come back from states that are rounded, noisy, or of quantised weights? |
//!
//! docs/precision.md describes the protocol and what its numbers mean.

mod recovery;

pub use inject_collisions::studies::*;

pub use self::recovery::{Condition, Recovered, RecoveryOptions, RecoveryStudy, least_margin, recovery};
