//! The environment variables that `huggingface_hub` reads, read as it reads them.
//!
//! # Source
//!
//! huggingface/huggingface_hub, `src/huggingface_hub/constants.py` and `utils/_auth.py`.

#[cfg(test)]
mod tests;

use std::{
    cell::Cell,
    ffi::OsString,
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    error::HubError,
    options::{HubOptions, setting},
};

/// Longest token file. The Hub's tokens have some forty characters.
const MAX_TOKEN_FILE: u64 = 64 << 10;

/// The options that the variables ask for, as [`HubOptions::from_env`] describes.
pub(super) fn options(lookup: impl Fn(&str) -> Option<OsString>) -> Result<HubOptions, HubError> {
    let variables = Variables { lookup, unreadable: Cell::new(None) };
    let options = variables.options();
    // A setting that cannot be read does not count as one that is missing: the public Hub would take the place of another.
    match variables.unreadable.get() {
        Some(name) => Err(setting(name, "the value is not UTF-8")),
        None => options,
    }
}

/// The environment variables that set options of the Hub.
struct Variables<F> {
    lookup: F,
    /// The latest setting that is not UTF-8.
    unreadable: Cell<Option<&'static str>>,
}

impl<F: Fn(&str) -> Option<OsString>> Variables<F> {
    fn options(&self) -> Result<HubOptions, HubError> {
        let hf_home = || {
            let xdg = || self.folder("XDG_CACHE_HOME").map(|cache| cache.join("huggingface"));
            let home = || Some(Path::new(&self.home("HOME")?).join(".cache").join("huggingface"));
            self.folder("HF_HOME").or_else(xdg).or_else(home)
        };

        let cache_dir = self
            .folder("HF_HUB_CACHE")
            .or_else(|| self.folder("HUGGINGFACE_HUB_CACHE"))
            .or_else(|| Some(hf_home()?.join("hub")))
            .ok_or_else(|| {
                setting("HF_HOME", "not set, and neither are HF_HUB_CACHE, XDG_CACHE_HOME, HOME")
            })?;
        let mut options = HubOptions::new(cache_dir);

        if let Some(endpoint) = self.get("HF_ENDPOINT") {
            options = options.with_endpoint(&endpoint)?;
        }
        let in_variable = || {
            self.get("HF_TOKEN")
                .and_then(clean)
                .or_else(|| self.get("HUGGING_FACE_HUB_TOKEN").and_then(clean))
        };
        let token = match in_variable() {
            Some(token) => Some(token),
            None => match self.folder("HF_TOKEN_PATH").or_else(|| Some(hf_home()?.join("token"))) {
                Some(path) => read_token(&path)?,
                None => None,
            },
        };
        if let Some(token) = token {
            options = options.with_token(&token)?;
        }
        if let Some(seconds) = self.get("HF_HUB_DOWNLOAD_TIMEOUT") {
            let number = seconds.parse().map_err(|_| {
                setting("HF_HUB_DOWNLOAD_TIMEOUT", &format!("{seconds:?} is not a whole number of seconds"))
            })?;
            let connect = options.connect_timeout();
            options = options.with_timeouts(connect, Duration::from_secs(number))?;
        }
        let offline = self.get("HF_HUB_OFFLINE").or_else(|| self.get("TRANSFORMERS_OFFLINE"));
        Ok(options.with_offline(offline.is_some_and(|text| is_true(&text))))
    }

    fn get(&self, name: &'static str) -> Option<String> {
        self.part_of(name, name)
    }

    /// The value of a variable that a setting consists of or refers to.
    fn part_of(&self, setting: &'static str, name: &str) -> Option<String> {
        match (self.lookup)(name)?.into_string() {
            Ok(value) => Some(value).filter(|value| !value.is_empty()),
            Err(_) => {
                self.unreadable.set(Some(setting));
                None
            }
        }
    }

    fn folder(&self, name: &'static str) -> Option<PathBuf> {
        Some(self.expand(name, &self.get(name)?).into())
    }

    fn home(&self, setting: &'static str) -> Option<String> {
        self.part_of(setting, "HOME").or_else(|| self.part_of(setting, "USERPROFILE"))
    }

    /// Python's `expanduser` (of one's own home only), then `expandvars`: an unknown `$NAME` stays as it is.
    ///
    /// The crate shellexpand reads `$$` and `${NAME:-default}` as a shell does, and Python does not.
    fn expand(&self, setting: &'static str, text: &str) -> String {
        let below_home = text.strip_prefix('~').filter(|rest| rest.is_empty() || rest.starts_with('/'));
        let text = match below_home.and_then(|rest| Some(format!("{}{rest}", self.home(setting)?))) {
            Some(text) => text,
            None => text.to_owned(),
        };
        let mut pieces = text.split('$');
        let mut expanded = pieces.next().unwrap_or_default().to_owned();
        for piece in pieces {
            let (name, rest) = match piece.strip_prefix('{').and_then(|braced| braced.split_once('}')) {
                Some(braced) => braced,
                None => piece.split_at(
                    piece.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(piece.len()),
                ),
            };
            match self.part_of(setting, name) {
                Some(value) => expanded.extend([&value, rest]),
                None => expanded.extend(["$", piece]),
            }
        }
        expanded
    }
}

fn is_true(text: &str) -> bool {
    ["1", "true", "yes", "on"].iter().any(|yes| text.eq_ignore_ascii_case(yes))
}

/// A token as copied from a file or a terminal, without the line ends; `None` if nothing is left.
fn clean(token: String) -> Option<String> {
    let token = token.replace(['\r', '\n'], "");
    Some(token.trim().to_owned()).filter(|token| !token.is_empty())
}

fn read_token(path: &Path) -> Result<Option<String>, HubError> {
    let unusable = |problem: &str| setting("HF_TOKEN_PATH", &format!("{}: {problem}", path.display()));
    // A pipe would be waited for, and a device read without end.
    let read = fs::metadata(path).and_then(|metadata| match metadata.is_file() {
        true => File::open(path),
        false => Err(io::Error::other("expected an ordinary file, found a folder, a device or a pipe")),
    });
    let mut token = String::new();
    match read.and_then(|file| file.take(MAX_TOKEN_FILE + 1).read_to_string(&mut token)) {
        Ok(read) if read as u64 > MAX_TOKEN_FILE => {
            Err(unusable(&format!("more than {MAX_TOKEN_FILE} bytes, expected a token")))
        }
        Ok(_) => Ok(clean(token)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(unusable(&error.to_string())),
    }
}
