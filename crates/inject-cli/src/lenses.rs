//! Lenses from a folder.

use std::{fs, path::Path, sync::Arc};

use inject_sipit::{InvertError, Lens, LensError, models::Tap, states::durable};

use crate::{options::LoadedModel, outcome::Failure};

/// Whether the parts of a lens are compared with their checksums.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Checksums {
    Compared,
    Skipped,
}

/// The lens for a tap from a folder.
///
/// # Errors
///
/// [`Failure`] if there is none for the tap, or it is damaged or was made for other weights.
pub(crate) fn required_lens(
    folder: &Path,
    model: &LoadedModel,
    tap: Tap,
    checksums: Checksums,
) -> Result<Arc<Lens>, Failure> {
    find_lens(folder, model, tap, checksums)?.ok_or_else(|| {
        let there = taps_of(folder);
        let there = if there.is_empty() { "none".to_owned() } else { there.join(", ") };
        Failure::new(format!("--lens {}: no lens for {tap}; it has lenses for: {there}", folder.display()))
    })
}

/// The lens for a tap from a folder, or nothing if the folder has none for it.
///
/// # Errors
///
/// [`Failure`] if there is no such folder, or the lens is damaged or was made for other weights.
pub(crate) fn find_lens(
    folder: &Path,
    model: &LoadedModel,
    tap: Tap,
    checksums: Checksums,
) -> Result<Option<Arc<Lens>>, Failure> {
    if !folder.is_dir() {
        return Err(Failure::new(format!("--lens {}: no such folder", folder.display())));
    }
    let load = match checksums {
        Checksums::Compared => Lens::load,
        Checksums::Skipped => Lens::load_unverified,
    };
    match load(folder, tap, model.weight_hash()?, &model.decoder.device()) {
        Ok(lens) => Ok(Some(Arc::new(lens))),
        Err(InvertError::Lens(LensError::File(error))) if error.is_missing() => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The identity of the lens for a tap, if a folder is given and has one.
///
/// # Errors
///
/// [`Failure`] if the file cannot be read.
pub(crate) fn fingerprint_at(folder: Option<&Path>, tap: Tap) -> Result<Option<String>, Failure> {
    let path = folder.map(|folder| folder.join(Lens::file_name(tap)));
    Ok(path.filter(|path| path.is_file()).map(|path| durable::fingerprint(&path)).transpose()?)
}

/// Checks that a folder, if one is given, has a file for each tap. So a missing lens is noticed before the work.
///
/// # Errors
///
/// [`Failure`] naming the taps without a lens.
pub(crate) fn check_lenses(folder: Option<&Path>, taps: &[Tap]) -> Result<(), Failure> {
    let Some(folder) = folder else { return Ok(()) };
    let missing = taps.iter().filter(|&&tap| !folder.join(Lens::file_name(tap)).is_file());
    let missing: Vec<String> = missing.map(Tap::to_string).collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(Failure::new(format!("--lens {}: no lens for {}", folder.display(), missing.join(", "))))
}

/// The taps that a folder has lenses for, by the names of its files.
fn taps_of(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut taps: Vec<Tap> = names
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            name.strip_prefix("lens-")?.strip_suffix(".safetensors")?.parse().ok()
        })
        .collect();
    taps.sort_unstable();
    taps.iter().map(Tap::to_string).collect()
}
