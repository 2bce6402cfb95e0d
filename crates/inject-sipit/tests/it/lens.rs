//! Lenses of small models: made, used, written, read, and refused.

use inject_sipit::{
    Inversion, InvertError, Lens, LensError, Policy, Settings, TargetStates, TensorFileError,
    lens::{FirstPosition, LensBuilder},
    models::{Decoder, ModelError, Progress, Tap, Unit, silent},
    sources::{LensInContext, LensProposals},
    states::ExtractError,
};
use std::{
    collections::{HashMap, HashSet},
    path::{Path, PathBuf},
    sync::Arc,
};

use burn::tensor::Device;
use safetensors::{Dtype, SafeTensors, tensor::TensorView};

use crate::{
    numbers::Numbers,
    small::{FAMILIES, invert, model, of_vocabulary, random, target},
};

/// Prompts of one kind: each token is one of three that may follow the one before it.
fn text(prompts: usize, len: usize, seed: u64) -> Vec<Vec<u32>> {
    let mut numbers = Numbers(seed);
    let mut prompt = || {
        let mut token = numbers.below(97) as u32;
        let mut next = || {
            token = (token * 5 + 7 + numbers.below(3) as u32 * 31) % 97;
            token
        };
        (0..len).map(|_| next()).collect()
    };
    (0..prompts).map(|_| prompt()).collect()
}

/// Prompts of no kind.
fn noise(prompts: usize, len: usize) -> Vec<Vec<u32>> {
    let mut numbers = Numbers(77);
    (0..prompts).map(|_| (0..len).map(|_| numbers.below(97) as u32).collect()).collect()
}

fn builder(taps: Vec<Tap>) -> LensBuilder {
    let prefixes = vec![vec![5, 6, 7], vec![80, 3, 11, 4]];
    LensBuilder::new(taps, prefixes, text(48, 16, 1), FirstPosition::Any)
}

const HASH: &str = "of these very weights";

fn build(decoder: &Decoder, builder: &LensBuilder) -> Result<Vec<Lens>, InvertError> {
    builder.build(decoder, HASH, &mut silent)
}

fn one(decoder: &Decoder, builder: &LensBuilder) -> Arc<Lens> {
    Arc::new(build(decoder, builder).unwrap().remove(0))
}

fn by_lens(decoder: &Decoder, target: &TargetStates, lens: &Arc<Lens>) -> Result<Inversion, InvertError> {
    let policy = Policy::new().then_up_to(1024, LensProposals::new(lens.clone()));
    invert(decoder, target, &policy, Settings::new())
}

#[test]
fn a_lens_made_from_other_text_still_gives_the_exact_prompt() {
    for device in inject_testing::compiled() {
        for case in FAMILIES {
            let decoder = model(case, &device).decoder;
            let tap = Tap::Block(decoder.config().n_layers());
            let monotonous = vec![[3, 4].repeat(10); 20];
            for text in [noise(40, 10), monotonous] {
                let lens = one(&decoder, &builder(vec![tap]).with_text(text));
                for prompt in [[9; 12].to_vec(), noise(1, 40).remove(0), vec![96], (0..20).collect()] {
                    let inversion = by_lens(&decoder, &target(&decoder, &prompt, tap), &lens).unwrap();
                    assert_eq!(inversion.token_ids(), prompt, "{case}");
                    assert!(inversion.is_verified(), "{case}");
                }
            }
        }
    }
}

#[test]
fn a_lens_made_from_text_that_says_nothing_still_gives_the_exact_prompt() {
    for device in inject_testing::compiled() {
        for case in FAMILIES {
            let decoder = model(case, &device).decoder;
            // One token, over and over: without positions, all states are equal.
            let text = vec![vec![5; 20]; 20];
            for tap in Tap::all(decoder.config().n_layers()) {
                let prompt = [5, 96, 5, 0, 41];
                let lens = one(&decoder, &builder(vec![tap]).with_text(text.clone()));
                let inversion = by_lens(&decoder, &target(&decoder, &prompt, tap), &lens).unwrap();
                assert_eq!(inversion.token_ids(), prompt, "{case}, {tap}");
                assert!(inversion.is_verified(), "{case}, {tap}");
            }
        }
    }
}

/// Type, shape and bytes of a tensor.
type Stored = (Dtype, Vec<usize>, Vec<u8>);

