//! The random-corpus study.

use std::{collections::BTreeMap, fs, num::NonZeroUsize};

use inject_sipit::{
    collisions::{Metric, NoiseFloor, Resolution, distance, geometry::prompt_distance, measure_noise_floors},
    models::{FloatFormat, Model, Progress, Tap},
    states::store::Store,
};
use inject_studies::{
    Run, StudyError, between_models, corpus,
    corpus::{CorpusPart, CorpusPiece, CorpusStates, CorpusStudy},
    corpus_in_pieces,
    tap_distances::{NeighbourSearch, TapOptions},
};

use super::{in_parts, model, prompts, store};

const LAYERS: usize = 3;

/// The noise floors of a sample of prompts.
fn floors(model: &Model, taps: &[Tap], prompts: &[Vec<u32>], sample: usize) -> BTreeMap<Tap, NoiseFloor> {
    let sample = NonZeroUsize::new(sample).unwrap();
    measure_noise_floors(Metric::L2, &model.decoder, None, taps, prompts, sample).unwrap()
}

#[test]
fn every_tap_has_the_minimum_of_the_double_loop_beside_its_noise() {
    let (model, prompts, taps) = (model("gpt2", FloatFormat::F32), prompts(40), Tap::all(LAYERS));
    let folder = tempfile::tempdir().unwrap();
    let store = store(&model, &taps, &prompts, folder.path());
    let device = model.decoder.device();
    let noise = floors(&model, &taps, &prompts, 8);
    let options = TapOptions::default().with_closest(NonZeroUsize::new(4).unwrap());
    let study =
        corpus(&CorpusStates::new(&store, LAYERS, &noise), &taps, &options, &device, Run::silent()).unwrap();
    assert_eq!((study.prompts, study.repeated_prompts), (40, 3));
    assert_eq!(study.taps.iter().map(|report| report.tap).collect::<Vec<_>>(), taps);
    for report in &study.taps {
        let states = store.tap(report.tap).unwrap().to_array();
        let mut naive = Vec::new();
        for a in 0..prompts.len() {
            for b in a + 1..prompts.len() {
                if prompts[a] != prompts[b] {
                    let between = distance(&states.row(a).to_vec(), &states.row(b).to_vec());
                    naive.push((between, between / prompt_distance(&prompts[a], &prompts[b]) as f64));
                }
            }
        }
        let minimum = naive.iter().map(|pair| pair.0).fold(f64::INFINITY, f64::min);
        let constant = naive.iter().map(|pair| pair.1).fold(f64::INFINITY, f64::min);
        let found = &report.distances;
        assert_eq!((found.pairs, found.minimum), (naive.len() as u64, minimum));
        let separation = found.separation.unwrap();
        assert_eq!(separation.margin, minimum);
        assert!(separation.co_lipschitz >= constant && separation.co_lipschitz <= minimum);
        assert_eq!(report.resolution, Resolution::of(minimum, noise[&report.tap].largest()));
        let closest = &report.closest_prompts[0];
        assert_eq!(closest.token_ids, closest.prompts.map(|prompt| prompts[prompt].clone()));
        assert!(found.geometry.anisotropy.is_some() && found.geometry.intrinsic_dimension.is_some());
        let json = serde_json::to_string(report).unwrap();
        assert!(json.contains("noise") && json.contains("resolution"));
    }
}

#[test]
fn a_study_goes_on_from_its_journal_whatever_the_noise_floors_of_the_store_say() {
    let (model, prompts, taps) = (model("llama", FloatFormat::F32), prompts(12), Tap::all(LAYERS));
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("states");
    drop(store(&model, &taps, &prompts, &dir));
    let noise = taps.iter().map(|&tap| (tap, NoiseFloor::default())).collect();
    let study = |units: &mut Vec<f64>| -> CorpusStudy {
        let store = Store::open(&dir).unwrap();
        let mut begun = |told: Progress<'_>| units.push(told.part);
        let run = Run::in_memory(&mut begun).with_journal(folder.path().join("corpus.jsonl"));
        corpus(
            &CorpusStates::new(&store, LAYERS, &noise),
            &taps,
            &TapOptions::default(),
            &model.decoder.device(),
            run,
        )
        .unwrap()
    };
    let (mut first, mut second) = (Vec::new(), Vec::new());
    let before = study(&mut first);
    let path = dir.join("manifest.json");
    let mut manifest: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let floors = taps.iter().map(|tap| (tap.to_string(), 0.0123.into())).collect::<serde_json::Map<_, _>>();
    // The checksum is of the floors before.
    manifest.as_object_mut().unwrap().remove("xxh3").unwrap();
    manifest["noise"] = serde_json::json!({ "prompts_sampled": 2, "floors": floors });
    fs::write(&path, serde_json::to_vec_pretty(&manifest).unwrap()).unwrap();
    assert_eq!(study(&mut second), before);
    let computed = |of_next: &[f64]| of_next.iter().any(|&share| share > 0.0);
    assert!(computed(&first) && !computed(&second), "the second run takes everything from the journal");
}

