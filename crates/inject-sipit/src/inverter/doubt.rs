//! The doubt about the unit and the tap of the states, where nothing fits the first of them.

use std::time::Instant;

use crate::{
    acceptance::Acceptance,
    cost::Cost,
    error::InvertError,
    inversion::{Inversion, Position, Verdict},
    likely_tap::another_tap,
    models::{Progress, Unit},
    policy::PolicyChoice,
    settings::{Scan, TapCheck},
    target::TargetStates,
    transformation::Transformation,
    tuning::{SCALE_CANDIDATES, SURELY_SCALED, TAP_DOUBTED, TAP_OTHERS, TAP_SAMPLE},
};

use super::{Inverter, branch::Branch, recovery::Recovery};

/// A factor by which all states were multiplied, and the upper bound on its relative error.
#[derive(Clone, Copy, Debug)]
pub(super) struct Factor {
    pub(super) by: f64,
    pub(super) within: f64,
    /// Whether states computed in f32 showed it, which nothing else explains.
    sure: bool,
}

impl Factor {
    /// Whether it explains the first open state alone, although there are more.
    pub(super) fn is_refuted(self, inversion: &Inversion, first: usize) -> bool {
        let open = inversion.positions.iter().skip(first);
        let settled = open.take_while(|position| position.verdict.is_verified()).count();
        let next = inversion.positions.get(first + settled);
        !self.sure && settled <= 1 && next.is_some_and(|next| next.verdict == Verdict::Failed)
    }
}

impl Recovery<'_, '_> {
    /// Doubts the unit and the tap of the states once, if many candidates were tested at the first position and none fits.
    pub(super) fn doubt(&mut self, branches: &[Branch]) -> Result<(), InvertError> {
        let target = self.comparison.target;
        let many = TAP_DOUBTED.min(self.comparison.vocab_size());
        let nothing_fits = |branch: &Branch| {
            let tested = &branch.trial.tested;
            branch.trial.at == target.given().len() && tested.len() >= many && tested.fitting().is_empty()
        };
        let next = self.comparison.inverter.next;
        if self.doubted || next.is_some() || branches.is_empty() || !branches.iter().all(nothing_fits) {
            return Ok(());
        }
        self.doubted = true;
        self.factor = self.find_factor()?;
        // The final norm hardly changes the direction of some first states: they fit at the last block, with noise, if they are multiplied.
        // States at another tap that need no factor explain more.
        match self.factor {
            Some(factor) if factor.sure => Ok(()),
            _ => self.doubt_tap(),
        }
    }

    /// Fails with [`InvertError::OtherTap`] if a token fits the first state at another tap.
    fn doubt_tap(&mut self) -> Result<(), InvertError> {
        let (inverter, target) = (self.comparison.inverter, self.comparison.target);
        let TapCheck::WhereNothingFits { begins } = inverter.settings.tap_check else { return Ok(()) };
        let start = Instant::now();
        let likely = another_tap(
            inverter.decoder,
            target,
            begins,
            &inverter.settings,
            TAP_OTHERS,
            self.comparison.watch.deadline(),
            &mut { self.comparison.progress },
        )?;
        self.comparison.cost.stage("tap").add_states(TAP_SAMPLE, 1.0, start.elapsed().as_secs_f64());
        match likely {
            Some(likely) => Err(InvertError::OtherTap { given: target.tap(), likely }),
            None => Ok(()),
        }
    }

    /// Looks for a token whose state has the direction of the first one, unless the user's rule or budget rules that out. The factor is
    /// then the one that brings the two nearest to each other.
    fn find_factor(&mut self) -> Result<Option<Factor>, InvertError> {
        let (inverter, target) = (self.comparison.inverter, self.comparison.target);
        let settings = &inverter.settings;
        let unchanged = *target.transformation() == Transformation::None;
        let users = !matches!(settings.acceptance, Acceptance::NoiseFloor { .. });
        let too_few = settings.budget.candidates.is_some_and(|most| most < SCALE_CANDIDATES);
        // Later rows of a prompt that was recovered so far have the factor of the first ones.
        let later = target.given().len() > target.computed();
        // A state with a coordinate beyond its format has no known direction.
        let beyond = (0..target.positions()).any(|position| target.beyond_format(position).next().is_some());
        if !unchanged || users || too_few || later || beyond {
            return Ok(None);
        }
        let begins = match settings.tap_check {
            TapCheck::WhereNothingFits { begins } => begins,
            TapCheck::Never => None,
        };
        let (start, at) = (Instant::now(), target.given().len());
        let searching = settings
            .clone()
            .with_scan(Scan::AsNeeded)
            .with_tap_check(TapCheck::Never)
            .with_beam(1)
            .with_budget(
                settings.budget.with_candidates(SCALE_CANDIDATES).with_time(self.comparison.watch.left()),
            );
        let inverter = inverter.with_settings(searching)?.with_weights_as_given();
        let first = target.first_open(inverter.decoder)?.by_direction();
        let choice = PolicyChoice::auto(inverter.decoder, inverter.tap, at + 1, None, begins);
        let progress = self.comparison.progress;
        let mut compared = |inner: Progress<'_>| {
            let report = Progress::new("compare directions", Unit::Positions, 0, 1);
            progress(report.with_part(inner.fraction()));
        };
        let inversion = inverter.invert(&first, &mut inverter.searcher(&choice.policy), &mut compared)?;
        let seconds = start.elapsed().as_secs_f64();
        // A calibration stays under its own name, because only the first prompt pays for it.
        let calibration = inversion.cost.stages().get(Cost::CALIBRATION).copied().unwrap_or_default();
        let states: usize = inversion.cost.stages().values().map(|stage| stage.states).sum();
        let cost = &mut self.comparison.cost;
        cost.stage("factor").add_states(
            states - calibration.states,
            1.0,
            seconds - calibration.testing_seconds,
        );
        if calibration.states > 0 {
            cost.stage(Cost::CALIBRATION).add_states(calibration.states, 0.0, calibration.testing_seconds);
        }
        match inversion.positions.last().filter(|found| found.verdict.is_verified()) {
            Some(found) => factor_by(found, &inverter, target),
            None => Ok(None),
        }
    }
}

/// The factor that brings the state of a token, found by its direction, nearest to the first one that is not given. None if it is 1, within
/// the noise.
fn factor_by(
    found: &Position,
    inverter: &Inverter<'_>,
    target: &TargetStates,
) -> Result<Option<Factor>, InvertError> {
    let (Some(token), Some(within)) = (found.token_id(), found.noise_floor()) else { return Ok(None) };
    let at = target.given().len();
    let prompt = [target.given(), &[token]].concat();
    let computed = TargetStates::of_prompt(inverter.decoder, inverter.tap, &prompt)?;
    let product = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let (candidate, state) = (computed.state(at), target.state(at));
    let by = product(state, candidate) / product(candidate, candidate);
    if !(by.is_finite() && by > 0.0 && (by - 1.0).abs() > within) {
        return Ok(None);
    }
    let sure = within < SURELY_SCALED;
    // States computed in 16 bits show their factor more accurately than the noise of one of them.
    let (by, within) = target.factor_near(by, within).unwrap_or((by, within));
    Ok(Some(Factor { by, within, sure }))
}
