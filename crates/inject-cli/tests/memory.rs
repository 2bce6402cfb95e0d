//! The memory that extractions, inversions and searches take, against their budgets, that of shares, against their prompts, and that of
//! loading quantised weights, against these in f32.
//!
//! This is a program of its own with one test, because its allocator counts the bytes of the whole process.

use std::{error::Error, num::NonZeroUsize, path::Path};

use inject_sipit::{
    Inverter, Policy, Settings, TargetStates,
    burn::tensor::Device,
    collisions::{CollisionError, Pairs, Search, SearchOptions, StateRows, answers::Coverage},
    models::{FloatFormat, Model, Origin, PublishedShape, Tap, silent},
    ndarray::Array2,
    states::{
        ExtractError, Extraction, Share, SharePrompts,
        random::SplitMix,
        store::{self, Block, Opened, Positions, Store, StoreSpec, StoreWriter},
    },
};
use peak_alloc::PeakAlloc;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

const MIB: usize = 1 << 20;

/// Checks the most bytes that `work` holds at once, less those of its result.
fn check<T>(
    budget: usize,
    case: &str,
    work: impl FnOnce() -> Result<T, Box<dyn Error>>,
) -> Result<T, Box<dyn Error>> {
    check_with_result(budget, case, || {
        let before = ALLOCATOR.current_usage();
        let result = work()?;
        let kept = ALLOCATOR.current_usage().saturating_sub(before);
        Ok((result, kept))
    })
}

/// Checks the most bytes that `work` holds at once, less so many of its result.
fn check_with_result<T>(
    budget: usize,
    case: &str,
    work: impl FnOnce() -> Result<(T, usize), Box<dyn Error>>,
) -> Result<T, Box<dyn Error>> {
    ALLOCATOR.reset_peak_usage();
    let before = ALLOCATOR.current_usage();
    let (result, kept) = work()?;
    let taken = ALLOCATOR.peak_usage() - before - kept;
    assert!(taken > 0, "{case}: nothing was counted");
    assert!(taken <= budget, "{case}: {taken} bytes of {budget}");
    Ok(result)
}

#[test]
fn work_stays_within_its_memory_budget() -> Result<(), Box<dyn Error>> {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/model"));
    let model = Model::load(Origin::of_folder(folder), FloatFormat::F32, &Device::flex())?;
    extractions(&model)?;
    long_prompts()?;
    shares(&model)?;
    inversions(&model)?;
    quantised_weights()?;
    searches()
}

/// A file of weights that are quantised by every method, and their number. All values are zero.
struct QuantisedFile {
    header: serde_json::Map<String, serde_json::Value>,
    bytes: Vec<u8>,
    numbers: usize,
}

impl QuantisedFile {
    fn push(&mut self, name: &str, dtype: &str, shape: &[usize], bytes: &[u8]) {
        let end = self.bytes.len() + bytes.len();
        let entry =
            serde_json::json!({"dtype": dtype, "shape": shape, "data_offsets": [self.bytes.len(), end]});
        self.header.insert(name.to_owned(), entry);
        self.bytes.extend_from_slice(bytes);
    }

    fn zeros(&mut self, name: &str, dtype: &str, shape: &[usize], size: usize) {
        let bytes = vec![0; shape.iter().product::<usize>() * size];
        self.push(name, dtype, shape, &bytes);
    }

    fn linear(&mut self, stem: &str, [rows, columns]: [usize; 2], method: &str) {
        let weight = format!("{stem}.weight");
        self.numbers += rows * columns;
        match method {
            "int8" => {
                self.zeros(&weight, "I8", &[rows, columns], 1);
                self.zeros(&format!("{stem}.SCB"), "F32", &[rows], 4);
            }
            "fp8" => {
                self.zeros(&weight, "F8_E4M3", &[rows, columns], 1);
                self.zeros(&format!("{weight}_scale"), "F32", &[rows, 1], 4);
            }
            _ => {
                let numbers = rows * columns;
                self.zeros(&weight, "U8", &[numbers / 2, 1], 1);
                self.zeros(&format!("{weight}.absmax"), "F32", &[numbers / 64], 4);
                self.zeros(&format!("{weight}.quant_map"), "F32", &[16], 4);
                let state =
                    serde_json::json!({"blocksize": 64, "dtype": "float32", "shape": [rows, columns]});
                let state = state.to_string();
                let name = format!("{weight}.quant_state.bitsandbytes__nf4");
                self.push(&name, "U8", &[state.len()], state.as_bytes());
            }
        }
    }

