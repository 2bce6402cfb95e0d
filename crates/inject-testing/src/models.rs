//! Small models of every family: the checkpoints beside the tests of inject-models, and random weights of the same shapes.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use burn::tensor::{Device, Tensor};
use inject_models::{Decoder, DecoderConfig, FloatFormat, Matrix, Model, Origin, Tap, config::Span};
use safetensors::SafeTensors;

use crate::compiled;

/// The fixtures on which the tests of the other crates run, one for each family.
pub const FAMILIES: [&str; 12] = [
    "gpt2", "gpt-neo", "llama", "mistral", "gemma3", "phi4", "qwen2", "qwen3", "gemma2", "gpt-neox",
    "smollm3", "olmo2",
];

/// The families without learned positions: only rotation and the mask distinguish positions.
pub const ROTARY: [&str; 10] =
    ["llama", "mistral", "gemma3", "phi4", "qwen2", "qwen3", "gemma2", "gpt-neox", "smollm3", "olmo2"];

/// The number of tokens in each fixture's vocabulary.
pub const VOCAB_SIZE: u32 = 97;

/// Returns the path of the folder of all fixtures.
pub fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../inject-models/tests/fixtures")
}

/// Returns the path of a fixture's folder.
pub fn folder(name: &str) -> PathBuf {
    fixtures().join(name)
}

/// Loads a fixture in f32.
///
/// # Panics
///
/// Panics if there is no such fixture.
pub fn model(name: &str, device: &Device) -> Model {
    Model::load(Origin::of_folder(&folder(name)), FloatFormat::F32, device).unwrap()
}

/// Returns the fixtures of all families on all [`compiled`] devices, each with its name.
pub fn decoders() -> impl Iterator<Item = (&'static str, Decoder)> {
    on_every_device(|name, device| model(name, device).decoder)
}

/// As [`decoders`], with the weights of [`random`].
pub fn random_decoders(seed: u64) -> impl Iterator<Item = (&'static str, Decoder)> {
    on_every_device(move |name, device| random(name, seed, device))
}

fn on_every_device(make: impl Fn(&str, &Device) -> Decoder) -> impl Iterator<Item = (&'static str, Decoder)> {
    let cases = compiled().into_iter().flat_map(|device| FAMILIES.map(|name| (name, device.clone())));
    cases.map(move |(name, device)| (name, make(name, &device)))
}

/// Returns a decoder with a fixture's shape and random weights of standard deviation 0.2.
pub fn random(name: &str, seed: u64, device: &Device) -> Decoder {
    drawn(name, 0.2, seed, device)
}

/// Returns a decoder with a fixture's shape and random weights of standard deviation `std`.
pub fn drawn(name: &str, std: f64, seed: u64, device: &Device) -> Decoder {
    of_config(model(name, device).decoder.config(), std, seed, device)
}

/// Returns a decoder like [`random`], with a vocabulary of `vocab_size` tokens.
pub fn of_vocabulary(name: &str, vocab_size: usize, seed: u64, device: &Device) -> Decoder {
    let config = model(name, device).decoder.config().clone();
    of_config(&DecoderConfig { vocab_size, ..config }, 0.2, seed, device)
}

fn of_config(config: &DecoderConfig, std: f64, seed: u64, device: &Device) -> Decoder {
    // The random state of a device is shared by the whole process, so concurrent tests take turns.
    static DRAWING: Mutex<()> = Mutex::new(());
    let _turn = DRAWING.lock().unwrap_or_else(PoisonError::into_inner);
    device.seed(seed);
    config.init(std, device)
}

/// Returns the `gpt2` fixture with row `from` of its embedding copied over the rows `to`. The theorems of injectivity do not apply
/// to such a model.
///
/// # Panics
///
/// Panics if the temporary copy cannot be written.
pub fn with_equal_rows(from: usize, to: impl IntoIterator<Item = usize>, device: &Device) -> Decoder {
    let source = folder("gpt2");
    let copy = tempfile::tempdir().unwrap();
    fs::copy(source.join("config.json"), copy.path().join("config.json")).unwrap();
    let mut bytes = fs::read(source.join("model.safetensors")).unwrap();
    let (header, metadata) = SafeTensors::read_metadata(&bytes).unwrap();
    let info = metadata.info("transformer.wte.weight").unwrap();
    let row = 4 * info.shape[1];
    let begin = 8 + header + info.data_offsets.0;
    for to in to {
        bytes.copy_within(begin + from * row..begin + (from + 1) * row, begin + to * row);
    }
    fs::write(copy.path().join("model.safetensors"), bytes).unwrap();
    Model::load(Origin::of_folder(copy.path()), FloatFormat::F32, device).unwrap().decoder
}

/// Returns the same model, in which token 12 has the embedding of token 11. A head that is tied keeps its rows.
pub fn with_equal_embeddings(decoder: Decoder) -> Decoder {
    decoder.map_matrices(&mut |matrix, values| match matrix {
        Matrix::Embedding => {
            let [rows, _] = values.dims();
            let below = values.clone().narrow(0, 0, 12);
            let above = values.clone().narrow(0, 13, rows - 13);
            Tensor::cat(vec![below, values.narrow(0, 11, 1), above], 0)
        }
        _ => values,
    })
}

/// Returns the number of preceding positions on which a state at `tap` can depend.
pub fn reach(decoder: &Decoder, tap: Tap) -> usize {
    let blocks = tap.blocks_needed(decoder.config().n_layers());
    decoder.config().blocks[..blocks].iter().fold(0_usize, |reach, block| match block.attention.span {
        Span::Full => usize::MAX / 2,
        Span::Window(n) => reach.saturating_add(n - 1),
    })
}

#[cfg(test)]
mod tests {
    use inject_models::{Family, config::LearnedPositions};

    use super::*;

    #[test]
    fn the_lists_have_every_family() {
        let device = crate::any_device();
        let models = FAMILIES.map(|name| (name, model(name, &device)));
        for family in Family::all() {
            assert!(models.iter().any(|(_, model)| model.family() == *family), "{family}");
        }
        let is_rotary = |model: &Model| model.decoder.config().embedding.positions == LearnedPositions::None;
        let unlearned = models.iter().filter(|(_, model)| is_rotary(model));
        assert_eq!(unlearned.map(|(name, _)| *name).collect::<Vec<_>>(), ROTARY);
    }
}
