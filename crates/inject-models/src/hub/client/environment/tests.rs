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
