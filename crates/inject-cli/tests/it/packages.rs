//! The files of the packages that are published.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

use super::layering::metadata;

/// The files that `cargo package` takes of a crate.
fn packed(manifest: &str) -> Vec<PathBuf> {
    let output = Command::new(env!("CARGO"))
        .args(["package", "--list", "--allow-dirty", "--offline", "--manifest-path", manifest])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().lines().map(PathBuf::from).collect()
}

/// The texts between quotation marks in the comments of a source file. In doctests they name files; prose has backticks.
fn quoted(source: &str) -> Vec<&str> {
    let documented = source.lines().map(str::trim_start).filter(|line| line.starts_with("//"));
    documented.flat_map(|line| line.split('"').skip(1).step_by(2)).collect()
}

/// The Rust files of a folder and its folders.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| match path.is_dir() {
            true => sources(&path),
            false => vec![path],
        })
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .collect()
}

/// Whether a file makes part of a checkpoint: the settings and the weights.
fn is_of_a_checkpoint(name: &str) -> bool {
    name.ends_with(".json") || (name.starts_with("model") && name.ends_with(".safetensors"))
}

#[test]
fn the_files_that_doctests_read_are_in_the_packages() {
    let metadata = metadata();
    let published =
        metadata["packages"].as_array().unwrap().iter().filter(|package| package["publish"] == Value::Null);
    let mut read = 0;
    for package in published {
        let (name, manifest) = (&package["name"], package["manifest_path"].as_str().unwrap());
        let folder = Path::new(manifest).parent().unwrap();
        let packed = packed(manifest);
        for source in sources(&folder.join("src")) {
            let text = fs::read_to_string(&source).unwrap();
            let quoted = quoted(&text);
            for path in quoted.iter().filter(|path| path.starts_with("tests/")) {
                read += 1;
                let whole = folder.join(path);
                let expected: Vec<PathBuf> = match whole.is_dir() {
                    false => vec![path.into()],
                    true => {
                        let names = fs::read_dir(whole).unwrap().map(|entry| entry.unwrap().file_name());
                        let names = names.map(|name| name.into_string().unwrap());
                        let named = |name: &str| is_of_a_checkpoint(name) || quoted.contains(&name);
                        names.filter(|name| named(name)).map(|name| Path::new(path).join(name)).collect()
                    }
                };
                assert!(!expected.is_empty(), "{}: there is nothing to read in {path}", source.display());
                for file in expected {
                    assert!(packed.contains(&file), "{name}: {} reads {}", source.display(), file.display());
                }
            }
        }
    }
    // Those of inject-models, inject-states and inject-sipit, or the search has missed them.
    assert!(read > 15, "found {read} files that doctests read");
}
