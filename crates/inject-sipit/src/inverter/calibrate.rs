//! The noise of the producer: when it is asked for, and how the settled positions sharpen it.

use std::{collections::HashMap, sync::Arc, time::Instant};

use crate::{
    acceptance::{Acceptance, NoiseOrigin},
    calibration::Calibration,
    cost::Cost,
    error::InvertError,
    hypothesis::{Found, Hypothesis},
    models::{FloatFormat, NumberFormat, Progress, Tap},
    settings::{ComputedIn, Settings},
    target::TargetStates,
    transformation::Transformation,
    tuning::{CALIBRATION_COUNTS, CALIBRATION_LEN, CALIBRATION_SEQUENCES},
};

use super::{Inverter, branch::Branch, comparison::Comparison, exact::is_exact_before, recovery::Recovery};

/// The calibrations made so far, by format. None where the model overflows in the format.
pub(super) type Calibrations = HashMap<NumberFormat, Option<Arc<Calibration>>>;

/// The noise of the states at hand.
#[derive(Clone, Debug)]
pub(super) struct ProducerNoise {
    pub(super) calibration: Arc<Calibration>,
    /// For each settled position the logarithm of its noise over the typical one, where it says something about others.
    residuals: Vec<Option<f64>>,
}

impl ProducerNoise {
    /// The logarithm by which the noise of this prompt exceeds that of the calibration, which counts for a few positions itself.
    pub(super) fn shift(&self) -> f64 {
        let seen = self.residuals.iter().flatten();
        seen.clone().sum::<f64>() / (seen.count() as f64 + CALIBRATION_COUNTS)
    }

    /// Takes in a found position.
    pub(super) fn learn(&mut self, position: usize, found: &Found, target: &TargetStates) {
        let state = target.state(position);
        let place = self.calibration.of(position, state);
        let relative = found.kept.distance / crate::collisions::norm(state);
        let says = found.verdict.is_verified()
            && found.kept.noise == NoiseOrigin::Producer
            && relative > 0.0
            && self.calibration.is_ordinary(position, state);
        self.residuals.truncate(position);
        self.residuals.resize(position, None);
        self.residuals.push(says.then(|| relative.ln() - place.noise.mean));
    }
}

/// The format of the producer, if the settings name one that has noise.
fn stated(settings: &Settings) -> Option<NumberFormat> {
    match settings.computed_in {
        ComputedIn::Format(NumberFormat::Float(FloatFormat::F32 | FloatFormat::F64)) | ComputedIn::Auto => {
            None
        }
        ComputedIn::Format(format) => Some(format),
    }
}

/// Whether the noise of the producer may be estimated.
fn may_estimate(settings: &Settings) -> bool {
    settings.acceptance == Acceptance::default()
}

impl Inverter<'_> {
    /// Returns the noise of a producer that computes in `format`, measured on the first call. None if the model overflows in the
    /// format.
    ///
    /// # Errors
    ///
    /// [`InvertError`] if the device fails.
    pub fn calibration(
        &self,
        format: NumberFormat,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Option<Arc<Calibration>>, InvertError> {
        Ok(self.calibrated(format, progress)?.0)
    }

    /// The same with the number of states that were computed for it: none if it was known.
    fn calibrated(
        &self,
        format: NumberFormat,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<(Option<Arc<Calibration>>, usize), InvertError> {
        let mut known = self.calibrations.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(made) = known.get(&format) {
            return Ok((made.clone(), 0));
        }
        let made = Calibration::measure(&self.vocabulary, self.tap, format, progress)?.map(Arc::new);
        known.insert(format, made.clone());
        Ok((made, 5 * CALIBRATION_SEQUENCES * CALIBRATION_LEN))
    }
}

impl Inverter<'_> {
    /// Takes a calibration that was measured before, so that it is not measured again. One for another tap is ignored.
    pub fn know(&self, calibration: Calibration) {
        if calibration.tap() == self.tap {
            let mut known = self.calibrations.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            known.insert(calibration.format(), Some(Arc::new(calibration)));
        }
    }

    /// Returns the calibrations known so far, in no order.
    pub fn known_calibrations(&self) -> Vec<Arc<Calibration>> {
        let known = self.calibrations.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        known.values().flatten().cloned().collect()
    }
}

impl Recovery<'_, '_> {
    /// Begins with the noise of a producer that the settings name.
    pub(super) fn calibrate_if_stated(&mut self) -> Result<(), InvertError> {
        let settings = &self.comparison.inverter.settings;
        match stated(settings).filter(|_| may_estimate(settings)) {
            Some(format) => self.calibrate(format).map(|_| ()),
            None => Ok(()),
        }
    }

