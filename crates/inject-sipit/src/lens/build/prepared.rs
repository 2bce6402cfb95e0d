//! The text, computed, and the maps fitted to it.

use std::collections::BTreeMap;

use super::{codebooks::Codebooks, samples::Sample};
use crate::{
    error::InvertError,
    lens::fit::Fitted,
    models::{Decoder, Tap},
    states::{States, durable::Checksum},
    tensors::read_f32,
};

/// The results of the passes over the text, before those over the vocabulary.
pub(super) struct Prepared<'a> {
    pub(super) taps: Vec<Tap>,
    pub(super) samples: Vec<Sample>,
    pub(super) text: BTreeMap<Tap, States>,
    pub(super) fitted: BTreeMap<Tap, Fitted>,
    pub(super) codebooks: Codebooks<'a>,
}

impl Prepared<'_> {
    /// The identity of everything that the points of tokens depend on: a [`Checksum`], in hexadecimal.
    pub(super) fn job(&self, decoder: &Decoder, weight_hash: &str) -> Result<String, InvertError> {
        let mut hash = Checksum::new();
        hash.update(concat!(env!("CARGO_PKG_VERSION"), " ").as_bytes());
        hash.update(weight_hash.as_bytes());
        hash.update(format!(" {:?}", decoder.circumstances()).as_bytes());
        for (tap, fitted) in &self.fitted {
            hash.update(format!(" {tap} ").as_bytes());
            let maps = [&fitted.token_projection, &fitted.token_offset, &fitted.projection, &fitted.offset];
            let tables = self.codebooks.table(*tap);
            for map in maps.into_iter().chain(tables.into_iter().flatten()) {
                read_f32(map.clone())?.iter().for_each(|value| hash.update(&value.to_le_bytes()));
            }
        }
        Ok(hash.to_string())
    }
}
