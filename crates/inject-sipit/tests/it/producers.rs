//! States of programs that compute in 16 bits, inverted without any option.
//!
//! Needs a real checkpoint, the files that docs/laboratory/producer_states.py writes for it, and for the second half a folder of lenses:
//!
//! ```text
//! INJECT_REAL_MODEL=FOLDER INJECT_PRODUCER_STATES=FOLDER [INJECT_LENSES=FOLDER] cargo test --release --test it -- --ignored --nocapture producers
//! ```

use std::{path::PathBuf, sync::Arc, time::Instant};

use burn::tensor::Device;
use inject_sipit::{
    Inversion, Inverter, Lens, Settings, TargetStates,
    models::{Bos, FloatFormat, Model, Origin, Tap, silent},
    policy::PolicyChoice,
    states::foreign::{ColumnChoice, StatesFile},
};

fn folder(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).map(PathBuf::from)
}

#[derive(Default)]
struct Count {
    prompts: usize,
    exact: usize,
    positions: usize,
    right: usize,
    verified: usize,
    wrong: usize,
    seconds: f64,
}

impl Count {
    fn take(&mut self, inversion: &Inversion, truth: &[u32], seconds: f64) {
        let right =
            inversion.positions.iter().zip(truth).filter(|(p, id)| p.token_id() == Some(**id)).count();
        let verified = inversion.positions.iter().zip(truth).filter(|(p, _)| p.verdict.is_verified());
        self.prompts += 1;
        self.exact += usize::from(inversion.is_verified() && inversion.token_ids() == truth);
        self.positions += truth.len();
        self.right += right;
        self.wrong += verified.clone().filter(|(p, id)| p.token_id() != Some(**id)).count();
        self.verified += verified.count();
        self.seconds += seconds;
    }
}

#[test]
#[ignore = "needs a real checkpoint and states: see the head of this file"]
fn states_computed_in_16_bits_give_the_prompt_without_any_option() {
    let model = Origin::of_folder(&folder("INJECT_REAL_MODEL").expect("INJECT_REAL_MODEL"));
    let model = Model::load(model, FloatFormat::F32, &Device::flex()).unwrap();
    let states = folder("INJECT_PRODUCER_STATES").expect("INJECT_PRODUCER_STATES");
    let mut files: Vec<PathBuf> = states.read_dir().unwrap().map(|file| file.unwrap().path()).collect();
    let wanted = std::env::var("INJECT_ONLY").unwrap_or_default();
    files.retain(|path| path.to_string_lossy().contains(&wanted));
    files.sort();
    let taps = std::env::var("INJECT_TAPS").ok();
    let taps: Vec<Tap> = match &taps {
        Some(names) => names.split(',').map(|name| name.parse().unwrap()).collect(),
        None => StatesFile::open(&files[0]).unwrap().taps().unwrap().to_vec(),
    };
    let lenses = folder("INJECT_LENSES");
    let bos = model.tokenizer().unwrap().first_token(Bos::Auto).unwrap();
    let f32_too = std::env::var_os("INJECT_F32").is_some();
    println!(
        "| tap | states | prompts | exact | positions | right | verified | verified wrongly | s a prompt |"
    );
    for tap in taps {
        let lens = lenses.as_ref().map(|lenses| {
            let hash = model.weight_hash().unwrap();
            Arc::new(Lens::load(lenses, tap, &hash, &Device::flex()).unwrap())
        });
        let choice = PolicyChoice::auto(&model.decoder, tap, 24, lens, bos);
        let inverter = Inverter::new(&model.decoder, tap, Settings::new()).unwrap();
        let (mut narrow, mut exact) = (Count::default(), Count::default());
        for path in &files {
            let mut file = StatesFile::open(path).unwrap();
            let ids = file.token_ids().unwrap().to_vec();
            if !file.taps().unwrap().contains(&tap) {
                continue;
            }
            let column = file.column(ColumnChoice::Tap(tap)).unwrap().into_array();
            let target = TargetStates::new(column, tap, file.dtype()).unwrap();
            let invert = |target: &TargetStates, count: &mut Count| {
                let start = Instant::now();
                let inversion =
                    inverter.invert(target, &mut inverter.searcher(&choice.policy), &mut silent).unwrap();
                count.take(&inversion, &ids, start.elapsed().as_secs_f64());
                inversion
            };
            let inversion = invert(&target, &mut narrow);
            if std::env::var_os("INJECT_VERBOSE").is_some() {
                let (name, stages) = (path.file_name().unwrap().to_string_lossy(), inversion.cost.stages());
                let tested: Vec<usize> = inversion.positions.iter().map(|p| p.candidates_tested).collect();
                let ratios: Vec<String> =
                    inversion.positions.iter().map(|p| format!("{:.1}", p.ratio().unwrap_or(0.0))).collect();
                println!(
                    "  {name} {:.1} s in all, tested {tested:?} ratios {ratios:?} {stages:?}",
                    narrow.seconds
                );
            }
            if !(inversion.is_verified() && inversion.token_ids() == ids) {
                let first = inversion
                    .positions
                    .iter()
                    .find(|p| !p.verdict.is_verified() || p.token_id() != Some(ids[p.position]));
                println!(
                    "  {} {:.1} s: {first:?}",
                    path.file_name().unwrap().to_string_lossy(),
                    narrow.seconds
                );
            }
            if f32_too {
                invert(&TargetStates::of_prompt(&model.decoder, tap, &ids).unwrap(), &mut exact);
            }
        }
        for (name, count) in [("16 bits", &narrow), ("f32", &exact)] {
            let Count { prompts, exact, positions, right, verified, wrong, seconds } = count;
            if *prompts > 0 {
                let each = seconds / *prompts as f64;
                println!(
                    "| {tap} | {name} | {prompts} | {exact} | {positions} | {right} | {verified} | {wrong} | {each:.2} |"
                );
            }
        }
        assert_eq!(narrow.wrong, 0, "{tap}");
    }
}
