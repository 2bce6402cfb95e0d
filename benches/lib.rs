//! Shared by the benchmarks: the model shapes they compare, and the device they run on.
//!
//! ```text
//! cargo bench                           # everything
//! cargo bench --bench step -- gpt2      # one question, the rows whose label contains `gpt2`
//! ```
//!
//! A label reads `question/model/size`. Throughput is counted in floating-point operations, so criterion's `Gelem/s` means
//! GFLOP/s. Only products with weights are counted ([`DecoderConfig::flops_per_token`]); the time of attention scores, norms and
//! activations therefore lowers the rate.
//!
//! | variable | meaning |
//! |---|---|
//! | `INJECT_DEVICE` | `flex`, `ndarray`, `cuda` or `wgpu`, as far as compiled in; without it, the first of them that is |
//! | `INJECT_REAL_MODELS` | a folder of checkpoints; its `smollm2-135m` and `gemma-3-270m` then replace the random weights |
//! | `INJECT_MODEL` | the checkpoint that `sizes` measures |
//! | `INJECT_HOLD` | `stored` or `f32`: how weights of checkpoints are held; without it as the program holds them |
//! | `RAYON_NUM_THREADS` | CPU threads, all cores by default |
//!
//! `peers/` measures PyTorch at the same sizes.

use std::{
    env, fmt, fs,
    num::NonZeroUsize,
    path::{Path, PathBuf},
};

use burn::tensor::Device;
use inject_sipit::{
    TargetStates,
    models::{
        Decoder, DecoderConfig, FloatFormat, Hold, Logits, Model, Origin, Precision, PrefixCache,
        PublishedShape, Tap, TokenBatch,
    },
};

/// A model shape that is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// GPT-2 small, 124 million parameters.
    Gpt2Small,
    /// SmolLM2-135M, of the llama family.
    SmolLm2,
    /// Gemma-3-270M, two thirds of it the embedding of 262,144 tokens.
    Gemma3,
}

impl Shape {
    /// The shapes that the benchmarks measure.
    pub const ALL: [Shape; 3] = [Shape::Gpt2Small, Shape::SmolLm2, Shape::Gemma3];
    /// The shapes on which PyTorch is measured too.
    pub const COMPARED: [Shape; 2] = [Shape::Gpt2Small, Shape::SmolLm2];

    /// Returns the published model that has this shape.
    pub fn published(self) -> PublishedShape {
        match self {
            Shape::Gpt2Small => PublishedShape::Gpt2,
            Shape::SmolLm2 => PublishedShape::SmolLm2_135m,
            Shape::Gemma3 => PublishedShape::Gemma3_270m,
        }
    }

    /// Returns the config of this shape.
    pub fn config(self) -> DecoderConfig {
        self.published().config()
    }

    /// Returns a decoder of this shape. Its weights are those of the checkpoint in `INJECT_REAL_MODELS` if there is one, otherwise
    /// random.
    ///
    /// # Panics
    ///
    /// Panics if that checkpoint does not load.
    pub fn decoder(self, device: &Device) -> Decoder {
        match real_models().map(|folder| folder.join(self.to_string())).filter(|folder| folder.is_dir()) {
            None => random(&self.config(), device),
            Some(folder) => {
                let precision = Precision::new(hold(), FloatFormat::F32);
                let model = Model::load(Origin::of_folder(&folder), precision, device);
                with_lanes(model.unwrap_or_else(|error| panic!("{error}")).decoder)
            }
        }
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Shape::Gpt2Small => "gpt2-small",
            Shape::SmolLm2 => "smollm2-135m",
            Shape::Gemma3 => "gemma-3-270m",
        })
    }
}

/// Returns how the weights of a checkpoint are held: as `INJECT_HOLD` says, `stored` or `f32`, or as the program holds them.
///
/// # Panics
///
/// Panics if it says anything else.
pub fn hold() -> Hold {
    match env::var("INJECT_HOLD").as_deref() {
        Ok("stored") => Hold::Stored,
        Ok("f32") => Hold::Computed,
        Ok(other) => panic!("INJECT_HOLD is `{other}`, expected `stored` or `f32`"),
        Err(_) => Hold::default(),
    }
}

