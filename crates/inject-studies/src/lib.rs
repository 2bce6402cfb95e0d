//! Experiments on the hidden states of language models. Each is a function whose result can be serialized.
//!
//! The one idea: a study is a list of units that do not depend on each other (a tap, a prefix, a length). A
//! [`Journal`](journal::Journal) records each finished unit. So a study that is killed continues where it stopped, and shares
//! that ran on several machines add up to the result of one run. A [`Run`] names the journal, the share of the study to do, and
//! the receiver of progress. A result says how much of the study it has: its [`Completeness`].
//!
//! | function | question |
//! |---|---|
//! | [`corpus()`] | how close are the states of many different prompts, at each tap? |
//! | [`formats()`] | how close are they if weights or states are stored in narrow formats? |
//! | [`lengths()`] | how do their distances depend on the length of the prompts? |
//! | [`exhaustive()`] | how close are all one-token extensions of some prompts? |
//! | [`margins()`] | how far is the true token's state from that of every other token? |
//! | [`decoding()`] | is the true token's state still the nearest if the given state is rounded, disturbed, or computed with other weights? |
//! | [`stress()`] | how close are prompts that were made to be similar? |
//! | [`repeats()`] | which repetitions of one token have the same state? |
//! | [`between_models()`] | how do two models compare? |
//! | [`recovery()`] | which prompts are recovered from states that are rounded, noisy, or computed with quantised weights? |
//! | `training` | do states stay apart while a decoder is trained? |
//! | `degenerate` | which collisions of degenerate initial weights does gradient descent dissolve? |
//! | `random_weights` | how close are prompts under random weights? |
//!
//! A study of your own is a list of units for [`Run::complete`], which returns them [`Finished`]. Its journal states the [`StudyName`] and a
//! [`fingerprint()`] of the prompts. [`ChosenPositions`] are the positions of prompts that a study measures, and [`StudyError`] is every
//! failure.
//!
//! The module of the same name has the options and the result of each; the last three share the module `training`, which needs
//! the feature of that name. The documents 5-collisions.md, 6-precision.md and 7-training.md in the
//! repository's docs/guide describe each protocol and the meaning of its numbers.
//!
//! # Features
//!
//! Both are off by default.
//!
//! - `training`: the studies that train small decoders.
//! - `schema`: the JSON schema of every result.

pub mod between_models;
pub mod corpus;
pub mod decoding;
pub mod exhaustive;
pub mod formats;
pub mod journal;
pub mod lengths;
pub mod margins;
pub mod recovery;
pub mod repeats;
pub mod stress;
pub mod tap_distances;
#[cfg(feature = "training")]
pub mod training;

mod completeness;
mod error;
mod extension;
mod fingerprint;
mod name;
mod positions;
mod run;
#[cfg(feature = "schema")]
mod schema;
mod tuning;

#[doc(no_inline)]
pub use burn;
#[doc(no_inline)]
pub use inject_sipit::{self as sipit, collisions, models, states};
#[doc(no_inline)]
pub use ndarray;

#[cfg(feature = "training")]
#[doc(inline)]
pub use self::training::{degenerate, random_weights, training};
#[doc(inline)]
pub use self::{
    between_models::between_models,
    completeness::Completeness,
    corpus::{corpus, corpus_in_pieces},
    decoding::decoding,
    error::StudyError,
    exhaustive::exhaustive,
    fingerprint::fingerprint,
    formats::formats,
    lengths::lengths,
    margins::margins,
    name::StudyName,
    positions::ChosenPositions,
    recovery::recovery,
    repeats::repeats,
    run::{Finished, Run},
    stress::stress,
};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
