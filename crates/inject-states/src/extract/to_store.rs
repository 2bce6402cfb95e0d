//! Extraction straight to disk.

use std::path::Path;

use inject_models::{Decoder, Progress, Tap, Unit, silent};

use super::{ExtractError, Extraction, TASK, noise::measure_noise};
use crate::store::{Block, Opened, Store, StoreSpec, StoreWriter};

/// The number of prompts that are computed again for the noise floor.
const NOISE_SAMPLE: usize = 16;

/// The largest number of prompts in a block.
const BLOCK: usize = 1024;

/// Computes the states of prompts into a store, block by block, so that memory does not grow with their number.
///
/// Killed at any moment and called again with the same arguments, it goes on after the last block on disk. Called again
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
    assert_eq!(spec.taps, extraction.taps(), "the spec and the extraction name different taps");
    assert_eq!(
        spec.positions,
        extraction.positions(),
        "the spec and the extraction name different positions"
    );
    assert_eq!(spec.d_model, decoder.config().d_model, "the spec and the decoder have different widths");
    // Bad prompts are found before the first file is made.
    let config = decoder.config();
    prompts.iter().enumerate().try_for_each(|(prompt, ids)| config.check_prompt(prompt, ids))?;
    let mut writer = match StoreWriter::open(dir, spec, prompts)? {
        Opened::Complete(store) => return Ok(store),
        Opened::Writing(writer) => writer,
    };
    let mut report =
        |done: usize| progress(Progress::new(TASK, Unit::Prompts, done as u64, prompts.len() as u64));
    report(writer.next_prompt());
    while writer.next_prompt() < prompts.len() {
        let begin = writer.next_prompt();
        let block = &prompts[begin..begin + block_len(extraction, decoder, &prompts[begin..])];
        let states = extraction
            .run(decoder, block, &mut silent)
            .map_err(|error| error.renumbered(|prompt| begin + prompt))?;
        let views: Vec<(Tap, &[f32])> = states.iter().map(|(&tap, states)| (tap, states.values())).collect();
        writer.append(&Block::new(block.len(), &views))?;
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
