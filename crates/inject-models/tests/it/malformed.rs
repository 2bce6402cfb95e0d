//! One test for each way in which a checkpoint can be wrong. The error has the right variant, and its text names the file,
//! the key or tensor, what was found and what was expected.

mod config;
pub(crate) mod gguf;
mod mutations;
mod pickle;
mod rotary;
mod shards;
mod tokenizer;
mod weights;

use std::{collections::BTreeMap, error::Error, fs, path::PathBuf, sync::Arc};

use inject_models::{ConfigProblem, FloatFormat, Model, ModelError, Note, Origin};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde_json::{Map, Value};
use tempfile::TempDir;

use crate::fixture;

/// A copy of a fixture, to be broken in one way.
pub(crate) struct Checkpoint {
    folder: TempDir,
}

/// A tensor as a safetensors file holds it.
pub(crate) struct Stored {
    pub(crate) dtype: Dtype,
    pub(crate) shape: Vec<usize>,
    pub(crate) bytes: Vec<u8>,
}

impl Stored {
    pub(crate) fn f32(shape: &[usize], value: f32) -> Self {
        let bytes = value.to_le_bytes().repeat(shape.iter().product());
        Stored { dtype: Dtype::F32, shape: shape.to_vec(), bytes }
    }
}

impl Checkpoint {
    /// Copies the files of the model, without its golden states.
    pub(crate) fn copy_of(case: &str) -> Self {
        let folder = TempDir::new().unwrap();
        for entry in fs::read_dir(fixture::folder(case)).unwrap().map(Result::unwrap) {
            let name = entry.file_name().into_string().unwrap();
            if !name.starts_with("golden") {
                fs::copy(entry.path(), folder.path().join(name)).unwrap();
            }
        }
        Checkpoint { folder }
    }

