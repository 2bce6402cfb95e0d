//! Tensors by their names: lists of layers and of steps, hooks, and stacks of all taps.

use inject_states::{
    foreign::{Axes, ColumnChoice, ForeignProblem, ModelShape, ReadOptions, StatesFile},
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
    read_beside(tensors, &[], options)
}

/// The same with integers of one prompt, such as its ids.
fn read_beside(
    tensors: &[(&str, &[usize])],
    integers: &[(&str, &[i64])],
    options: ReadOptions,
) -> Result<StatesFile, ForeignProblem> {
    let (mut header, mut values) = (serde_json::Map::new(), Vec::new());
    for (name, numbers) in integers {
        let begin = values.len();
        values.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
        let place = serde_json::json!({"dtype": "I64", "shape": [1, numbers.len()], "data_offsets": [begin, values.len()]});
        header.insert((*name).to_owned(), place);
    }
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

/// Reads a list of single rows beside this many ids.
fn read_single_rows(
    count: usize,
    ids: Option<usize>,
    axes: Option<Axes>,
) -> Result<StatesFile, ForeignProblem> {
    let list: Vec<(String, [usize; 3])> = (0..count).map(|step| (step.to_string(), [1, 1, WIDTH])).collect();
    let list: Vec<(&str, &[usize])> = list.iter().map(|(name, shape)| (name.as_str(), &shape[..])).collect();
    let numbers = vec![7; ids.unwrap_or(0)];
    let ids: Vec<(&str, &[i64])> = ids.map(|_| ("input_ids", &numbers[..])).into_iter().collect();
    let options = ReadOptions::new().model(shape());
    read_beside(&list, &ids, axes.map_or(options.clone(), |axes| options.axes(axes)))
}

#[test]
fn single_rows_alone_are_steps_if_that_is_certain() {
    // Too many for layers, as many as ids, and by the caller's word.
    for (count, ids, axes) in [(5, None, None), (4, Some(4), None), (3, None, Some(Axes::Token))] {
        let mut file =
            read_single_rows(count, ids, axes).unwrap_or_else(|problem| panic!("{count}: {problem}"));
        assert_eq!((file.rows(), file.columns(), file.taps()), (count, 1, None));
        assert_eq!(rows(&mut file, 0)[..3], [1.0, 2.0, 3.0]);
    }
    let layers = read_single_rows(4, None, Some(Axes::TapToken)).unwrap();
    assert_eq!((layers.rows(), layers.columns(), layers.taps().map(<[Tap]>::len)), (1, 4, Some(4)));
    for (count, ids) in [(4, None), (2, None), (2, Some(1))] {
        let problem = read_single_rows(count, ids, None).unwrap_err();
        assert!(matches!(problem, ForeignProblem::Ambiguous { .. }), "{problem}");
        let text = problem.to_string();
        assert!(text.contains(&format!("{count} tokens (token)")) && text.contains("(tap-token)"), "{text}");
    }
}

#[test]
fn no_row_of_a_generation_is_cut_off_by_the_mask_of_its_prompt() {
    const STEPS: [(&str, &[usize]); 6] = [
        ("hidden_states.0.0", &[1, 3, WIDTH]),
        ("hidden_states.0.1", &[1, 3, WIDTH]),
        ("hidden_states.1.0", &[1, 1, WIDTH]),
        ("hidden_states.1.1", &[1, 1, WIDTH]),
        ("hidden_states.2.0", &[1, 1, WIDTH]),
        ("hidden_states.2.1", &[1, 1, WIDTH]),
    ];
    let read = |beside: &[(&str, &[i64])]| read_beside(&STEPS, beside, ReadOptions::new().model(shape()));
    let (all, left): (&[i64], &[i64]) = (&[1, 1, 1], &[0, 1, 1]);
    for (beside, length, ids) in [
        (&[("attention_mask", all)][..], 5, None),
        (&[("attention_mask", all), ("input_ids", &[7, 8, 9])], 5, Some(&[7, 8, 9][..])),
        (&[("input_ids", &[7, 8, 9])], 5, Some(&[7, 8, 9])),
        (&[("seq_lens", &[3]), ("input_ids", &[7, 8, 9])], 5, Some(&[7, 8, 9])),
        (&[("attention_mask", left), ("input_ids", &[7, 8, 9])], 4, Some(&[8, 9])),
        (&[("attention_mask", left), ("input_ids", &[7, 8, 9, 10, 11, 12])], 4, Some(&[8, 9, 10, 11])),
        (
            &[("attention_mask", &[1, 1, 1, 1, 1]), ("input_ids", &[7, 8, 9, 10, 11])],
            5,
            Some(&[7, 8, 9, 10, 11]),
        ),
    ] {
        let mut file = read(beside).unwrap_or_else(|problem| panic!("{beside:?}: {problem}"));
        assert_eq!((file.rows(), file.columns(), file.token_ids()), (length, 2, ids), "{beside:?}");
        assert_eq!(rows(&mut file, 0)[length - 3..], [1.002, 3.0, 5.0], "{beside:?}");
    }
    let problem = |beside: &[(&str, &[i64])]| read(beside).unwrap_err();
    let right = problem(&[("attention_mask", &[1, 1, 0])]);
    assert!(matches!(right, ForeignProblem::PaddedBeforeSteps { prompt: 0 }), "{right}");
    let between = problem(&[("attention_mask", &[1, 1, 1, 1])]);
    assert!(matches!(between, ForeignProblem::MaskOfSteps { found: 4, in_prompt: 3, rows: 5 }), "{between}");
    let between = problem(&[("input_ids", &[7, 8, 9, 10])]);
    assert!(matches!(between, ForeignProblem::MoreRows { rows: 5, ids: 4 }), "{between}");
}

#[test]
fn a_mask_that_does_not_fit_is_not_called_token_ids() {
    let problem =
        read_beside(&[("states", &[1, 3, WIDTH])], &[("attention_mask", &[1; 5])], ReadOptions::new());
    let text = problem.unwrap_err().to_string();
    assert!(text.contains("an attention mask of 5 tokens") && !text.contains("token ids"), "{text}");
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
        assert!(file.are_taps_guessed());
        let taken = file.taken().unwrap();
        let other = "; if it is to be read as 4 prompts of 9 tokens (batch-token), say so by `axes`";
        assert_eq!(taken.ends_with(other), shape_of == [4, 9, WIDTH], "{taken}");
    }
}