#[test]
fn parts_of_a_study_add_up_to_the_whole() {
    let (model, prompts, taps) = (model("llama", FloatFormat::F32), prompts(30), Tap::all(LAYERS));
    let folder = tempfile::tempdir().unwrap();
    let store = store(&model, &taps, &prompts, &folder.path().join("states"));
    let noise = taps.iter().map(|&tap| (tap, NoiseFloor::of_batches(1e-5))).collect();
    let device = model.decoder.device();
    let study = |run: Run<'_>| -> CorpusStudy {
        corpus(&CorpusStates::new(&store, LAYERS, &noise), &taps, &TapOptions::default(), &device, run)
            .unwrap()
    };
    let whole = study(Run::silent());
    assert_eq!(in_parts(folder.path(), |study| &study.completeness, study), whole);
}

#[test]
fn pieces_measured_elsewhere_give_the_journal_of_one_process() {
    let (model, prompts, taps) = (model("llama", FloatFormat::F32), prompts(30), Tap::all(LAYERS));
    let folder = tempfile::tempdir().unwrap();
    let journal = |name: &str| folder.path().join(name);
    let store = store(&model, &taps, &prompts, &folder.path().join("states"));
    let noise = taps.iter().map(|&tap| (tap, NoiseFloor::of_batches(1e-5))).collect();
    let (device, bands) = (model.decoder.device(), NonZeroUsize::new(3).unwrap());
    let options = TapOptions::default().with_tiles(bands);
    let study = |name: &str, begun: &mut dyn FnMut(Progress<'_>)| -> CorpusStudy {
        let run = Run::in_memory(begun).with_journal(journal(name));
        corpus(&CorpusStates::new(&store, LAYERS, &noise), &taps, &options, &device, run).unwrap()
    };
    let whole = study("whole", &mut |_| ());
    // A part of the journal is there already.
    let text = fs::read_to_string(journal("whole")).unwrap();
    let lines: String = text.lines().take(5).map(|line| format!("{line}\n")).collect();
    fs::write(journal("elsewhere"), lines).unwrap();
    let measure = |pieces: &[CorpusPiece], options: &TapOptions| {
        assert_eq!(pieces.len(), 5 * 7 - 4, "four pieces are in the journal");
        let mut parts = Vec::new();
        for piece in pieces.iter().rev() {
            let sent = serde_json::to_string(piece).unwrap();
            let piece: CorpusPiece = serde_json::from_str(&sent).unwrap();
            let part = piece.measure(&store, options, &device, &mut |_| ())?;
            let sent = serde_json::to_string(&part).unwrap();
            assert!(sent.len() < 16 << 10, "a partial result takes kilobytes: {} bytes", sent.len());
            parts.push(serde_json::from_str::<CorpusPart>(&sent).unwrap());
        }
        parts.reverse();
        Ok::<_, StudyError>(parts)
    };
    let run = Run::silent().with_journal(journal("elsewhere"));
    let found = corpus_in_pieces(&store, &taps, bands, &TapOptions::default(), run, measure).unwrap();
    assert_eq!(found, whole.completeness);
    assert_eq!(fs::read_to_string(journal("elsewhere")).unwrap(), text);
    let mut shares = Vec::new();
    assert_eq!(study("elsewhere", &mut |told| shares.push(told.part)), whole);
    assert!(shares.iter().all(|&part| part == 0.0), "the study takes everything from the journal");
    let nothing = |_: &[CorpusPiece], _: &TapOptions| -> Result<Vec<CorpusPart>, StudyError> {
        panic!("nothing is left to measure")
    };
    let run = Run::silent().with_journal(journal("elsewhere"));
    corpus_in_pieces(&store, &taps, bands, &TapOptions::default(), run, nothing).unwrap();
}

