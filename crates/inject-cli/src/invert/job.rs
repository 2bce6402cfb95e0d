//! The description of a file of results: everything that the results depend on.

use std::collections::BTreeMap;

use inject_sipit::{
    models::{FloatFormat, Tap},
    states::durable::circumstances,
};
use serde_json::{Map, Value};

use super::{Options, share::ResultShare};
use crate::{
    lenses,
    options::{LoadedModel, PolicyOptions},
    outcome::Failure,
};

/// The description of a file of results. A run continues a file only if all of this is the same.
#[derive(serde::Serialize)]
pub(super) struct Job<'a> {
    version: &'static str,
    model: &'a str,
    device: String,
    /// The circumstances on which the rounding of states depends.
    #[serde(flatten)]
    circumstances: Map<String, Value>,
    weight_hash: &'a str,
    #[serde(flatten)]
    states: GivenStates<'a>,
    /// The identity of the lens, if there is one.
    lens: Option<String>,
    /// The share of the prompts, unless it is all of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    share: Option<ResultShare>,
    #[serde(flatten)]
    policy: &'a PolicyOptions,
}

/// The part of a job that describes the given states.
#[derive(serde::Serialize)]
pub(super) struct GivenStates<'a> {
    #[serde(flatten)]
    pub(super) identity: Identity<'a>,
    pub(super) prompts: usize,
    pub(super) dtype: FloatFormat,
    pub(super) tap: Tap,
}

/// The identity of the states to invert. It shows whether they are those that a file of results was begun with.
#[derive(serde::Serialize)]
#[serde(untagged)]
pub(super) enum Identity<'a> {
    /// The states of a store at one tap.
    Store {
        prompts_sha256: &'a str,
        /// The fingerprint of the states at the tap.
        tap_states: String,
    },
    /// The states of files, each file by its content.
    Files {
        /// The fingerprint of each file, by its name.
        files: BTreeMap<String, String>,
        /// The options that decide what is read of a file.
        #[serde(flatten)]
        reading: Reading<'a>,
    },
}

/// The options that decide what is read of a file of states. The default ones are left out.
#[derive(serde::Serialize)]
pub(super) struct Reading<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) column: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tensor: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) axes: Option<String>,
    /// The tokens before the first row.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) prefix: Option<Vec<u32>>,
    /// The tokens of the chat template.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) template: Option<Vec<u32>>,
    /// Whether rows are read that the mask excludes.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) ignore_mask: bool,
    /// `numbers` if the files follow each other by the numbers in their names, and not by their letters, as an older version had them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) order: Option<&'static str>,
}

impl<'a> Job<'a> {
    /// Describes an inversion of states of the model. `id` is its name.
    ///
    /// # Errors
    ///
    /// [`Failure`] if the weights or the lens cannot be read.
    pub(super) fn new(
        options: &'a Options,
        model: &'a LoadedModel,
        id: &'a str,
        states: GivenStates<'a>,
        share: Option<ResultShare>,
    ) -> Result<Self, Failure> {
        Ok(Job {
            version: env!("CARGO_PKG_VERSION"),
            model: id,
            device: options.model.device.device.to_string(),
            circumstances: circumstances::to_fields(model.decoder.circumstances()),
            weight_hash: model.weight_hash()?,
            lens: lenses::fingerprint_at(options.policy.lens.as_deref(), states.tap)?,
            states,
            share,
            policy: &options.policy,
        })
    }
}
