//! Whether a model and its prompts fit into memory.

use burn::tensor::Device;
use inject_sipit::{
    models::{Decoder, Hold, ModelFiles, Precision, Tap},
    states::prompts::MAX_FILE_BYTES,
};

use super::{Megabytes, available::available};
use crate::{number, outcome::Failure, output::note};

/// Returns whether the weights take less than half of the memory as F32, or the size of the memory is not known.
pub(super) fn is_ample(files: &ModelFiles, device: &Device) -> bool {
    let weights = files.bytes_in_memory(Precision::F32, device);
    available().is_none_or(|available| weights <= available / 2)
}

/// Returns the bytes that the ids of prompts may take: half of the memory that is free. A small file can stand for many prompts, in a
/// format that compresses.
pub(crate) fn for_prompts() -> usize {
    let free = available().and_then(|available| usize::try_from(available / 2).ok());
    free.unwrap_or(0).max(MAX_FILE_BYTES)
}

/// Returns the bytes that a compressed file of states may unpack to: those of the option `--memory`, or else half of the memory that
/// is free.
pub(crate) fn for_unpacking(given: Option<Megabytes>) -> Option<u64> {
    given.map(|given| given.bytes() as u64).or_else(|| available().map(|available| available / 2))
}

/// Checks that a pass over the longest prompt fits into the memory of the option `--memory`, if it is given, and into the memory that
/// is free. A prompt is never divided, and rotary positions set no limit to its length. `first` is the number of the first prompt.
///
/// # Errors
///
/// [`Failure`] with the number of the prompt and both sizes.
pub(crate) fn check_longest(
    decoder: &Decoder,
    taps: usize,
    first: usize,
    lens: impl IntoIterator<Item = usize>,
    given: Option<Megabytes>,
) -> Result<(), Failure> {
    let given = given.map(|given| Bound::Option(given.bytes() as u64));
    let bounds = given.into_iter().chain(available().map(Bound::Free));
    // The one that is exceeded first.
    let Some(bound) = bounds.min_by_key(Bound::bytes) else { return Ok(()) };
    check_longest_within(decoder, taps, first, lens, bound)
}

/// A limit on the bytes of a pass.
#[derive(Clone, Copy, Debug)]
enum Bound {
    /// The number of bytes that `--memory` allows.
    Option(u64),
    /// The memory that is free.
    Free(u64),
}

impl Bound {
    fn bytes(&self) -> u64 {
        match *self {
            Bound::Option(bytes) | Bound::Free(bytes) => bytes,
        }
    }
}

fn check_longest_within(
    decoder: &Decoder,
    taps: usize,
    first: usize,
    lens: impl IntoIterator<Item = usize>,
    bound: Bound,
) -> Result<(), Failure> {
    let Some((number, len)) = (first..).zip(lens).max_by_key(|&(_, len)| len) else {
        return Ok(());
    };
    let takes = decoder.bytes_of_prompt(len, taps) as u64;
    if takes <= bound.bytes() {
        return Ok(());
    }
    let allowed = match bound {
        Bound::Option(bytes) => format!("--memory allows {}", number::bytes(bytes)),
        Bound::Free(bytes) => format!("{} of memory are available", number::bytes(bytes)),
    };
    Err(Failure::new(format!(
        "prompt {number} has {}, whose computation takes about {}, and {allowed}",
        number::counted(len, "token"),
        number::bytes(takes),
    )))
}

/// Checks that the weights of a model fit into memory as they are to be held.
///
/// # Errors
///
/// [`Failure`] with both sizes and the remedy.
pub(super) fn check(files: &ModelFiles, precision: Precision, device: &Device) -> Result<(), Failure> {
    available().map_or(Ok(()), |available| check_within(files, precision, device, available))
}

