//! States whose coordinates are in unknown order, the same for all of them.
//!
//! At first the values of two states are compared in order of their size. Each settled position shows which coordinates are which, up
//! to values so near that noise may have exchanged them. After few positions the order is known, and the rest is inverted as usual.

use crate::{
    acceptance::Acceptance,
    collisions::norm,
    cost::Cost,
    error::InvertError,
    inversion::{Inversion, Position, Verdict},
    models::{FloatFormat, Progress},
    policy::{Policy, Searcher},
    settings::{ComputedIn, TapCheck},
    sources::Prior,
    states::prompt_states,
    target::TargetStates,
    transformation::{Coordinates, Transformation},
    tuning::{PERMUTED_EXPECTED, PERMUTED_UNRESOLVED},
};

use super::{Inverter, watch::Watch};

impl Inverter<'_> {
    /// Recovers a prompt whose states have their coordinates in unknown order, the same for all states. `begins` is a token that prompts
    /// often begin with, such as BOS. [`Inversion::transformation`] has the order found.
    ///
    /// A verdict holds for comparisons within the groups of coordinates that were not distinguished before: docs/numerics.md, section 8.
    /// The states are explained without the noise of a producer first. If that fails, and their values show a format of 16 bits, its noise is
    /// estimated.
    ///
    /// # Errors
    ///
    /// As [`Inverter::invert`], [`InvertError::Missing`] if the target has positions without a state, and [`InvertError::NotFinite`]
    /// if a coordinate exceeded its format.
    ///
    /// # Example
    ///
    /// ```
    /// use inject_sipit::{Inverter, Policy, Settings, TargetStates, models::{FloatFormat, Model, Origin, Tap, silent}};
    /// use burn::tensor::Device;
    ///
    /// # let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tiny");
    /// let model = Model::load(Origin::of_folder(&folder), FloatFormat::F32, &Device::flex())?;
    /// let (tap, prompt) = (Tap::Block(2), [31, 41, 59]);
    /// let mut states = TargetStates::of_prompt(&model.decoder, tap, &prompt)?.states().to_owned();
    /// states.invert_axis(inject_sipit::ndarray::Axis(1));
    ///
    /// let inverter = Inverter::new(&model.decoder, tap, Settings::new())?;
    /// let target = TargetStates::new(states, tap, FloatFormat::F32)?;
    /// let policy = Policy::new();
    /// let found = inverter.invert_permuted(&target, None, &mut inverter.searcher(&policy), &mut silent)?;
    /// assert_eq!(found.token_ids(), prompt);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn invert_permuted(
        &self,
        target: &TargetStates,
        begins: Option<u32>,
        searcher: &mut Searcher<'_>,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Inversion, InvertError> {
        self.check(target)?;
        self.check_searcher(searcher)?;
        check_known(target)?;
        let computed_in = match self.settings.computed_in {
            ComputedIn::Auto => ComputedIn::Format(FloatFormat::F32.into()),
            named => named,
        };
        let watch = Watch::start(self.settings.budget.time);
        let found = self.permuted_as(computed_in, &watch, target, begins, searcher, progress)?;
        match target.grid().filter(|_| self.settings.computed_in == ComputedIn::Auto && !found.is_verified())
        {
            None => Ok(found),
            Some(format) => {
                let format = ComputedIn::Format(format.into());
                let mut again = self.permuted_as(format, &watch, target, begins, searcher, progress)?;
                let verified =
                    |found: &Inversion| found.positions.iter().filter(|at| at.verdict.is_verified()).count();
                if verified(&again) < verified(&found) {
                    return Ok(found);
                }
                again.cost.add(&found.cost);
                Ok(again)
            }
        }
    }

    /// The same for states that were computed in a known format.
    fn permuted_as(
        &self,
        computed_in: ComputedIn,
        watch: &Watch,
        target: &TargetStates,
        begins: Option<u32>,
        searcher: &mut Searcher<'_>,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Inversion, InvertError> {
        let settings = self.settings.clone();
        let settings = settings.with_computed_in(computed_in).with_tap_check(TapCheck::Never);
        let inverter = self.with_settings(settings)?.with_weights_as_given();
        let prior = Prior::new().beginning_with(begins);
        let by_size = match inverter.decoder.has_head() {
            true => Policy::new().then_up_to(PERMUTED_EXPECTED, prior),
            false => Policy::new(),
        };

        let (positions, width) = (target.positions(), target.d_model());
        let mut ids = target.given().to_vec();
        let mut settled: Vec<Position> =
            ids.iter().enumerate().map(|(at, &token)| Position::given(at, token)).collect();
        let (mut coordinates, mut producer, mut cost) = (Coordinates::unknown(width), None, Cost::default());
        while settled.len() < positions {
            let at = ids.len();
            let is_known = coordinates.unresolved() * PERMUTED_UNRESOLVED <= width;
            let end = if is_known { positions } else { at + 1 };
            let part = target.part(end, &ids).permuted(&coordinates);
            let inverter = inverter.within(watch);
            let inversion = match is_known {
                true => inverter.invert(&part, searcher, progress)?,
                false => inverter.invert(&part, &mut inverter.searcher(&by_size), progress)?,
            };
            cost.add(&inversion.cost);
            producer = inversion.producer.or(producer);
            let verified = inversion.is_verified();
            ids = inversion.positions.iter().map_while(Position::token_id).collect();
            settled.extend(inversion.positions.into_iter().skip(at));
            if !verified {
                break;
            }
            let states = prompt_states(inverter.decoder, &ids, inverter.tap)?.to_f64();
            for (position, found) in settled.iter().enumerate().take(ids.len()).skip(at) {
                let floor = found.noise_floor().unwrap_or(0.0);
                let bound = inverter.largest_error(target, position, floor);
                let own = states.row(position).to_vec();
                coordinates = coordinates.refined(target.state(position), &own, bound);
            }
        }
        for position in settled.len()..positions {
            let (verdict, kept, ruled_out) = (Verdict::Open { guess: None }, None, Vec::new());
            settled.push(Position { position, verdict, kept, candidates_tested: 0, ruled_out });
        }
        let transformation = Transformation::Permuted { coordinates };
        Ok(Inversion { positions: settled, transformation, producer, cost })
    }

    /// Upper bound on the error of a coordinate of a state that fits within a floor.
    fn largest_error(&self, target: &TargetStates, position: usize, floor: f64) -> f64 {
        let rounding = target.roundings(position).fold(0.0, f64::max);
        let added = match self.settings.acceptance {
            Acceptance::NoiseFloor { added } => added,
            Acceptance::Ball { .. } | Acceptance::AllClose { .. } => 0.0,
        };
        floor.max(self.noise.bound(norm(target.state(position)), 0.0) + added + rounding)
    }
}

/// Checks that every state is given, and every coordinate of it.
fn check_known(target: &TargetStates) -> Result<(), InvertError> {
    if let Some(&found) = target.missing().first() {
        return Err(InvertError::Missing { found, positions: target.positions() });
    }
    for position in 0..target.positions() {
        if let Some(coordinate) = target.beyond_format(position).next() {
            return Err(InvertError::NotFinite { position, coordinate, found: f64::INFINITY });
        }
    }
    Ok(())
}
