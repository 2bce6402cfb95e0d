//! The difference between states computed in a narrow format and states computed in f32.
//!
//! Nearly all states are computed in 16 bits, and their error is thousands of times larger than that of computing in
//! f32. Its size and shape are properties of the model, so they can be measured with it: its decoder computes the same few hundred tokens in
//! the producer's format and in its own.
//!
//! The error lies mostly along a few directions, above all at attention sinks, where a few coordinates of 20,000 are rounded by up to
//! 64 while different first tokens lie 50 to 100 apart. With `x` the relative error of a state, `S` the mean of `x x'`, and `d` a
//! tenth of the median variance of a coordinate, distances are measured by `d (S + d I)^-1`. Along a direction of variance `v` a
//! difference counts by `d / (v + d)`, and where there is no error it counts whole. So all weights are at most 1, as those of the
//! [rounding](crate::Acceptance::NoiseFloor) are.

mod file;
mod measure;
mod other_scheme;
mod place;

pub use self::file::CalibrationError;
pub(crate) use self::place::{LogNormal, PlaceNoise};
use std::sync::Arc;

use crate::{
    collisions::norm,
    models::{NumberFormat, Tap},
    tuning::{PARTIAL_SINK_NORM, SINK_NORM},
};

/// The noise of a producer that computes in another format, at one tap of one model: of first positions and of later ones.
#[derive(Clone, Debug)]
pub struct Calibration {
    tap: Tap,
    format: NumberFormat,
    first: Arc<PlaceNoise>,
    later: Arc<PlaceNoise>,
}

impl Calibration {
    /// Returns the tap of the states.
    pub fn tap(&self) -> Tap {
        self.tap
    }

    /// Returns the format that the producer computes in.
    pub fn format(&self) -> NumberFormat {
        self.format
    }

    /// Returns the median error of a first position and of a later one, as shares of the state's norm: in the metric that damps
    /// the directions of the error.
    pub fn relative(&self) -> [f64; 2] {
        [&self.first, &self.later].map(|place| place.noise.typical())
    }

    /// The noise of a state. A later position may be an attention sink too, which its norm shows.
    pub(crate) fn of(&self, position: usize, state: &[f64]) -> &Arc<PlaceNoise> {
        let sink = sink_from(self.first.typical_norm, self.later.typical_norm);
        let sink = sink.is_some_and(|sink| norm(state) > sink);
        if position == 0 || sink { &self.first } else { &self.later }
    }

    /// Whether a later position is an attention sink in part: its state is much longer than those of other later positions, and much
    /// shorter than first states. A token such as a comma after BOS takes over some of the sink.
    pub(crate) fn is_partial_sink(&self, position: usize, state: &[f64]) -> bool {
        position > 0
            && !self.is_ordinary(position, state)
            && norm(state) < PARTIAL_SINK_NORM * self.first.typical_norm
    }

    /// Whether the state is an attention sink, and the producer's weights differ from those given. Other weights move all sinks by about the
    /// same vector, and the vector of one rounding is not that of another.
    pub(crate) fn moves_sink(&self, position: usize, state: &[f64]) -> bool {
        let are_sinks = sink_from(self.first.typical_norm, self.later.typical_norm).is_some();
        let is_full = !self.is_ordinary(position, state) && !self.is_partial_sink(position, state);
        !matches!(self.format, NumberFormat::Float(_)) && are_sinks && is_full
    }

    /// Whether the noise of a state is that of ordinary later positions.
    pub(crate) fn is_ordinary(&self, position: usize, state: &[f64]) -> bool {
        Arc::ptr_eq(self.of(position, state), &self.later)
    }

    /// Returns a first state with each loud direction drawn towards the mean of first states, by the share of error in its variance.
    /// Searches compare states in L2, in which the error would hide everything else.
    pub(crate) fn quietened(&self, state: &[f64]) -> Vec<f64> {
        self.first.quietened(state)
    }
}

#[cfg(test)]
impl Calibration {
    /// The same calibration for first states of this norm, and for later ones with this noise, at which wrong tokens are expected too.
    pub(crate) fn expecting(mut self, first_norm: f64, noise: LogNormal) -> Self {
        Arc::make_mut(&mut self.first).typical_norm = first_norm;
        let later = Arc::make_mut(&mut self.later);
        (later.noise, later.margin) = (noise, noise);
        self
    }
}

