//! The time of exact nearest neighbours and of the closest pair, against the number of rows and their width.
//!
//! A label reads `distances/data/rows x width/question`. Arguments select the labels that contain one of them. Each question
//! is asked only once, because it takes seconds. `computed` is the share of the pairs that were computed directly in f64.
//!
//! - `gaussian`: independent normal numbers, where no bound can exclude a pair cheaply.
//! - `states`: rows of one tap of a store, if `INJECT_STORE` names one; `INJECT_TAP` is the tap, `block-15` without it.
//!   `INJECT_ROWS` adds a number of rows.
//!
//! `peers/distances.py` measures FAISS on the same states and on numbers of the same distribution.

#![allow(clippy::print_stdout, reason = "a program speaks to its user")]

use std::{env, error::Error, time::Instant};

use burn::tensor::Device;
use inject_benches::device;
use inject_sipit::{
    collisions::{
        ClosestPairs, CollisionError, Coverage, NearestNeighbours, Pairs, Search, SearchOptions, StateRows,
    },
    models::{Tap, silent},
    states::store::Store,
};
use ndarray::Array2;

/// The numbers of rows that are measured with the width of SmolLM2-135M.
const ROWS: [usize; 4] = [12_500, 25_000, 50_000, 100_000];
const WIDTH: usize = 576;
/// The widths that are measured with the smallest number of rows.
const WIDTHS: [usize; 4] = [144, 288, 1152, 2304];

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    // As with criterion, `--test` runs everything once on small data, to check that it works.
    let (rows, test) = match arguments.iter().any(|argument| argument == "--test") {
        true => (&[500][..], true),
        false => (&ROWS[..], false),
    };
    let filters: Vec<&String> = arguments.iter().filter(|argument| !argument.starts_with("--")).collect();
    let wanted =
        |label: &str| filters.is_empty() || filters.iter().any(|filter| label.contains(filter.as_str()));
    let device = device();
    println!("| row | seconds | computed | minimum |\n|---|---|---|---|");
    if let Some(dir) = env::var_os("INJECT_STORE") {
        let store = Store::open(dir)?;
        let tap: Tap = env::var("INJECT_TAP").unwrap_or_else(|_| "block-15".to_owned()).parse()?;
        let most = store.manifest().row_count;
        let more = env::var("INJECT_ROWS").ok().map(|rows| rows.parse::<usize>()).transpose()?;
        for count in rows.iter().copied().chain(more).filter(|&count| count <= most) {
            // Read in place: the rows need not fit into memory.
            let rows = StateRows::of_store_bands(&store, tap, 0..count, None)?;
            let label = format!("distances/states-{tap}/{count}x{}", rows.columns());
            measure(&label, &wanted, &rows, &device)?;
        }
    }
    let sizes = rows.iter().map(|&count| (count, WIDTH));
    let widths = WIDTHS.iter().map(|&width| (rows[0], width)).filter(|_| !test);
    for (count, width) in sizes.chain(widths) {
        let label = format!("distances/gaussian/{count}x{width}");
        if QUESTIONS.iter().any(|question| wanted(&format!("{label}/{question}"))) {
            let states = gaussian(count, width);
            measure(&label, &wanted, &StateRows::new(states.view())?, &device)?;
        }
    }
    Ok(())
}

const QUESTIONS: [&str; 3] = ["nearest", "closest", "distribution"];

fn measure(
    label: &str,
    wanted: &impl Fn(&str) -> bool,
    rows: &StateRows<'_>,
    device: &Device,
) -> Result<(), CollisionError> {
    for question in QUESTIONS {
        let label = format!("{label}/{question}");
        if !wanted(&label) {
            continue;
        }
        let begin = Instant::now();
        let search = Search::new(rows, &Pairs::All, SearchOptions::default(), device)?;
        let (computed, minimum) = match question {
            "nearest" => {
                let found: NearestNeighbours = search.nearest_neighbours(&mut silent)?;
                (found.computed, found.minimum())
            }
            "closest" => {
                let found: ClosestPairs = search.closest_pairs(1, &mut silent)?;
                (found.computed, found.minimum().map(|pair| pair.distance))
            }
            _ => {
                let found = search.distribution(Coverage::Exact, &mut silent)?;
                (found.computed, found.quantile(0.0).map(|bracket| bracket.lower))
            }
        };
        let seconds = begin.elapsed().as_secs_f64();
        let share = computed as f64 / search.pair_count() as f64;
        println!("| {label} | {seconds:.3} | {share:.3e} | {:.6} |", minimum.unwrap_or(f64::NAN));
    }
    Ok(())
}

/// Returns independent normal numbers by the Box-Muller transform, the same in every run.
fn gaussian(rows: usize, width: usize) -> Array2<f32> {
    let mut state = 1_u64;
    let mut uniform = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 40) as f32 + 0.5) / (1 << 24) as f32
    };
    let mut values = vec![0.0; rows * width];
    for pair in values.chunks_mut(2) {
        let (length, angle) = ((-2.0 * uniform().ln()).sqrt(), std::f32::consts::TAU * uniform());
        pair[0] = length * angle.cos();
        if let Some(second) = pair.get_mut(1) {
            *second = length * angle.sin();
        }
    }
    Array2::from_shape_vec((rows, width), values).expect("as many numbers as the shape has")
}
