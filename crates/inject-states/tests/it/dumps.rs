//! Files of states as other programs lay them out; `fixtures/dumps/generate.py` says how.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use inject_states::{
    foreign::{Axes, ColumnChoice, ForeignProblem, ModelShape, ReadOptions, StatesFile},
    models::{DecoderConfig, Tap},
};
use serde::Deserialize;

#[derive(Deserialize)]
struct Expected {
    read: BTreeMap<String, Vec<Prompt>>,
    refused: BTreeMap<String, String>,
}

/// A prompt in a file.
#[derive(Deserialize)]
struct Prompt {
    prompt: Vec<u32>,
    /// The tap of each column.
    taps: Vec<Tap>,
    /// The prompt's place in a batch.
    row: Option<usize>,
    /// Whether the file holds the ids.
    ids: bool,
    /// The column to ask for, if the file does not name its taps.
    column: Option<usize>,
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/dumps")
}

fn expected() -> Expected {
    let text = std::fs::read_to_string(fixtures().join("expected.json")).expect("the fixture is readable");
    serde_json::from_str(&text).expect("the fixture has this form")
}

/// The options of someone who knows the model.
fn with_model() -> ReadOptions {
    let folder =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../inject-models/tests/fixtures/llama/config.json");
    let config = DecoderConfig::read(&folder).expect("the model is readable");
    ReadOptions::new().model(ModelShape::of(&config))
}