/// Metadata and tensors of a file: their order is not fixed.
#[derive(Debug, PartialEq)]
struct Contents {
    metadata: HashMap<String, String>,
    tensors: HashMap<String, Stored>,
}

fn contents(bytes: &[u8]) -> Contents {
    let (_, header) = SafeTensors::read_metadata(bytes).unwrap();
    let metadata = header.metadata().clone().unwrap();
    let tensors = SafeTensors::deserialize(bytes).unwrap();
    let tensors = tensors
        .tensors()
        .into_iter()
        .map(|(name, view)| (name, (view.dtype(), view.shape().to_vec(), view.data().to_vec())));
    Contents { metadata, tensors: tensors.collect() }
}

/// A lens file with something changed.
struct Written {
    folder: tempfile::TempDir,
    path: PathBuf,
    hash: String,
    tap: Tap,
    device: Device,
    bytes: Vec<u8>,
}

impl Written {
    fn new(device: &Device) -> Self {
        let model = model("gpt2", device);
        let (tap, hash) = (Tap::Block(2), model.weight_hash().unwrap());
        let folder = tempfile::tempdir().unwrap();
        let lens = builder(vec![tap]).build(&model.decoder, &hash, &mut silent).unwrap().remove(0);
        let path = lens.save(folder.path()).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        Written { folder, path, hash, tap, device: device.clone(), bytes }
    }

    fn load(&self) -> Result<Lens, LensError> {
        match Lens::load(self.folder.path(), self.tap, &self.hash, &self.device) {
            Ok(lens) => Ok(lens),
            Err(InvertError::Lens(error)) => Err(error),
            Err(other) => panic!("{other}"),
        }
    }

    fn load_bytes(&self, bytes: &[u8]) -> Result<Lens, LensError> {
        std::fs::write(&self.path, bytes).unwrap();
        self.load()
    }

    fn changed(&self, change: impl FnOnce(&mut Contents)) -> Result<Lens, LensError> {
        let mut contents = contents(&self.bytes);
        change(&mut contents);
        let views = contents.tensors.iter().map(|(name, (dtype, shape, bytes))| {
            (name.as_str(), TensorView::new(*dtype, shape.clone(), bytes).unwrap())
        });
        let bytes = safetensors::serialize(views, Some(contents.metadata.clone())).unwrap();
        self.load_bytes(&bytes)
    }

    /// Asserts that the file is refused as malformed, with its path and this text in the message.
    fn assert_malformed(&self, outcome: Result<Lens, LensError>, text: &str) {
        let refused = outcome.err().unwrap_or_else(|| panic!("not refused: {text}"));
        let at = matches!(&refused, LensError::File(TensorFileError::Malformed { path, .. }) if *path == self.path);
        assert!(at, "{refused:?}");
        let message = refused.to_string();
        assert!(message.contains(text) && message.contains("lens-block-2"), "{message}");
    }
}

#[test]
fn a_file_that_is_no_lens_is_refused() {
    let device = inject_testing::any_device();
    let written = Written::new(&device);
    written.load().unwrap();

    // Another kind of file.
    let longer = "the header is longer than the file";
    written.assert_malformed(written.load_bytes(b"no tensors at all, only a line of text"), longer);
    written.assert_malformed(written.load_bytes(b""), longer);
    let weights =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../inject-models/tests/fixtures/gpt2/model.safetensors");
    written.assert_malformed(written.load_bytes(&std::fs::read(weights).unwrap()), "inject.lens is none");
    written.assert_malformed(
        written.changed(|c| drop(c.metadata.insert("inject.lens".into(), "7".into()))),
        "is 7",
    );

    // Cut off anywhere.
    for len in [1, 7, 8, 100, written.bytes.len() / 2, written.bytes.len() - 1] {
        let header = u64::from_le_bytes(written.bytes[..8].try_into().unwrap()) as usize;
        let text = if len < 8 + header { longer } else { "incomplete metadata, file not fully covered" };
        written.assert_malformed(written.load_bytes(&written.bytes[..len]), text);
    }

    std::fs::remove_file(&written.path).unwrap();
    let missing = written.load().unwrap_err();
    let at = matches!(&missing, LensError::File(TensorFileError::Io { path, .. }) if *path == written.path);
    assert!(at, "{missing:?}");
}

