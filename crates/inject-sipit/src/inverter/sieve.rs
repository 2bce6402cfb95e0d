//! Candidates that are compared where they were computed. The host reads their distances, and the states of the few that can matter.

use burn::tensor::{DType, Device, Tensor, TensorData};

use super::trial::Trial;
use crate::{
    collisions::norm,
    error::InvertError,
    models::host,
    tensors::read,
    tuning::{LARGEST_BATCH, LARGEST_BATCH_ON_DEVICE, LARGEST_PROPOSAL, NEAREST_KEPT},
};

/// The side that compares the states of candidates with the given state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comparing {
    /// The host reads all states. This is best where they are in its memory anyway.
    OnHost,
    /// The device computes a distance for each candidate. The host reads these, and the states of candidates that may be among the
    /// nearest or fit, whose distances it computes in f64. The results are those of [`Comparing::OnHost`].
    OnDevice,
}

impl Comparing {
    pub(super) fn on(device: &Device) -> Self {
        match host::is_remote(device) {
            true => Comparing::OnDevice,
            false => Comparing::OnHost,
        }
    }

    /// The largest batch of candidates that is worth computing at once.
    pub(super) fn largest_batch(self) -> usize {
        match self {
            Comparing::OnHost => LARGEST_BATCH,
            Comparing::OnDevice => LARGEST_BATCH_ON_DEVICE,
        }
    }

    /// Whether the device sieves a batch. Smaller batches are proposals of sources, which learn from the states.
    pub(super) fn sieves(self, candidates: usize) -> bool {
        self == Comparing::OnDevice && candidates > LARGEST_PROPOSAL
    }
}

/// The distances of candidates as a device computed them, each within `relative * distance + absolute` of the true one.
struct Estimates {
    distances: Vec<f64>,
    relative: f64,
    absolute: f64,
}

impl Estimates {
    /// Computes the weighted distances of states from one state.
    ///
    /// # Shapes
    ///
    /// `states`: `[candidates, d_model]`.
    ///
    /// # Source
    ///
    /// Higham, Accuracy and Stability of Numerical Algorithms, section 3.1: a sum of `n` products in any order has a relative error
    /// of at most `n u / (1 - n u)`, if all are positive. The three operations before it and the weight add one `u` each, and the
    /// state given is off by `u` itself. Both bounds are doubled, so that they cover the rounding of the host in f64 too. A square
    /// that underflows counts as zero.
    fn new(states: &Tensor<2>, wanted: &[f64], weights: &[f64]) -> Result<Self, InvertError> {
        let d_model = wanted.len();
        let (dtype, unit, smallest) = match states.dtype() {
            DType::F64 => (DType::F64, 2_f64.powi(-53), f64::MIN_POSITIVE),
            _ => (DType::F32, 2_f64.powi(-24), f64::from(f32::MIN_POSITIVE)),
        };
        let upload = |values: &[f64]| {
            let data = TensorData::new(values.to_vec(), [1, d_model]).convert_dtype(dtype);
            Tensor::<2>::from_data(data, (&states.device(), dtype))
        };
        let differences = (states.clone().cast(dtype) - upload(wanted)) * upload(weights);
        let squares: Vec<f64> = read((differences.clone() * differences).sum_dim(1))?; // [candidates, 1]
        let sum = (d_model + 8) as f64 * unit;
        Ok(Estimates {
            distances: squares.into_iter().map(f64::sqrt).collect(),
            relative: 2.0 * sum / (1.0 - sum),
            absolute: 2.0 * unit * norm(wanted) + (d_model as f64 * smallest).sqrt(),
        })
    }

    /// Lower bounds of the true distances. Nothing is known of one that is not finite.
    fn least(&self) -> impl Iterator<Item = f64> {
        self.distances.iter().map(|&distance| match distance.is_finite() {
            true => (distance - self.absolute) / (1.0 + self.relative),
            false => 0.0,
        })
    }

    /// Upper bounds of the true distances.
    fn most(&self) -> impl Iterator<Item = f64> {
        self.distances.iter().map(|&distance| match distance.is_finite() {
            true => (distance + self.absolute) / (1.0 - self.relative),
            false => f64::INFINITY,
        })
    }
}

