//! Small random models of every family: the form of the reference models, with freshly drawn weights.

use std::{
    path::Path,
    sync::{Mutex, PoisonError},
};

use burn::tensor::Device;
use inject_sipit::{
    Decoder, DecoderConfig, Extraction, Inversion, InvertError, Inverter, Model, Origin, Policy, Precision,
    Scan, Settings, Tap, TargetStates, foreign::SourceDtype, store::Positions,
};
use safetensors::SafeTensors;

/// One form per family.
pub(crate) const FAMILIES: [&str; 6] = ["gpt2", "gpt-neo", "llama", "mistral", "gemma3", "phi4"];

/// The families whose positions enter by rotation alone.
pub(crate) const ROTARY: [&str; 4] = ["llama", "mistral", "gemma3", "phi4"];

/// A reference model as stored.
pub(crate) fn model(case: &str, device: &Device) -> Model {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../inject-models/tests/fixtures").join(case);
    Model::load(Origin::of_folder(&folder), Precision::F32, device).unwrap()
}

/// The same form with weights drawn from a seed.
pub(crate) fn random(case: &str, seed: u64, device: &Device) -> Decoder {
    drawn(case, 0.2, seed, device)
}

/// The same form with weights of another width.
pub(crate) fn drawn(case: &str, std: f64, seed: u64, device: &Device) -> Decoder {
    of_config(model(case, device).decoder.config(), std, seed, device)
}

/// The same form with a vocabulary of another size.
pub(crate) fn of_vocabulary(case: &str, vocab_size: usize, seed: u64, device: &Device) -> Decoder {
    let config = model(case, device).decoder.config().clone();
    of_config(&DecoderConfig { vocab_size, ..config }, 0.2, seed, device)
}

fn of_config(config: &DecoderConfig, std: f64, seed: u64, device: &Device) -> Decoder {
    // A device's random numbers belong to the whole process: tests that run beside each other draw in turn.
    static DRAWING: Mutex<()> = Mutex::new(());
    let _turn = DRAWING.lock().unwrap_or_else(PoisonError::into_inner);
    device.seed(seed);
    config.init(std, device)
}

/// The states of one prompt at one tap, as somebody else would have them.
pub(crate) fn target(decoder: &Decoder, prompt: &[u32], tap: Tap) -> TargetStates {
    let extraction = Extraction::new(vec![tap], Positions::All).unwrap();
    let states = extraction.run(decoder, &[prompt.to_vec()], &mut |_| ()).unwrap().remove(&tap).unwrap();
    TargetStates::new(states.mapv(f64::from), tap, SourceDtype::F32).unwrap()
}

/// Every token at every position, whatever fits.
pub(crate) fn exhaustive(decoder: &Decoder, target: &TargetStates) -> Result<Inversion, InvertError> {
    let settings = Settings { scan: Scan::Whole, ..Settings::default() };
    invert(decoder, target, &mut Policy::new(), settings)
}

pub(crate) fn invert(
    decoder: &Decoder,
    target: &TargetStates,
    policy: &mut Policy,
    settings: Settings,
) -> Result<Inversion, InvertError> {
    Inverter::new(decoder, target.tap(), settings)?.invert(target, policy, &mut |_| ())
}

/// The small GPT-2 with one row of its embedding copied over others: a model outside the theorems.
pub(crate) fn with_equal_rows(from: usize, to: impl IntoIterator<Item = usize>, device: &Device) -> Decoder {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../inject-models/tests/fixtures/gpt2");
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(source.join("config.json"), folder.path().join("config.json")).unwrap();
    let mut bytes = std::fs::read(source.join("model.safetensors")).unwrap();
    let (header, metadata) = SafeTensors::read_metadata(&bytes).unwrap();
    let info = metadata.info("transformer.wte.weight").unwrap();
    let row = 4 * info.shape[1];
    let begin = 8 + header + info.data_offsets.0;
    for to in to {
        bytes.copy_within(begin + from * row..begin + (from + 1) * row, begin + to * row);
    }
    std::fs::write(folder.path().join("model.safetensors"), bytes).unwrap();
    Model::load(Origin::of_folder(folder.path()), Precision::F32, device).unwrap().decoder
}
