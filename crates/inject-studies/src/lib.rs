//! Experiments on the hidden states of language models. Each is a function whose result can be serialized.
//!
//! The one idea: a study is a list of units that do not depend on each other (a tap, a prefix, a length). A
//! [`Journal`](journal::Journal) records each finished unit. So a study that is killed continues where it stopped, and shares
//! that ran on several machines add up to the result of one run. A [`Run`] names the journal, the share of the study to do, and
//! the receiver of progress.
//!
//! | function | question |
//! |---|---|
//! | [`corpus`] | how close are the states of many different prompts, at each tap? |
//! | [`formats`] | how close are they if weights or states are stored in narrow formats? |
//! | [`lengths`] | how do their distances depend on the length of the prompts? |
//! | [`exhaustive`] | how close are all one-token extensions of some prompts? |
//! | [`margins`] | how far is the true token's state from that of every other token? |
//! | [`decoding`] | is the true token's state still the nearest if the given state is rounded, disturbed, or computed with other weights? |
//! | [`stress`] | how close are prompts that were made to be similar? |
//! | [`repeats`] | which repetitions of one token have the same state? |
//! | [`between_models`] | how do two models compare? |
//! | [`recovery`] | which prompts are recovered from states that are rounded, noisy, or computed with quantised weights? |
//! | `training` | do states stay apart while a decoder is trained? |
//! | `degenerate` | which collisions of degenerate initial weights does gradient descent dissolve? |
//! | `random_weights` | how close are prompts under random weights? |
//!
//! The last three need the feature `training`. The documents 5-collisions.md, 6-precision.md and 7-training.md in the
//! repository's docs/guide describe each protocol and the meaning of its numbers.

pub mod journal;

mod between_models;
mod completeness;
mod corpus;
mod decoding;
mod error;
mod exhaustive;
mod extension;
mod fingerprint;
mod formats;
mod lengths;
mod margins;
mod name;
mod positions;
mod recovery;
mod repeats;
mod run;
#[cfg(feature = "schema")]
mod schema;
mod stress;
mod tap_distances;
#[cfg(feature = "training")]
mod training;
mod tuning;

#[doc(no_inline)]
pub use inject_sipit::{self as sipit, collisions, models, states};

#[cfg(feature = "training")]
pub use self::training::{
    AtStep, DegenerateCase, DegenerateOptions, DegenerateStart, DegenerateStudy, Fate, InversionTally,
    Margins, Optimiser, Probes, RandomShape, RandomWeights, RandomWeightsStudy, Snapshot, TapFate,
    TapMinimum, TapSnapshot, TrainingData, TrainingEvent, TrainingOptions, TrainingStudy, closest_at_taps,
    degenerate, degenerate_cases, log_spaced, random_weights, training,
};
pub use self::{
    between_models::{BetweenModels, Compared, between_models},
    completeness::Completeness,
    corpus::{
        CorpusPart, CorpusPiece, CorpusStates, CorpusStudy, PromptPair, TapReport, corpus, corpus_in_pieces,
    },
    decoding::{
        DecodingOptions, DecodingStudy, LostPosition, Producer, Projected, Survival, TapDecoding, View,
        decoding,
    },
    error::StudyError,
    exhaustive::{
        ExhaustiveOptions, ExhaustiveStudy, ExtensionPair, Extensions, Scope, exhaustive, pairs_across,
        pairs_within,
    },
    extension::extend_to_store,
    fingerprint::fingerprint,
    formats::{FormatOptions, FormatStudy, InFormat, Storage, formats},
    lengths::{AtLength, DistanceSpread, LengthOptions, LengthStudy, lengths},
    margins::{MarginOptions, MarginStudy, OneStep, TapMargins, margins},
    name::StudyName,
    positions::ChosenPositions,
    recovery::{Condition, Recovered, RecoveryOptions, RecoveryStudy, least_margin, recovery},
    repeats::{EqualityReason, RepeatOptions, RepeatStudy, Repeats, RepeatsAt, repeats},
    run::{Finished, Run},
    stress::{StressKind, StressReport, StressSet, StressStudy, TextModel, stress, stress_ids, stress_texts},
    tap_distances::{Bin, NeighbourSearch, Quantile, TapDistances, TapOptions},
};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