#[test]
fn a_damaged_lens_is_refused_and_the_message_names_the_part() {
    let device = inject_testing::any_device();
    let written = Written::new(&device);
    for name in ["projection", "offset", "codes", "first.projection", "first.offset", "first.codes"] {
        let removed = written.changed(|c| drop(c.tensors.remove(name)));
        written.assert_malformed(removed, &format!("{name} is missing"));
        let shortened = written.changed(|c| {
            let (dtype, shape, bytes) = c.tensors.get_mut(name).unwrap();
            let row = shape[1] * dtype.bitsize() / 8;
            shape[0] += 1;
            bytes.extend(vec![0; row]);
        });
        written.assert_malformed(shortened, name);
        let not_a_number = written.changed(|c| {
            let (dtype, _, bytes) = c.tensors.get_mut(name).unwrap();
            match dtype {
                Dtype::F16 => bytes[..2].copy_from_slice(&half::f16::NAN.to_le_bytes()),
                _ => bytes[..4].copy_from_slice(&f32::INFINITY.to_le_bytes()),
            }
        });
        written.assert_malformed(not_a_number, &format!("{name} holds"));
        let other_type = written.changed(|c| {
            let (dtype, shape, bytes) = c.tensors.get_mut(name).unwrap();
            *dtype = Dtype::F64;
            *bytes = vec![0; shape.iter().product::<usize>() * 8];
        });
        written.assert_malformed(other_type, "F64");
    }
    let narrow = written.changed(|c| {
        let (_, shape, bytes) = c.tensors.get_mut("projection").unwrap();
        shape[1] -= 1;
        bytes.truncate(shape[0] * shape[1] * 4);
    });
    written.assert_malformed(narrow, "columns");
    for (key, value) in [("about", "{}"), ("about", "no json"), ("first.bos", "97"), ("first.bos", "-1")] {
        written.assert_malformed(written.changed(|c| drop(c.metadata.insert(key.into(), value.into()))), key);
    }
    written.assert_malformed(written.changed(|c| drop(c.metadata.remove("about"))), "about is missing");
}

/// Gives a lens file a prior that changes no score.
fn with_prior(contents: &mut Contents, d_model: usize) {
    for (name, rows) in [("prior.map", d_model), ("prior.offset", 1)] {
        let zeros = vec![0; 4 * rows * d_model];
        contents.tensors.insert(name.to_owned(), (Dtype::F32, vec![rows, d_model], zeros));
    }
    contents.metadata.insert("prior.weight".to_owned(), "0.5".to_owned());
}

#[test]
fn a_damaged_prior_of_a_lens_is_refused() {
    let device = inject_testing::any_device();
    let written = Written::new(&device);
    let d_model = written.load().unwrap().info().d_model;
    let changed = |change: &dyn Fn(&mut Contents)| {
        written.changed(|contents| {
            with_prior(contents, d_model);
            change(contents);
        })
    };
    changed(&|_| ()).unwrap();
    let tensor = |name: &str, change: &dyn Fn(&mut Stored)| {
        changed(&|contents| {
            change(contents.tensors.get_mut(name).unwrap());
        })
    };
    for name in ["prior.map", "prior.offset"] {
        let missing = changed(&|contents| drop(contents.tensors.remove(name)));
        written.assert_malformed(missing, &format!("{name} is missing"));
        let short = tensor(name, &|(_, shape, bytes)| {
            shape[0] -= 1;
            bytes.truncate(4 * shape[0] * shape[1]);
        });
        written.assert_malformed(short, &format!("{name} is F32"));
        let narrow = tensor(name, &|(_, shape, bytes)| {
            shape[1] -= 1;
            bytes.truncate(4 * shape[0] * shape[1]);
        });
        written.assert_malformed(narrow, &format!("{name} has {} columns, expected {d_model}", d_model - 1));
        let other_type = tensor(name, &|(dtype, _, bytes)| {
            *dtype = Dtype::F16;
            bytes.truncate(bytes.len() / 2);
        });
        written.assert_malformed(other_type, &format!("{name} is F16"));
        for (value, text) in [(f32::NAN, "NaN"), (f32::INFINITY, "inf")] {
            let not_a_number =
                tensor(name, &|(_, _, bytes)| bytes[4..8].copy_from_slice(&value.to_le_bytes()));
            written.assert_malformed(not_a_number, &format!("{name} holds {text}"));
        }
    }
    let no_weight = changed(&|contents| drop(contents.metadata.remove("prior.weight")));
    written.assert_malformed(no_weight, "prior.weight is missing");
    for weight in ["heavy", "", "0,5", "0.5 ", "NaN", "inf", "-1", "0"] {
        let refused =
            changed(&|contents| drop(contents.metadata.insert("prior.weight".into(), weight.into())));
        written.assert_malformed(refused, &format!("prior.weight is {weight}"));
    }
    for (name, found) in
        [("held_out_top_1", 1.5), ("held_out_top_16", -0.1), ("sharpness", 0.0), ("sharpness", -2.0)]
    {
        let refused = changed(&|contents| {
            let mut about: serde_json::Value = serde_json::from_str(&contents.metadata["about"]).unwrap();
            about[name] = found.into();
            contents.metadata.insert("about".to_owned(), about.to_string());
        });
        written.assert_malformed(refused, &format!("{name} is {found}"));
    }
}

