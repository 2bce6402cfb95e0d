//! Checkpoints of random weights, written without ever being in memory.

mod draw;
mod plan;
mod published;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, HashMap},
    io::{self, Write},
    path::Path,
};

use safetensors::tensor::{Metadata, TensorInfo};
use serde_json::json;

pub(crate) use self::plan::shapes;
pub use self::published::{PublishedShape, UnknownShape};
use self::{
    draw::{FARTHEST, write_values},
    plan::{PlannedTensor, plan},
};
use crate::{
    config::DecoderConfig,
    error::ModelError,
    families::{FirstWeights, describe, settings_in},
    format::FloatFormat,
    progress::{Progress, Unit},
};

/// The bytes of weights in a file, unless one tensor has more: 5 GB, as Hugging Face transformers had it for years.
const SHARD: u64 = 5_000_000_000;

/// A checkpoint of random weights: the files of a folder as Hugging Face transformers writes them.
///
/// Weights are drawn as the training of the family begins: from a normal distribution with the `initializer_range` of the
/// config, divided by `sqrt(2 n_layers)` in GPT-2 for the matrices that write to the residual stream. Norms are the identity and
/// biases zero. The same seed gives the same bytes on any number of threads.
///
/// There is no tokenizer, so prompts for such a model are given as token ids.
///
/// # Example
///
/// ```
/// use inject_models::{FloatFormat, Model, Origin, PublishedShape, RandomCheckpoint, silent};
///
/// # let text = std::fs::read_to_string(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/gpt2/config.json"))?;
/// # if false {
/// let checkpoint = RandomCheckpoint::like(PublishedShape::Gpt2, FloatFormat::Bf16, 1)?;
/// # }
/// # let checkpoint = RandomCheckpoint::of_config(&text, FloatFormat::Bf16, 1)?;
/// let folder = tempfile::tempdir()?;
/// for file in checkpoint.files() {
///     let mut out = std::fs::File::create(folder.path().join(file.name()))?;
///     file.write_to(&mut out, &mut silent)?;
/// }
/// let model = Model::load(Origin::of_folder(folder.path()), FloatFormat::F32, &burn::tensor::Device::flex())?;
/// assert_eq!(model.decoder.config().n_parameters(), checkpoint.config().n_parameters());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct RandomCheckpoint {
    config_json: String,
    config: DecoderConfig,
    format: FloatFormat,
    seed: u64,
    shards: Vec<Vec<PlannedTensor>>,
}

impl RandomCheckpoint {
    /// Describes a checkpoint at the shape of a published model.
    ///
    /// # Errors
    ///
    /// Fails with [`ModelError::UnsupportedFormat`] for F64, which no checkpoint is stored in.
    pub fn like(shape: PublishedShape, format: FloatFormat, seed: u64) -> Result<Self, ModelError> {
        Self::of_config(shape.config_json(), format, seed)
    }

    /// Describes a checkpoint by the text of the `config.json` of a text model.
    ///
    /// # Errors
    ///
    /// Fails as [`RandomCheckpoint::like`], for a text that [`DecoderConfig::parse`] refuses, and for an `initializer_range` that
    /// is not positive or whose numbers may exceed `format`.
    pub fn of_config(config_json: &str, format: FloatFormat, seed: u64) -> Result<Self, ModelError> {
        if format == FloatFormat::F64 {
            return Err(ModelError::UnsupportedFormat {
                purpose: "random weights",
                found: format.into(),
                expected: "f32, f16 or bf16",
            });
        }
        let path = Path::new("config.json");
        let description = describe(path, config_json)?.description;
        let settings = settings_in(path, config_json, format)?;
        let first = FirstWeights::of(path, &settings, description.family, &description.config)?;
        let farthest = FARTHEST * first.std;
        if farthest >= format.overflow().unwrap_or(f64::from(f32::MAX) / 2.0) {
            return Err(ModelError::BeyondFormat { format: format.into(), found: farthest });
        }
        let tensors = plan(&description.config, description.family.names(), first);
        let config_json = serde_json::to_string_pretty(&settings)
            .map_err(|source| ModelError::Json { path: path.to_owned(), source })?;
        Ok(RandomCheckpoint {
            config_json: config_json + "\n",
            config: description.config,
            format,
            seed,
            shards: sharded(tensors, format, SHARD),
        })
    }

    /// Returns the layers and widths.
    pub fn config(&self) -> &DecoderConfig {
        &self.config
    }

    /// Returns the size of all weights, in bytes.
    pub fn bytes(&self) -> u64 {
        self.shards.iter().map(|shard| bytes_of(shard, self.format)).sum()
    }

