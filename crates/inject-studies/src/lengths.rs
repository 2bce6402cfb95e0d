//! Distances against the length of prompts.

use std::collections::BTreeMap;

use inject_sipit::{
    collisions::{Metric, NoiseFloor, Rows, Verdict, distance, measure_noise_floors},
    models::{Decoder, Tap},
    states::{Extraction, store::Positions},
};
use rayon::prelude::*;

use super::{Run, StudyError};

/// How the distances between states depend on the length of their prompts.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct LengthStudy {
    /// Each length; those of other parts of the study are missing.
    pub lengths: Vec<AtLength>,
}

/// Prompts of one length.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct AtLength {
    /// Tokens in each prompt.
    pub length: usize,
    /// How many different prompts.
    pub prompts: usize,
    /// The distances between their last states at each tap.
    pub taps: BTreeMap<Tap, Spread>,
}

/// The smallest, mean and largest distance of all pairs of some rows, each computed directly in f64.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Spread {
    /// How many pairs.
    pub pairs: u64,
    /// The smallest distance.
    pub minimum: f64,
    /// The mean distance.
    pub mean: f64,
    /// The largest distance.
    pub maximum: f64,
    /// How far apart computations of one of these states lie.
    pub noise: NoiseFloor,
    /// What the smallest distance means beside that.
    pub verdict: Verdict,
}

/// How many prompts of a length are computed again for the noise floor.
const NOISE_SAMPLE: usize = 8;

/// Cuts prompts to each length and measures all pairs of their last states. A unit of the study is a length.
///
/// At each length the first `count` different prompts that are long enough take part, so the same texts are compared at every
/// length as far as they reach. `model` names the weights, for the journal.
///
/// # Errors
///
/// [`StudyError`]: fewer than two prompts of some length, what the decoder refuses, a journal of another study.
pub fn lengths(
    decoder: &Decoder,
    model: &str,
    prompts: &[Vec<u32>],
    lengths: &[usize],
    count: usize,
    taps: &[Tap],
    run: Run<'_>,
) -> Result<LengthStudy, StudyError> {
    let extraction = Extraction::new(taps.to_vec(), Positions::Last)?;
    let about = serde_json::json!({
        "study": "lengths", "model": model, "taps": extraction.taps(), "lengths": lengths, "count": count,
        "prompts": crate::fingerprint(prompts),
    });
    let measured = run.complete(&about, lengths.to_vec(), |&length, _| {
        let cut = cut(prompts, length, count);
        if cut.len() < 2 {
            return Err(StudyError::TooFewPrompts { found: cut.len(), expected: 2 });
        }
        let floors = measure_noise_floors(Metric::L2, decoder, None, extraction.taps(), &cut, NOISE_SAMPLE)?;
        let states = extraction.run(decoder, &cut, &mut |_| ())?;
        let spread = |(tap, states): (Tap, ndarray::Array2<f32>)| {
            Ok((tap, spread(&Rows::new(states.view())?, floors[&tap])))
        };
        let taps = states.into_iter().map(spread).collect::<Result<_, StudyError>>()?;
        Ok(AtLength { length, prompts: cut.len(), taps })
    })?;
    Ok(LengthStudy { lengths: measured.into_iter().map(|(_, at)| at).collect() })
}

/// The first different prompts of this many tokens.
fn cut(prompts: &[Vec<u32>], length: usize, count: usize) -> Vec<Vec<u32>> {
    let long: Vec<&[u32]> = prompts.iter().filter_map(|prompt| prompt.get(..length)).collect();
    let identities = inject_sipit::collisions::identities(long.iter().copied());
    // Identities are counted up as they first occur.
    let mut next = 0;
    let first = |identity: u32| {
        let is_next = identity == next;
        next += u32::from(is_next);
        is_next
    };
    let firsts: Vec<bool> = identities.into_iter().map(first).collect();
    long.into_iter()
        .zip(firsts)
        .filter(|&(_, first)| first)
        .take(count)
        .map(|(ids, _)| ids.to_vec())
        .collect()
}

fn spread(rows: &Rows<'_>, noise: NoiseFloor) -> Spread {
    let n = rows.rows();
    let row = |a: usize| {
        let [mut for_a, mut for_b] = [Vec::new(), Vec::new()];
        let state = rows.row(a, &mut for_a);
        let distances = (a + 1..n).map(|b| distance(state, rows.row(b, &mut for_b)));
        distances.fold((f64::INFINITY, 0.0_f64, 0.0_f64), |(least, sum, most), distance| {
            (least.min(distance), sum + distance, most.max(distance))
        })
    };
    // Collected before the sum, so that its order does not depend on the threads.
    let of_rows: Vec<(f64, f64, f64)> = (0..n).into_par_iter().map(row).collect();
    let pairs = (n * (n - 1) / 2) as u64;
    let minimum = of_rows.iter().map(|row| row.0).fold(f64::INFINITY, f64::min);
    Spread {
        pairs,
        minimum,
        mean: of_rows.iter().map(|row| row.1).sum::<f64>() / pairs as f64,
        maximum: of_rows.iter().map(|row| row.2).fold(0.0, f64::max),
        noise,
        verdict: Verdict::of(minimum, noise.largest()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prompts_are_cut_and_only_different_ones_are_kept() {
        let prompts = [vec![1, 2, 3], vec![1, 2, 4], vec![7], vec![1, 3, 4], vec![2, 2]];
        assert_eq!(cut(&prompts, 2, 9), [[1, 2], [1, 3], [2, 2]]);
        assert_eq!(cut(&prompts, 2, 2), [[1, 2], [1, 3]]);
        assert_eq!(cut(&prompts, 9, 2), Vec::<Vec<u32>>::new());
    }

    #[test]
    fn the_spread_is_that_of_the_pairs() {
        let states = ndarray::arr2(&[[0.0_f32], [1.0], [5.0]]);
        let found = spread(&Rows::new(states.view()).unwrap(), NoiseFloor::default());
        assert_eq!((found.pairs, found.minimum, found.mean, found.maximum), (3, 1.0, 10.0 / 3.0, 5.0));
        assert_eq!(found.verdict, Verdict::Separated);
    }
}
