//! The folder of a checkpoint that is being written.

use inject_sipit::{
    models::{Progress, RandomCheckpoint},
    states::durable::{self, FileError},
};

use crate::{options::OutputFolder, outcome::Failure, unfinished::write_together};

/// Writes every file of a checkpoint, `config.json` last: until then the folder is not a checkpoint.
///
/// # Errors
///
/// As [`write_together`].
pub(crate) fn write(
    checkpoint: &RandomCheckpoint,
    folder: &OutputFolder,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<(), Failure> {
    let files = checkpoint.files();
    let Some((config, weights)) = files.split_last() else { return Ok(()) };
    let names: Vec<&str> = files.iter().map(|file| file.name()).collect();
    write_together(folder, &names, is_of_weights, |out| {
        for file in weights {
            let path = folder.path().join(file.name());
            durable::replace_with(&path, |out| {
                file.write_to(out, progress).map_err(FileError::of("write", &path))
            })?;
        }
        let path = folder.path().join(config.name());
        Ok(config.write_to(out, progress).map_err(FileError::of("write", &path))?)
    })?;
    files.iter().for_each(|file| folder.record(file.name()));
    Ok(())
}

/// Whether a file is one of those that hold or list weights.
fn is_of_weights(name: &str) -> bool {
    name.starts_with("model") && (name.ends_with(".safetensors") || name.ends_with(".safetensors.index.json"))
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use inject_sipit::models::{FloatFormat, silent};

    use super::*;

    const CONFIG: &str = r#"{ "model_type": "gpt2", "n_embd": 8, "n_head": 2, "n_layer": 1, "n_positions": 16, "vocab_size": 50 }"#;

    fn checkpoint(seed: u64) -> RandomCheckpoint {
        RandomCheckpoint::of_config(CONFIG, FloatFormat::Bf16, seed).unwrap()
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<String> = entries.map(|name| name.into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn what_a_killed_run_left_is_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let folder = OutputFolder::open(&dir.path().join("new")).unwrap();
        for name in ["config.json.partial", "model-00001-of-00009.safetensors", "model.safetensors.partial"] {
            fs::write(folder.path().join(name), "garbage").unwrap();
        }
        write(&checkpoint(1), &folder, &mut silent).unwrap();
        assert_eq!(names(folder.path()), ["config.json", "model.safetensors"]);
        let again = OutputFolder::open(&dir.path().join("again")).unwrap();
        write(&checkpoint(1), &again, &mut silent).unwrap();
        let weights = |folder: &OutputFolder| fs::read(folder.path().join("model.safetensors")).unwrap();
        assert_eq!(weights(&folder), weights(&again));
    }

    #[test]
    fn a_folder_with_anything_else_is_refused_and_stays_as_it_is() {
        for other in [&["README.md"][..], &["model.safetensors"], &["config.json", "model.safetensors"]] {
            let dir = tempfile::tempdir().unwrap();
            other.iter().for_each(|name| fs::write(dir.path().join(name), "mine").unwrap());
            let folder = OutputFolder::open(dir.path()).unwrap();
            let error = write(&checkpoint(1), &folder, &mut silent).unwrap_err();
            assert!(error.to_string().contains("expected a new or empty folder"), "{error}");
            assert_eq!(names(dir.path()), other);
        }
    }

    #[test]
    fn a_second_writer_is_refused_and_does_no_harm() {
        let dir = tempfile::tempdir().unwrap();
        let folder = OutputFolder::open(&dir.path().join("new")).unwrap();
        let mut refused = 0;
        write(&checkpoint(1), &folder, &mut |_| {
            let second = OutputFolder::open(folder.path()).unwrap();
            let error = write(&checkpoint(2), &second, &mut silent).unwrap_err();
            assert!(error.to_string().contains("another process is writing"), "{error}");
            refused += 1;
        })
        .unwrap();
        assert!(refused > 0);
        assert_eq!(names(folder.path()), ["config.json", "model.safetensors"]);
    }

    #[test]
    fn an_interrupted_run_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new");
        let interrupted = std::panic::catch_unwind(|| {
            let folder = OutputFolder::open(&path).unwrap();
            write(&checkpoint(1), &folder, &mut |_| std::panic::resume_unwind(Box::new("signal")))
        });
        assert_eq!(interrupted.unwrap_err().downcast_ref(), Some(&"signal"));
        assert!(!path.exists());
    }
}