fn check_within(
    files: &ModelFiles,
    precision: Precision,
    device: &Device,
    available: u64,
) -> Result<(), Failure> {
    let weights = files.bytes_in_memory(precision, device);
    if while_loading(weights) <= available {
        return Ok(());
    }
    let stored = files.bytes_in_memory(Precision::new(Hold::Stored, precision.compute), device);
    let remedy = if while_loading(stored) <= available { Remedy::Hold } else { Remedy::Convert };
    Err(too_large(weights, available, remedy))
}

/// The memory that weights take at most while they are loaded: a seventh more, as docs/laboratory/results/models.md measured.
fn while_loading(weights: u64) -> u64 {
    weights.saturating_add(weights / 7)
}

/// The remedy for weights that do not fit into memory.
#[derive(Clone, Copy, Debug)]
enum Remedy {
    /// Weights are widened that could stay in their files.
    Hold,
    /// Weights are in a form that has to be widened.
    Convert,
}

fn too_large(weights: u64, available: u64, remedy: Remedy) -> Failure {
    let remedy = match remedy {
        Remedy::Hold => "`--hold stored` leaves them in their files",
        Remedy::Convert => {
            "matrices of f64, of pickled files and those that an adapter changes are widened, so convert the model to safetensors files \
in f32, f16 or bf16, with the adapter merged"
        }
    };
    Failure::new(format!(
        "the weights take {} in f32, up to {} while they are loaded, and {} of memory are available: {remedy}",
        number::bytes(weights),
        number::bytes(while_loading(weights)),
        number::bytes(available)
    ))
}

/// The memory beside the weights of a large model: for the program, a prompt of 512 tokens, its states and caches.
pub(crate) const BESIDE: u64 = 2_000_000_000;

/// The memory for weights that stay in their files: all but [`BESIDE`], or all but a quarter where that is less. A model for which
/// little memory is enough does not need so much beside it, and the system drops pages of files itself before memory is short.
fn for_weights(available: u64) -> u64 {
    available - BESIDE.min(available / 4)
}

/// The same decoder, which keeps as many of the weights in its files in memory as there is room for. Says so if that is not all.
pub(super) fn within_memory(decoder: Decoder) -> Decoder {
    let Some(available) = available() else { return decoder };
    let (decoder, told) = within(decoder, available);
    if let Some(told) = told {
        note(&told);
    }
    decoder
}

/// The same decoder within some bytes of memory, and the fact that the user should know.
fn within(decoder: Decoder, available: u64) -> (Decoder, Option<String>) {
    let room = usize::try_from(for_weights(available)).unwrap_or(usize::MAX);
    let decoder = decoder.with_weights_in_memory(room);
    let told = decoder.reads_from_disk().then(|| of_disk(&decoder, available));
    (decoder, told)
}

fn of_disk(decoder: &Decoder, available: u64) -> String {
    let again = decoder.bytes_of_a_pass(Tap::FinalNorm).from_disk as u64;
    format!(
        "the weights take {} and {} of memory are available: each pass through all blocks reads {} from the disk again, unless other \
programs free memory or the model is in a format of fewer bits, such as GGUF",
        number::bytes(decoder.held_in_files() as u64),
        number::bytes(available),
        number::bytes(again)
    )
}

#[cfg(test)]
mod tests {
    use inject_sipit::models::{FloatFormat, Model, Origin};

    use super::*;