    /// The path of a file, or of the folder itself for an empty name.
    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join(file).components().collect()
    }

    pub(crate) fn with_file(self, file: &str, bytes: impl AsRef<[u8]>) -> Self {
        fs::write(self.path(file), bytes).unwrap();
        self
    }

    pub(crate) fn without_file(self, file: &str) -> Self {
        fs::remove_file(self.path(file)).unwrap();
        self
    }

    fn with_bytes(self, file: &str, edit: impl FnOnce(&mut Vec<u8>)) -> Self {
        let mut bytes = fs::read(self.path(file)).unwrap();
        edit(&mut bytes);
        self.with_file(file, bytes)
    }

    fn with_json(self, file: &str, edit: impl FnOnce(&mut Map<String, Value>)) -> Self {
        self.with_bytes(file, |bytes| {
            let mut map = serde_json::from_slice(bytes).unwrap();
            edit(&mut map);
            *bytes = serde_json::to_vec_pretty(&map).unwrap();
        })
    }

    /// Sets a key of config.json; dots lead into nested objects.
    pub(crate) fn with_key(self, key: &str, value: impl Into<Value>) -> Self {
        self.with_json("config.json", |config| {
            let (outer, last) = key.rsplit_once('.').unwrap_or(("", key));
            let outer = outer.split('.').filter(|step| !step.is_empty());
            let inner = outer.fold(config, |map, step| map[step].as_object_mut().unwrap());
            inner.insert(last.to_owned(), value.into());
        })
    }

    pub(crate) fn without_key(self, key: &str) -> Self {
        self.with_json("config.json", |config| {
            config.remove(key).unwrap();
        })
    }

    /// Edits the header of model.safetensors and leaves the data as they are.
    fn with_header(self, edit: impl FnOnce(&mut Map<String, Value>)) -> Self {
        self.with_bytes("model.safetensors", |bytes| {
            let begin = 8 + header_len(bytes);
            let mut header = serde_json::from_slice(&bytes[8..begin]).unwrap();
            edit(&mut header);
            let header = serde_json::to_vec(&header).unwrap();
            let len = (header.len() as u64).to_le_bytes();
            *bytes = [&len, header.as_slice(), &bytes[begin..]].concat();
        })
    }

    /// Edits the tensors of model.safetensors and writes it anew.
    pub(crate) fn with_tensors(self, edit: impl FnOnce(&mut BTreeMap<String, Stored>)) -> Self {
        self.with_bytes("model.safetensors", |bytes| {
            let file = SafeTensors::deserialize(bytes).unwrap();
            let mut tensors = file.iter().map(|(name, view)| (name.to_owned(), owned(&view))).collect();
            edit(&mut tensors);
            let views = tensors.iter().map(|(name, stored)| {
                (name, TensorView::new(stored.dtype, stored.shape.clone(), &stored.bytes).unwrap())
            });
            *bytes = safetensors::serialize(views, None).unwrap();
        })
    }

    /// Gives the embedding and the head of a copy of `llama` so many rows.
    pub(crate) fn with_rows(self, rows: usize) -> Self {
        self.with_tensors(|tensors| {
            for name in ["model.embed_tokens.weight", "lm_head.weight"] {
                tensors.insert(name.to_owned(), Stored::f32(&[rows, 32], 0.5));
            }
        })
    }

    /// Loads it on the first device: files are read and checked on the host.
    pub(crate) fn load(&self) -> Result<Model, ModelError> {
        let origin = Origin::of_folder(self.folder.path());
        Model::load(origin, FloatFormat::F32, &inject_testing::any_device())
    }

    /// The error of loading it. The error and its causes together must say all of this, and the path of a file.
    pub(crate) fn error(&self, file: &str, says: &[&str]) -> ModelError {
        let error = self.load().map(|_| ()).expect_err("it loads");
        let message = chain(&error);
        let path = self.path(file).display().to_string();
        for part in says.iter().copied().chain([path.as_str()]) {
            assert!(message.contains(part), "no `{part}` in: {message}");
        }
        error
    }

    /// The error of using its tokenizer. It and its causes together must say all of this, and the path of a file. The model loads
    /// without it, and notes the error.
    pub(crate) fn tokenizer_error(&self, file: &str, says: &[&str]) -> Arc<ModelError> {
        let model = self.load().expect("a model that needs no tokenizer");
        let error = match model.tokenizer() {
            Err(ModelError::UnusableTokenizer { source }) => source,
            other => panic!("{:?}", other.map(|_| "it is usable")),
        };
        let message = chain(&error);
        let path = self.path(file).display().to_string();
        for part in says.iter().copied().chain([path.as_str()]) {
            assert!(message.contains(part), "no `{part}` in: {message}");
        }
        let reason = message.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(model.notes().contains(&Note::UnusableTokenizer { reason }), "{:?}", model.notes());
        error
    }

    /// The only problem of config.json. The error must say all of this.
    fn problem(&self, says: &[&str]) -> ConfigProblem {
        match self.problems(says).as_slice() {
            [problem] => problem.clone(),
            other => panic!("{other:?}"),
        }
    }

    /// The problems of config.json. The error must say all of this.
    fn problems(&self, says: &[&str]) -> Vec<ConfigProblem> {
        match self.error("config.json", says) {
            ModelError::Config { path, problems } => {
                assert_eq!(path, self.path("config.json"));
                problems
            }
            other => panic!("{other:?}"),
        }
    }

    /// Checks that config.json is refused for the value of one key.
    fn bad_key(&self, name: &str, value: &str, wanted: &str) {
        match self.problem(&[&format!("`{name}`"), value, wanted]) {
            ConfigProblem::Value { key, found, expected } => {
                assert_eq!((key.as_str(), found.as_str()), (name, value));
                assert!(expected.contains(wanted), "{expected}");
            }
            other => panic!("{other:?}"),
        }
    }

    /// Checks that config.json is refused because two keys contradict each other.
    fn contradiction(&self, names: [&str; 2], values: [&str; 2]) {
        let problem = self.problem(&[]);
        let ConfigProblem::Contradiction { key, found, other, other_found } = problem else {
            panic!("{problem:?}")
        };
        assert_eq!([key.as_str(), other.as_str()], names);
        assert_eq!([found.as_str(), other_found.as_str()], values);
    }

    /// Checks that a weight file is refused as damaged, for a reason that says all of this.
    pub(crate) fn damaged(&self, file: &str, says: &[&str]) {
        match self.error(file, says) {
            ModelError::Damaged { path, .. } => assert_eq!(path, self.path(file)),
            other => panic!("{other:?}"),
        }
    }
}

pub(crate) fn owned(view: &TensorView<'_>) -> Stored {
    Stored { dtype: view.dtype(), shape: view.shape().to_vec(), bytes: view.data().to_vec() }
}

/// An error and its causes on one line.
pub(super) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text += &format!(": {cause}");
        source = cause.source();
    }
    text
}

/// Length of the header of a safetensors file.
fn header_len(bytes: &[u8]) -> usize {
    u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize
}
