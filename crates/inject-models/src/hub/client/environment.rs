//! The environment variables that `huggingface_hub` reads, read as it reads them.
//!
//! # Source
//!
//! huggingface/huggingface_hub, `src/huggingface_hub/constants.py` and `utils/_auth.py`.

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

/// The environment.
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

#[cfg(test)]
mod tests {
    use super::*;

    fn from(vars: &[(&str, &str)]) -> Result<HubOptions, HubError> {
        options(|name| vars.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into()))
    }

    fn cache_of(vars: &[(&str, &str)]) -> String {
        from(vars).unwrap().cache_dir().to_str().unwrap().to_owned()
    }

    #[test]
    fn without_variables_the_public_hub_and_the_home_cache_are_used() {
        let options = from(&[("HOME", "/nonexistent")]).unwrap();
        assert_eq!(options.endpoint(), "https://huggingface.co");
        assert_eq!(options.cache_dir(), Path::new("/nonexistent/.cache/huggingface/hub"));
        assert_eq!((options.token(), options.is_offline()), (None, false));
    }

    #[test]
    fn the_cache_is_found_in_the_order_of_huggingface_hub() {
        let mut vars = vec![("HOME", "/h")];
        for (name, value, cache) in [
            ("XDG_CACHE_HOME", "/xdg", "/xdg/huggingface/hub"),
            ("HF_HOME", "/hf", "/hf/hub"),
            ("HUGGINGFACE_HUB_CACHE", "/old", "/old"),
            ("HF_HUB_CACHE", "/new", "/new"),
        ] {
            vars.push((name, value));
            assert_eq!(cache_of(&vars), cache);
        }
    }

    #[test]
    fn tilde_and_variables_are_expanded_in_folders() {
        let with = |cache| cache_of(&[("HOME", "/h"), ("DISK", "/d"), ("HF_HUB_CACHE", cache)]);
        assert_eq!(with("~"), "/h");
        assert_eq!(with("~/hub"), "/h/hub");
        assert_eq!(with("~other/hub"), "~other/hub");
        assert_eq!(with("$DISK/${DISK}/$NONE/${NONE}$"), "/d//d/$NONE/${NONE}$");
    }

    #[test]
    fn an_empty_variable_counts_as_not_set() {
        assert_eq!(
            cache_of(&[("HOME", "/h"), ("HF_HOME", ""), ("HF_ENDPOINT", "")]),
            "/h/.cache/huggingface/hub"
        );
    }

    #[test]
    fn without_any_home_the_error_names_the_variables() {
        let error = from(&[]).unwrap_err().to_string();
        assert!(error.contains("HF_HOME") && error.contains("HF_HUB_CACHE"), "{error}");
    }

    #[test]
    fn offline_is_read_in_any_case() {
        for yes in ["1", "true", "True", "YES", "on"] {
            assert!(from(&[("HOME", "/h"), ("HF_HUB_OFFLINE", yes)]).unwrap().is_offline(), "{yes}");
        }
        for no in ["", "0", "false", "no", "off", "2"] {
            assert!(!from(&[("HOME", "/h"), ("HF_HUB_OFFLINE", no)]).unwrap().is_offline(), "{no}");
        }
        assert!(from(&[("HOME", "/h"), ("TRANSFORMERS_OFFLINE", "1")]).unwrap().is_offline());
    }

    #[test]
    fn the_download_timeout_is_whole_seconds() {
        let with = |time| from(&[("HOME", "/h"), ("HF_HUB_DOWNLOAD_TIMEOUT", time)]);
        assert_eq!(with("7").unwrap().idle_timeout(), Duration::from_secs(7));
        for time in ["0", "-1", "1.5", "soon", "99999999999999"] {
            assert!(with(time).unwrap_err().to_string().starts_with("HF_HUB_DOWNLOAD_TIMEOUT"), "{time}");
        }
    }

    #[test]
    fn a_token_variable_goes_before_the_token_files() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().to_str().unwrap();
        fs::write(folder.path().join("token"), "hf_home\n").unwrap();
        fs::write(folder.path().join("other"), " hf_other\r\n").unwrap();
        let other = folder.path().join("other");
        let token = |vars: &[(&str, &str)]| from(vars).unwrap().token().map(str::to_owned);

        let mut vars = vec![("HF_HOME", home)];
        assert_eq!(token(&vars).unwrap(), "hf_home");
        vars.push(("HF_TOKEN_PATH", other.to_str().unwrap()));
        assert_eq!(token(&vars).unwrap(), "hf_other");
        vars.push(("HUGGING_FACE_HUB_TOKEN", "hf_old"));
        assert_eq!(token(&vars).unwrap(), "hf_old");
        vars.push(("HF_TOKEN", "hf_new\n"));
        assert_eq!(token(&vars).unwrap(), "hf_new");
    }
    #[test]
    fn a_token_file_without_end_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let token = || from(&[("HF_HOME", "/nonexistent"), ("HF_TOKEN_PATH", path.to_str().unwrap())]);
        fs::write(&path, " ".repeat(MAX_TOKEN_FILE as usize)).unwrap();
        assert_eq!(token().unwrap().token(), None);
        File::options().write(true).open(&path).unwrap().set_len(3 << 30).unwrap();
        assert!(token().unwrap_err().to_string().contains("more than 65536 bytes"));
    }

    #[cfg(unix)]
    #[test]
    fn a_token_file_that_is_a_pipe_or_a_device_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("token");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let home = folder.path().to_str().unwrap();
        for vars in [[("HF_HOME", home), ("HOME", "/h")], [("HOME", "/h"), ("HF_TOKEN_PATH", "/dev/zero")]] {
            let error = from(&vars).unwrap_err().to_string();
            assert!(error.starts_with("HF_TOKEN_PATH") && error.contains("a device or a pipe"), "{error}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_setting_that_is_not_utf_8_is_refused() {
        use std::os::unix::ffi::OsStringExt;
        let with = |unreadable: &str, more: &[(&str, &str)]| {
            options(|name| match name == unreadable {
                true => Some(OsString::from_vec(b"/x\xff".to_vec())),
                false => more.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into()),
            })
        };
        for name in [
            "HF_HOME",
            "HF_HUB_CACHE",
            "HF_ENDPOINT",
            "HF_TOKEN",
            "HF_TOKEN_PATH",
            "HF_HUB_OFFLINE",
            "HF_HUB_DOWNLOAD_TIMEOUT",
            "HOME",
        ] {
            let error = with(name, &[("XDG_CACHE_HOME", "~/c")]).unwrap_err().to_string();
            assert!(error.ends_with(": the value is not UTF-8"), "{name}: {error}");
            assert!(error.starts_with(name) || name == "HOME", "{name}: {error}");
        }
        let error = with("DISK", &[("HF_HOME", "$DISK/hf")]).unwrap_err().to_string();
        assert!(error.starts_with("HF_HOME: "), "{error}");
        // Nobody asks for it.
        with("HOME", &[("HF_HOME", "/nonexistent")]).unwrap();
    }
}