fn open(name: &str, row: Option<usize>) -> StatesFile {
    let options = row.map_or_else(with_model, |row| with_model().row(row));
    StatesFile::open_with(fixtures().join(name), &options).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn every_layout_gives_the_rows_ids_and_taps_of_its_prompt() {
    let expected = expected().read;
    assert_eq!(expected.len(), 38);
    for (name, prompts) in expected {
        for Prompt { prompt, taps, row, ids, column } in prompts {
            let file = open(&name, row);
            assert_eq!((file.rows(), file.d_model()), (prompt.len(), 32), "{name}");
            assert_eq!(file.columns(), taps.len(), "{name}: {:?}", file.origins());
            assert_eq!(file.token_ids(), ids.then_some(&prompt[..]), "{name}");
            assert_eq!(file.taps(), column.is_none().then_some(&taps[..]), "{name}");
        }
    }
}

#[test]
fn every_layout_of_the_first_prompt_gives_its_states_to_the_last_bit() {
    let mut reference = StatesFile::open(fixtures().join("reference.safetensors")).unwrap();
    let first = [31, 41, 59, 26, 53, 58, 9, 79];
    for (name, prompts) in expected().read {
        // A batch is another computation.
        for Prompt { taps, .. } in prompts.into_iter().filter(|of| of.row.is_none() && of.prompt == first) {
            let mut file = open(&name, None);
            let rounding = file.dtype().to_string() == "bf16";
            for (column, tap) in taps.into_iter().enumerate() {
                let found = file.column(ColumnChoice::Index(column)).unwrap();
                let states = reference.column(ColumnChoice::Tap(tap)).unwrap();
                let stored = |value: f64| {
                    if rounding { half::bf16::from_f64(value).to_f64() } else { value }
                };
                assert_eq!(found.into_array(), states.mapv(stored), "{name}, {tap}");
            }
        }
    }
}

#[test]
fn every_refused_file_says_why() {
    let refused = expected().refused;
    assert_eq!(refused.len(), 11);
    for (name, expected) in refused {
        let problem = StatesFile::open_with(fixtures().join(&name), &with_model()).unwrap_err().problem;
        let problem = format!("{problem:?}");
        assert!(problem.starts_with(&expected), "{name}: {problem}");
    }
}

#[test]
fn every_prompt_of_lists_and_batches_has_its_own_states() {
    let states = |name: &str, row, column| {
        open(name, Some(row)).column(ColumnChoice::Index(column)).unwrap().into_array()
    };
    for row in [0, 1] {
        // The two files of vLLM-Hook, at both taps, and the masks, are those of one computation.
        let (first, second) =
            (states("vllm-hook.safetensors", row, 0), states("vllm-hook.safetensors", row, 1));
        assert_eq!(states("vllm-hook.pt", row, 0), first);
        assert_eq!(states("vllm-hook.pt", row, 1), second);
        assert_ne!(first, second);
        for name in ["mask-floats.safetensors", "mask-added.safetensors"] {
            assert_eq!(states(name, row, 0), states("batch-mask.safetensors", row, 0), "{name}");
        }
        // Repeated by `expand`.
        let whole = open("batch-of-one.safetensors", None).column(ColumnChoice::Only).unwrap();
        assert_eq!(states("expanded.pt", row, 0), whole.into_array());
    }
}

#[test]
fn a_row_that_is_repeated_is_read_each_time() {
    let mut reference = StatesFile::open(fixtures().join("reference.safetensors")).unwrap();
    let first = reference.column(ColumnChoice::Tap(Tap::Block(2))).unwrap().into_array();
    let rows = open("expanded-rows.pt", None).column(ColumnChoice::Only).unwrap().into_array();
    assert_eq!(rows.nrows(), 3);
    assert!(rows.outer_iter().all(|row| row == first.row(0)));
}

#[test]
fn the_mask_and_the_ids_of_a_tensor_are_those_in_its_dictionary() {
    let options = with_model().tensor("1.token_embeddings");
    let file = StatesFile::open_with(fixtures().join("sentences.pt"), &options).unwrap();
    assert_eq!((file.prompts(), file.rows()), (1, 5));
    assert_eq!(file.token_ids(), Some(&[27, 18, 28, 18, 2][..]));
    assert!(file.taken().is_none_or(|taken| !taken.contains("left out")), "{:?}", file.taken());
}

#[test]
fn a_mask_is_ignored_if_the_caller_says_so() {
    let path = fixtures().join("packed.safetensors");
    let file =
        StatesFile::open_with(path, &with_model().ignore_mask().axes(Axes::BatchToken).row(1)).unwrap();
    assert_eq!((file.prompts(), file.rows()), (2, 8));
}

#[test]
fn rows_that_are_missing_leave_the_ids_whole() {
    for (name, rows) in [("vllm-prefix.safetensors", 3), ("vllm-last-missing.safetensors", 7)] {
        let file = open(name, None);
        assert_eq!((file.rows(), file.columns()), (rows, 5), "{name}");
        assert_eq!(file.token_ids().unwrap().len(), 8, "{name}");
    }
}

#[test]
fn a_file_of_pytorch_with_a_name_of_21_letters_is_read() {
    let name = "generated-with-inputs.pt";
    assert_eq!(name.trim_end_matches(".pt").len(), 21);
    assert_eq!((open(name, None).rows(), open(name, None).columns()), (8, 4));
}

#[test]
fn a_list_of_ids_may_be_longer_than_the_rows_too() {
    let file = open("listed-ids-prefix.pt", None);
    assert_eq!((file.rows(), file.token_ids().unwrap().len()), (5, 8));
}

#[test]
fn only_a_shape_of_which_nothing_else_decides_is_a_guess() {
    let path = fixtures().join("as-many-prompts.safetensors");
    let file = StatesFile::open_with(&path, &with_model()).unwrap();
    assert!(file.are_taps_guessed() && file.columns() == 5);
    let batch = StatesFile::open_with(&path, &with_model().axes(Axes::BatchToken)).unwrap();
    assert!(!batch.are_taps_guessed() && batch.prompts() == 5);
    assert!(open("tuple.pt", None).are_taps_guessed());
    for known in ["vllm.safetensors", "stack.safetensors", "list.pth", "reference.safetensors"] {
        assert!(!open(known, None).are_taps_guessed(), "{known}");
    }
}

#[test]
fn left_padding_is_cut_off_unless_positions_are_learned() {
    let path = fixtures().join("left-padded.safetensors");
    let learned =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../inject-models/tests/fixtures/gpt2/config.json");
    let mut model = ModelShape::of(&DecoderConfig::read(&learned).unwrap());
    model.d_model = 32;
    let error = StatesFile::open_with(path, &ReadOptions::new().model(model)).unwrap_err();
    assert!(matches!(error.problem, ForeignProblem::LeftPadding { prompt: 1, rows: 3 }), "{error}");
}

#[test]
fn a_batch_needs_a_choice_and_has_no_other_prompts() {
    let mut file = open("batch-mask.safetensors", None);
    assert_eq!(file.prompts(), 2);
    let problem = file.column(ColumnChoice::Only).unwrap_err().problem;
    assert!(matches!(problem, ForeignProblem::ManyPrompts { prompts: 2 }), "{problem}");
    let problem = file.choose(2).unwrap_err().problem;
    assert!(matches!(problem, ForeignProblem::NoSuchPrompt { found: 2, prompts: 2 }), "{problem}");
    file.choose(1).unwrap();
    assert_eq!(file.column(ColumnChoice::Only).unwrap().nrows(), 5);
}

#[test]
fn no_damaged_byte_of_a_file_of_pytorch_or_numpy_makes_the_reader_panic() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["generated.pt", "listed-ids.pt", "view.bin", "deflated.npz", "specforge.ckpt.gz"] {
        let content = std::fs::read(fixtures().join(name)).unwrap();
        let path = folder.path().join(name);
        // The pickle and the directory of a ZIP file lie at its ends.
        let ends = (0..content.len().min(1200)).chain(content.len().saturating_sub(1500)..content.len());
        for place in ends {
            for byte in [0x00, 0x7f, 0xff] {
                let mut damaged = content.clone();
                damaged[place] = byte;
                std::fs::write(&path, damaged).unwrap();
                if let Ok(mut file) = StatesFile::open_with(&path, &with_model()) {
                    let _ = file.column(ColumnChoice::Index(0));
                }
            }
        }
    }
}