#[test]
fn as_many_tokens_as_taps_are_a_guess_unless_the_caller_says_which_axis_is_which() {
    let read = |name: &str, axes: Option<Axes>| {
        let options = ReadOptions::new().model(shape());
        let options = axes.map_or(options.clone(), |axes| options.axes(axes));
        read_beside(&[("hidden_states", &[3, 3, WIDTH])], &[(name, &[7, 8, 9])], options).unwrap()
    };
    // vLLM's layers have no names, unless they are all.
    let mut of_vllm = read("token_ids", None);
    assert_eq!((of_vllm.taps(), of_vllm.other_axes()), (None, &[Axes::TapToken][..]));
    assert_eq!(rows(&mut of_vllm, 1), [1.001, 1.004, 1.007]);
    assert!(!of_vllm.are_taps_guessed());
    let mut stack = read("input_ids", None);
    assert_eq!((stack.taps().map(<[Tap]>::len), stack.other_axes()), (Some(3), &[Axes::TokenTap][..]));
    assert_eq!(rows(&mut stack, 1), [1.003, 1.004, 1.005]);
    assert!(stack.are_taps_guessed());
    let stated = read("token_ids", Some(Axes::TapToken));
    assert!(!stated.are_taps_guessed() && stated.other_axes().is_empty() && stated.taps().is_some());
}

