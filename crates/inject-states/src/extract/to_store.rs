//! Extraction straight to disk.

use std::{ops::Range, path::Path};

use inject_models::{Decoder, Progress, Tap, Unit, silent};

use super::{ExtractError, Extraction, TASK, noise::measure_noise};
use crate::{
    share::Share,
    store::{Block, Opened, Store, StoreError, StoreShare, StoreSpec, StoreWriter, sha256},
};

/// The number of prompts that are computed again for the noise floor.
const NOISE_SAMPLE: usize = 16;

/// The largest number of prompts in a block.
const BLOCK: usize = 1024;

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
    let blocks = blocks(extraction, decoder, prompts, &spec)?;
    extract_blocks(extraction, decoder, prompts, &blocks, dir, spec, progress)
}

/// Computes one share of the states of prompts into a store of its own. Returns `None`, and makes no store, if there are fewer blocks
/// of prompts than shares and this one is empty.
///
/// A share holds neighbouring prompts, computed in the same batches as without shares, and the noise floors are those of a sample of
/// all prompts. So [`merge`](crate::store::merge()) makes of all shares exactly the store that [`extract_to_store`] writes. Each share
/// continues after a kill as that does. The manifest says which share it is.
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
    let blocks = blocks(extraction, decoder, prompts, &spec)?;
    let Some(first_prompt) = blocks.get(share.range(blocks.len()).start).map(|block| block.start) else {
        return Err(StoreError::NoPrompts.into());
    };
    let blocks = &blocks[share.range(blocks.len())];
    if blocks.is_empty() {
        return Ok(None);
    }
    let about = StoreShare {
        share,
        first_prompt,
        prompt_count: prompts.len(),
        prompts_sha256: sha256(prompts),
        batch_bytes: extraction.memory_budget,
    };
    let spec = StoreSpec { share: Some(about), ..spec };
    extract_blocks(extraction, decoder, prompts, blocks, dir, spec, progress).map(Some)
}

/// Returns the prompts that are computed together, block by block.
///
/// # Errors
///
/// [`ExtractError::Model`] if the decoder refuses a prompt, which is found before the first file is made.
///
/// # Panics
///
/// Panics if the spec is not that of the extraction and the decoder.
fn blocks(
    extraction: &Extraction,
    decoder: &Decoder,
    prompts: &[Vec<u32>],
    spec: &StoreSpec,
) -> Result<Vec<Range<usize>>, ExtractError> {
    assert_eq!(spec.taps, extraction.taps(), "the spec and the extraction name different taps");
    assert_eq!(
        spec.positions,
        extraction.positions(),
        "the spec and the extraction name different positions"
    );
    assert_eq!(spec.d_model, decoder.config().d_model, "the spec and the decoder have different widths");
    let config = decoder.config();
    prompts.iter().enumerate().try_for_each(|(prompt, ids)| config.check_prompt(prompt, ids))?;
    let mut blocks = Vec::new();
    let mut begin = 0;
    while begin < prompts.len() {
        let end = begin + block_len(extraction, decoder, &prompts[begin..]);
        blocks.push(begin..end);
        begin = end;
    }
    Ok(blocks)
}

/// Computes some blocks into a store.
fn extract_blocks(
    extraction: &Extraction,
    decoder: &Decoder,
    prompts: &[Vec<u32>],
    blocks: &[Range<usize>],
    dir: &Path,
    spec: StoreSpec,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<Store, ExtractError> {
    let first = blocks.first().map_or(0, |block| block.start);
    let own = first..blocks.last().map_or(0, |block| block.end);
    let mut writer = match StoreWriter::open(dir, spec, &prompts[own.clone()])? {
        Opened::Complete(store) => return Ok(store),
        Opened::Writing(writer) => writer,
    };
    let mut report =
        |done: usize| progress(Progress::new(TASK, Unit::Prompts, done as u64, own.len() as u64));
    report(writer.next_prompt());
    for block in blocks {
        let done = (first + writer.next_prompt()).max(block.start);
        if done >= block.end {
            continue;
        }
        // The whole block, even if some of it is in the store: prompts that are computed together are computed alike.
        let numbered = |error: ExtractError, from: usize| error.renumbered(|prompt| from + prompt);
        let states = extraction
            .run(decoder, &prompts[block.clone()], &mut silent)
            .map_err(|error| numbered(error, block.start))?;
        let known = extraction.rows(&prompts[block.start..done]) * decoder.config().d_model;
        let views: Vec<(Tap, &[f32])> =
            states.iter().map(|(&tap, states)| (tap, &states.values()[known..])).collect();
        writer
            .append(&Block::new(block.end - done, &views))
            .map_err(|error| numbered(error.into(), first))?;
        report(writer.next_prompt());
    }
    let noise = measure_noise(extraction, decoder, prompts, NOISE_SAMPLE)?;
    Ok(writer.finish(Some(noise))?)
}

/// Returns the number of next prompts that make one block: at least one, and as many as keep the block's states within the memory
/// budget, so that batches of similar length can be found among them.
fn block_len(extraction: &Extraction, decoder: &Decoder, prompts: &[Vec<u32>]) -> usize {
    let bytes_per_row = 4 * extraction.taps().len() * decoder.config().d_model;
    let mut bytes = 0;
    let fitting = prompts.iter().take(BLOCK).take_while(|prompt| {
        bytes += extraction.rows(std::slice::from_ref(*prompt)) * bytes_per_row;
        bytes <= extraction.memory_budget
    });
    fitting.count().max(1)
}
