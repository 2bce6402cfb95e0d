//! The states of small models of every family, compared with those of Hugging Face transformers at every tap.

use std::{fmt, fs, path::Path};

use burn::tensor::Device;
use inject_models::{Decoder, FloatFormat, Forward, Logits, Model, Origin, Tap, TokenBatch};
use safetensors::SafeTensors;

use crate::golden::{Golden, distance, golden, ids, norm, tolerance, values};

/// The fixtures with states of the reference, each with the name of a golden file in its folder.
pub const CASES: [(&str, &str); 24] = [
    ("gpt2", "golden"),
    ("gpt2-hub-names", "golden"),
    ("gpt-neo", "golden"),
    ("gpt-neo-bin", "golden"),
    ("llama", "golden"),
    ("llama3-scaling", "golden"),
    ("llama-linear", "golden"),
    ("llama-bf16-shards", "golden"),
    ("mistral", "golden"),
    ("mistral-full", "golden"),
    ("gemma3", "golden"),
    ("gemma3-old", "golden"),
    ("gemma3-multimodal", "golden"),
    ("phi3", "golden"),
    ("phi4", "golden"),
    ("phi4", "golden-long"),
    ("qwen2", "golden"),
    ("qwen3", "golden"),
    ("gemma2", "golden"),
    ("gpt-neox", "golden"),
    ("gpt-neox-odd", "golden"),
    ("gpt-neox-sequential", "golden"),
    ("smollm3", "golden"),
    ("olmo2", "golden"),
];

/// The comparison of a decoder with a golden file: its worst states and logits.
#[derive(Clone, Debug)]
pub struct Comparison {
    /// The state that is farthest from the reference.
    pub state: Worst,
    /// The logits that are farthest from the reference.
    pub logits: Worst,
}

/// The row that is farthest from the reference, as a share of its tolerance.
#[derive(Clone, Debug)]
pub struct Worst {
    /// Its distance as a share of the tolerance, or a number that is not finite if the row has such numbers.
    pub share: f64,
    tap: Option<Tap>,
    row: usize,
}

impl Comparison {
    /// Returns whether every state and all logits are within their tolerances.
    pub fn holds(&self) -> bool {
        self.state.holds() && self.logits.holds()
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}", self.state, self.logits)
    }
}

impl Worst {
    fn none(tap: Option<Tap>) -> Self {
        Worst { share: 0.0, tap, row: 0 }
    }

    /// Takes another row in its place, if that is farther away. A share that is not a number stays.
    fn or(self, share: f64, tap: Option<Tap>, row: usize) -> Self {
        let is_worse = share.is_nan() || share > self.share;
        if is_worse && !self.share.is_nan() { Worst { share, tap, row } } else { self }
    }

    fn holds(&self) -> bool {
        self.share <= 1.0
    }
}

impl fmt::Display for Worst {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.tap {
            Some(tap) => write!(f, "states within {:.2} of the bound ({tap}, row {})", self.share, self.row),
            None => write!(f, "logits within {:.2} (row {})", self.share, self.row),
        }
    }
}

/// Loads a fixture from the folder of all fixtures, and compares it with one of its golden files.
///
/// # Panics
///
/// Panics if a file cannot be read, or if the device fails.
pub fn compare_fixture(
    fixtures: &Path,
    (case, file): (&str, &str),
    format: FloatFormat,
    device: &Device,
) -> Comparison {
    let folder = fixtures.join(case);
    let model = Model::load(Origin::of_folder(&folder), format, device).unwrap();
    compare(&model.decoder, &folder.join(file).with_extension("safetensors"), format)
}

/// Compares a decoder with a golden file. The bound of a state is its [`tolerance`].
///
/// # Panics
///
/// Panics if the file cannot be read or does not fit the decoder, or if the device fails.
pub fn compare(decoder: &Decoder, file: &Path, format: FloatFormat) -> Comparison {
    let bytes = fs::read(file).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let (expected, noise) = (golden(&file, "states"), golden(&file, "f32_noise"));
    let prompts = ids(&golden(&file, "input_ids"));
    let taps = Tap::all(decoder.config().n_layers());
    assert_eq!(taps.len(), expected.shape[0]);

    let batch = TokenBatch::new(&prompts).unwrap();
    let forward = decoder.forward(&batch, &taps, Logits::All).unwrap();
    let d_model = expected.shape[3];
    let rows = prompts.len() * prompts[0].len();
    let mut state = Worst::none(taps.first().copied());
    for (index, tap) in taps.into_iter().enumerate() {
        let found = values(forward.states[&tap].clone());
        let expected = &expected.values[index * rows * d_model..][..rows * d_model];
        assert_eq!(found.len(), expected.len());
        for (row, (found, expected)) in found.chunks(d_model).zip(expected.chunks(d_model)).enumerate() {
            let share = distance(found, expected) / tolerance(format, noise.values[index], expected);
            state = state.or(share, Some(tap), row);
        }
    }
    let expected_states = &expected.values[(expected.shape[0] - 1) * rows * d_model..];
    let logits = compare_logits(format, decoder, &forward, expected_states, &golden(&file, "logits"));
    Comparison { state, logits }
}

/// The logits of a state are the head's product with it. Products with states that are `distance` apart differ by at most
/// `|head| distance`, where `|head|` is the Frobenius norm. In whatever order a product of `d_model` terms is summed, it
/// is rounded by at most `d_model u |row| |state|`, which makes `d_model u |head| |state|` over all rows of the head. The
/// reference rounds so once more, in float64.
fn compare_logits(
    format: FloatFormat,
    decoder: &Decoder,
    forward: &Forward,
    expected_states: &[f64],
    expected: &Golden,
) -> Worst {
    let head = norm(&values(decoder.own_head().unwrap_or_else(|| decoder.token_embedding())));
    let (d_model, vocab_size) = (decoder.config().d_model, decoder.config().vocab_size);
    let states = values(forward.states[&Tap::FinalNorm].clone());
    let logits = values(forward.logits.clone().unwrap());
    let unit = format.rounding_error(1.0) + FloatFormat::F64.rounding_error(1.0);
    let of_row = |values: &[f64], row: usize, width: usize| values[row * width..][..width].to_vec();
    let rows = expected.values.chunks(vocab_size).enumerate();
    rows.fold(Worst::none(None), |worst, (row, expected)| {
        let state = of_row(&states, row, d_model);
        let apart = distance(&state, &of_row(expected_states, row, d_model));
        let tolerance = head * (apart + d_model as f64 * unit * norm(&state));
        worst.or(distance(&of_row(&logits, row, vocab_size), expected) / tolerance, None, row)
    })
}
