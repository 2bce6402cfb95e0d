//! Tensors by their names: lists of layers and of steps, hooks, and stacks of all taps.

use inject_states::{
    foreign::{ColumnChoice, ForeignProblem, ModelShape, ReadOptions, StatesFile},
    models::{DecoderConfig, Tap},
};

const WIDTH: usize = 16;

/// The shape of a model of width [`WIDTH`] and two blocks.
fn shape() -> ModelShape {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let config = DecoderConfig::read(&folder.join("../inject-models/tests/fixtures/llama/config.json"));
    let mut shape = ModelShape::of(&config.expect("the model is readable"));
    (shape.d_model, shape.n_layers) = (WIDTH, 2);
    shape
}

/// Reads a `.safetensors` file of tensors of F32. The number at each place is that of the tensor, from 1, plus a thousandth for each row.
fn read(tensors: &[(&str, &[usize])], options: ReadOptions) -> Result<StatesFile, ForeignProblem> {
    let (mut header, mut values) = (serde_json::Map::new(), Vec::new());
    for (at, (name, shape)) in tensors.iter().enumerate() {
        let (count, width) = (shape.iter().product::<usize>(), shape[shape.len() - 1]);
        let begin = values.len();
        for place in 0..count {
            values.extend((at as f32 + 1.0 + (place / width) as f32 / 1000.0).to_le_bytes());
        }
        let place =
            serde_json::json!({"dtype": "F32", "shape": shape, "data_offsets": [begin, values.len()]});
        header.insert((*name).to_owned(), place);
    }
    let header = serde_json::to_vec(&header).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("states.safetensors");
    let length = (header.len() as u64).to_le_bytes();
    std::fs::write(&path, [&length[..], &header, &values].concat()).unwrap();
    StatesFile::open_with(&path, &options).map_err(|error| error.problem)
}

/// The first number of each row.
fn rows(file: &mut StatesFile, column: usize) -> Vec<f64> {
    let states = file.column(ColumnChoice::Index(column)).unwrap();
    states.into_array().column(0).iter().map(|value| (value * 1000.0).round() / 1000.0).collect()
}

#[test]
fn single_rows_after_those_of_a_prompt_are_steps() {
    let lists: [&[(&str, &[usize])]; 3] = [
        &[("0", &[3, WIDTH]), ("1", &[WIDTH]), ("2", &[WIDTH])],
        &[
            ("hidden_states.0", &[3, WIDTH]),
            ("hidden_states.1", &[1, WIDTH]),
            ("hidden_states.2", &[1, WIDTH]),
        ],
        &[("0", &[1, 3, WIDTH]), ("1", &[1, 1, WIDTH]), ("2", &[WIDTH])],
    ];
    for list in lists {
        let mut file =
            read(list, ReadOptions::new().model(shape())).unwrap_or_else(|problem| panic!("{problem}"));
        assert_eq!((file.rows(), file.columns(), file.taps()), (5, 1, None), "{list:?}");
        assert_eq!(rows(&mut file, 0), [1.0, 1.001, 1.002, 2.0, 3.0], "{list:?}");
    }
}

#[test]
fn no_entry_of_a_list_is_lost() {
    let lists: [&[(&str, &[usize])]; 2] = [
        &[("0", &[3, WIDTH]), ("1", &[WIDTH + 1])],
        &[("0.0", &[3, WIDTH]), ("0.1", &[3, WIDTH]), ("1.0", &[WIDTH]), ("1.1", &[WIDTH])],
    ];
    for list in lists {
        let problem = read(list, ReadOptions::new().model(shape())).unwrap_err();
        assert!(matches!(problem, ForeignProblem::ListEntry { .. }), "{problem}");
    }
}

#[test]
fn of_a_whole_cache_only_the_hooks_at_taps_are_read() {
    let hooks: [(&str, &[usize]); 7] = [
        ("hook_embed", &[3, WIDTH]),
        ("blocks.0.hook_resid_pre", &[3, WIDTH]),
        ("blocks.0.attn.hook_z", &[3, 2, WIDTH]),
        ("blocks.0.hook_resid_mid", &[3, WIDTH]),
        ("blocks.0.hook_resid_post", &[3, WIDTH]),
        ("blocks.1.hook_resid_pre", &[3, WIDTH]),
        ("blocks.1.hook_resid_post", &[3, WIDTH]),
    ];
    let mut file =
        read(&hooks, ReadOptions::new().model(shape())).unwrap_or_else(|problem| panic!("{problem}"));
    assert_eq!(file.taps().unwrap(), [Tap::Embedding, Tap::Block(1), Tap::Block(2)]);
    assert_eq!(rows(&mut file, 1)[0], 5.0);

    let tensor = |name| read(&hooks, ReadOptions::new().model(shape()).tensor(name));
    assert_eq!(tensor("blocks.1.hook_resid_pre").unwrap().taps().unwrap(), [Tap::Block(1)]);
    let problem = tensor("blocks.0.hook_resid_mid").unwrap_err();
    assert!(matches!(problem, ForeignProblem::WithinBlock { .. }), "{problem}");
}

#[test]
fn a_stack_of_all_taps_needs_no_ids() {
    for (shape_of, whole) in [([4, 9, WIDTH], true), ([9, 4, WIDTH], true), ([3, 9, WIDTH], false)] {
        let file = read(&[("hidden_states", &shape_of)], ReadOptions::new().model(shape()));
        let file = file.unwrap_or_else(|problem| panic!("{problem}"));
        assert_eq!(file.rows(), 9, "{shape_of:?}");
        let all = [Tap::Embedding, Tap::Block(1), Tap::Block(2), Tap::FinalNorm];
        let named = [Tap::Embedding, Tap::Block(1), Tap::FinalNorm];
        assert_eq!(file.taps().unwrap(), if whole { &all[..] } else { &named[..] }, "{shape_of:?}");
    }
}
