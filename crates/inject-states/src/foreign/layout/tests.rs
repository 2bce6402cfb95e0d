use super::*;

/// Prompts, taps and tokens of a shape without its last axis, beside this many token ids and tap names.
fn read(
    shape: &[usize],
    tokens: Option<usize>,
    taps: Option<usize>,
    axes: Option<Axes>,
) -> Result<[usize; 3], ForeignProblem> {
    let prompts = tokens.map(|_| 1);
    let facts = Facts { tokens, prompts, taps, axes, ..Facts::default() };
    Ok(facts.axes_of("states", shape)?.axes.counts(shape))
}

#[test]
fn two_axes_are_tokens_and_dimensions() {
    for axes in [None, Some(Axes::TokenTap), Some(Axes::TapToken)] {
        assert_eq!(read(&[5], None, None, axes).unwrap(), [1, 1, 5]);
        assert_eq!(read(&[5], Some(5), Some(1), axes).unwrap(), [1, 1, 5]);
    }
}

#[test]
fn token_ids_decide_between_the_readings() {
    assert_eq!(read(&[5, 3], Some(5), None, None).unwrap(), [1, 3, 5]);
    assert_eq!(read(&[3, 5], Some(5), None, None).unwrap(), [1, 3, 5]);
    assert_eq!(read(&[1, 5], Some(5), None, None).unwrap(), [1, 1, 5]);
    assert_eq!(read(&[1, 5], Some(1), None, None).unwrap(), [1, 5, 1]);
    assert_eq!(read(&[3, 1, 5], Some(5), None, None).unwrap(), [1, 3, 5]);
}

#[test]
fn tap_names_decide_between_the_readings() {
    assert_eq!(read(&[5, 3], Some(5), Some(3), None).unwrap(), [1, 3, 5]);
    // Two rows are missing.
    assert_eq!(read(&[5, 3], Some(5), Some(5), None).unwrap(), [1, 5, 3]);
    assert_eq!(read(&[1, 5], None, Some(1), None).unwrap(), [1, 1, 5]);
    let facts = Facts { taps: Some(3), prompts: Some(1), ..Facts::default() };
    assert_eq!(facts.axes_of("states", &[3, 5]).unwrap().axes, Axes::TapToken);
}

#[test]
fn the_caller_decides_between_the_readings() {
    assert_eq!(read(&[5, 5], Some(5), Some(5), Some(Axes::TokenTap)).unwrap(), [1, 5, 5]);
    assert_eq!(read(&[1, 5], None, None, Some(Axes::TokenTap)).unwrap(), [1, 5, 1]);
    assert_eq!(read(&[2, 5], None, None, Some(Axes::BatchToken)).unwrap(), [2, 1, 5]);
    assert_eq!(read(&[2, 5], None, None, Some(Axes::TapToken)).unwrap(), [1, 2, 5]);
}

#[test]
fn an_axis_of_one_is_a_batch_of_one() {
    assert_eq!(read(&[1, 1], None, None, None).unwrap(), [1, 1, 1]);
    assert_eq!(read(&[1, 5], None, None, None).unwrap(), [1, 1, 5]);
    assert_eq!(read(&[4, 1, 5], None, None, None).unwrap(), [1, 4, 5]);
}

#[test]
fn the_depth_of_the_model_excludes_readings() {
    let facts = Facts { most_taps: Some(6), prompts: Some(1), ..Facts::default() };
    assert_eq!(facts.axes_of("states", &[37, 6]).unwrap().axes, Axes::TokenTap);
    assert_eq!(facts.axes_of("states", &[6, 37]).unwrap().axes, Axes::TapToken);
}

#[test]
fn three_axes_with_nothing_beside_them_are_ambiguous() {
    for shape in [[5, 3], [5, 1], [5, 5], [2, 37]] {
        let problem = read(&shape, None, None, None).unwrap_err();
        assert!(matches!(problem, ForeignProblem::Ambiguous { .. }), "{problem}");
    }
    let text = read(&[2, 37], None, None, None).unwrap_err().to_string();
    assert!(text.contains("2 prompts of 37 tokens (batch-token)"), "{text}");
    assert!(text.contains("37 tokens at 2 taps (tap-token)"), "{text}");
}

#[test]
fn as_many_tokens_as_taps_are_ambiguous() {
    for taps in [None, Some(5)] {
        let problem = read(&[5, 5], Some(5), taps, None).unwrap_err();
        assert!(matches!(problem, ForeignProblem::Ambiguous { .. }), "{problem}");
    }
}

#[test]
fn a_shape_that_does_not_fit_what_stands_beside_it_is_refused() {
    for (shape, tokens, taps, axes) in [
        (&[5][..], None, Some(2), None),
        (&[5, 3], Some(4), None, None),
        (&[5, 3], None, Some(4), None),
        (&[5, 3], Some(5), Some(2), None),
        (&[1, 2, 3, 4], None, None, None),
        (&[], None, None, None),
    ] {
        let problem = read(shape, tokens, taps, axes).unwrap_err();
        assert!(matches!(problem, ForeignProblem::Mismatch { .. }), "{problem}");
    }
}

#[test]
fn names_of_axes_are_read_back() {
    for axes in ALL {
        assert_eq!(axes.to_string().parse(), Ok(axes));
    }
    assert!("token_tap".parse::<Axes>().unwrap_err().to_string().contains("batch-token-tap"));
}

#[test]
fn a_stack_of_all_taps_is_recognised_by_its_length() {
    let read = |shape: &[usize]| {
        let facts = Facts { most_taps: Some(6), ..Facts::default() };
        facts.axes_of("states", shape).map(|choice| choice.axes)
    };
    assert_eq!(read(&[6, 14]).unwrap(), Axes::TapToken);
    assert_eq!(read(&[5, 14]).unwrap(), Axes::TapToken);
    assert_eq!(read(&[6, 3]).unwrap(), Axes::TapToken);
    assert_eq!(read(&[14, 6]).unwrap(), Axes::TokenTap);
    for shape in [[6, 6], [5, 6], [4, 14], [14, 5], [14, 4]] {
        let read = read(&shape);
        assert!(matches!(read, Err(ForeignProblem::Ambiguous { .. })), "{shape:?}: {read:?}");
    }
}

#[test]
fn vllm_writes_tokens_before_taps_whatever_the_length_of_the_axes() {
    let choice = |shape: &[usize], tokens, most_taps, of_vllm| {
        let (tokens, prompts) = (Some(tokens), Some(1));
        Facts { tokens, prompts, most_taps, of_vllm, ..Facts::default() }.axes_of("hidden_states", shape)
    };
    let others = vec![Axes::TapToken];
    let of_vllm = Choice { axes: Axes::TokenTap, others };
    // As many tokens as all taps, as the layers of `hidden_states`, and as some layers.
    for most_taps in [Some(6), Some(7), Some(30), None] {
        assert_eq!(choice(&[6, 6], 6, most_taps, true).unwrap(), of_vllm, "{most_taps:?}");
    }
    assert_eq!(choice(&[3, 6], 6, Some(7), true).unwrap().axes, Axes::TapToken);
    // A prefix cache served two of the tokens.
    let known = Choice { axes: Axes::TokenTap, others: Vec::new() };
    assert_eq!(choice(&[6, 4], 8, Some(7), true).unwrap(), known);
    let stack = Choice { axes: Axes::TapToken, others: vec![Axes::TokenTap] };
    assert_eq!(choice(&[6, 6], 6, Some(7), false).unwrap(), stack);
    assert_eq!(choice(&[6, 3], 6, Some(7), false).unwrap(), known);
}