#[test]
fn a_lens_for_something_else_is_refused() {
    let device = inject_testing::any_device();
    let written = Written::new(&device);
    let other = "0".repeat(64);
    let refused = Lens::load(written.folder.path(), written.tap, &other, &device).unwrap_err();
    assert!(
        matches!(&refused, InvertError::Lens(LensError::OtherWeights { found, expected })
            if *found == written.hash && *expected == other),
        "{refused:?}"
    );
    assert!(refused.to_string().contains(&written.hash) && refused.to_string().contains(&other), "{refused}");

    // A file under another tap's name.
    let renamed = written.folder.path().join(Lens::file_name(Tap::Block(3)));
    std::fs::copy(&written.path, renamed).unwrap();
    let refused = Lens::load(written.folder.path(), Tap::Block(3), &written.hash, &device).unwrap_err();
    let InvertError::Lens(LensError::OtherTap { found, expected }) = refused else { panic!("{refused:?}") };
    assert_eq!((found, expected), (Tap::Block(2), Tap::Block(3)));

    let gpt2 = model("gpt2", &device).decoder;
    let lens = Arc::new(written.load().unwrap());
    let at = |decoder: &Decoder, tap| by_lens(decoder, &target(decoder, &[3, 4], tap), &lens).unwrap_err();
    let refused = at(&gpt2, Tap::Block(1));
    let InvertError::Lens(LensError::OtherTap { found, expected }) = refused else { panic!("{refused:?}") };
    assert_eq!((found, expected), (Tap::Block(2), Tap::Block(1)));

    let refused = at(&model("llama", &device).decoder, Tap::Block(2));
    let InvertError::Lens(LensError::OtherShape { what, found, expected }) = refused else {
        panic!("{refused:?}")
    };
    assert_eq!((what, found, expected), ("coordinates", 24, 32));

    let mut config = gpt2.config().clone();
    config.vocab_size = 90;
    let smaller = config.init(0.2, &device);
    let states = target(&smaller, &[3, 4], Tap::Block(2));
    let policy = Policy::new().then(LensProposals::new(lens));
    let refused = invert(&smaller, &states, &policy, Settings::new()).unwrap_err();
    assert!(refused.to_string().contains("97 tokens, expected 90"), "{refused}");
}

#[test]
fn impossible_lenses_are_refused_before_anything_long_is_computed() {
    for device in inject_testing::compiled() {
        let decoder = model("gpt2", &device).decoder;
        let max_len = decoder.config().max_len().unwrap();
        let good = builder(vec![Tap::Block(1)]);
        let refused = |builder: LensBuilder| {
            let mut begun = false;
            let outcome = builder.build(&decoder, HASH, &mut |_| begun = true);
            assert!(!begun, "{builder:?}");
            outcome.unwrap_err()
        };
        let lens_error = |builder: LensBuilder| match refused(builder) {
            InvertError::Lens(error) => error,
            other => panic!("{other}"),
        };
        let model_error = |builder: LensBuilder| match refused(builder) {
            InvertError::Model(error) => error,
            InvertError::Extract(ExtractError::Model(error)) => error,
            other => panic!("{other}"),
        };

        assert!(matches!(lens_error(good.clone().with_taps(vec![])), LensError::NoTaps));
        for prefixes in [vec![], vec![vec![5], vec![]]] {
            let error = lens_error(good.clone().with_prefixes(prefixes));
            assert!(matches!(error, LensError::NoPrefix));
        }
        // 15 positions of each prompt have another before them.
        let error = lens_error(good.clone().with_text(text(17, 16, 1)));
        assert!(matches!(error, LensError::TooLittleText { found: 255, expected: 256 }), "{error:?}");

        let error = model_error(good.clone().with_taps(vec![Tap::Block(99)]));
        assert!(error.to_string().contains("block-99"), "{error}");
        let error = model_error(good.clone().with_first(FirstPosition::Bos(97)));
        assert!(matches!(error, ModelError::TokenId { found: 97, vocab_size: 97, .. }), "{error:?}");
        let error = model_error(good.clone().with_prefixes(vec![vec![97]]));
        assert!(matches!(error, ModelError::TokenId { found: 97, vocab_size: 97, .. }), "{error:?}");
        // A candidate comes after the prefix.
        let error = model_error(good.clone().with_prefixes(vec![vec![5; max_len]]));
        assert!(matches!(error, ModelError::TooLong { found, .. } if found == max_len + 1), "{error:?}");
        let mut unknown = good.text.clone();
        unknown[40][3] = 97;
        let error = model_error(good.clone().with_text(unknown));
        assert!(matches!(error, ModelError::TokenId { found: 97, vocab_size: 97, .. }), "{error:?}");
    }
}

