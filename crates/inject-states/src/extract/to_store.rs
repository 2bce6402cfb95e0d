//! Extraction straight to disk.

use std::{collections::BTreeMap, path::Path};

use inject_models::{Decoder, Tap};

use super::{ExtractError, Extraction, Progress, noise::measure_noise};
use crate::store::{Block, Opened, Store, StoreSpec, StoreWriter};

/// How many prompts are recomputed for the noise floor.
const NOISE_SAMPLE: usize = 16;

/// Computes the states of prompts into a store, block by block, so that memory does not grow with their number.
///
/// Killed at any moment and called again with the same arguments, it goes on after the last block on disk; called again
/// after the end, it does nothing. The spec's taps and positions must be those of the extraction.
///
/// # Errors
///
/// [`ExtractError`]: what the decoder refuses, a state that is not finite or too large for the store's dtype, or a store of
/// another job in the folder.
///
/// # Panics
///
/// If the spec names other taps, positions or another width than the extraction and the decoder.
pub fn extract_to_store(
    extraction: &Extraction,
    decoder: &Decoder,
    prompts: &[Vec<u32>],
    dir: &Path,
    spec: StoreSpec,
    progress: &mut dyn FnMut(Progress),
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
    progress(Progress { prompts_done: writer.next_prompt(), prompts: prompts.len() });
    while writer.next_prompt() < prompts.len() {
        let begin = writer.next_prompt();
        let block = &prompts[begin..begin + block_len(extraction, decoder, &prompts[begin..])];
        let rows = extraction.rows(block);
        let mut states: BTreeMap<Tap, Vec<f32>> =
            extraction.taps().iter().map(|&tap| (tap, vec![0.0; rows * decoder.config().d_model])).collect();
        extraction.fill(decoder, block, &mut states, &mut |_| ()).map_err(|error| shifted(error, begin))?;
        let views: Vec<(Tap, &[f32])> =
            states.iter().map(|(&tap, values)| (tap, values.as_slice())).collect();
        writer.append(&Block { prompts: block.len(), states: &views })?;
        progress(Progress { prompts_done: writer.next_prompt(), prompts: prompts.len() });
    }
    let noise = measure_noise(extraction, decoder, prompts, NOISE_SAMPLE)?;
    Ok(writer.finish(Some(noise))?)
}

/// How many of the next prompts make one block: as many as leave its states within the memory budget, so that batches of
/// similar length can be found among them; at least one.
fn block_len(extraction: &Extraction, decoder: &Decoder, prompts: &[Vec<u32>]) -> usize {
    const MOST: usize = 1024;
    let bytes_per_row = 4 * extraction.taps().len() * decoder.config().d_model;
    let mut bytes = 0;
    let fitting = prompts.iter().take(MOST).take_while(|prompt| {
        bytes += extraction.rows(std::slice::from_ref(*prompt)) * bytes_per_row;
        bytes <= extraction.memory_budget
    });
    fitting.count().max(1)
}

/// Errors count prompts within a block; callers count from the first of all.
fn shifted(error: ExtractError, begin: usize) -> ExtractError {
    match error {
        ExtractError::NotFinite { prompt, position, tap, found } => {
            ExtractError::NotFinite { prompt: begin + prompt, position, tap, found }
        }
        other => other,
    }
}