#[test]
fn a_list_as_long_as_that_of_the_taps_is_a_guess() {
    let entries: [(&str, &[usize]); 4] =
        [("0", &[3, WIDTH]), ("1", &[3, WIDTH]), ("2", &[3, WIDTH]), ("3", &[3, WIDTH])];
    let options = ReadOptions::new().model(shape());
    let file = read(&entries, options.clone()).unwrap();
    assert!(file.are_taps_guessed());
    assert_eq!((file.columns(), file.taps().map(<[Tap]>::len)), (4, Some(4)));
    let layers = read(&entries, options.clone().axes(Axes::TapToken)).unwrap();
    assert!(!layers.are_taps_guessed() && layers.columns() == 4);
    let of_one = read_beside(&entries, &[("input_ids", &[7, 8, 9])], options.clone()).unwrap();
    assert!(!of_one.are_taps_guessed() && of_one.columns() == 4);

    let mut prompts = read(&entries, options.clone().axes(Axes::BatchToken).row(2)).unwrap();
    assert_eq!((prompts.prompts(), prompts.columns(), prompts.taps()), (4, 1, None));
    assert_eq!(rows(&mut prompts, 0), [3.0, 3.001, 3.002]);
    let mut prompts = read_beside(&entries, &[("seq_lens", &[3, 3, 2, 3])], options.row(2)).unwrap();
    assert_eq!(rows(&mut prompts, 0), [3.0, 3.001]);
}

#[test]
fn a_list_of_prompts_may_have_any_lengths() {
    let entries: [(&str, &[usize]); 3] = [("0", &[3, WIDTH]), ("1", &[1, 2, WIDTH]), ("2", &[4, WIDTH])];
    let options = ReadOptions::new().model(shape());
    let mut file = read(&entries, options.clone().axes(Axes::BatchToken)).unwrap();
    for (prompt, expected) in
        [&[1.0, 1.001, 1.002][..], &[2.0, 2.001], &[3.0, 3.001, 3.002, 3.003]].into_iter().enumerate()
    {
        file.choose(prompt).unwrap();
        assert_eq!(rows(&mut file, 0), expected);
    }
    assert!(file.taken().unwrap().contains("3 prompts"), "{:?}", file.taken());
    let text = read(&entries, options).unwrap_err().to_string();
    assert!(text.contains("by `axes`: batch-token"), "{text}");
}

#[test]
fn a_list_of_batches_is_read_as_their_prompts() {
    let entries: [(&str, &[usize]); 3] =
        [("0", &[2, 3, WIDTH]), ("1", &[1, 2, WIDTH]), ("2", &[2, 3, WIDTH])];
    let options = ReadOptions::new().model(shape());
    let mut file = read(&entries, options.clone().axes(Axes::BatchToken)).unwrap();
    let all = [
        &[1.0, 1.001, 1.002][..],
        &[1.003, 1.004, 1.005],
        &[2.0, 2.001],
        &[3.0, 3.001, 3.002],
        &[3.003, 3.004, 3.005],
    ];
    assert_eq!((file.prompts(), file.columns()), (5, 1));
    for (prompt, expected) in all.into_iter().enumerate() {
        file.choose(prompt).unwrap();
        assert_eq!(rows(&mut file, 0), expected);
    }
    let taken = file.taken().unwrap();
    assert!(taken.contains("read as 5 prompts, the first of 3 tokens"), "{taken}");
    // Lengths of as many prompts need no option.
    let lengths: (&str, &[i64]) = ("seq_lens", &[3, 2, 2, 1, 3]);
    let mut padded = read_beside(&entries, &[lengths], options.clone().row(3)).unwrap();
    assert_eq!(rows(&mut padded, 0), [3.0]);
    // A last batch of fewer prompts.
    let last: [(&str, &[usize]); 2] = [("0", &[2, 3, WIDTH]), ("1", &[1, 3, WIDTH])];
    assert_eq!(read(&last, options.clone().axes(Axes::BatchToken)).unwrap().prompts(), 3);
    for entries in [&entries[..], &last] {
        let text = read(entries, options.clone()).unwrap_err().to_string();
        assert!(text.contains("by `axes`: batch-token"), "{text}");
    }
    // Layers of a batch, whose steps follow.
    let layers: [(&str, &[usize]); 2] = [("0", &[2, 3, WIDTH]), ("1", &[2, 3, WIDTH])];
    let layers = read(&layers, options.clone().axes(Axes::BatchToken)).unwrap();
    assert_eq!((layers.prompts(), layers.columns()), (2, 2));
    let steps: [(&str, &[usize]); 2] = [("0", &[2, 3, WIDTH]), ("1", &[2, 1, WIDTH])];
    let steps = read(&steps, options.axes(Axes::BatchToken)).unwrap();
    assert_eq!((steps.prompts(), steps.columns(), steps.rows()), (2, 1, 4));
}