    /// Estimates the noise of the producer after candidates were tested and none fitted, if the states are of the kind that such a
    /// producer writes. Returns whether it did.
    pub(super) fn calibrate_for_grid(&mut self) -> Result<bool, InvertError> {
        if self.calibration_tried || self.comparison.inverter.settings.computed_in != ComputedIn::Auto {
            return Ok(false);
        }
        // Embeddings are as exact as the weights, which lie on such a grid in most models.
        let target = self.comparison.target;
        match target.grid().filter(|_| target.tap() != Tap::Embedding) {
            Some(format) => self.calibrate(format.into()),
            None => Ok(false),
        }
    }

    /// Estimates the noise of the producer after the whole vocabulary failed at a first or second position after the given ones.
    fn calibrate_as_last_resort(&mut self, position: usize) -> Result<bool, InvertError> {
        let auto = self.comparison.inverter.settings.computed_in == ComputedIn::Auto;
        let given = self.comparison.target.given().len();
        match auto && !self.calibration_tried && position < given + 2 {
            true => self.calibrate(FloatFormat::Bf16.into()),
            false => Ok(false),
        }
    }

    fn calibrate(&mut self, format: NumberFormat) -> Result<bool, InvertError> {
        self.calibration_tried = true;
        let (inverter, target) = (self.comparison.inverter, self.comparison.target);
        if !may_estimate(&inverter.settings) {
            return Ok(false);
        }
        let Some(calibration) = self.calibration(format)? else { return Ok(false) };
        let quiet = self.quiet.get_or_init(|| match target.transformation() {
            Transformation::None | Transformation::Scaled { .. } => {
                target.with_first(&calibration.quietened(target.state(0)))
            }
            // The directions of the noise are those of unchanged states.
            _ => target.clone(),
        });
        self.search = self.searcher.begin(quiet)?;
        self.comparison.producer = Some(ProducerNoise { calibration, residuals: Vec::new() });
        Ok(true)
    }

    /// The noise of a producer that computes in `format`. The cost of measuring it is that of this prompt.
    pub(super) fn calibration(
        &mut self,
        format: NumberFormat,
    ) -> Result<Option<Arc<Calibration>>, InvertError> {
        let start = Instant::now();
        let Comparison { inverter, progress, .. } = &self.comparison;
        let (made, states) = inverter.calibrated(format, &mut { *progress })?;
        if states > 0 {
            let stage = self.comparison.cost.stage(Cost::CALIBRATION);
            stage.add_states(states, 0.0, start.elapsed().as_secs_f64());
        }
        Ok(made)
    }

    /// Learns from a hypothesis that took the place of another.
    pub(super) fn learn_from_best(&mut self) {
        let (Some(producer), Some(best)) = (&mut self.comparison.producer, self.beam.first()) else { return };
        best.found().for_each(|(at, found)| producer.learn(at, found, self.comparison.target));
    }

    /// Estimates the noise of the producer if nothing fits after any hypothesis and the states show its format. Returns whether the
    /// candidates were compared anew.
    pub(super) fn compare_anew(&mut self, branches: &mut [Branch]) -> Result<bool, InvertError> {
        let made = nothing_fits(branches) && self.calibrate_for_grid()?;
        if made {
            self.begin_anew(branches);
        }
        Ok(made)
    }

    /// The same as a last resort, after the whole vocabulary failed, unless an earlier position shows that there is no such noise.
    pub(super) fn compare_anew_at_last(&mut self, branches: &mut [Branch]) -> Result<bool, InvertError> {
        let at = branches.first().map_or(0, |branch| branch.trial.at);
        let spent = branches.iter().all(|branch| branch.spent);
        let exact = is_exact_before(branches, self.comparison.target);
        let made = nothing_fits(branches) && spent && !exact && self.calibrate_as_last_resort(at)?;
        if made {
            self.begin_anew(branches);
        }
        Ok(made)
    }

    fn begin_anew(&self, branches: &mut [Branch]) {
        for branch in branches {
            branch.trial.begin_anew(&self.comparison);
            branch.spent = false;
        }
    }
}

/// Whether candidates were tested after every hypothesis, and none fits.
pub(super) fn nothing_fits(branches: &[Branch]) -> bool {
    let nothing =
        |branch: &Branch| branch.trial.tested.fitting().is_empty() && !branch.trial.tested.is_empty();
    branches.iter().all(nothing)
}

impl Hypothesis {
    /// Returns the last position, if its token was found, with its index.
    pub(super) fn last(&self) -> Option<(usize, &Found)> {
        Some((self.positions.len().checked_sub(1)?, self.positions.last()?.found()?))
    }
}
