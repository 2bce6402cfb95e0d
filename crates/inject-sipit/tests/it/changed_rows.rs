//! Rows of real models: multiplied, shuffled, with permuted coordinates, and without some of them.
//!
//! Needs a real checkpoint, and files that docs/laboratory/producer_states.py wrote for it with `--formats float32`:
//!
//! ```text
//! INJECT_REAL_MODEL=FOLDER INJECT_PRODUCER_STATES=FOLDER INJECT_TAPS=block-15 [INJECT_CHANGES=shuffled,gap] cargo test --release --test it -- --ignored --nocapture changed_rows
//! ```

use std::{env, path::PathBuf, time::Instant};

use burn::tensor::Device;
use inject_sipit::{
    Inversion, Inverter, Settings, TargetStates,
    models::{Bos, FloatFormat, Model, Origin, Tap, silent},
    policy::PolicyChoice,
    states::foreign::{ColumnChoice, StatesFile},
};
use ndarray::{Array2, Axis};

/// A fixed permutation: places by the fractional part of a multiple of the golden ratio.
fn permutation(len: usize) -> Vec<usize> {
    let mut places: Vec<usize> = (0..len).collect();
    let key = |at: &usize| (*at as f64 + 1.0) * 0.618_033_988_749_894_9 % 1.0;
    places.sort_by(|a, b| key(a).total_cmp(&key(b)));
    places
}

#[test]
#[ignore = "needs a real checkpoint and states: see the head of this file"]
fn changed_rows_give_the_prompt() {
    let folder = |name: &str| PathBuf::from(env::var_os(name).unwrap_or_else(|| panic!("{name}")));
    let model = Origin::of_folder(&folder("INJECT_REAL_MODEL"));
    let model = Model::load(model, FloatFormat::F32, &Device::flex()).unwrap();
    let mut files: Vec<PathBuf> =
        folder("INJECT_PRODUCER_STATES").read_dir().unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    let taps = env::var("INJECT_TAPS").unwrap();
    let changes = env::var("INJECT_CHANGES").unwrap_or("none,scaled,gap,shuffled,permuted".to_owned());
    let begins = model.tokenizer().unwrap().first_token(Bos::Auto).unwrap();
    println!("| tap | change | file | tokens | right | verified | verified wrongly | candidates | s |");
    for tap in taps.split(',').map(|name| name.parse::<Tap>().unwrap()) {
        let inverter = Inverter::new(&model.decoder, tap, Settings::new()).unwrap();
        for path in &files {
            let mut file = StatesFile::open(path).unwrap();
            let ids = file.token_ids().unwrap().to_vec();
            let states = file.column(ColumnChoice::Tap(tap)).unwrap().into_array();
            let of = |states: Array2<f64>| TargetStates::new(states, tap, file.dtype()).unwrap();
            let choice = PolicyChoice::auto(&model.decoder, tap, ids.len(), None, begins);
            for change in changes.split(',') {
                let start = Instant::now();
                let mut searcher = inverter.searcher(&choice.policy);
                let found: Inversion = match change {
                    "none" => inverter.invert(&of(states.clone()), &mut searcher, &mut silent).unwrap(),
                    "scaled" => {
                        let scaled = states.mapv(|value| f64::from((0.37 * value) as f32));
                        inverter.invert(&of(scaled), &mut searcher, &mut silent).unwrap()
                    }
                    "gap" => {
                        let at = ids.len() / 2;
                        let kept: Vec<usize> = (0..ids.len()).filter(|&row| row != at).collect();
                        let without = of(states.select(Axis(0), &kept)).with_missing(&[at]).unwrap();
                        inverter.invert(&without, &mut searcher, &mut silent).unwrap()
                    }
                    "shuffled" => {
                        let shuffled = of(states.select(Axis(0), &permutation(ids.len())));
                        inverter.invert_shuffled(&shuffled, begins, &mut silent).unwrap().inversion
                    }
                    "permuted" => {
                        let permuted = of(states.select(Axis(1), &permutation(states.ncols())));
                        inverter.invert_permuted(&permuted, begins, &mut searcher, &mut silent).unwrap()
                    }
                    _ => panic!("unknown change {change}"),
                };
                let seconds = start.elapsed().as_secs_f64();
                let right = |position: &usize| found.positions[*position].token_id() == Some(ids[*position]);
                let verified = |position: &usize| found.positions[*position].verdict.is_verified();
                let all = 0..ids.len();
                let wrong = all.clone().filter(|at| verified(at) && !right(at)).count();
                println!(
                    "| {tap} | {change} | {} | {} | {} | {} | {wrong} | {} | {seconds:.1} |",
                    path.file_name().unwrap().to_string_lossy(),
                    ids.len(),
                    all.clone().filter(right).count(),
                    all.filter(verified).count(),
                    found.candidates_tested()
                );
                if env::var_os("INJECT_VERBOSE").is_some() {
                    println!("  {:?}", found.cost.stages());
                    if let Some(open) =
                        found.positions.iter().find(|position| !position.verdict.is_verified())
                    {
                        println!("  {open:?}");
                    }
                }
                assert_eq!(wrong, 0);
            }
        }
    }
}
