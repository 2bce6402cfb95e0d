//! The stores of all shares of a job, put together.

use std::{ops::Range, path::Path};

use inject_models::{Progress, Tap, Unit};

use super::{
    error::StoreError,
    ids,
    manifest::{noise::NoiseFloors, share::StoreShare, spec::StoreSpec},
    read::Store,
    write::{Opened, StoreWriter, block::Block},
};
use crate::share::{CoverError, ShareResult};

/// The name of the work in reports of progress.
const TASK: &str = "merge";

/// The bytes of states that are copied at a time.
const COPIED: usize = 64 << 20;

/// Merges the stores of all shares of a job, which may be given in any order. The result equals, byte for byte, the store
/// of an undivided extraction.
///
/// The states of the shares are compared with their checksums while they are copied. Neither states nor prompts are in memory all at
/// once, so it does not grow with their number. Killed at any moment and called again with
/// the same arguments, it continues after the last block on disk. Called again after the end, it does nothing. A floor of noise is
/// the largest of the shares'.
///
/// # Errors
///
/// - [`StoreError::NotAShare`] and [`StoreError::DifferentShare`] if the stores are not shares of one job.
/// - [`StoreError::Shares`] if they are not all of its shares, each once.
/// - The errors of [`StoreWriter::open`] and [`Store::tap`].
///
/// # Example
///
/// ```
/// use inject_states::{
///     Extraction, Share, extract_share_to_store, extract_to_store,
///     models::{FloatFormat, Model, Origin, Tap, silent},
///     store::{self, Positions, StoreSpec},
/// };
///
/// # let device = burn::tensor::Device::flex();
/// # let model = Model::load(Origin::of_folder("tests/fixtures/tiny".as_ref()), FloatFormat::F32, &device)?;
/// # let folder = tempfile::tempdir()?;
/// // A batch may take little memory, so that there are several blocks of prompts to divide.
/// let extraction = Extraction::new(vec![Tap::Block(1)], Positions::All)?.with_memory_budget(1 << 10);
/// let spec = || StoreSpec::of(&model, &extraction);
/// let prompts: Vec<Vec<u32>> = (0..40).map(|i| vec![i, 2 * i, 3]).collect();
/// let mut shares = Vec::new();
/// for share in [Share::new(1, 2)?, Share::new(0, 2)?] {
///     let dir = folder.path().join(share.number().to_string());
///     shares.extend(extract_share_to_store(share, &extraction, &model.decoder, &prompts, &dir, spec()?, &mut silent)?);
/// }
/// let merged = store::merge(&shares, &folder.path().join("merged"), &mut silent)?;
/// let whole =
///     extract_to_store(&extraction, &model.decoder, &prompts, &folder.path().join("whole"), spec()?, &mut silent)?;
/// assert_eq!(merged.manifest(), whole.manifest());
/// assert_eq!(merged.fingerprint(Tap::Block(1))?, whole.fingerprint(Tap::Block(1))?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn merge(
    shares: &[Store],
    dir: &Path,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<Store, StoreError> {
    let shares = in_order(shares)?;
    let prompts = shares.iter().flat_map(|(store, _)| store.prompts_in_passing());
    let (first, about) = shares[0];
    let (prompts_sha256, expected) = (ids::prompts::sha256(prompts.clone()), &about.prompts_sha256);
    if prompts_sha256 != *expected {
        let (path, field) = (first.dir().to_owned(), "share.prompts_sha256".to_owned());
        return Err(StoreError::Field { path, field, found: prompts_sha256, expected: expected.clone() });
    }
    let noise = noise(&shares)?;
    let spec = StoreSpec { share: None, ..first.manifest().spec.clone() };
    let mut writer = match StoreWriter::open_with(dir, spec, prompts, prompts_sha256)? {
        Opened::Complete(store) => return Ok(store),
        Opened::Writing(writer) => writer,
    };
    let mut report = |done: usize| {
        progress(Progress::new(TASK, Unit::Prompts, done as u64, about.prompt_count as u64));
    };
    report(writer.next_prompt());
    for &(store, about) in &shares {
        for part in parts(store) {
            // Prompts that an interrupted merge has copied are left out.
            let copied = writer.next_prompt().saturating_sub(about.first_prompt);
            let part = part.start.max(copied)..part.end;
            if !part.is_empty() {
                copy(store, part, &mut writer)?;
                store.release();
                report(writer.next_prompt());
            }
        }
    }
    writer.finish(noise)
}