    #[test]
    fn a_prompt_that_does_not_fit_is_named_with_its_number_and_both_sizes() {
        let decoder = inject_testing::models::model("llama", &inject_testing::any_device()).decoder;
        let within =
            |lens: &[usize], bound| check_longest_within(&decoder, 2, 7, lens.iter().copied(), bound);
        let takes = decoder.bytes_of_prompt(1000, 2) as u64;
        assert!(takes > 1000 * 4 * (2 * 32), "the states of both taps at least");
        assert!(within(&[1, 1000, 999], Bound::Free(takes)).is_ok() && within(&[], Bound::Free(0)).is_ok());
        for (bound, said) in
            [(Bound::Free(takes - 1), "are available"), (Bound::Option(takes - 1), "--memory")]
        {
            let text = within(&[1, 1000, 999], bound).unwrap_err().to_string();
            assert!(text.starts_with("prompt 8 has 1,000 tokens, whose computation takes about "), "{text}");
            assert!(text.contains(said), "{text}");
        }
        let refused =
            |len, given| check_longest(&decoder, 1, 0, [len], given).map_err(|failure| failure.to_string());
        let said = |said: &str, text: String| assert!(text.contains(said), "{text}");
        match available() {
            Some(_) => said("are available", refused(usize::MAX, None).unwrap_err()),
            None => assert_eq!(refused(usize::MAX, None), Ok(())),
        }
        said("--memory", refused(1000, Some(Megabytes::of_bytes(1))).unwrap_err());
    }

    #[test]
    fn weights_that_do_not_fit_are_named_with_both_sizes() {
        let text = too_large(32_100_000_000, 24_000_000_000, Remedy::Hold).to_string();
        assert!(text.contains("32.1 GB") && text.contains("24 GB"), "{text}");
    }

    #[test]
    fn the_remedy_is_one_that_helps() {
        let device = inject_testing::any_device();
        let refused = |name: &str, precision: Precision, available: u64| {
            let origin = Origin::of_folder(&inject_testing::models::folder(name));
            let files = ModelFiles::open(origin).unwrap();
            check_within(&files, precision, &device, available).map_err(|failure| failure.to_string())
        };
        // 30,240 parameters, of which 224 are in norms.
        let shards = "llama-bf16-shards";
        assert_eq!(refused(shards, Precision::F32, while_loading(4 * 30_240)), Ok(()));
        let text = refused(shards, Precision::F32, while_loading(4 * 30_240) - 1).unwrap_err();
        assert!(text.contains("--hold stored"), "{text}");
        assert_eq!(refused(shards, Precision::default(), while_loading(4 * 224)), Ok(()));
        // Pickled weights are widened however they are to be held.
        for precision in
            [Precision::F32, Precision::default(), Precision::new(Hold::Stored, FloatFormat::F32)]
        {
            let text = refused("gpt-neo-bin", precision, 1000).unwrap_err();
            assert!(text.contains("safetensors") && !text.contains("--hold"), "{text}");
        }
    }

    #[test]
    fn a_model_whose_files_exceed_the_memory_reads_from_the_disk_and_says_so() {
        let folder = inject_testing::models::folder("llama-bf16-shards");
        let device = inject_testing::any_device();
        let precision = Precision::new(Hold::Stored, FloatFormat::F32);
        let decoder = Model::load(Origin::of_folder(&folder), precision, &device).unwrap().decoder;
        // A quarter stays for everything else: in memory of 2 GB a small model is in memory as in any other.
        let in_files = decoder.held_in_files() as u64;
        for available in [4 * in_files.div_ceil(3), BESIDE / 2, BESIDE, u64::MAX] {
            let (all, told) = within(decoder.clone(), available);
            assert!(!all.reads_from_disk() && told.is_none(), "{available}: {told:?}");
        }
        let blocks = decoder.bytes_of_a_pass(Tap::FinalNorm).from_memory;
        let available = blocks as u64;
        let (some, told) = within(decoder, available);
        let told = told.unwrap();
        let again = some.bytes_of_a_pass(Tap::FinalNorm).from_disk as u64;
        assert!(some.reads_from_disk() && 0 < again && again <= available);
        for said in [in_files, available, again] {
            assert!(told.contains(&number::bytes(said)), "{told}");
        }
        assert!(told.contains("disk") && told.contains("GGUF"), "{told}");
    }

    #[test]
    fn the_reserve_of_a_large_model_is_fixed_and_that_of_a_small_one_a_share() {
        assert_eq!(for_weights(24_000_000_000), 22_000_000_000);
        assert_eq!(for_weights(1_900_000_000), 1_425_000_000);
        assert_eq!(for_weights(0), 0);
    }
}