#[test]
fn lists_of_the_layers_of_batches_are_read_as_their_prompts() {
    let entries: [(&str, &[usize]); 4] =
        [("0.0", &[2, 3, WIDTH]), ("0.1", &[2, 3, WIDTH]), ("1.0", &[1, 2, WIDTH]), ("1.1", &[1, 2, WIDTH])];
    let options = ReadOptions::new().model(shape());
    let lengths: (&str, &[i64]) = ("seq_lens", &[3, 2, 2]);
    let by_lengths = read_beside(&entries, &[lengths], options.clone().row(1)).unwrap();
    assert_eq!((by_lengths.prompts(), by_lengths.columns(), by_lengths.rows()), (3, 2, 2));
    let mut stated = read(&entries, options.axes(Axes::BatchTapToken).row(2)).unwrap();
    assert_eq!((rows(&mut stated, 0), rows(&mut stated, 1)), (vec![3.0, 3.001], vec![4.0, 4.001]));
}

#[test]
fn no_error_advises_what_the_caller_did_or_what_would_not_help() {
    let options = ReadOptions::new().model(shape());
    let text =
        |entries: &[(&str, &[usize])], options: ReadOptions| read(entries, options).unwrap_err().to_string();
    // Named layers are not prompts, and a list of lists is not one of prompts.
    let named: [(&str, &[usize]); 2] = [("layers.0", &[3, WIDTH]), ("layers.1", &[4, WIDTH])];
    let nested: [(&str, &[usize]); 4] =
        [("0.0", &[3, WIDTH]), ("0.1", &[1, WIDTH]), ("1.0", &[4, WIDTH]), ("1.1", &[1, WIDTH])];
    for (entries, axes) in [
        (&named[..], None),
        (&named, Some(Axes::BatchToken)),
        (&nested, Some(Axes::BatchToken)),
        (&nested, Some(Axes::BatchTapToken)),
    ] {
        let options = axes.map_or(options.clone(), |axes| options.clone().axes(axes));
        let text = text(entries, options);
        assert!(text.contains("the number of rows") && !text.contains("`axes`"), "{axes:?}: {text}");
        assert!(text.ends_with("name one of the tensors by `tensor`"), "{text}");
    }
    let batch: [(&str, &[usize]); 2] = [("0", &[2, 3, WIDTH]), ("1", &[2, 3, WIDTH])];
    let of_one = read_beside(&batch, &[("input_ids", &[7, 8, 9])], options);
    let text = of_one.unwrap_err().to_string();
    assert!(text.ends_with("which does not fit 3 token ids, 1 tap"), "{text}");
}

#[test]
fn entries_that_cannot_be_layers_are_refused() {
    let options = ReadOptions::new().model(shape());
    let many: Vec<(String, [usize; 2])> = (0..5).map(|at| (at.to_string(), [2, WIDTH])).collect();
    let many: Vec<(&str, &[usize])> = many.iter().map(|(name, shape)| (name.as_str(), &shape[..])).collect();
    let problem = read(&many, options.clone()).unwrap_err();
    assert!(matches!(problem, ForeignProblem::MoreEntries { entries: 5, most_taps: 4, .. }), "{problem}");
    let twice: [(&str, &[usize]); 3] = [
        ("a.hidden_states.0", &[3, WIDTH]),
        ("b.hidden_states.0", &[3, WIDTH]),
        ("a.hidden_states.1", &[3, WIDTH]),
    ];
    let problem = read(&twice, options).unwrap_err();
    assert!(matches!(problem, ForeignProblem::RepeatedEntry { .. }), "{problem}");
}