/// Returns the config of the model that ships with the project.
pub fn bundled() -> DecoderConfig {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/inject-cli/model/config.json");
    DecoderConfig::read(&path).unwrap_or_else(|error| panic!("{error}"))
}

/// Returns a decoder with random weights, the same in every run.
pub fn random(config: &DecoderConfig, device: &Device) -> Decoder {
    device.seed(1);
    with_lanes(config.init(0.02, device))
}

/// Sets the number of lanes as the program does: one per core on a CPU, and one on a GPU.
pub fn with_lanes(decoder: Decoder) -> Decoder {
    let lanes = match named_device().0 {
        "flex" | "ndarray" => std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
        _ => NonZeroUsize::MIN,
    };
    decoder.with_lanes(lanes)
}

/// Returns the folder of real checkpoints, if there is one.
pub fn real_models() -> Option<PathBuf> {
    env::var_os("INJECT_REAL_MODELS").map(PathBuf::from)
}

/// Returns the device on which the benchmarks run.
///
/// # Panics
///
/// Panics if the requested device is unknown, not compiled in or not available.
pub fn device() -> Device {
    named_device().1
}

/// Returns the device that INJECT_DEVICE names, or the first that is compiled in.
fn named_device() -> (&'static str, Device) {
    let wanted = env::var("INJECT_DEVICE").ok();
    let found = inject_testing::named()
        .into_iter()
        .find(|(name, _)| wanted.as_deref().is_none_or(|wanted| wanted == *name));
    found.unwrap_or_else(|| panic!("INJECT_DEVICE {wanted:?} is not compiled in"))
}

/// Returns the memory that this process has now, in bytes, where /proc/self/status reports it.
pub fn memory() -> Option<u64> {
    status("VmRSS:")
}

/// Returns the most memory that this process had, in bytes, where /proc/self/status reports it.
pub fn peak_memory() -> Option<u64> {
    status("VmHWM:")
}

/// Keeps as many of the weights in memory as the program would on this machine outside a container: all but 2 GB of what is available,
/// or all but a quarter where that is less, if /proc/meminfo reports it.
pub fn within_memory(decoder: Decoder) -> Decoder {
    match line_of("/proc/meminfo", "MemAvailable:") {
        Some(available) => {
            decoder.with_weights_in_memory((available - 2_000_000_000.min(available / 4)) as usize)
        }
        None => decoder,
    }
}

fn status(key: &str) -> Option<u64> {
    line_of("/proc/self/status", key)
}

/// Returns the value of a line of such a file, in bytes.
fn line_of(file: &str, key: &str) -> Option<u64> {
    let text = fs::read_to_string(file).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
}

/// Waits until the device has finished all computations.
///
/// # Panics
///
/// Panics if a computation failed.
pub fn wait(device: &Device) {
    device.sync().expect("the device failed");
}

/// Returns token ids spread over the vocabulary, the same in every run.
pub fn ids(count: usize, vocab_size: usize) -> Vec<u32> {
    (0..count).map(|i| (i * 7919 % vocab_size) as u32).collect()
}

/// Returns a cache that holds `len` tokens of one sequence and has room for one more.
///
/// # Panics
///
/// Panics if the decoder cannot compute that many.
pub fn prefix(decoder: &Decoder, len: usize, deepest: Tap) -> PrefixCache {
    let tokens = TokenBatch::new(&[ids(len, decoder.config().vocab_size)]).expect("a prefix has tokens");
    let mut cache =
        decoder.prefix_cache(1, len + 1, deepest).expect("the model has the tap and the positions");
    decoder.extend(&mut cache, &tokens, &[], Logits::None).expect("the prefix fits the cache");
    cache
}

/// Computes the states of one prompt at one tap, as a target to invert.
///
/// # Panics
///
/// Panics if the decoder cannot compute the prompt.
pub fn states_of(decoder: &Decoder, prompt: &[u32], tap: Tap) -> TargetStates {
    TargetStates::of_prompt(decoder, tap, prompt).expect("the prompt can be computed")
}
