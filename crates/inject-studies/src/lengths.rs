//! The dependence of distances on the length of prompts.
//!
//! The same texts are cut to each length, so that only the length differs from one measurement to the next.

use std::collections::BTreeMap;

use inject_sipit::{
    collisions::{Metric, NoiseFloor, Resolution, StateRows, distance, measure_noise_floors},
    models::{Decoder, Tap, silent},
    states::{Extraction, States, store::Positions},
};
use rayon::prelude::*;

use crate::{
    completeness::Completeness,
    error::StudyError,
    fingerprint::fingerprint,
    journal::Description,
    name::StudyName,
    run::{Finished, Run},
    tuning::NOISE_SAMPLE,
};

/// The taps, lengths and number of prompts that [`lengths`] measures.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LengthOptions {
    /// The taps at which states are read.
    pub taps: Vec<Tap>,
    /// The lengths to which prompts are truncated, in tokens, each at least 1.
    pub lengths: Vec<usize>,
    /// The largest number of different prompts of each length, at least 2.
    pub count: usize,
}

impl LengthOptions {
    /// Creates options to measure up to `count` prompts of each length.
    pub fn new(taps: Vec<Tap>, lengths: Vec<usize>, count: usize) -> Self {
        LengthOptions { taps, lengths, count }
    }
}

/// The distances between prompts of equal lengths, as [`lengths`] measures them.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
#[non_exhaustive]
pub struct LengthStudy {
    /// Each length; units that are not finished are missing.
    pub lengths: Vec<AtLength>,
    /// The units of the study that this result contains.
    #[serde(default)]
    pub completeness: Completeness,
}

/// The distances between prompts of one length.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
#[non_exhaustive]
pub struct AtLength {
    /// The number of tokens in each prompt.
    pub length: usize,
    /// The number of different prompts.
    pub prompts: usize,
    /// The distances between their last states at each tap.
    #[cfg_attr(
        feature = "schema",
        schemars(with = "std::collections::BTreeMap<crate::schema::Tap, DistanceSpread>")
    )]
    pub taps: BTreeMap<Tap, DistanceSpread>,
}

/// The smallest, mean and largest distance of all pairs of some rows, each computed directly in f64.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
#[non_exhaustive]
pub struct DistanceSpread {
    /// The number of pairs of prompts.
    pub pairs: u64,
    /// The smallest distance of a pair, in L2.
    pub minimum: f64,
    /// The mean distance of all pairs, in L2.
    pub mean: f64,
    /// The largest distance of a pair, in L2.
    pub maximum: f64,
    /// The noise floor of these states.
    #[cfg_attr(feature = "schema", schemars(with = "crate::schema::NoiseFloor"))]
    pub noise: NoiseFloor,
    /// Whether the smallest distance exceeds the noise floor.
    #[serde(alias = "verdict")]
    #[cfg_attr(feature = "schema", schemars(with = "crate::schema::Resolution"))]
    pub resolution: Resolution,
}

/// Truncates prompts to each length and measures all pairs of their last states. A unit of the study is a length.
///
/// The first `count` different prompts that are long enough are used at each length, so the same texts are compared at every
/// length for which they are long enough. `model` identifies the weights in the journal.
///
/// # Errors
///
/// [`StudyError`] if there are fewer than two prompts of some length, the decoder refuses a prompt or a tap, or the journal
/// belongs to another study.
pub fn lengths(
    decoder: &Decoder,
    model: &str,
    prompts: &[Vec<u32>],
    options: &LengthOptions,
    run: Run<'_>,
) -> Result<LengthStudy, StudyError> {
    let LengthOptions { taps, lengths, count } = options;
    let count = *count;
    if count < 2 {
        return Err(StudyError::TooFewPrompts { found: count, expected: 2 });
    }
    if let Some(&length) = lengths.iter().find(|&&length| length == 0) {
        return Err(StudyError::TooFew { what: "tokens in each prompt", found: length, expected: 1 });
    }
    if lengths.is_empty() {
        return Err(StudyError::TooFew { what: "lengths", found: 0, expected: 1 });
    }
    let extraction = Extraction::new(taps.to_vec(), Positions::Last)?;
    let about = Description::new(
        StudyName::Lengths,
        serde_json::json!({ "model": model, "taps": extraction.taps(), "lengths": lengths, "count": count,
            "prompts": fingerprint(prompts),
        }),
    )
    .computed_by(decoder);
    let Finished { results: measured, completeness } =
        run.complete(&about, lengths.to_vec(), |&length, _| {
            let cut = cut(prompts, length, count);
            if cut.len() < 2 {
                return Err(StudyError::TooFewPrompts { found: cut.len(), expected: 2 });
            }
            let floors =
                measure_noise_floors(Metric::L2, decoder, None, extraction.taps(), &cut, NOISE_SAMPLE)?;
            let states = extraction.run(decoder, &cut, &mut silent)?;
            let spread = |(tap, states): (Tap, States)| {
                Ok((tap, spread(&StateRows::new(states.view())?, floors[&tap])))
            };
            let taps = states.into_iter().map(spread).collect::<Result<_, StudyError>>()?;
            Ok(AtLength { length, prompts: cut.len(), taps })
        })?;
    Ok(LengthStudy { lengths: measured.into_iter().map(|(_, at)| at).collect(), completeness })
}

/// Returns the first `count` different prompts, truncated to `length` tokens.
fn cut(prompts: &[Vec<u32>], length: usize, count: usize) -> Vec<Vec<u32>> {
    let long: Vec<&[u32]> = prompts.iter().filter_map(|prompt| prompt.get(..length)).collect();
    let identities = inject_sipit::collisions::identities(long.iter().copied());
    // Identities are numbered in the order of their first occurrence.
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

fn spread(rows: &StateRows<'_>, noise: NoiseFloor) -> DistanceSpread {
    let n = rows.rows();
    let row = |a: usize| {
        let [mut for_a, mut for_b] = [Vec::new(), Vec::new()];
        let state = rows.row(a, &mut for_a);
        let distances = (a + 1..n).map(|b| distance(state, rows.row(b, &mut for_b)));
        distances.fold((f64::INFINITY, 0.0_f64, 0.0_f64), |(least, sum, most), distance| {
            (least.min(distance), sum + distance, most.max(distance))
        })
    };
    // Collected before they are summed, so that the order of summation does not depend on the threads.
    let of_rows: Vec<(f64, f64, f64)> = (0..n).into_par_iter().map(row).collect();
    let pairs = (n * (n - 1) / 2) as u64;
    let minimum = of_rows.iter().map(|row| row.0).fold(f64::INFINITY, f64::min);
    DistanceSpread {
        pairs,
        minimum,
        mean: of_rows.iter().map(|row| row.1).sum::<f64>() / pairs as f64,
        maximum: of_rows.iter().map(|row| row.2).fold(0.0, f64::max),
        noise,
        resolution: Resolution::of(minimum, noise.largest()),
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
        let found = spread(&StateRows::new(states.view()).unwrap(), NoiseFloor::of_batches(1e-6));
        assert_eq!((found.pairs, found.minimum, found.mean, found.maximum), (3, 1.0, 10.0 / 3.0, 5.0));
        assert_eq!(found.resolution, Resolution::Separated);
    }
}