    fn plain(&mut self, name: &str, shape: &[usize]) {
        self.numbers += shape.iter().product::<usize>();
        self.zeros(name, "F32", shape, 4);
    }
}

/// Widening takes no more than 1.3 times the memory of the weights in f32, the scales included.
fn quantised_weights() -> Result<(), Box<dyn Error>> {
    const LAYERS: usize = 4;
    const D_MODEL: usize = 512;
    const D_FF: usize = 1536;
    const VOCAB: usize = 1024;
    for method in ["int8", "fp8", "nf4"] {
        let mut file = QuantisedFile { header: serde_json::Map::new(), bytes: Vec::new(), numbers: 0 };
        file.plain("model.embed_tokens.weight", &[VOCAB, D_MODEL]);
        file.plain("model.norm.weight", &[D_MODEL]);
        for layer in 0..LAYERS {
            let stem = |name: &str| format!("model.layers.{layer}.{name}");
            for norm in ["input_layernorm", "post_attention_layernorm"] {
                file.plain(&stem(&format!("{norm}.weight")), &[D_MODEL]);
            }
            for name in ["q", "k", "v", "o"] {
                file.linear(&stem(&format!("self_attn.{name}_proj")), [D_MODEL, D_MODEL], method);
            }
            file.linear(&stem("mlp.gate_proj"), [D_FF, D_MODEL], method);
            file.linear(&stem("mlp.up_proj"), [D_FF, D_MODEL], method);
            file.linear(&stem("mlp.down_proj"), [D_MODEL, D_FF], method);
        }
        let folder = tempfile::tempdir()?;
        let config = serde_json::json!({
            "model_type": "llama", "hidden_size": D_MODEL, "intermediate_size": D_FF, "num_hidden_layers": LAYERS,
            "num_attention_heads": 8, "vocab_size": VOCAB, "tie_word_embeddings": true, "max_position_embeddings": 64,
        });
        std::fs::write(folder.path().join("config.json"), config.to_string())?;
        let header = serde_json::Value::Object(file.header).to_string();
        let whole = [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &file.bytes].concat();
        std::fs::write(folder.path().join("model.safetensors"), whole)?;
        let widened = file.numbers * size_of::<f32>();
        drop(file.bytes);
        let load = || Model::load(Origin::of_folder(folder.path()), FloatFormat::F32, &Device::flex());
        let model = check_with_result(widened * 13 / 10, method, || Ok((load()?, 0)))?;
        assert_eq!(model.decoder.config().n_parameters(), file.numbers);
    }
    Ok(())
}

fn extractions(model: &Model) -> Result<(), Box<dyn Error>> {
    let prompts: Vec<Vec<u32>> =
        (0..400).map(|prompt| (0..60).map(|at| (7 * prompt + 13 * at) % 2048).collect()).collect();
    for budget in [4 * MIB, 16 * MIB, 64 * MIB] {
        let extraction = Extraction::new(vec![Tap::Block(3)], Positions::All)?.with_memory_budget(budget);
        check(budget, "extraction", || Ok(extraction.run(&model.decoder, &prompts, &mut silent)?))?;
    }
    Ok(())
}

/// One prompt is computed whatever it takes. The estimate of that is never too small, and not much too large.
fn long_prompts() -> Result<(), Box<dyn Error>> {
    let cases = [
        (PublishedShape::SmolLm2_135m, &[25, 50, 300, 1000, 2500][..]),
        (PublishedShape::Gpt2, &[50, 300]),
        (PublishedShape::Gemma3_270m, &[50, 1000]),
    ];
    for (shape, lens) in cases {
        let mut config = shape.config();
        config.blocks.truncate(2);
        config.vocab_size = 97;
        let decoder = config.init(0.02, &Device::flex());
        for lanes in [NonZeroUsize::MIN, NonZeroUsize::MIN.saturating_add(1)] {
            let decoder = decoder.clone().with_lanes(lanes);
            for &len in lens {
                let prompt: Vec<u32> = (0..len as u32).map(|at| 13 * at % 97).collect();
                for taps in [vec![Tap::Block(2)], vec![Tap::Embedding, Tap::Block(1), Tap::FinalNorm]] {
                    let estimate = decoder.bytes_of_prompt(len, taps.len());
                    let case = format!("{shape}, {len} tokens, {} taps, {lanes} lanes", taps.len());
                    let extraction = Extraction::new(taps, Positions::All)?;
                    let run = || extraction.run(&decoder, std::slice::from_ref(&prompt), &mut silent);
                    // What a backend takes once.
                    run()?;
                    drop(check_with_result(estimate, &case, || Ok((run()?, 0)))?);
                    let taken = ALLOCATOR.peak_usage() - ALLOCATOR.current_usage();
                    assert!(len < 1000 || estimate < 3 * taken, "{case}: {taken} bytes of {estimate}");
                }
            }
        }
    }
    Ok(())
}