#[test]
fn a_lens_read_back_drafts_as_before() {
    for device in inject_testing::compiled() {
        for first in [FirstPosition::Any, FirstPosition::Bos(5)] {
            let decoder = model("llama", &device).decoder;
            let taps = Tap::all(decoder.config().n_layers());
            let mut text = text(48, 16, 1);
            if let FirstPosition::Bos(bos) = first {
                text.iter_mut().for_each(|prompt| prompt[0] = bos);
            }
            let folder = tempfile::tempdir().unwrap();
            let prompt = text[7].clone();
            for made in build(&decoder, &builder(taps).with_first(first).with_text(text)).unwrap() {
                let tap = made.info().tap;
                made.save(folder.path()).unwrap();
                let read = Lens::load(folder.path(), tap, HASH, &device).unwrap();
                assert_eq!(read.info(), made.info());
                let states = target(&decoder, &prompt, tap);
                let [made, read] =
                    [made, read].map(|lens| by_lens(&decoder, &states, &Arc::new(lens)).unwrap());
                assert_eq!(read.token_ids(), prompt, "{tap}");
                let searched = |found: &Inversion| -> Vec<(Option<&str>, usize)> {
                    found.positions.iter().map(|p| (p.found_by(), p.candidates_tested)).collect()
                };
                assert_eq!(searched(&made), searched(&read), "{tap}");
            }
        }
    }
}

#[test]
fn the_cost_of_a_lens_is_known_before() {
    for device in inject_testing::compiled() {
        let decoder = model("gemma3", &device).decoder;
        // Taps may come in any order, and twice.
        let builder = builder(vec![Tap::Block(7), Tap::Block(2), Tap::Block(7)]);
        let cost = builder.cost(&decoder);
        // After two prefixes and at the first position: the vocabulary, and the tokens of the fitted nine tenths of the positions.
        let later = builder.text.iter().flat_map(|prompt| &prompt[1..]).take(48 * 15 - 48 * 15 / 10);
        let distinct = later.collect::<HashSet<_>>().len() as u64;
        assert_eq!((cost.candidates, cost.text), (3 * (97 + distinct), 48 * 16));
        let (mut text, mut tokens, mut fitted, mut measured) = (0, Vec::new(), 0, 0);
        let mut report = |step: Progress<'_>| match step.task {
            "text" => {
                assert_eq!((step.unit, step.total), (Unit::Prompts, 48));
                text = step.done;
            }
            "fit" => {
                assert_eq!((step.unit, step.total), (Unit::Taps, 2));
                fitted = step.done;
            }
            "vocabulary" => {
                assert_eq!((step.unit, step.total), (Unit::Tokens, cost.candidates));
                tokens.push(step.done);
            }
            "measure" => {
                assert_eq!((step.unit, step.total), (Unit::Taps, 2));
                measured = step.done;
            }
            other => panic!("{other}"),
        };
        let lenses = builder.build(&decoder, HASH, &mut report).unwrap();
        assert_eq!((text, fitted, measured), (48, 2, 2));
        assert!(tokens.is_sorted() && tokens.last() == Some(&cost.candidates), "{tokens:?}");
        let taps: Vec<Tap> = lenses.iter().map(|lens| lens.info().tap).collect();
        assert_eq!(taps, [Tap::Block(2), Tap::Block(7)]);
        assert!(lenses.iter().all(|lens| lens.info().weight_hash == HASH));
    }
}

