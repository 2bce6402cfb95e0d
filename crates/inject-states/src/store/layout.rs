//! The layout of each safetensors file of a store, which the writer produces and the reader checks.

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
};

use inject_models::Tap;
use safetensors::{Dtype, tensor::TensorInfo};

use super::manifest::Manifest;

/// The alignment of the data in a file, so that tensors can be used in place.
pub(crate) const ALIGNMENT: usize = 64;

/// The number of bytes before the JSON header. They contain its length.
pub(crate) const PREFIX: usize = 8;

/// One file of a store: its name, its metadata and its tensors, in the order of their data.
#[derive(Clone, Debug)]
pub(crate) struct FileSpec {
    pub(crate) name: String,
    pub(crate) metadata: BTreeMap<String, String>,
    pub(crate) tensors: Vec<TensorSpec>,
}

/// One tensor of a file.
#[derive(Clone, Debug)]
pub(crate) struct TensorSpec {
    pub(crate) name: &'static str,
    pub(crate) dtype: Dtype,
    pub(crate) shape: Vec<usize>,
}

impl FileSpec {
    /// Describes the token ids of all prompts: those of prompt `i` are `token_ids[offsets[i]..offsets[i + 1]]`.
    pub(crate) fn prompts(manifest: &Manifest) -> Self {
        let offsets = TensorSpec::new("offsets", Dtype::I64, &[manifest.prompt_count + 1]);
        let token_ids = TensorSpec::new("token_ids", Dtype::I32, &[manifest.token_count]);
        FileSpec::new("prompts", manifest, vec![offsets, token_ids])
    }

    /// Describes the prompt, position and token of each row.
    pub(crate) fn rows(manifest: &Manifest) -> Self {
        let column = |name| TensorSpec::new(name, Dtype::I32, &[manifest.row_count]);
        FileSpec::new("rows", manifest, ["prompt", "position", "token_id"].map(column).to_vec())
    }

    /// Describes the states at one tap.
    pub(crate) fn tap(manifest: &Manifest, tap: Tap) -> Self {
        let dtype = manifest.spec.dtype;
        let shape = [manifest.row_count, manifest.spec.d_model];
        let states = TensorSpec::new("states", dtype.safetensors(), &shape);
        let mut file = FileSpec::new(&format!("tap-{tap}"), manifest, vec![states]);
        file.metadata.insert("tap".to_owned(), tap.to_string());
        file.metadata.insert("dtype".to_owned(), dtype.to_string());
        file
    }

    /// Describes every safetensors file of a store.
    pub(crate) fn all(manifest: &Manifest) -> Vec<Self> {
        let ids = [FileSpec::prompts(manifest), FileSpec::rows(manifest)];
        let taps = manifest.spec.taps.iter().map(|&tap| FileSpec::tap(manifest, tap));
        ids.into_iter().chain(taps).collect()
    }

    fn new(stem: &str, manifest: &Manifest, tensors: Vec<TensorSpec>) -> Self {
        let spec = &manifest.spec;
        let text = |text: &str| Some(text.to_owned());
        let fields = [
            ("created_by", text(&manifest.created_by)),
            ("format_version", text(&manifest.format_version.to_string())),
            ("model_id", text(&spec.model_id)),
            ("revision", spec.revision.clone()),
            ("weight_hash", text(&spec.weight_hash)),
            ("tokenizer_hash", spec.tokenizer_hash.clone()),
            ("bos", text(&spec.bos.to_string())),
            ("bos_added", text(&spec.bos_added.to_string())),
            ("positions", text(&spec.positions.to_string())),
            ("prompts_sha256", text(&manifest.prompts_sha256)),
            ("share", spec.share.as_ref().map(|about| about.share.to_string())),
        ];
        let known = fields.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?)));
        FileSpec { name: format!("{stem}.safetensors"), metadata: known.collect(), tensors }
    }

    pub(crate) fn path(&self, dir: &Path) -> PathBuf {
        dir.join(&self.name)
    }

    /// Returns the bytes before the data: the length of the JSON header, and the header padded with spaces to [`ALIGNMENT`]. The
    /// header is the same, byte for byte, in every run.
    pub(crate) fn header(&self) -> Vec<u8> {
        let mut header = serde_json::to_vec(self).expect("a header has only text keys");
        let padded = (PREFIX + header.len()).next_multiple_of(ALIGNMENT) - PREFIX;
        header.resize(padded, b' ');
        [(padded as u64).to_le_bytes().as_slice(), &header].concat()
    }

    /// Returns the size of the whole file in bytes.
    pub(crate) fn size(&self) -> u64 {
        (self.header().len() + self.tensors.iter().map(TensorSpec::bytes).sum::<usize>()) as u64
    }
}

/// The JSON header. The serializer of the safetensors crate is not used, because it writes the metadata in a different order each
/// time.
impl serde::Serialize for FileSpec {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeMap;

        let mut header = serializer.serialize_map(None)?;
        header.serialize_entry("__metadata__", &self.metadata)?;
        let mut begin = 0;
        for tensor in &self.tensors {
            let end = begin + tensor.bytes();
            let shape = tensor.shape.clone();
            let info = TensorInfo { dtype: tensor.dtype, shape, data_offsets: (begin, end) };
            header.serialize_entry(tensor.name, &info)?;
            begin = end;
        }
        header.end()
    }
}

impl TensorSpec {
    fn new(name: &'static str, dtype: Dtype, shape: &[usize]) -> Self {
        TensorSpec { name, dtype, shape: shape.to_vec() }
    }

    /// Returns the size of one element in bytes.
    pub(crate) fn element(&self) -> usize {
        self.dtype.bitsize() / 8
    }

    fn bytes(&self) -> usize {
        self.shape.iter().product::<usize>() * self.element()
    }
}

impl fmt::Display for TensorSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {:?}", self.name, self.dtype, self.shape)
    }
}

#[cfg(test)]
mod tests {
    use safetensors::SafeTensors;

    use super::{
        super::{ids::extent::Extent, manifest::spec::tests::spec},
        *,
    };

    fn manifest() -> Manifest {
        let extent = Extent { prompts: 2, tokens: 3, rows: 2 };
        Manifest::of(spec(), extent, "ab".to_owned()).unwrap()
    }

    #[test]
    fn the_safetensors_crate_reads_every_header_and_finds_aligned_data() {
        for file in FileSpec::all(&manifest()) {
            let mut bytes = file.header();
            assert_eq!(bytes.len() % ALIGNMENT, 0);
            bytes.resize(file.size() as usize, 0);
            let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
            for tensor in &file.tensors {
                let info = header.info(tensor.name).unwrap();
                assert_eq!((info.dtype, &info.shape), (tensor.dtype, &tensor.shape));
            }
        }
    }

    #[test]
    fn a_tap_file_describes_itself() {
        let file = FileSpec::tap(&manifest(), Tap::Block(2));
        assert_eq!(file.name, "tap-block-2.safetensors");
        for (key, value) in [
            ("tap", "block-2"),
            ("model_id", "tiny"),
            ("revision", "0123abcd"),
            ("weight_hash", "w"),
            ("dtype", "f32"),
            ("format_version", "1"),
        ] {
            assert_eq!(file.metadata[key], value);
        }
        assert!(!file.metadata.contains_key("tokenizer_hash"));
    }
}