impl Trial {
    /// Compares candidates with the given state as [`Tested::compare`](crate::sources::Tested) does one after another, and reads only
    /// those states that change the result.
    ///
    /// # Shapes
    ///
    /// `states`: `[ids, d_model]`.
    pub(super) fn sieve(
        &mut self,
        ids: &[u32],
        states: Tensor<2>,
        weights: &[f64],
        wanted: &[f64],
    ) -> Result<(), InvertError> {
        let estimates = Estimates::new(&states, wanted, weights)?;
        let radius = self.nearest_within(estimates.most()).max(self.yardstick.floor(wanted));
        let near: Vec<usize> = estimates
            .least()
            .enumerate()
            .filter(|(_, least)| *least <= radius)
            .map(|(place, _)| place)
            .collect();
        let states = match near.len() {
            0 => Vec::new(),
            _ => read(states.clone().select(0, host::indices(&near, &states.device())))?,
        };
        let mut near = near.into_iter().zip(states.chunks(wanted.len())).peekable();
        for (place, &id) in ids.iter().enumerate() {
            match near.next_if(|(at, _)| *at == place) {
                Some((_, state)) => self.tested.compare(id, state, &self.yardstick, wanted),
                None => self.tested.pass_over(id),
            }
        }
        Ok(())
    }

    /// A radius within which the nearest candidates lie that are kept, given upper bounds of the distances of further ones.
    fn nearest_within(&self, further: impl Iterator<Item = f64>) -> f64 {
        let kept = self.tested.ranking().kept().iter().map(|ranked| ranked.distance);
        let mut distances: Vec<f64> = kept.chain(further).collect();
        if distances.len() < NEAREST_KEPT {
            return f64::INFINITY;
        }
        *distances.select_nth_unstable_by(NEAREST_KEPT - 1, f64::total_cmp).1
    }
}

#[cfg(test)]
mod tests {
    use inject_testing::models::of_vocabulary;
    use ndarray::Array2;

    use super::*;
    use crate::{
        acceptance::Acceptance,
        collisions::weighted_distance,
        inversion::Inversion,
        inverter::Inverter,
        models::{FloatFormat, Tap, host::Reads, silent},
        policy::Policy,
        settings::{Scan, Settings},
        target::TargetStates,
    };

    const VOCABULARY: usize = 1000;
    const PROMPT: [u32; 5] = [5, 961, 5, 0, 412];

    fn invert(inverter: &Inverter<'_>, target: &TargetStates, comparing: Comparing) -> Inversion {
        let inverter = Inverter { comparing, ..inverter.clone() };
        inverter.invert(target, &mut inverter.searcher(&Policy::new()), &mut silent).unwrap()
    }

    #[test]
    fn a_sieved_scan_gives_what_a_whole_read_gives() {
        for device in inject_testing::compiled() {
            for case in ["gpt2", "gemma3"] {
                let decoder = of_vocabulary(case, VOCABULARY, 3, &device);
                for tap in [Tap::Embedding, Tap::Block(2)] {
                    let exact = TargetStates::of_prompt(&decoder, tap, &PROMPT).unwrap();
                    // A narrow format weights the coordinates, and one of them is unknown.
                    let mut narrow = exact.states().mapv(|value| half::f16::from_f64(value).to_f64());
                    narrow[[1, 2]] = f64::INFINITY;
                    let narrow = TargetStates::new(narrow, tap, FloatFormat::F16).unwrap();
                    let rules = [
                        Acceptance::default(),
                        // So wide that many tokens fit.
                        Acceptance::Ball { epsilon: 0.7 * norm(exact.state(2)) },
                        Acceptance::AllClose { rtol: 0.1, atol: 0.3 },
                    ];
                    for (target, rule) in
                        [&exact, &narrow].into_iter().flat_map(|t| rules.map(|rule| (t, rule)))
                    {
                        // Batches of one size, because the size of a batch changes states by rounding. They are large enough to be sieved.
                        let settings = Settings::new()
                            .with_acceptance(rule)
                            .with_beam(2)
                            .with_scan(Scan::Whole)
                            .with_memory_budget(400 * decoder.bytes_per_token(PROMPT.len(), 1));
                        let inverter = Inverter::new(&decoder, tap, settings).unwrap();
                        let [whole, sieved] = [Comparing::OnHost, Comparing::OnDevice]
                            .map(|comparing| invert(&inverter, target, comparing));
                        assert_eq!(whole.positions, sieved.positions, "{case}, {tap}, {rule:?}");
                        assert_eq!(whole.candidates_tested(), sieved.candidates_tested());
                    }
                }
            }
        }
    }