#[test]
fn the_steps_of_several_prompts_are_read() {
    let steps: Vec<(String, [usize; 3])> = (0..5).map(|step| (step.to_string(), [2, 1, WIDTH])).collect();
    let steps: Vec<(&str, &[usize])> =
        steps.iter().map(|(name, shape)| (name.as_str(), &shape[..])).collect();
    let mut file = read(&steps, ReadOptions::new().model(shape()).row(1)).unwrap();
    assert_eq!((file.prompts(), file.rows(), file.columns()), (2, 5, 1));
    assert_eq!(rows(&mut file, 0), [1.001, 2.001, 3.001, 4.001, 5.001]);
    // At several taps, without ids.
    let steps: [(&str, &[usize]); 4] =
        [("0.0", &[2, 3, WIDTH]), ("0.1", &[2, 3, WIDTH]), ("1.0", &[2, 1, WIDTH]), ("1.1", &[2, 1, WIDTH])];
    let mut file = read(&steps, ReadOptions::new().model(shape()).row(1)).unwrap();
    assert_eq!((file.prompts(), file.rows(), file.columns()), (2, 4, 2));
    assert_eq!(rows(&mut file, 1), [2.003, 2.004, 2.005, 4.001]);
}

#[test]
fn ids_within_dictionaries_are_read_where_they_fit() {
    let options = || ReadOptions::new().model(shape());
    let states: [(&str, &[usize]); 2] =
        [("outputs.hidden_states.0", &[1, 3, WIDTH]), ("outputs.hidden_states.1", &[1, 3, WIDTH])];
    let read = |integers: &[(&str, &[i64])]| read_beside(&states, integers, options()).unwrap();
    let file = read(&[("inputs.input_ids", &[7, 8, 9]), ("inputs.attention_mask", &[1, 1, 1])]);
    assert_eq!((file.token_ids(), file.columns()), (Some(&[7, 8, 9][..]), 2));
    let file = read(&[("inputs.input_ids", &[7, 8]), ("input_ids", &[4, 5, 6])]);
    assert_eq!(file.token_ids(), Some(&[4, 5, 6][..]));
    for integers in [
        &[("a.input_ids", &[7, 8, 9][..]), ("b.input_ids", &[7, 8, 9])][..],
        // Fewer ids than rows are those of other states.
        &[("inputs.input_ids", &[7, 8][..])],
    ] {
        let file = read(integers);
        assert_eq!(file.token_ids(), None, "{integers:?}");
        let taken = file.taken().unwrap();
        assert!(taken.contains(integers[0].0) && taken.contains("left out"), "{taken}");
    }
}

#[test]
fn a_list_of_dictionaries_is_one_of_prompts() {
    let mut file = read_beside(
        &[("outputs.0.hidden_states", &[3, WIDTH]), ("outputs.1.hidden_states", &[2, WIDTH])],
        &[("outputs.0.input_ids", &[7, 8, 9]), ("outputs.1.input_ids", &[4, 5])],
        ReadOptions::new().model(shape()).row(1),
    )
    .unwrap();
    assert_eq!((file.prompts(), file.token_ids()), (2, Some(&[4, 5][..])));
    assert_eq!(rows(&mut file, 0), [2.0, 2.001]);
}