/// Returns the norm at which a later state is an attention sink, if first states are much longer than others.
fn sink_from(first: f64, later: f64) -> Option<f64> {
    (first > SINK_NORM * later).then(|| (first * later).sqrt())
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use burn::tensor::Device;

    use super::*;
    use crate::{
        Inverter, Policy, Settings, TargetStates, Verdict,
        collisions::Arithmetic,
        models::{FloatFormat, Matrix, Model, Origin, silent},
        settings::ComputedIn,
        states::foreign::{ColumnChoice, StatesFile},
        tuning::NOISE_DEVIATIONS,
        vocabulary::Vocabulary,
    };

    /// Noise of places whose states have this norm.
    fn place(norm: f64) -> Arc<PlaceNoise> {
        let exact: Vec<Vec<f64>> = (0..8).map(|i| vec![norm, 0.1 * f64::from(i), 1.0]).collect();
        let produced: Vec<Vec<f64>> =
            exact.iter().zip(1..).map(|(x, i)| vec![x[0], x[1] + 0.01 * f64::from(i), 1.1]).collect();
        let twins: Vec<_> = exact.windows(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect();
        Arc::new(PlaceNoise::of(&exact, &produced, &twins).unwrap())
    }

    #[test]
    fn other_weights_move_sinks_and_16_bits_do_not() {
        let calibration = |format: NumberFormat, first: f64| Calibration {
            tap: Tap::Block(1),
            format,
            first: place(first),
            later: place(10.0),
        };
        let (sink, partial, ordinary) = ([1000.0, 0.0, 1.0], [500.0, 0.0, 1.0], [10.0, 0.0, 1.0]);
        let int4 = calibration(NumberFormat::Int4, 1000.0);
        assert!(int4.moves_sink(0, &sink) && int4.moves_sink(3, &sink));
        assert!(!int4.moves_sink(3, &partial) && !int4.moves_sink(3, &ordinary));
        assert!(!calibration(FloatFormat::Bf16.into(), 1000.0).moves_sink(0, &sink));
        // Without sinks the first state is like any other.
        assert!(!calibration(NumberFormat::Int4, 11.0).moves_sink(0, &ordinary));
    }

    #[test]
    fn a_moved_sink_that_no_token_fits_is_followed_and_not_verified() {
        let (tap, format, prompt) = (Tap::Block(1), NumberFormat::Int4, [11, 5, 63, 30]);
        // The states of two first tokens are nearer to each other than the sink is moved.
        let decoder = inject_testing::models::random("llama", 31, &Device::flex());
        let decoder = decoder.map_matrices(&mut |matrix, values| match matrix {
            Matrix::Embedding => {
                let (near, width) = (values.clone().narrow(0, 11, 1) * 1.05, values.dims()[1]);
                values.slice_assign([12..13, 0..width], near)
            }
            _ => values,
        });
        let exact = TargetStates::of_prompt(&decoder, tap, &prompt).unwrap();
        let mut states = exact.states().to_owned();
        let length = 0.06 * norm(exact.state(0)) / (states.ncols() as f64).sqrt();
        states
            .row_mut(0)
            .iter_mut()
            .zip([1.0, -1.0, -1.0].iter().cycle())
            .for_each(|(x, sign)| *x += sign * length);
        let target = TargetStates::new(states, tap, FloatFormat::F64).unwrap();

        let settings = Settings::new().with_computed_in(ComputedIn::Format(format));
        let inverter = Inverter::new(&decoder, tap, settings).unwrap();
        let invert = |first_norm: f64| {
            let mut calibration =
                Calibration::clone(&inverter.calibration(format, &mut silent).unwrap().unwrap());
            let first = Arc::make_mut(&mut calibration.first);
            first.noise = LogNormal { mean: -7.0, spread: 0.15 };
            first.margin = LogNormal { mean: -3.0, spread: 0.15 };
            first.typical_norm = first_norm;
            inverter.know(calibration);
            inverter.invert(&target, &mut inverter.searcher(&Policy::new()), &mut silent).unwrap()
        };
        // No token fits, and no other lies twice as far away as the nearest.
        assert_eq!(invert(1.0).positions[0].verdict, Verdict::Failed);
        let inversion = invert(1e6);
        assert_eq!(inversion.token_ids(), prompt, "{inversion:?}");
        let verdict = &inversion.positions[0].verdict;
        assert!(matches!(verdict, Verdict::Ambiguous { more: true, .. }), "{inversion:?}");
    }

    /// The files that docs/laboratory/producer_states.py writes, against a calibration in bf16. Prints for each tap the errors of first
    /// and of later positions, in standard deviations.
    #[test]
    #[ignore = "needs a real checkpoint and states: set INJECT_REAL_MODEL and INJECT_PRODUCER_STATES"]
    fn the_noise_of_a_producer_lies_within_that_of_the_calibration() {
        let folder = |name: &str| PathBuf::from(std::env::var_os(name).expect(name));
        let model = Origin::of_folder(&folder("INJECT_REAL_MODEL"));
        let decoder = Model::load(model, FloatFormat::F32, &Device::flex()).unwrap().decoder;
        let vocabulary = Vocabulary::new(&decoder, Arithmetic::I16OnProcessor);
        let files = folder("INJECT_PRODUCER_STATES").read_dir().unwrap().map(|file| file.unwrap().path());
        let files: Vec<PathBuf> = files.collect();
        for tap in StatesFile::open(&files[0]).unwrap().taps().unwrap().to_vec() {
            let calibration = Calibration::measure(&vocabulary, tap, FloatFormat::Bf16.into(), &mut silent)
                .unwrap()
                .unwrap();
            let (mut first, mut later) = (Vec::new(), Vec::new());
            for path in &files {
                let mut file = StatesFile::open(path).unwrap();
                let ids = file.token_ids().unwrap().to_vec();
                let given = file.column(ColumnChoice::Tap(tap)).unwrap().into_array();
                let exact = TargetStates::of_prompt(&decoder, tap, &ids).unwrap();
                for (position, state) in given.rows().into_iter().enumerate() {
                    let state = state.to_vec();
                    let place = calibration.of(position, &state);
                    let error: Vec<f64> =
                        state.iter().zip(exact.state(position)).map(|(a, b)| a - b).collect();
                    let relative = place.length(&error) / norm(&state);
                    let deviations = (relative.ln() - place.noise.mean) / place.noise.spread;
                    if position == 0 { &mut first } else { &mut later }.push(deviations);
                }
            }
            for (name, errors) in [("first", &mut first), ("later", &mut later)] {
                errors.sort_by(f64::total_cmp);
                let (least, median) = (errors[0], errors[errors.len() / 2]);
                let largest = errors[errors.len() - 1];
                println!("{tap}, {name}: {least:.1} {median:.1} {largest:.1} of {}", errors.len());
                assert!(largest <= NOISE_DEVIATIONS, "{tap}, {name}: {largest}");
            }
        }
    }
}
