//! Reading gives what was written.

use half::{bf16, f16};
use proptest::prelude::*;

use super::*;

#[test]
fn a_store_has_these_files_and_no_others() {
    let files = Job::new(Positions::Last, FloatFormat::F32).uninterrupted();
    let expected = [
        "checksums.jsonl",
        "manifest.json",
        "prompts.safetensors",
        "rows.safetensors",
        "tap-block-1.safetensors",
        "tap-embedding.safetensors",
        "tap-final-norm.safetensors",
    ];
    assert!(files.keys().eq(expected.iter()));
}

#[test]
fn the_size_of_blocks_leaves_no_trace() {
    for positions in [Positions::Last, Positions::All] {
        let job = Job::new(positions, FloatFormat::F16);
        let expected = job.uninterrupted();
        for step in 1..job.prompts.len() {
            let dir = tempfile::tempdir().unwrap();
            assert_same(&job.completed(dir.path(), step), &expected);
        }
    }
}

#[test]
fn a_store_says_what_it_was_made_from() {
    let job = Job::new(Positions::All, FloatFormat::Bf16);
    let dir = tempfile::tempdir().unwrap();
    job.complete(dir.path(), 3);
    let store = Store::open(dir.path()).unwrap();
    let manifest = store.manifest();
    assert_eq!(manifest.spec, job.spec);
    assert_eq!(manifest.noise, Some(noise()));
    assert_eq!(manifest.created_by, format!("inject-states {}", env!("CARGO_PKG_VERSION")));
    assert_eq!((manifest.prompt_count, manifest.token_count, manifest.row_count), (7, 16, 16));
    assert!(store.prompts().eq(job.prompts.iter().map(Vec::as_slice)));
    assert!(store.taps().iter().map(|states| states.tap()).eq(TAPS));
}

#[test]
fn a_store_of_last_positions_keeps_the_prompts_whole() {
    let job = Job::new(Positions::Last, FloatFormat::F32);
    let dir = tempfile::tempdir().unwrap();
    let store = job.complete(dir.path(), 2);
    for (prompt, ids) in job.prompts.iter().enumerate() {
        assert_eq!(store.prompt(prompt), ids);
        assert_eq!(store.rows_of(prompt), prompt..prompt + 1);
        let rows = store.rows();
        let row = (rows.prompt[prompt], rows.position[prompt], rows.token_id[prompt]);
        assert_eq!(row, (prompt as u32, ids.len() as u32 - 1, ids[ids.len() - 1]));
    }
}

#[test]
fn every_row_is_the_state_of_its_prompt_and_position() {
    let job = Job::new(Positions::All, FloatFormat::F32);
    let dir = tempfile::tempdir().unwrap();
    let store = job.complete(dir.path(), 2);
    let rows = store.rows();
    for tap in TAPS {
        let states = store.tap(tap).unwrap();
        assert_eq!((states.rows(), states.d_model(), states.dtype()), (16, 5, FloatFormat::F32));
        let (array, slice) = (states.to_array(), states.as_f32().unwrap());
        // Released memory is read again.
        states.release();
        let mut state = [0.0; 5];
        for prompt in 0..job.prompts.len() {
            for row in store.rows_of(prompt) {
                states.row_f32(row, &mut state);
                let position = rows.position[row] as usize;
                assert_eq!(state, std::array::from_fn(|column| value(tap, prompt, position, column)));
                assert_eq!(array.row(row).as_slice().unwrap(), state);
                assert_eq!(slice[row * 5..][..5], state);
                assert_eq!(rows.prompt[row] as usize, prompt);
                assert_eq!(rows.token_id[row], store.prompt(prompt)[position]);
            }
        }
    }
}

#[test]
fn the_states_of_one_prompt_are_its_rows_and_no_others() {
    for dtype in [FloatFormat::F32, FloatFormat::Bf16] {
        let job = Job::new(Positions::All, dtype);
        let dir = tempfile::tempdir().unwrap();
        let store = job.complete(dir.path(), 3);
        let states = store.tap(Tap::FinalNorm).unwrap();
        let all = states.to_array();
        for prompt in 0..job.prompts.len() {
            let rows = store.rows_of(prompt);
            let found = states.rows_to_array(rows.clone());
            assert_eq!(found.dim(), (job.prompts[prompt].len(), 5));
            assert_eq!(found, all.slice(ndarray::s![rows, ..]));
        }
    }
}

#[test]
fn a_tap_that_was_not_stored_is_told_which_were() {
    let dir = tempfile::tempdir().unwrap();
    let store = Job::new(Positions::Last, FloatFormat::F32).complete(dir.path(), 7);
    let error = store.tap(Tap::Block(2)).unwrap_err();
    assert!(matches!(&error, StoreError::NoSuchTap { stored, .. } if *stored == TAPS), "{error}");
}