    /// Returns the files of the folder. The last one is `config.json`: without it the folder is not a checkpoint.
    pub fn files(&self) -> Vec<RandomFile<'_>> {
        let mut before = 0;
        let mut files = Vec::new();
        for (i, tensors) in self.shards.iter().enumerate() {
            let contents = Contents::Shard { tensors, before };
            files.push(RandomFile { checkpoint: self, name: self.shard_name(i), contents });
            before += bytes_of(tensors, self.format);
        }
        let mut text = |name: &str, text: String| {
            let contents = Contents::Text(text);
            files.push(RandomFile { checkpoint: self, name: name.to_owned(), contents });
        };
        if self.shards.len() > 1 {
            text("model.safetensors.index.json", self.index());
        }
        text("config.json", self.config_json.clone());
        files
    }

    fn shard_name(&self, i: usize) -> String {
        match self.shards.len() {
            1 => "model.safetensors".to_owned(),
            count => format!("model-{:05}-of-{count:05}.safetensors", i + 1),
        }
    }

    /// The text of the index of shards.
    fn index(&self) -> String {
        let shards = self.shards.iter().enumerate();
        let tensors = shards.flat_map(|(i, shard)| shard.iter().map(move |tensor| (i, tensor)));
        let weight_map: BTreeMap<&str, String> =
            tensors.map(|(i, tensor)| (tensor.name.as_str(), self.shard_name(i))).collect();
        let parameters = self.config.n_parameters();
        let index = json!({
            "metadata": { "total_parameters": parameters, "total_size": self.bytes() },
            "weight_map": weight_map,
        });
        format!("{index:#}\n")
    }
}

/// A file of a [`RandomCheckpoint`], before it is written.
#[derive(Clone, Debug)]
pub struct RandomFile<'a> {
    checkpoint: &'a RandomCheckpoint,
    name: String,
    contents: Contents<'a>,
}

#[derive(Clone, Debug)]
enum Contents<'a> {
    Text(String),
    Shard {
        tensors: &'a [PlannedTensor],
        /// The bytes of weights in the files before this one.
        before: u64,
    },
}

impl RandomFile<'_> {
    /// Returns the name of the file within its folder.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Writes the file. Memory for about 64 MB of weights is in use at a time.
    ///
    /// Progress counts the bytes of weights of the whole checkpoint.
    ///
    /// # Errors
    ///
    /// Fails if `out` does.
    pub fn write_to(&self, out: &mut dyn Write, progress: &mut dyn FnMut(Progress<'_>)) -> io::Result<()> {
        let (tensors, before) = match &self.contents {
            Contents::Text(text) => return out.write_all(text.as_bytes()),
            Contents::Shard { tensors, before } => (*tensors, *before),
        };
        let RandomCheckpoint { format, seed, .. } = *self.checkpoint;
        let header = header(tensors, format)?;
        out.write_all(&(header.len() as u64).to_le_bytes())?;
        out.write_all(&header)?;
        let (mut done, total) = (before, self.checkpoint.bytes());
        for tensor in tensors {
            write_values(tensor, format, seed, out, &mut |written| {
                done += written;
                progress(Progress::new("draw", Unit::Bytes, done, total));
            })?;
        }
        Ok(())
    }
}

/// The header of a safetensors file, filled with spaces to a multiple of eight bytes.
fn header(tensors: &[PlannedTensor], format: FloatFormat) -> io::Result<Vec<u8>> {
    // transformers refuses a file that does not say which library's layout it has.
    let about = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    let mut end = 0;
    let info = |tensor: &PlannedTensor| {
        let begin = end;
        end += tensor.len() * format.bytes();
        let info = TensorInfo {
            dtype: format.safetensors(),
            shape: tensor.shape.clone(),
            data_offsets: (begin, end),
        };
        (tensor.name.clone(), info)
    };
    let metadata =
        Metadata::new(Some(about), tensors.iter().map(info).collect()).map_err(io::Error::other)?;
    let mut bytes = serde_json::to_vec(&metadata)?;
    bytes.resize(bytes.len().next_multiple_of(8), b' ');
    Ok(bytes)
}

/// Divides tensors among files of at most `most` bytes, in order.
fn sharded(tensors: Vec<PlannedTensor>, format: FloatFormat, most: u64) -> Vec<Vec<PlannedTensor>> {
    let mut shards: Vec<Vec<PlannedTensor>> = vec![Vec::new()];
    let mut size = 0;
    for tensor in tensors {
        let bytes = tensor.bytes(format);
        if size > 0 && size + bytes > most {
            shards.push(Vec::new());
            size = 0;
        }
        size += bytes;
        shards.last_mut().expect("there is a first shard").push(tensor);
    }
    shards
}

fn bytes_of(tensors: &[PlannedTensor], format: FloatFormat) -> u64 {
    tensors.iter().map(|tensor| tensor.bytes(format)).sum()
}
