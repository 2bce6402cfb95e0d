//! The layers of the workspace, held by a test: each library crate depends on the one below it and on no other.

use std::{collections::BTreeSet, process::Command};

use serde_json::Value;

const LAYERS: [&str; 5] =
    ["inject-models", "inject-states", "inject-collisions", "inject-sipit", "inject-studies"];

pub(crate) fn metadata() -> Value {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn package<'a>(metadata: &'a Value, name: &str) -> &'a Value {
    metadata["packages"].as_array().unwrap().iter().find(|package| package["name"] == name).unwrap()
}

/// Dependencies that a user of the package gets, with their features.
fn shipped(package: &Value) -> impl Iterator<Item = &Value> {
    package["dependencies"].as_array().unwrap().iter().filter(|dependency| dependency["kind"].is_null())
}

#[test]
fn each_layer_depends_on_the_one_below_and_on_no_other() {
    let metadata = metadata();
    for (height, name) in LAYERS.into_iter().enumerate() {
        let found: BTreeSet<&str> = shipped(package(&metadata, name))
            .map(|dependency| dependency["name"].as_str().unwrap())
            .filter(|dependency| dependency.starts_with("inject-"))
            .collect();
        let expected: BTreeSet<&str> = height.checked_sub(1).map(|below| LAYERS[below]).into_iter().collect();
        assert_eq!(found, expected, "{name}");
    }
}

#[test]
fn no_library_crate_switches_on_a_backend() {
    const BACKENDS: [&str; 7] = ["flex", "ndarray", "cuda", "wgpu", "rocm", "metal", "cpu"];
    let metadata = metadata();
    for name in LAYERS {
        let package = package(&metadata, name);
        for dependency in
            shipped(package).filter(|dependency| dependency["name"].as_str().unwrap().starts_with("burn"))
        {
            for feature in dependency["features"].as_array().unwrap() {
                assert!(!BACKENDS.contains(&feature.as_str().unwrap()), "{name}: {feature}");
            }
            assert_eq!(dependency["uses_default_features"], false, "{name}");
        }
        for (feature, switched_on) in package["features"].as_object().unwrap() {
            let text = switched_on.to_string();
            assert!(
                !BACKENDS.iter().any(|backend| text.contains(&format!("burn/{backend}"))),
                "{name}: {feature}"
            );
        }
    }
}

/// Their types occur in the signatures of all libraries; those of ndarray from the states on.
#[test]
fn every_library_has_the_crates_of_its_signatures_as_modules() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    for name in LAYERS {
        let text = std::fs::read_to_string(root.join(name).join("src/lib.rs")).unwrap();
        for module in if name == "inject-models" { &["burn"][..] } else { &["burn", "ndarray"] } {
            assert!(text.contains(&format!("\npub use {module};\n")), "{name}: {module}");
        }
    }
}

#[test]
fn every_crate_takes_its_versions_from_the_workspace() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap();
    for folder in [
        "crates/inject-models",
        "crates/inject-states",
        "crates/inject-collisions",
        "crates/inject-sipit",
        "crates/inject-prompts",
        "crates/inject-studies",
        "crates/inject-cli",
        "benches",
    ] {
        let manifest = std::fs::read_to_string(root.join(folder).join("Cargo.toml")).unwrap();
        let dependencies = manifest.split("dependencies]").skip(1);
        for line in dependencies.flat_map(|section| section.split("\n[").next().unwrap().lines()) {
            // A crate's own features, for its tests.
            let itself = line.contains("path = \".\"");
            let pinned = line.trim().is_empty()
                || line.starts_with('#')
                || line.contains("workspace = true")
                || itself;
            assert!(pinned, "{folder}: {line}");
        }
    }
}