#[test]
fn other_programs_read_a_tap_file_by_itself() {
    let job = Job::new(Positions::Last, FloatFormat::F32);
    let files = job.uninterrupted();
    let bytes = &files["tap-block-1.safetensors"];
    let (_, header) = safetensors::SafeTensors::read_metadata(bytes).unwrap();
    let metadata = header.metadata().as_ref().unwrap();
    for (key, value) in [
        ("tap", "block-1"),
        ("model_id", "nobody/tiny"),
        ("revision", "607a30d783dfa663caf39e06633721c8d4cfcd7e"),
        ("weight_hash", "248dfc39"),
        ("dtype", "f32"),
        ("format_version", "1"),
    ] {
        assert_eq!(metadata[key], value);
    }
    let tensors = safetensors::SafeTensors::deserialize(bytes).unwrap();
    let states = tensors.tensor("states").unwrap();
    assert_eq!((states.dtype(), states.shape()), (safetensors::Dtype::F32, &[7, 5][..]));
    let expected: Vec<u8> = job.states(0..7, Tap::Block(1)).into_iter().flat_map(f32::to_le_bytes).collect();
    assert_eq!(states.data(), expected);
}

/// Every f32 below a limit, and often those midway between two values of a half type.
fn below(limit: f32) -> impl Strategy<Value = f32> {
    let midway = |lost_bits: u32| {
        let half = 1 << (lost_bits - 1);
        any::<u32>().prop_map(move |bits| f32::from_bits(bits >> lost_bits << lost_bits | half))
    };
    let special = prop::sample::select(vec![0.0, -0.0, f32::MIN_POSITIVE, 1e-40, -1e-7, 65504.0, -65519.0]);
    let any = prop_oneof![
        3 => any::<f32>(),
        3 => -10.0f32..10.0,
        1 => midway(13), // f16 keeps 10 bits of 23
        1 => midway(16), // bf16 keeps 7
        1 => special,
    ];
    any.prop_filter("below the limit", move |value| value.abs() < limit)
}

/// Prompts, a width, and the states of all their positions at one tap.
fn states(limit: f32) -> impl Strategy<Value = (Vec<Vec<u32>>, usize, Vec<f32>)> {
    let prompts = prop::collection::vec(prop::collection::vec(0u32..=i32::MAX as u32, 1..5), 1..8);
    (prompts, 1usize..9).prop_flat_map(move |(prompts, d_model)| {
        let count = prompts.iter().map(Vec::len).sum::<usize>() * d_model;
        (Just(prompts), Just(d_model), prop::collection::vec(below(limit), count))
    })
}

/// Writes the states in blocks of `step` prompts, and reads them back.
fn through_disk(
    dtype: FloatFormat,
    (prompts, d_model, states): &(Vec<Vec<u32>>, usize, Vec<f32>),
    step: usize,
) -> Result<Vec<f32>, StoreError> {
    let dir = tempfile::tempdir().unwrap();
    let mut job = Job::new(Positions::All, dtype);
    (job.spec.taps, job.spec.d_model, job.prompts) = (vec![Tap::Block(1)], *d_model, prompts.clone());
    let mut writer = job.writer(dir.path())?;
    let mut rest = states.as_slice();
    while writer.next_prompt() < prompts.len() {
        let block = step.min(prompts.len() - writer.next_prompt());
        let (now, later) = rest.split_at(writer.rows_of_next(block) * d_model);
        writer.append(&Block::new(block, &[(Tap::Block(1), now)]))?;
        rest = later;
    }
    let store = writer.finish(None)?;
    assert!(store.prompts().eq(prompts.iter().map(Vec::as_slice)));
    Ok(store.tap(Tap::Block(1))?.to_array().into_iter().collect())
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

/// The least f32 that rounds to infinity: midway between the largest value and the next step.
const F16_LIMIT: f32 = 65520.0;
const BF16_LIMIT: f32 = f32::from_bits(0x7f7f_8000);

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn f32_comes_back_bit_for_bit(states in states(f32::INFINITY), step in 1usize..4) {
        let found = through_disk(FloatFormat::F32, &states, step).unwrap();
        prop_assert_eq!(bits(&found), bits(&states.2));
    }

    #[test]
    fn f16_comes_back_as_half_rounds_it(states in states(F16_LIMIT), step in 1usize..4) {
        let expected: Vec<f32> = states.2.iter().map(|&value| f16::from_f32(value).to_f32()).collect();
        let found = through_disk(FloatFormat::F16, &states, step).unwrap();
        prop_assert_eq!(bits(&found), bits(&expected));
    }

    #[test]
    fn bf16_comes_back_as_half_rounds_it(states in states(BF16_LIMIT), step in 1usize..4) {
        let expected: Vec<f32> = states.2.iter().map(|&value| bf16::from_f32(value).to_f32()).collect();
        let found = through_disk(FloatFormat::Bf16, &states, step).unwrap();
        prop_assert_eq!(bits(&found), bits(&expected));
    }
}

#[test]
fn the_limits_of_the_half_types_are_refused() {
    for (dtype, limit) in [(FloatFormat::F16, F16_LIMIT), (FloatFormat::Bf16, BF16_LIMIT)] {
        let error = through_disk(dtype, &(vec![vec![1]], 2, vec![0.0, limit]), 1).unwrap_err();
        assert!(matches!(error, StoreError::Overflow { found, .. } if found == limit), "{error}");
    }
}
