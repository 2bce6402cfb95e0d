//! The choice among the files of a tokenizer for several releases of Hugging Face transformers.

use std::{collections::BTreeMap, path::Path};

use serde_json::Value;

use crate::checkpoint::read_text;

/// The release of transformers that is followed.
const RELEASE: [u64; 3] = [5, 24, 0];

/// Returns the file that a `tokenizer_config.json` selects in place of `tokenizer.json`, such as `tokenizer.4.0.0.json`. It lies in
/// the same folder. A file of settings that cannot be read selects none: whoever reads the settings says so.
pub(crate) fn versioned_file(settings: &Path) -> Option<String> {
    let settings: Value = serde_json::from_str(&read_text(settings).ok()?).ok()?;
    let files = settings.get("fast_tokenizer_files")?.as_array()?;
    select(files.iter().filter_map(Value::as_str)).map(str::to_owned)
}

/// Selects the last file, by the text of its version, that is not for a later release.
///
/// # Source
///
/// Hugging Face transformers 5.24, `tokenization_utils_base.py` (`get_fast_tokenizer_file`): the search ends at the first version
/// that is too high, and the text `10.0.0` comes before `4.0.0`.
fn select<'n>(files: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    let by_version: BTreeMap<&str, &str> =
        files.filter(|file| is_name(file)).filter_map(|file| Some((version(file)?, file))).collect();
    let suit = |(version, _): &(&str, &str)| release(version).is_some_and(|release| release <= RELEASE);
    by_version.into_iter().take_while(suit).last().map(|(_, file)| file)
}

/// The version in a name, as the expression `tokenizer\.(.*)\.json` finds it.
fn version(file: &str) -> Option<&str> {
    let (_, rest) = file.split_once("tokenizer.")?;
    rest.rsplit_once(".json").map(|(version, _)| version)
}

/// The first three numbers of a version. An end such as `dev0` does not count.
fn release(version: &str) -> Option<[u64; 3]> {
    let mut release = [0; 3];
    for (place, part) in version.strip_prefix('v').unwrap_or(version).split('.').take(3).enumerate() {
        let end = part.find(|sign: char| !sign.is_ascii_digit()).unwrap_or(part.len());
        match part[..end].parse() {
            Ok(number) => release[place] = number,
            Err(_) if place > 0 => break,
            Err(_) => return None,
        }
    }
    Some(release)
}

/// Whether a text from outside is the name of a file in the folder itself.
fn is_name(file: &str) -> bool {
    !file.contains(['/', '\\', ':', '\0'])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What transformers 5.24.0 selects.
    #[test]
    fn the_last_version_in_the_order_of_texts_that_is_not_too_high_is_selected() {
        let selected = |files: &[&'static str]| select(files.iter().copied());
        for (files, expected) in [
            (&["tokenizer.json", "tokenizer.4.0.0.json"][..], Some("tokenizer.4.0.0.json")),
            (&["tokenizer.4.0.0.json", "tokenizer.4.46.json"], Some("tokenizer.4.46.json")),
            (&["tokenizer.9.0.0.json", "tokenizer.4.0.0.json"], Some("tokenizer.4.0.0.json")),
            // The text `10.0.0` comes before `4.0.0`, and ends the search.
            (&["tokenizer.10.0.0.json", "tokenizer.4.0.0.json"], None),
            (&["tokenizer.5.24.0.json"], Some("tokenizer.5.24.0.json")),
            (&["tokenizer.5.24.1.json"], None),
            (&["tokenizer.5.25.json"], None),
            (&["tokenizer.4.0.0.dev0.json"], Some("tokenizer.4.0.0.dev0.json")),
            (&["tokenizer.v4.json"], Some("tokenizer.v4.json")),
            (&["my-tokenizer.4.0.json.bak"], Some("my-tokenizer.4.0.json.bak")),
            (&["tokenizer.json"], None),
            (&["tokenizer.old.json"], None),
            (&["../tokenizer.4.0.0.json"], None),
            (&[], None),
        ] {
            assert_eq!(selected(files), expected, "{files:?}");
        }
    }
}