#[test]
fn lists_of_layers_with_several_rows_each_are_those_of_prompts_or_steps() {
    let lists: [(&str, &[usize]); 4] =
        [("0.0", &[1, 3, WIDTH]), ("0.1", &[1, 3, WIDTH]), ("1.0", &[1, 2, WIDTH]), ("1.1", &[1, 2, WIDTH])];
    let options = || ReadOptions::new().model(shape());
    let problem = read(&lists, options()).unwrap_err();
    assert!(matches!(problem, ForeignProblem::StepOfRows { rows: 2, .. }), "{problem}");
    let mut prompts = read(&lists, options().axes(Axes::BatchTapToken).row(1)).unwrap();
    assert_eq!((prompts.prompts(), prompts.columns()), (2, 2));
    assert_eq!(rows(&mut prompts, 1), [4.0, 4.001]);
    let mut steps = read(&lists, options().axes(Axes::Token)).unwrap();
    assert_eq!(rows(&mut steps, 1), [2.0, 2.001, 2.002, 4.0, 4.001]);
    let dictionaries: [(&str, &[usize]); 4] = [
        ("0.hidden_states.0", &[1, 3, WIDTH]),
        ("0.hidden_states.1", &[1, 3, WIDTH]),
        ("1.hidden_states.0", &[1, 2, WIDTH]),
        ("1.hidden_states.1", &[1, 2, WIDTH]),
    ];
    let ids: [(&str, &[i64]); 2] = [("0.input_ids", &[7, 8, 9]), ("1.input_ids", &[4, 5])];
    let mut file = read_beside(&dictionaries, &ids, options().row(1)).unwrap();
    assert_eq!((file.prompts(), file.token_ids()), (2, Some(&[4, 5][..])));
    assert_eq!(rows(&mut file, 0), [3.0, 3.001]);
}

#[test]
fn the_last_step_of_a_generation_without_a_cache_is_named() {
    let lists: [(&str, &[usize]); 6] = [
        ("0.0", &[1, 2, WIDTH]),
        ("0.1", &[1, 2, WIDTH]),
        ("1.0", &[1, 3, WIDTH]),
        ("1.1", &[1, 3, WIDTH]),
        ("2.0", &[1, 4, WIDTH]),
        ("2.1", &[1, 4, WIDTH]),
    ];
    let options = || ReadOptions::new().model(shape());
    let problem = read(&lists, options()).unwrap_err();
    assert!(matches!(problem, ForeignProblem::GrowingSteps { rows: 4, last: 2, .. }), "{problem}");
    let mut whole = read(&lists, options().axes(Axes::BatchTapToken).row(2)).unwrap();
    assert_eq!(rows(&mut whole, 1), [6.0, 6.001, 6.002, 6.003]);
}

#[test]
fn outputs_beside_the_states_are_set_aside_and_named() {
    let layers: [(&str, &[usize]); 3] = [
        ("hidden_states.0", &[1, 4, WIDTH]),
        ("hidden_states.1", &[1, 4, WIDTH]),
        ("hidden_states.2", &[1, 4, WIDTH]),
    ];
    let modules: [(&str, &[usize]); 2] = [("model.layers.0", &[4, WIDTH]), ("model.layers.1", &[4, WIDTH])];
    let norm: [(&str, &[usize]); 2] = [("model.layers.1", &[4, WIDTH]), ("model.norm", &[4, WIDTH])];
    let all = [Tap::Embedding, Tap::Block(1), Tap::FinalNorm];
    let blocks = [Tap::Block(1), Tap::Block(2)];
    let ends = [Tap::Block(2), Tap::FinalNorm];
    for (states, beside, taps) in [
        (&layers[..], "last_hidden_state", &all[..]),
        (&layers, "inputs_embeds", &all),
        (&layers, "pooler_output", &all),
        (&modules, "model.embed_tokens", &blocks),
        (&modules, "transformer.wte", &blocks),
        (&norm, "last_hidden_state", &ends),
    ] {
        // Before and after the others.
        for at in [0, states.len()] {
            let mut tensors = states.to_vec();
            tensors.insert(at, (beside, &[4, WIDTH]));
            let file = read(&tensors, ReadOptions::new().model(shape()))
                .unwrap_or_else(|problem| panic!("{beside}: {problem}"));
            assert_eq!((file.rows(), file.taps()), (4, Some(taps)), "{beside}");
            let taken = file.taken().unwrap();
            assert!(
                taken.ends_with(&format!("`{beside}` left out, because it is at no further tap")),
                "{taken}"
            );
        }
    }
    // Logits are those of the vocabulary, which may be a multiple of the width.
    let mut tensors = modules.to_vec();
    tensors.push(("lm_head", &[4, 2 * WIDTH]));
    assert_eq!(read(&tensors, ReadOptions::new().model(shape())).unwrap().taps(), Some(&blocks[..]));
    // Alone it is a tap of its own, and two of that name are those of two prompts.
    let last: (&str, &[usize]) = ("last_hidden_state", &[4, WIDTH]);
    let mut tensors = modules.to_vec();
    tensors.push(last);
    let taps = [Tap::Block(1), Tap::Block(2), Tap::FinalNorm];
    assert_eq!(read(&tensors, ReadOptions::new().model(shape())).unwrap().taps(), Some(&taps[..]));
    let two: [(&str, &[usize]); 2] = [last, ("b.last_hidden_state", &[4, WIDTH])];
    let problem = read(&two, ReadOptions::new().model(shape())).unwrap_err();
    assert!(matches!(problem, ForeignProblem::RepeatedTap { tap: Tap::FinalNorm }), "{problem}");
    let each: [(&str, &[usize]); 2] =
        [("0.last_hidden_state", &[4, WIDTH]), ("1.last_hidden_state", &[2, WIDTH])];
    let options = ReadOptions::new().model(shape()).axes(Axes::BatchToken);
    assert_eq!(read(&each, options).unwrap().prompts(), 2);
}

