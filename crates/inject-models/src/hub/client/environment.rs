//! The environment variables that `huggingface_hub` reads, read as it reads them.
//!
//! # Source
//!
//! huggingface/huggingface_hub, `src/huggingface_hub/constants.py` and `utils/_auth.py`.

use std::{
    cell::RefCell,
    ffi::OsString,
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
    time::Duration,
};

use super::{HubError, HubOptions, options::setting};

/// Longest file of a token. The Hub's tokens have 37 characters.
const MAX_TOKEN: u64 = 4096;

/// The options that the variables ask for, as [`HubOptions::from_env`] describes.
///
/// A variable that is not UTF-8 is an error. If it were ignored, a token could go to another endpoint than the one that was meant.
pub(super) fn options(var: impl Fn(&str) -> Option<OsString>) -> Result<HubOptions, HubError> {
    let unreadable = RefCell::new(None);
    let text = |name: &str| match var(name)?.into_string() {
        Ok(value) => Some(value).filter(|value| !value.is_empty()),
        Err(_) => {
            unreadable.replace(Some(name.to_owned()));
            None
        }
    };
    let options = from_texts(text);
    match unreadable.into_inner() {
        Some(name) => Err(setting("the environment", &format!("{name} is not UTF-8"))),
        None => options,
    }
}

fn from_texts(var: impl Fn(&str) -> Option<String>) -> Result<HubOptions, HubError> {
    let folder = |name: &str| Some(PathBuf::from(expand(&var(name)?, &var)));
    let hf_home = || {
        let xdg = || folder("XDG_CACHE_HOME").map(|cache| cache.join("huggingface"));
        let home = || home(&var).map(|home| Path::new(&home).join(".cache").join("huggingface"));
        folder("HF_HOME").or_else(xdg).or_else(home)
    };

    let cache_dir = folder("HF_HUB_CACHE")
        .or_else(|| folder("HUGGINGFACE_HUB_CACHE"))
        .or_else(|| Some(hf_home()?.join("hub")))
        .ok_or_else(|| setting("HF_HOME", "not set, and neither are HF_HUB_CACHE, XDG_CACHE_HOME, HOME"))?;
    let mut options = HubOptions::new(cache_dir);

    if let Some(endpoint) = var("HF_ENDPOINT") {
        options = options.with_endpoint(&endpoint)?;
    }
    let in_variable =
        || var("HF_TOKEN").and_then(clean).or_else(|| var("HUGGING_FACE_HUB_TOKEN").and_then(clean));
    let token = match in_variable() {
        Some(token) => Some(token),
        None => match folder("HF_TOKEN_PATH").or_else(|| Some(hf_home()?.join("token"))) {
            Some(path) => read_token(&path)?,
            None => None,
        },
    };
    if let Some(token) = token {
        options = options.with_token(&token)?;
    }
    if let Some(seconds) = var("HF_HUB_DOWNLOAD_TIMEOUT") {
        let number = seconds.parse().map_err(|_| {
            setting("HF_HUB_DOWNLOAD_TIMEOUT", &format!("{seconds:?} is not a whole number of seconds"))
        })?;
        let connect = options.connect_timeout();
        options = options.with_timeouts(connect, Duration::from_secs(number))?;
    }
    let offline = var("HF_HUB_OFFLINE").or_else(|| var("TRANSFORMERS_OFFLINE"));
    Ok(options.with_offline(offline.is_some_and(|text| is_true(&text))))
}

fn is_true(text: &str) -> bool {
    ["1", "true", "yes", "on"].iter().any(|yes| text.eq_ignore_ascii_case(yes))
}

fn home(var: &impl Fn(&str) -> Option<String>) -> Option<String> {
    var("HOME").or_else(|| var("USERPROFILE"))
}

/// Python's `expanduser` (of one's own home only), then `expandvars`: an unknown `$NAME` stays as it is.
///
/// The crate shellexpand reads `$$` and `${NAME:-default}` as a shell does, and Python does not.
fn expand(text: &str, var: &impl Fn(&str) -> Option<String>) -> String {
    let text = match (text.strip_prefix('~'), home(var)) {
        (Some(rest), Some(home)) if rest.is_empty() || rest.starts_with('/') => format!("{home}{rest}"),
        _ => text.to_owned(),
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
        match var(name) {
            Some(value) => expanded.extend([&value, rest]),
            None => expanded.extend(["$", piece]),
        }
    }
    expanded
}

/// A token as copied from a file or a terminal, without the line ends; `None` if nothing is left.
fn clean(token: String) -> Option<String> {
    let token = token.replace(['\r', '\n'], "");
    Some(token.trim().to_owned()).filter(|token| !token.is_empty())
}

/// Reads the token of a file, which may be a device without end.
fn read_token(path: &Path) -> Result<Option<String>, HubError> {
    let refused = |problem: &str| setting("HF_TOKEN_PATH", &format!("{}: {problem}", path.display()));
    let read = || {
        let mut token = String::new();
        File::open(path)?.take(MAX_TOKEN + 1).read_to_string(&mut token)?;
        Ok(token)
    };
    match read() {
        Ok(token) if token.len() as u64 > MAX_TOKEN => {
            Err(refused(&format!("more than {MAX_TOKEN} bytes, which is no token")))
        }
        Ok(token) => Ok(clean(token)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(refused(&error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn from(vars: &[(&str, &str)]) -> Result<HubOptions, HubError> {
        let value =
            |name: &str| vars.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value));
        options(value)
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

    #[cfg(unix)]
    #[test]
    fn a_variable_that_is_not_utf_8_is_named_and_not_ignored() {
        use std::os::unix::ffi::OsStringExt;
        for name in ["HF_ENDPOINT", "HF_HUB_CACHE", "HF_TOKEN", "HF_HUB_OFFLINE", "HF_HUB_DOWNLOAD_TIMEOUT"] {
            let error = options(|asked| match asked {
                "HOME" => Some("/nonexistent".into()),
                _ => (asked == name).then(|| OsString::from_vec(b"hf_secret\xff".to_vec())),
            });
            assert_eq!(error.unwrap_err().to_string(), format!("the environment: {name} is not UTF-8"));
        }
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

    #[cfg(target_os = "linux")]
    #[test]
    fn a_token_is_not_read_from_a_device_or_a_huge_file() {
        let folder = tempfile::tempdir().unwrap();
        let huge = folder.path().join("huge");
        File::create(&huge).unwrap().set_len(1 << 40).unwrap();
        for path in ["/dev/zero", huge.to_str().unwrap()] {
            let error = from(&[("HOME", "/h"), ("HF_TOKEN_PATH", path)]).unwrap_err().to_string();
            assert!(error.starts_with(&format!("HF_TOKEN_PATH: {path}: more than 4096 bytes")), "{error}");
        }
    }
}