#[test]
fn taps_of_two_models_are_compared_at_the_same_relative_depth() {
    let folder = tempfile::tempdir().unwrap();
    let study = |name: &str, layers: usize| -> CorpusStudy {
        let (model, prompts) = (model(name, FloatFormat::F32), prompts(12));
        let taps = Tap::all(LAYERS);
        let store = store(&model, &taps, &prompts, &folder.path().join(name));
        let noise = taps.iter().map(|&tap| (tap, NoiseFloor::of_batches(1e-6))).collect();
        let states = CorpusStates::new(&store, layers, &noise);
        let run = Run::silent();
        corpus(&states, &taps, &TapOptions::default(), &model.decoder.device(), run).unwrap()
    };
    // The second study is described as that of a model of six blocks, of which three were stored. Its block 3 is half way.
    let (first, second) = (study("llama", LAYERS), study("gpt2", 6));
    let compared = between_models(&first, &second);
    let pairs: Vec<[Tap; 2]> = compared.taps.iter().map(|tap| tap.taps).collect();
    let expected = [
        [Tap::Embedding, Tap::Embedding],
        [Tap::Block(1), Tap::Block(2)],
        [Tap::Block(2), Tap::Block(3)],
        [Tap::Block(3), Tap::Block(3)],
        [Tap::FinalNorm, Tap::FinalNorm],
    ];
    assert_eq!(pairs, expected);
    assert_eq!(compared.models, [first.model_id.clone(), second.model_id.clone()]);
    assert_eq!(compared.taps[2].depths, [2.0 / 3.0, 0.5]);
    for tap in &compared.taps {
        let of = |study: &CorpusStudy, at: Tap| study.taps.iter().find(|tap| tap.tap == at).unwrap().clone();
        let both = [of(&first, tap.taps[0]), of(&second, tap.taps[1])];
        assert_eq!(tap.minima, [both[0].distances.minimum, both[1].distances.minimum]);
        assert_eq!(tap.resolutions, [both[0].resolution, both[1].resolution]);
        let relative =
            |at: &inject_studies::corpus::TapReport| at.distances.minimum / at.distances.median().unwrap();
        for (found, report) in tap.relative_minima.iter().zip(&both) {
            let expected = (report.distances.median() > Some(0.0)).then(|| relative(report));
            assert_eq!(*found, expected);
        }
    }
    assert!(compared.taps.iter().any(|tap| tap.minima[0] != tap.minima[1]), "the models differ");
}

#[test]
fn prompts_that_differ_only_before_a_repeated_token_are_distinguished_from_a_collision() {
    // The embedding of a rotary model depends only on the last token, so its states are equal regardless of the noise.
    let model = model("llama", FloatFormat::F32);
    let prompts = [vec![5, 9], vec![6, 9], vec![7, 8]];
    let folder = tempfile::tempdir().unwrap();
    let taps = [Tap::Embedding, Tap::Block(2)];
    let store = store(&model, &taps, &prompts, folder.path());
    let noise = floors(&model, &taps, &prompts, 3);
    let device = model.decoder.device();
    let run = Run::silent();
    let study =
        corpus(&CorpusStates::new(&store, LAYERS, &noise), &taps, &TapOptions::default(), &device, run)
            .unwrap();
    assert_eq!(study.taps[0].resolution, Resolution::Collision);
    assert_eq!(study.taps[0].distances.equal[0].rows, [0, 1]);
    assert_eq!(study.taps[1].resolution, Resolution::Separated);
}

#[test]
fn a_missing_tap_a_missing_noise_floor_and_one_prompt_only_are_refused() {
    let model = model("gpt2", FloatFormat::F32);
    let device = model.decoder.device();
    let folder = tempfile::tempdir().unwrap();
    let taps = [Tap::Block(1)];
    let one = store(&model, &taps, &[vec![4, 5], vec![4, 5]], folder.path());
    let floors = |tap| [(tap, NoiseFloor::default())].into_iter().collect();
    let study = |tap: Tap, noise_at: Tap| {
        let run = Run::silent();
        corpus(
            &CorpusStates::new(&one, LAYERS, &floors(noise_at)),
            &[tap],
            &TapOptions::default(),
            &device,
            run,
        )
        .unwrap_err()
    };
    assert!(matches!(study(taps[0], taps[0]), StudyError::NoPairs { tap: Tap::Block(1) }));
    assert!(matches!(study(taps[0], Tap::Block(2)), StudyError::NoNoiseFloor { tap: Tap::Block(1) }));
    assert!(matches!(study(Tap::Block(2), Tap::Block(2)), StudyError::Store(_)));
}

#[test]
fn tiles_in_any_shares_give_the_closest_pairs_of_the_whole_search() {
    let (model, prompts, taps) = (model("gpt2", FloatFormat::F32), prompts(60), Tap::all(LAYERS));
    let folder = tempfile::tempdir().unwrap();
    let store = store(&model, &taps, &prompts, &folder.path().join("states"));
    let noise = taps.iter().map(|&tap| (tap, NoiseFloor::default())).collect();
    let device = model.decoder.device();
    let states = CorpusStates::new(&store, LAYERS, &noise);
    let whole = TapOptions::default().with_nearest(NeighbourSearch::Skipped);
    let tiled = whole.with_tiles(NonZeroUsize::new(3).unwrap());
    let study = |options: &TapOptions, run: Run<'_>| corpus(&states, &taps, options, &device, run).unwrap();
    let mut whole = study(&whole, Run::silent());
    let alone = study(&tiled, Run::silent());
    // Each tile begins without knowledge of the others, so more distances are computed.
    whole.taps.iter_mut().zip(&alone.taps).for_each(|(a, b)| a.distances.computed = b.distances.computed);
    assert_eq!(whole.taps, alone.taps);
    let shared = in_parts(folder.path(), |study: &CorpusStudy| &study.completeness, |run| study(&tiled, run));
    assert_eq!(shared, alone);
}