/// Returns the stores in the order of their prompts, each with its share, if they are all shares of one job.
fn in_order(stores: &[Store]) -> Result<Vec<(&Store, &StoreShare)>, StoreError> {
    let with_share = |store| Ok((store, share_of(store)?));
    let shares = stores.iter().map(with_share).collect::<Result<Vec<_>, StoreError>>()?;
    let Some(&(first, about)) = shares.first() else { return Err(CoverError::Nothing.into()) };
    for (store, _) in &shares[1..] {
        if let Some(difference) = first.manifest().difference_of_share(store.manifest()) {
            return Err(StoreError::different_share(store.dir(), first.dir(), difference));
        }
    }
    let result = |(store, about): &(&Store, &StoreShare)| {
        let prompts = about.first_prompt..about.first_prompt + store.manifest().prompt_count;
        ShareResult::new(store.dir().to_owned(), about.share, prompts)
    };
    let results: Vec<ShareResult> = shares.iter().map(result).collect();
    let order = ShareResult::cover(&results, about.prompt_count, "prompts")?;
    Ok(order.into_iter().map(|at| shares[at]).collect())
}

fn share_of(store: &Store) -> Result<&StoreShare, StoreError> {
    let share = store.manifest().spec.share.as_ref();
    share.ok_or_else(|| StoreError::NotAShare { path: store.dir().to_owned() })
}

/// The floors over all shares, if every share has floors.
fn noise(shares: &[(&Store, &StoreShare)]) -> Result<Option<NoiseFloors>, StoreError> {
    let floors: Option<Vec<&NoiseFloors>> =
        shares.iter().map(|(store, _)| store.manifest().noise.as_ref()).collect();
    Ok(floors.and_then(|floors| floors.into_iter().cloned().reduce(NoiseFloors::largest)))
}

/// The prompts of a store in parts whose states fit into [`COPIED`] bytes. A part has at least one prompt.
fn parts(store: &Store) -> Vec<Range<usize>> {
    let manifest = store.manifest();
    let bytes_per_row = 4 * manifest.spec.d_model * manifest.spec.taps.len();
    let mut parts: Vec<Range<usize>> = Vec::new();
    let mut bytes = 0;
    for prompt in 0..manifest.prompt_count {
        let more = store.rows_of(prompt).len() * bytes_per_row;
        bytes += more;
        match parts.last_mut() {
            Some(part) if bytes <= COPIED => part.end += 1,
            _ => {
                parts.push(prompt..prompt + 1);
                bytes = more;
            }
        }
    }
    parts
}

/// Copies the states of some prompts of a share. Narrow numbers are widened and narrowed again, which changes none of them.
fn copy(store: &Store, prompts: Range<usize>, writer: &mut StoreWriter) -> Result<(), StoreError> {
    let rows = store.rows_of(prompts.start).start..store.rows_of(prompts.end - 1).end;
    let read =
        |&tap: &Tap| Ok((tap, store.tap(tap)?.rows_to_array(rows.clone()).into_raw_vec_and_offset().0));
    let states: Vec<(Tap, Vec<f32>)> =
        store.manifest().spec.taps.iter().map(read).collect::<Result<_, StoreError>>()?;
    let views: Vec<(Tap, &[f32])> = states.iter().map(|(tap, states)| (*tap, states.as_slice())).collect();
    writer.append(&Block::new(prompts.len(), &views))
}
