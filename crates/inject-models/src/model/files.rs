//! The files of a model, opened once: what they say before any weight is read, and the loading of the weights.

use std::path::Path;

use burn::tensor::Device;

use super::{
    Model, Origin,
    own_tokenizer::{OwnTokenizer, find_named, opened},
};
use crate::{
    checkpoint::{self, Adapter, Checkpoint, Gguf, Instead, Tie, Weights, read_text},
    config::{DecoderConfig, Head},
    decoder::Decoder,
    error::ModelError,
    families::{self, Described, Description},
    format::FloatFormat,
    note::Note,
    precision::{Hold, Precision},
    tokenizer::{Built, Tokenizer},
};

/// The opened files of a model. The config, the tokenizer and the headers of the weight files are read and checked. The weights are
/// not read yet.
///
/// [`Model::load`] opens and loads in one call. The two steps are for a caller that decides by the size of the weights whether or how
/// to load them.
#[derive(Debug)]
pub struct ModelFiles {
    description: Description,
    bos_token_id: Option<u32>,
    tokenizer: OwnTokenizer,
    adapter: Option<Adapter>,
    checkpoint: Checkpoint,
    origin: Origin,
    notes: Vec<Note>,
}

impl ModelFiles {
    /// Opens a checkpoint folder or a GGUF file.
    ///
    /// # Errors
    ///
    /// Fails for a folder that is not a complete checkpoint of a known family. The error names the file and the key.
    ///
    /// # Example
    ///
    /// ```
    /// use burn::tensor::Device;
    /// use inject_models::{FloatFormat, ModelFiles, Origin, Precision};
    ///
    /// # let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/llama-bf16-shards");
    /// let device = Device::flex();
    /// let files = ModelFiles::open(Origin::of_folder(&folder))?;
    /// assert_eq!(files.bytes_in_memory(FloatFormat::F32, &device), 4 * 30_240); // all parameters, four bytes each
    /// assert_eq!(files.bytes_in_memory(Precision::default(), &device), 4 * 224); // seven norms
    /// let model = files.load(Precision::default(), &device)?;
    /// # Ok::<(), inject_models::ModelError>(())
    /// ```
    pub fn open(origin: Origin) -> Result<Self, ModelError> {
        let adapter = origin.adapter.as_deref().map(Adapter::open).transpose();
        let note = origin.note();
        let files = match Gguf::find(&origin.folder) {
            Some(path) => Gguf::open(path.clone()).and_then(|file| Self::open_gguf(file, &path, origin)),
            None => Self::open_folder(origin),
        };
        let (mut files, adapter) = ModelError::both(files, adapter)?;
        let names = files.description.family.names();
        files.notes.extend(adapter.iter().flat_map(|adapter| adapter.notes(names)));
        files.adapter = adapter;
        files.notes.splice(0..0, note);
        Ok(files)
    }

    /// Opens all but the adapter.
    fn open_folder(origin: Origin) -> Result<Self, ModelError> {
        let config_path = origin.folder.join("config.json");
        if !config_path.is_file() {
            // Weights under whatever name are not what is missing.
            match Instead::look(&origin.folder) {
                None
                | Some(
                    Instead::OtherNames { .. }
                    | Instead::ShardsWithoutIndex { .. }
                    | Instead::Variant { .. }
                    | Instead::OtherFramework { .. },
                ) => {}
                Some(found) => return Err(ModelError::Instead { folder: origin.folder, found }),
            }
        }
        let described = read_text(&config_path).and_then(|text| families::describe(&config_path, &text));
        let (described, ()) = ModelError::both(described, find_named(&origin))?;
        let Described { description, bos_token_id, quantisation, mut notes } = described;
        // Before the weights: reading a large tokenizer.json takes as much memory again as keeping it, and that memory is
        // then free for the weights.
        let vocab_size = description.config.vocab_size;
        let tokenizer = match &origin.tokenizer {
            Some(place) => opened(place, vocab_size, bos_token_id, &config_path).map(OwnTokenizer::from),
            None => Ok(Tokenizer::open(&origin.folder, vocab_size, bos_token_id, &config_path).into()),
        };
        let checkpoint = Checkpoint::open(&origin.folder).and_then(|checkpoint| {
            let (checkpoint, unwrapped) = checkpoint.unwrapped();
            checkpoint.refuse_unmerged()?;
            let (checkpoint, unquantised) = checkpoint::dequantised(checkpoint, quantisation.as_ref())?;
            Ok((checkpoint, unwrapped.into_iter().chain(unquantised)))
        });
        let (tokenizer, (checkpoint, of_checkpoint)) = ModelError::both(tokenizer, checkpoint)?;
        notes.extend(of_checkpoint);
        notes.extend(tokenizer.notes());
        notes.extend(adapter_beside(&origin, &origin.folder));
        Ok(ModelFiles { description, bos_token_id, tokenizer, adapter: None, checkpoint, origin, notes })
    }

    /// Opens all but the adapter from a GGUF file: its metadata take the place of `config.json` and `tokenizer.json`.
    fn open_gguf(file: Gguf, path: &Path, origin: Origin) -> Result<Self, ModelError> {
        let (described, ()) = ModelError::both(file.describe(), find_named(&origin))?;
        let Described { description, bos_token_id, mut notes, .. } = described;
        let vocab_size = description.config.vocab_size;
        let tokenizer = match &origin.tokenizer {
            Some(place) => opened(place, vocab_size, bos_token_id, path).map(OwnTokenizer::from),
            None => {
                let built = file.tokenizer();
                let tokenizer = |built: Built| Tokenizer::new(built, path, vocab_size, bos_token_id, path);
                Ok(built.map(|built| built.map(tokenizer)).into())
            }
        };
        let (tokenizer, checkpoint) = ModelError::both(tokenizer, file.checkpoint())?;
        notes.extend(tokenizer.notes());
        notes.extend(path.parent().and_then(|folder| adapter_beside(&origin, folder)));
        Ok(ModelFiles { description, bos_token_id, tokenizer, adapter: None, checkpoint, origin, notes })
    }

