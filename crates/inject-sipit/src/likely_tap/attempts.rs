//! The taps that were tried, with what was measured of the model at each.

use std::collections::HashMap;

use super::trial::{Trial, Trialled};
use crate::{
    error::InvertError,
    inverter::Inverter,
    models::{Progress, Tap},
    transformation::Transformation,
    tuning::{TAP_CANDIDATES, TAP_CANDIDATES_FIRST},
};

/// Trials at several taps. The noise of the model and of its producer is measured once at each.
pub(super) struct Attempts<'t, 'a> {
    trial: &'t Trial<'a>,
    inverters: HashMap<Tap, Inverter<'a>>,
}

impl<'t, 'a> Attempts<'t, 'a> {
    pub(super) fn new(trial: &'t Trial<'a>) -> Self {
        Attempts { trial, inverters: HashMap::new() }
    }

    /// Looks for a token among `candidates` whose state at a tap is the one given.
    pub(super) fn fits(
        &mut self,
        tap: Tap,
        change: &Transformation,
        candidates: usize,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Trialled, InvertError> {
        if !self.inverters.contains_key(&tap) {
            self.inverters.insert(tap, self.trial.inverter(tap)?);
        }
        self.trial.fits(&self.inverters[&tap], change, candidates, progress)
    }

    pub(super) fn is_up(&self) -> bool {
        self.trial.is_up()
    }
}

/// The numbers of candidates that are tested at each tap: few at all taps first, and more where none fits.
pub(super) fn rounds(vocab_size: usize) -> Vec<usize> {
    let mut rounds = [TAP_CANDIDATES_FIRST, TAP_CANDIDATES].map(|most| most.min(vocab_size)).to_vec();
    rounds.dedup();
    rounds
}
