//! The difference between states computed in a narrow format and states computed in f32.
//!
//! Nearly all states in the world were computed in 16 bits, and their error is thousands of times larger than that of computing in
//! f32. Its size and shape are properties of the model, so the model tells them: its decoder computes the same few hundred tokens in
//! the producer's format and in its own.
//!
//! The error lies mostly along a few directions, above all at attention sinks, where a few coordinates of 20,000 are rounded by up to
//! 64 while different first tokens lie 50 to 100 apart. With `x` the relative error of a state, `S` the mean of `x x'`, and `d` a
//! tenth of the median variance of a coordinate, distances are measured by `d (S + d I)^-1`. Along a direction of variance `v` a
//! difference counts by `d / (v + d)`, and where there is no error it counts whole. So all weights are at most 1, as those of the
//! [rounding](crate::Acceptance::NoiseFloor) are.

mod measure;
mod place;

pub(crate) use self::place::{LogNormal, PlaceNoise};
use std::sync::Arc;

use crate::{
    collisions::norm,
    models::{NumberFormat, Tap},
    tuning::SINK_NORM,
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
    /// The tap of the states.
    pub fn tap(&self) -> Tap {
        self.tap
    }

    /// The format that the producer computes in.
    pub fn format(&self) -> NumberFormat {
        self.format
    }

    /// The median error of a first position and of a later one, as shares of the state's norm: in the metric that damps the
    /// directions of the error.
    pub fn relative(&self) -> [f64; 2] {
        [&self.first, &self.later].map(|place| place.noise.typical())
    }

    /// The noise of a state. A later position may be an attention sink too, as its norm tells.
    pub(crate) fn of(&self, position: usize, state: &[f64]) -> &Arc<PlaceNoise> {
        let (first, later) = (self.first.typical_norm, self.later.typical_norm);
        let sink = first > SINK_NORM * later && norm(state) > (first * later).sqrt();
        if position == 0 || sink { &self.first } else { &self.later }
    }

    /// Whether the noise of a state is that of ordinary later positions.
    pub(crate) fn is_ordinary(&self, position: usize, state: &[f64]) -> bool {
        Arc::ptr_eq(self.of(position, state), &self.later)
    }

    /// A first state without the part of its error that exceeds what it says: each loud direction is drawn towards the mean of
    /// first states, by the share of error in its variance. Searches compare states in L2, in which that error would hide everything.
    pub(crate) fn quietened(&self, state: &[f64]) -> Vec<f64> {
        self.first.quietened(state)
    }
}

#[cfg(test)]
mod lab {
    use super::*;
    use crate::{
        TargetStates,
        collisions::Arithmetic,
        models::{FloatFormat, Model, Origin},
        states::foreign::{ColumnChoice, StatesFile},
        vocabulary::Vocabulary,
    };
    use burn::tensor::Device;

    #[test]
    #[ignore]
    fn look() {
        let folder = std::path::PathBuf::from(std::env::var("LAB_MODEL").unwrap());
        let states = std::env::var("LAB_STATES").unwrap();
        let model = Model::load(Origin::of_folder(&folder), FloatFormat::F32, &Device::flex()).unwrap();
        let vocabulary = Vocabulary::new(&model.decoder, Arithmetic::I16OnProcessor);
        let mut files: Vec<_> = std::fs::read_dir(states).unwrap().map(|f| f.unwrap().path()).collect();
        files.sort();
        let taps = StatesFile::open(&files[0]).unwrap().taps().unwrap().to_vec();
        for tap in taps {
            let start = std::time::Instant::now();
            let cal = Calibration::measure(&vocabulary, tap, FloatFormat::Bf16.into()).unwrap().unwrap();
            println!(
                "{tap}: {:.1} s; first norm {:.1} noise {:?} margin {:?}; later norm {:.1} noise {:?} margin {:?}",
                start.elapsed().as_secs_f64(),
                cal.first.typical_norm,
                cal.first.noise,
                cal.first.margin,
                cal.later.typical_norm,
                cal.later.noise,
                cal.later.margin
            );
            let mut z = [Vec::new(), Vec::new(), Vec::new()];
            for path in &files {
                let mut file = StatesFile::open(path).unwrap();
                let ids = file.token_ids().unwrap().to_vec();
                let column = file.column(ColumnChoice::Tap(tap)).unwrap().into_array();
                let exact = TargetStates::of_prompt(&model.decoder, tap, &ids).unwrap();
                for p in 0..ids.len() {
                    let h = column.row(p).to_vec();
                    let place = cal.of(p, &h);
                    let diff: Vec<f64> = h.iter().zip(exact.state(p)).map(|(a, b)| a - b).collect();
                    let l = place.length(&diff) / norm(&h);
                    let zz = (l.ln() - place.noise.mean) / place.noise.spread;
                    let kind =
                        if p == 0 { if path.to_string_lossy().contains("-bos-") { 1 } else { 0 } } else { 2 };
                    if zz > 4.0 {
                        println!(
                            "  {} pos {p} id {} norm {:.0} z {zz:.1} rel {l:.4} plain {:.4} first? {}",
                            path.file_name().unwrap().to_string_lossy(),
                            ids[p],
                            norm(&h),
                            norm(&diff) / norm(&h),
                            !cal.is_ordinary(p, &h)
                        );
                    }
                    z[kind].push(zz);
                }
            }
            for (name, z) in ["first", "bos", "later"].iter().zip(&mut z) {
                z.sort_by(f64::total_cmp);
                if z.is_empty() {
                    continue;
                }
                println!(
                    "  {name}: n {} z min {:.1} q25 {:.1} med {:.1} q75 {:.1} q95 {:.1} max {:.1}",
                    z.len(),
                    z[0],
                    z[z.len() / 4],
                    z[z.len() / 2],
                    z[3 * z.len() / 4],
                    z[95 * z.len() / 100],
                    z[z.len() - 1]
                );
            }
        }
    }
}