#[test]
fn a_lens_of_other_weights_that_slips_through_only_proposes_worse() {
    for device in inject_testing::compiled() {
        for case in FAMILIES {
            let decoder = model(case, &device).decoder;
            let tap = Tap::Block(2);
            let lens = one(&decoder, &builder(vec![tap]));
            let other = random(case, 3, &device);
            for prompt in text(2, 12, 9) {
                let policy = Policy::new().then_up_to(40, LensProposals::new(lens.clone()));
                let states = target(&other, &prompt, tap);
                let inversion = invert(&other, &states, &policy, Settings::new()).unwrap();
                assert_eq!(inversion.token_ids(), prompt, "{case}");
                assert!(inversion.candidates_tested() <= prompt.len() * 97, "{case}");
            }
        }
    }
}

#[test]
fn tokens_tested_after_a_prefix_point_out_others_among_the_points_of_a_lens() {
    const VOCAB: u32 = 4096;
    let mut numbers = Numbers(5);
    let mut random_prompts = |prompts: usize, len: usize| -> Vec<Vec<u32>> {
        (0..prompts).map(|_| (0..len).map(|_| numbers.below(VOCAB as usize) as u32).collect()).collect()
    };
    let (text, prompts) = (random_prompts(64, 16), random_prompts(2, 10));
    for device in inject_testing::compiled() {
        let decoder = of_vocabulary("llama", VOCAB as usize, 5, &device);
        for tap in [Tap::Block(1), Tap::FinalNorm] {
            let lens = one(&decoder, &builder(vec![tap]).with_text(text.clone()));
            for (prompt, limit) in prompts.iter().zip([256, 8]) {
                let states = target(&decoder, prompt, tap);
                // Nothing but this source and the scan.
                let policy = Policy::new().then_up_to(limit, LensInContext::new(lens.clone()));
                let inversion = invert(&decoder, &states, &policy, Settings::new()).unwrap();
                assert_eq!(&inversion.token_ids(), prompt, "{tap}");
                // A first position has points of its own.
                assert_eq!(inversion.positions[0].found_by(), Some("scan"));
                let pointed_out: Vec<_> =
                    inversion.positions.iter().filter(|p| p.found_by() == Some("lens in context")).collect();
                // As many from all over the vocabulary as are pointed out, and 64 of the former at least.
                let most = limit + limit.max(64);
                assert!(pointed_out.iter().all(|p| p.candidates_tested <= most), "{tap}, limit {limit}");
                // By chance, an eighth of the vocabulary would hold one of nine.
                let expected = if tap == Tap::FinalNorm { 5 } else { 9 };
                assert!(limit < 256 || pointed_out.len() >= expected, "{tap}: {}", pointed_out.len());
            }
        }
        let lens = one(&decoder, &builder(vec![Tap::Block(1)]).with_text(text.clone()));
        let states = target(&decoder, &prompts[0], Tap::FinalNorm);
        let policy = Policy::new().then_up_to(8, LensInContext::new(lens));
        let refused = invert(&decoder, &states, &policy, Settings::new()).unwrap_err();
        assert!(matches!(refused, InvertError::Lens(LensError::OtherTap { .. })), "{refused}");
    }
}

#[test]
fn a_lens_is_written_alike_each_time_by_one_writer_for_every_reader() {
    let device = inject_testing::any_device();
    let written = Written::new(&device);
    let (lens, folder) = (written.load().unwrap(), tempfile::tempdir().unwrap());
    for _ in 0..8 {
        let path = lens.save(folder.path()).unwrap();
        assert!(std::fs::read(&path).unwrap() == written.bytes, "the bytes differ");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let plain = folder.path().join("plain");
            std::fs::write(&plain, "").unwrap();
            let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode();
            assert_eq!(mode(&path), mode(&plain));
        }
    }
    let partial = folder.path().join(format!("{}.partial", Lens::file_name(lens.info().tap)));
    let other = std::fs::File::create(&partial).unwrap();
    other.lock().unwrap();
    let error = lens.save(folder.path()).unwrap_err();
    let busy = |source: &std::io::Error| source.to_string().contains("another process is writing");
    assert!(
        matches!(&error, InvertError::Lens(LensError::File(TensorFileError::Io { path, source })) if *path == partial && busy(source)),
        "{error:?}"
    );
    drop(other);
    lens.save(folder.path()).unwrap();
}
