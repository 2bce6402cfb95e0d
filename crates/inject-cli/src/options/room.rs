//! Whether a model fits into memory.

use std::{fs, path::Path};

use inject_sipit::models::{Decoder, DecoderConfig};

use crate::{number, outcome::Failure, output::note};

/// The memory that is free or can be freed, in bytes, if the system tells.
fn available() -> Option<u64> {
    in_meminfo(&fs::read_to_string("/proc/meminfo").ok()?)
}

fn in_meminfo(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kilobytes.checked_mul(1024)
}

/// Returns whether the weights of a folder take less than half of the memory as F32, or neither size is known.
pub(super) fn is_ample(folder: &Path) -> bool {
    let sizes = widened(folder).zip(available());
    sizes.is_none_or(|(weights, available)| weights <= available / 2)
}

/// The size of the weights of a folder as F32, in bytes.
fn widened(folder: &Path) -> Option<u64> {
    let config = DecoderConfig::read(&folder.join("config.json")).ok()?;
    Some(4 * config.n_parameters() as u64)
}

/// Checks that the weights of a folder fit into memory as F32. What cannot be found out is left to the loader.
///
/// # Errors
///
/// [`Failure`] with both sizes and the option that helps.
pub(super) fn check_widened(folder: &Path) -> Result<(), Failure> {
    match widened(folder).zip(available()) {
        Some((weights, available)) => fits(weights, available),
        None => Ok(()),
    }
}

fn fits(weights: u64, available: u64) -> Result<(), Failure> {
    match weights > available {
        false => Ok(()),
        true => Err(Failure::new(format!(
            "the weights take {} in f32, and {} of memory are available: `--hold stored` leaves them in their files",
            number::bytes(weights),
            number::bytes(available)
        ))),
    }
}

/// The memory beside the weights that stay in their files: for the program, the states of a pass and its caches.
const BESIDE: u64 = 2_000_000_000;

/// The same decoder, which keeps as many of the weights in its files in memory as there is room for. Says so if that is not all.
pub(super) fn within_memory(decoder: Decoder) -> Decoder {
    let Some(available) = available() else { return decoder };
    let in_files = decoder.held_in_files() as u64;
    let room = available.saturating_sub(BESIDE);
    let decoder = decoder.with_weights_in_memory(usize::try_from(room).unwrap_or(usize::MAX));
    if decoder.reads_from_disk() {
        note(&of_disk(in_files, available));
    }
    decoder
}

fn of_disk(in_files: u64, available: u64) -> String {
    format!(
        "the weights take {} and {} of memory are available: each pass reads the rest from the disk again",
        number::bytes(in_files),
        number::bytes(available)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn available_memory_is_that_of_the_system() {
        assert_eq!(in_meminfo("MemTotal:  9 kB\nMemAvailable:   2048 kB\n"), Some(2 << 20));
        assert_eq!(in_meminfo("MemTotal:  9 kB\n"), None);
    }

    #[test]
    fn weights_that_do_not_fit_are_named_with_the_option_that_helps() {
        assert!(fits(8, 8).is_ok());
        let text = fits(32_100_000_000, 24_000_000_000).unwrap_err().to_string();
        assert!(
            text.contains("32.1 GB") && text.contains("24 GB") && text.contains("--hold stored"),
            "{text}"
        );
        assert!(of_disk(24_400_000_000, 20_000_000_000).contains("24.4 GB and 20 GB"));
    }
}