#[test]
fn one_more_module_than_the_model_has_blocks_is_a_list_of_all_layers() {
    let layers: [(&str, &[usize]); 4] = [
        ("layers.0", &[4, WIDTH]),
        ("layers.1", &[4, WIDTH]),
        ("layers.2", &[4, WIDTH]),
        ("layers.3", &[4, WIDTH]),
    ];
    let taps = |count: usize| {
        let file = read(&layers[..count], ReadOptions::new().model(shape())).unwrap();
        (file.taps().unwrap().to_vec(), file.taken().unwrap().to_owned())
    };
    let (modules, taken) = taps(2);
    assert_eq!(modules, [Tap::Block(1), Tap::Block(2)]);
    assert!(taken.ends_with("2 named taps, block-1 to block-2"), "{taken}");
    let (list, taken) = taps(3);
    assert_eq!(list, [Tap::Embedding, Tap::Block(1), Tap::FinalNorm]);
    assert!(taken.ends_with("3 named taps, embedding to final-norm"), "{taken}");
    assert_eq!(taps(4).0, [Tap::Embedding, Tap::Block(1), Tap::Block(2), Tap::FinalNorm]);
    let with_last = [&layers[..3], &[("last_hidden_state", &[4, WIDTH][..])]].concat();
    let file = read(&with_last, ReadOptions::new().model(shape())).unwrap();
    assert_eq!(file.taps(), Some(&list[..]));
}

#[test]
fn a_list_of_prompts_at_each_module_is_that_of_all_prompts() {
    let lists: [(&str, &[usize]); 4] = [
        ("hs_cache.model.layers.1.hidden_states.0", &[4, WIDTH]),
        ("hs_cache.model.layers.1.hidden_states.1", &[2, WIDTH]),
        ("hs_cache.model.layers.0.hidden_states.0", &[4, WIDTH]),
        ("hs_cache.model.layers.0.hidden_states.1", &[2, WIDTH]),
    ];
    let mut file = read(&lists, ReadOptions::new().model(shape()).row(1)).unwrap();
    assert_eq!((file.prompts(), file.rows()), (2, 2));
    assert_eq!(file.taps(), Some(&[Tap::Block(1), Tap::Block(2)][..]));
    assert_eq!((rows(&mut file, 0), rows(&mut file, 1)), (vec![4.0, 4.001], vec![2.0, 2.001]));
    // One prompt at two modules, and more prompts at one of them.
    let one = read(&[lists[0], lists[2]], ReadOptions::new().model(shape())).unwrap();
    assert_eq!((one.prompts(), one.columns()), (1, 2));
    let problem = read(&lists[..3], ReadOptions::new().model(shape())).unwrap_err();
    assert!(matches!(problem, ForeignProblem::UnequalRows { .. }), "{problem}");
}
