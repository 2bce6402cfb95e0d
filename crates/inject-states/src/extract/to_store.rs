//! Extraction straight to disk.

use std::path::Path;

use inject_models::{Decoder, Progress, Tap, Unit, silent};

use super::{
    ExtractError, Extraction, TASK,
    blocks::Blocks,
    noise::{NOISE_SAMPLE, noise_of, sample},
    share_prompts::SharePrompts,
};
use crate::{
    share::Share,
    store::{Block, Opened, Store, StoreSpec, StoreWriter},
};

/// Computes the states of prompts into a store, block by block, so that memory does not grow with their number.
///
/// Killed at any moment and called again with the same arguments, it continues after the last block on disk. Called again
/// after the end, it does nothing. `progress` is called after each block.
///
/// # Errors
///
/// [`ExtractError`] if the decoder refuses a prompt or a tap, a state is not finite or too large for the store's format, or
/// the folder holds something else.
///
/// # Panics
///
/// Panics if the spec names other taps or positions than the extraction, or another width than the decoder.
pub fn extract_to_store(
    extraction: &Extraction,
    decoder: &Decoder,
    prompts: &[Vec<u32>],
    dir: &Path,
    spec: StoreSpec,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<Store, ExtractError> {
    let config = decoder.config();
    prompts.iter().enumerate().try_for_each(|(prompt, ids)| config.check_prompt(prompt, ids))?;
    extract_blocks(extraction, decoder, prompts, &sample(prompts, NOISE_SAMPLE), dir, spec, progress)
}

/// Computes one share of the states of prompts into a store of its own. Returns `None`, and makes no store, if there are fewer blocks
/// of prompts than shares and this one is empty.
///
/// A share holds neighbouring prompts, computed in the same batches as without shares, and the noise floors are those of a sample of
/// all prompts. So [`merge`](crate::store::merge()) makes of all shares exactly the store that [`extract_to_store`] writes. Each share
/// continues after a kill as that does. The manifest says which share it is. [`SharePrompts`] does the same with prompts that are not in
/// memory.
///
/// # Errors
///
/// As [`extract_to_store`].
///
/// # Panics
///
/// As [`extract_to_store`].
pub fn extract_share_to_store(
    share: Share,
    extraction: &Extraction,
    decoder: &Decoder,
    prompts: &[Vec<u32>],
    dir: &Path,
    spec: StoreSpec,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<Option<Store>, ExtractError> {
    let all = || Ok::<_, ExtractError>(prompts.iter().cloned().map(Ok));
    match SharePrompts::read(share, extraction, decoder, usize::MAX, all)? {
        Some(own) => own.extract_to_store(dir, spec, progress).map(Some),
        None => Ok(None),
    }
}

/// Computes the prompts of a job, or of one share of it, into a store. `sample` is the sample of all prompts of the job for the noise
/// floors.
pub(super) fn extract_blocks(
    extraction: &Extraction,
    decoder: &Decoder,
    prompts: &[Vec<u32>],
    sample: &[Vec<u32>],
    dir: &Path,
    spec: StoreSpec,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<Store, ExtractError> {
    assert_eq!(spec.taps, extraction.taps(), "the spec and the extraction name different taps");
    assert_eq!(
        spec.positions,
        extraction.positions(),
        "the spec and the extraction name different positions"
    );
    assert_eq!(spec.d_model, decoder.config().d_model, "the spec and the decoder have different widths");
    let first = spec.share.as_ref().map_or(0, |about| about.first_prompt);
    let mut writer = match StoreWriter::open(dir, spec, prompts)? {
        Opened::Complete(store) => return Ok(store),
        Opened::Writing(writer) => writer,
    };
    let mut report =
        |done: usize| progress(Progress::new(TASK, Unit::Prompts, done as u64, prompts.len() as u64));
    report(writer.next_prompt());
    for block in Blocks::new(extraction, decoder).of(prompts) {
        let done = writer.next_prompt().max(block.start);
        if done >= block.end {
            continue;
        }
        // The whole block, even if some of it is in the store: prompts that are computed together are computed alike.
        let numbered = |error: ExtractError, from: usize| error.renumbered(|prompt| from + prompt);
        let states = extraction
            .run(decoder, &prompts[block.clone()], &mut silent)
            .map_err(|error| numbered(error, first + block.start))?;
        let known = extraction.rows(&prompts[block.start..done]) * decoder.config().d_model;
        let views: Vec<(Tap, &[f32])> =
            states.iter().map(|(&tap, states)| (tap, &states.values()[known..])).collect();
        writer
            .append(&Block::new(block.end - done, &views))
            .map_err(|error| numbered(error.into(), first))?;
        report(writer.next_prompt());
    }
    let noise = noise_of(extraction, decoder, sample, progress)?;
    Ok(writer.finish(Some(noise))?)
}