/// The ids of all prompts take 30 MB. A share holds a hundredth of them, and a merge none.
fn shares(model: &Model) -> Result<(), Box<dyn Error>> {
    const PROMPTS: u32 = 100_000;
    fn prompt(number: u32) -> Vec<u32> {
        (0..64).map(|at| (7 * number + 13 * at) % 2048).collect()
    }
    let all = || Ok::<_, ExtractError>((0..PROMPTS).map(|number| Ok(prompt(number))));
    let extraction = Extraction::new(vec![Tap::Block(1)], Positions::Last)?;
    let own = check_with_result(MIB, "a share", || {
        Ok((SharePrompts::read("50/98".parse()?, &extraction, &model.decoder, MIB, all)?, 0))
    })?;
    assert_eq!(own.map(|own| own.ids().len()), Some(1024));

    // States of one number, so that a merge has little else to hold.
    let folder = tempfile::tempdir()?;
    let mut stores = Vec::new();
    for number in 0..4 {
        let share = Share::new(number, 4)?;
        let own = SharePrompts::read(share, &extraction, &model.decoder, usize::MAX, all)?;
        let own = own.ok_or("the share is empty")?;
        let mut spec = StoreSpec::new("none", "0", vec![Tap::Block(1)], Positions::Last, 1);
        spec.share = Some(own.about().clone());
        let dir = folder.path().join(number.to_string());
        if let Opened::Writing(mut writer) = StoreWriter::open(&dir, spec, own.ids())? {
            let states: Vec<f32> = (0..own.ids().len()).map(|row| row as f32).collect();
            writer.append(&Block::new(states.len(), &[(Tap::Block(1), &states)]))?;
            writer.finish(None)?;
        }
        stores.push(dir);
    }
    let merged = folder.path().join("merged");
    let merged = check_with_result(4 * MIB, "a merge", || {
        let stores = stores.iter().map(Store::open).collect::<Result<Vec<_>, _>>()?;
        Ok((store::merge(&stores, &merged, &mut silent)?, 0))
    })?;
    assert_eq!(merged.manifest().prompt_count, PROMPTS as usize);
    assert!((0..PROMPTS).all(|number| merged.prompt(number as usize) == prompt(number)));
    Ok(())
}

fn inversions(model: &Model) -> Result<(), Box<dyn Error>> {
    let prompt: Vec<u32> = (0..20).map(|at| 13 * at % 2048).collect();
    let target = TargetStates::of_prompt(&model.decoder, Tap::Block(3), &prompt)?;
    for budget in [MIB, 8 * MIB] {
        let inverter =
            Inverter::new(&model.decoder, Tap::Block(3), Settings::default().with_memory_budget(budget))?;
        let policy = Policy::new();
        let inversion = check(budget, "inversion", || {
            Ok(inverter.invert(&target, &mut inverter.searcher(&policy), &mut silent)?)
        })?;
        assert_eq!(inversion.token_ids(), prompt);
    }
    Ok(())
}

/// Rows without any structure, so that the bounds exclude few pairs.
fn searches() -> Result<(), Box<dyn Error>> {
    let mut numbers = SplitMix::seeded(5);
    let states = Array2::from_shape_simple_fn((6_000, 96), || numbers.below(1 << 20) as f32);
    let (states, device) = (StateRows::new(states.view())?, Device::flex());
    let search = |budget| {
        Search::new(&states, &Pairs::All, SearchOptions::default().with_memory_budget(budget), &device)
    };
    let Err(CollisionError::BudgetTooSmall { needed, .. }) = search(0) else {
        return Err("a search needs memory".into());
    };
    for budget in [needed, 4 * needed] {
        let search = search(budget)?;
        check(budget, "closest pairs", || Ok(search.closest_pairs(10, &mut silent)?))?;
        check(budget, "nearest neighbours", || Ok(search.nearest_neighbours(&mut silent)?))?;
    }
    check(
        4 * needed,
        "distribution",
        || Ok(search(4 * needed)?.distribution(Coverage::Exact, &mut silent)?),
    )?;
    Ok(())
}