    #[test]
    fn estimates_bound_the_distances_of_states_that_lie_close_together() {
        let (rows, d_model) = (300, 64);
        for device in inject_testing::compiled() {
            for (length, apart) in [(1.0, 1.0), (1e4, 1e-3), (1e-3, 1e-6), (1.0, 1e-25)] {
                let value = |i: usize, scale: f64| ((i * 7919 % 1009) as f64 / 1009.0 - 0.5) * scale;
                let wanted: Vec<f64> = (0..d_model).map(|i| value(i + 5, length)).collect();
                let weights: Vec<f64> = (0..d_model).map(|i| [1.0, 0.3, 0.0][i % 3]).collect();
                let states = Array2::from_shape_fn((rows, d_model), |(row, i)| {
                    (wanted[i] + value(row * d_model + i, apart)) as f32
                });
                let data = TensorData::new(states.iter().copied().collect(), [rows, d_model]);
                let tensor = Tensor::<2>::from_data(data, (&device, DType::F32));
                let estimates = Estimates::new(&tensor, &wanted, &weights).unwrap();
                for ((row, least), most) in
                    states.rows().into_iter().zip(estimates.least()).zip(estimates.most())
                {
                    let distance = weighted_distance(row.as_slice().unwrap(), &wanted, &weights);
                    assert!(
                        least <= distance && distance <= most,
                        "{length}, {apart}: {least} {distance} {most}"
                    );
                    // They are of use where the differences exceed the digits of the states.
                    assert!(apart < 1e-6 * length || most < 1.5 * least, "{length}, {apart}: {least} {most}");
                }
            }
        }
    }

    #[test]
    fn a_state_that_is_not_finite_is_read() {
        let device = inject_testing::any_device();
        let states = Tensor::<2>::from_data([[f32::NAN, 0.0], [3e38, 3e38], [3.0, 4.0]], &device);
        let estimates = Estimates::new(&states, &[0.0, 0.0], &[1.0, 1.0]).unwrap();
        let bounds: Vec<(f64, f64)> = estimates.least().zip(estimates.most()).collect();
        assert_eq!(bounds[..2], [(0.0, f64::INFINITY); 2]);
        assert!(bounds[2].0 < 5.0 && bounds[2].1 > 5.0);
    }

    #[test]
    fn a_batch_of_4096_candidates_returns_kilobytes_in_two_reads() {
        for decoder in inject_testing::on_each(|device| of_vocabulary("llama", 4096, 3, device)) {
            let tap = Tap::Block(1);
            let target = TargetStates::of_prompt(&decoder, tap, &[5, 4000, 7]).unwrap();
            let inverter = Inverter::new(&decoder, tap, Settings::new().with_scan(Scan::Whole)).unwrap();
            // The projections of the embeddings are read once for each inverter.
            inverter.vocabulary.duplicates(0, 0.0).unwrap();
            let before = Reads::of_this_thread();
            let inversion = invert(&inverter, &target, Comparing::OnDevice);
            let reads = Reads::of_this_thread() - before;
            assert!(inversion.is_certain(), "{inversion:?}");
            let scan = inversion.cost.stages()["scan"];
            assert_eq!((scan.batches, scan.candidates), (3.0, 3 * 4096));
            assert_eq!(reads.count, 6);
            // A number for each candidate, and the states of the nearest. The bounds of the estimates let a few more pass.
            let of_a_batch = 4 * (4096 + 2 * NEAREST_KEPT * target.d_model());
            assert!(reads.bytes <= 3 * of_a_batch as u64, "{reads:?}");
            let whole = Reads::of_this_thread();
            invert(&inverter, &target, Comparing::OnHost);
            assert!((Reads::of_this_thread() - whole).bytes >= 10 * reads.bytes);
        }
    }
}