    /// Returns the memory that the weights take as tensors once they are loaded. Weights that stay in mapped files do not count.
    /// A matrix that an adapter changes does not stay there. A head that is tied to the embedding and stored beside it counts, because only
    /// its values show whether it is loaded.
    ///
    /// # Units
    ///
    /// Bytes.
    pub fn bytes_in_memory(&self, precision: impl Into<Precision>, device: &Device) -> u64 {
        let Precision { hold, compute } = precision.into();
        let hold = match compute {
            // All matrices are rounded to the format after they are loaded.
            FloatFormat::F16 | FloatFormat::Bf16 => Hold::Computed,
            FloatFormat::F32 | FloatFormat::F64 => hold.on(device, compute),
        };
        let Description { family, config, .. } = &self.description;
        let weights = Weights::new(&self.checkpoint, *family, device, Precision::new(hold, compute));
        // A head that an adapter separates from the embedding.
        let of_adapter = self.adapter.as_ref().map(|adapter| adapter.changes_apart(family.names()));
        let is_separated = of_adapter.is_some_and(|modules| !modules.is_empty());
        let separated = match (config.head, weights.stored_head()) {
            (Head::Tied, None) if is_separated => config.vocab_size * config.d_model * compute.bytes(),
            _ => 0,
        };
        weights.bytes_in_memory(config.n_layers(), self.adapter.as_ref()) + separated as u64
    }

    /// Reads the weights, as [`Model::load`] does.
    ///
    /// # Errors
    ///
    /// Fails if the tensors are not those of the family, a value is not finite, or a file can no longer be read.
    pub fn load(self, precision: impl Into<Precision>, device: &Device) -> Result<Model, ModelError> {
        let ModelFiles {
            mut description,
            bos_token_id,
            tokenizer,
            mut adapter,
            checkpoint,
            origin,
            mut notes,
        } = self;
        let mut precision = precision.into();
        let wanted = precision.compute;
        precision.hold = precision.hold.on(device, wanted);
        if wanted != FloatFormat::F64 {
            precision.compute = FloatFormat::F32;
        }
        let family = description.family;
        if let Some(adapter) = &mut adapter {
            adapter.compare(&checkpoint, family.names())?;
        }
        let mut weights = Weights::new(&checkpoint, family, device, precision);
        judge_head(&mut description.config, &mut weights, &mut notes)?;
        weights.refuse_unfit(&description.config)?;
        let mut decoder = Decoder::load(description.config, weights)?;
        // Its files take memory that the merging of an adapter can use.
        drop(checkpoint);
        if let Some(adapter) = adapter {
            let modules = adapter.changes_apart(family.names());
            let ties = decoder.config().head == Head::Tied;
            notes.extend((ties && !modules.is_empty()).then_some(Note::ChangedApart { modules }));
            decoder = decoder.merged(&adapter, family)?;
        }
        if wanted != precision.compute {
            decoder = decoder.computing_in(wanted);
        }
        Ok(Model { decoder, tokenizer, family, bos_token_id, origin, notes })
    }
}

/// Compares the head that the config describes with the one in the checkpoint. One that is missing is not an error: states
/// need none. One that is tied and stored with other values counts, as since release 5.0 of transformers.
///
/// # Source
///
/// Hugging Face transformers 5.24, `modeling_utils.py` (`tie_weights`).
fn judge_head(
    config: &mut DecoderConfig,
    weights: &mut Weights<'_>,
    notes: &mut Vec<Note>,
) -> Result<(), ModelError> {
    match (config.head, weights.stored_head()) {
        (Head::Untied, None) => {
            config.head = Head::Absent;
            notes.push(Note::NoHead);
        }
        (Head::Tied, Some(tensor)) => {
            if weights.tie(&tensor)? == Tie::Different {
                config.head = Head::Untied;
                notes.push(Note::OtherHead { tensor });
            }
        }
        (Head::Untied, Some(_)) | (Head::Tied | Head::Absent, None) | (Head::Absent, Some(_)) => {}
    }
    Ok(())
}

/// Notes an adapter in the folder of a model that is not applied.
fn adapter_beside(origin: &Origin, folder: &Path) -> Option<Note> {
    let is_beside = folder.join("adapter_config.json").is_file() && origin.adapter.as_deref() != Some(folder);
    is_beside.then(|| Note::AdapterBeside { base: checkpoint::base_of_adapter(folder) })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn weights_are_loaded_from_the_files_that_were_opened() {
        let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/llama-bf16-shards");
        let folder = tempfile::tempdir().unwrap();
        for entry in fs::read_dir(fixture).unwrap() {
            let path = entry.unwrap().path();
            fs::copy(&path, folder.path().join(path.file_name().unwrap())).unwrap();
        }
        let device = Device::flex();
        let files = ModelFiles::open(Origin::of_folder(folder.path())).unwrap();
        for entry in fs::read_dir(folder.path()).unwrap() {
            fs::remove_file(entry.unwrap().path()).unwrap();
        }
        let model = files.load(Precision::F32, &device).unwrap();
        assert_eq!(model.decoder.config().n_parameters(), 30_240);
    }
}
