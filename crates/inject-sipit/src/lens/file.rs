//! Lenses on disk: one safetensors file for each tap, with points in f16.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap},
    fs::File,
    io::{Read, Write},
    iter,
    path::{Path, PathBuf},
};

use crate::{
    error::InvertError,
    models::Tap,
    states::durable::{self, FileError},
    tensors::read_f32,
};
use burn::tensor::{Device, Tensor};
use half::f16;
use safetensors::{Dtype, SafeTensors, tensor::TensorInfo};
use serde_json::{Map, Value};

use super::{Codebook, CodebookKind, First, Lens, LensError, LensInfo, PriorMap, tensor};

/// The version of the file format.
const VERSION: &str = "1";

/// The size in bytes of the number that gives the length of a safetensors header.
const HEADER_LEN: u64 = 8;

/// A tensor on its way to a file.
pub(super) struct Stored {
    pub(super) name: String,
    pub(super) shape: Vec<usize>,
    pub(super) dtype: Dtype,
    pub(super) bytes: Vec<u8>,
}

impl Lens {
    /// Returns the file name of the lens for a tap, such as `lens-block-7.safetensors`.
    pub fn file_name(tap: Tap) -> String {
        format!("lens-{tap}.safetensors")
    }

    /// Writes the lens into a folder, under [`Lens::file_name`]. An existing file is replaced atomically. The same lens always
    /// gives the same bytes.
    ///
    /// # Errors
    ///
    /// [`LensError::File`] if the file cannot be written, or another process is writing it.
    pub fn save(&self, folder: &Path) -> Result<PathBuf, InvertError> {
        let path = folder.join(Self::file_name(self.info.tap));
        let mut stored = vec![];
        stored.extend(codebook_tensors(&self.later, ["projection", "offset", "codes"])?);
        if let First::Any(codebook) = &self.first {
            stored.extend(codebook_tensors(codebook, ["first.projection", "first.offset", "first.codes"])?);
        }
        if let Some(prior) = &self.prior {
            stored.push(float("prior.map", prior.map.clone())?);
            stored.push(float("prior.offset", prior.offset.clone())?);
        }
        let about = serde_json::to_string(&self.info).map_err(|error| malformed(&path, error.to_string()))?;
        let mut metadata: BTreeMap<&str, String> =
            [("inject.lens", VERSION.to_owned()), ("about", about)].into();
        if let Some(prior) = &self.prior {
            metadata.insert("prior.weight", prior.weight.to_string());
        }
        if let First::Bos(id) = self.first {
            metadata.insert("first.bos", id.to_string());
        }
        // Wide numbers come first, so that all tensors are aligned.
        stored.sort_by_key(|stored| Reverse(stored.dtype));
        write(&path, &metadata, &stored)?;
        Ok(path)
    }

    /// Reads the lens for a tap from a folder, and checks that it was made for these weights.
    ///
    /// # Errors
    ///
    /// [`LensError`] if the file does not exist or is damaged, or if the lens was made for other weights.
    pub fn load(folder: &Path, tap: Tap, weight_hash: &str, device: &Device) -> Result<Self, InvertError> {
        let path = folder.join(Self::file_name(tap));
        let bytes = read_file(&path)?;
        let reader = Reader::new(&path, &bytes)?;
        let info: LensInfo = reader.info()?;
        if info.tap != tap {
            return Err(LensError::OtherTap { found: info.tap, expected: tap }.into());
        }
        if info.weight_hash != weight_hash {
            let (found, expected) = (info.weight_hash, weight_hash.to_owned());
            return Err(LensError::OtherWeights { found, expected }.into());
        }
        if let Some((name, found)) = info.out_of_range() {
            return Err(reader.wrong(format!("{name} is {found}")).into());
        }
        let (d, v) = (info.d_model, info.vocab_size);
        let prior = match reader.metadata.get("prior.weight") {
            None if reader.tensors.tensor("prior.map").is_ok() => {
                return Err(reader.wrong("prior.weight is missing".to_owned()).into());
            }
            None => None,
            Some(weight) => Some(PriorMap {
                map: reader.matrix("prior.map", [d, d], device)?,
                offset: reader.matrix("prior.offset", [1, d], device)?,
                weight: weight
                    .parse()
                    .ok()
                    .filter(|weight: &f64| weight.is_finite() && *weight > 0.0)
                    .ok_or_else(|| reader.wrong(format!("prior.weight is {weight}")))?,
            }),
        };
        let kind = if prior.is_some() { CodebookKind::BesidePrior } else { CodebookKind::Later };
        let later = reader.codebook(["projection", "offset", "codes"], 2 * d, v, kind, device)?;
        let first = match reader.metadata.get("first.bos") {
            None => First::Any(Box::new(reader.codebook(
                ["first.projection", "first.offset", "first.codes"],
                d,
                v,
                CodebookKind::First,
                device,
            )?)),
            Some(id) => match id.parse() {
                Ok(id) if (id as usize) < v => First::Bos(id),
                _ => return Err(reader.wrong(format!("first.bos is {id}, expected an id below {v}")).into()),
            },
        };
        Ok(Lens { info, later, prior, first })
    }
}

/// Writes a file in one step.
pub(super) fn write(
    path: &Path,
    metadata: &BTreeMap<&str, String>,
    stored: &[Stored],
) -> Result<(), LensError> {
    let header = header(metadata, stored);
    let written = durable::replace_with(path, |out| {
        let mut pieces = iter::once(&header).chain(stored.iter().map(|stored| &stored.bytes));
        pieces.try_for_each(|bytes| out.write_all(bytes)).map_err(FileError::of("write", path))
    });
    written.map_err(|FileError { path, source, .. }| LensError::File { path, source })
}

/// The content of a file, whose header must fit into it.
pub(super) fn read_file(path: &Path) -> Result<Vec<u8>, LensError> {
    let failed = |source| LensError::File { path: path.to_owned(), source };
    let mut file = File::open(path).map_err(failed)?;
    let len = file.metadata().map_err(failed)?.len();
    let mut bytes = Vec::new();
    (&mut file).take(HEADER_LEN).read_to_end(&mut bytes).map_err(failed)?;
    let header_len = bytes.as_slice().try_into().ok().map(u64::from_le_bytes);
    match header_len.and_then(|header_len| header_len.checked_add(HEADER_LEN)) {
        Some(data) if data <= len => {
            file.read_to_end(&mut bytes).map_err(failed)?;
            Ok(bytes)
        }
        _ => Err(malformed(path, format!("the header is longer than the file of {len} bytes"))),
    }
}

/// Returns the bytes before the tensors: the length of the JSON header, and the header. The serializer of the safetensors crate is
/// not used, because it writes the metadata in a different order each time.
fn header(metadata: &BTreeMap<&str, String>, stored: &[Stored]) -> Vec<u8> {
    let json = |value: serde_json::Result<Value>| value.expect("JSON can hold names and numbers");
    let mut header = Map::new();
    header.insert("__metadata__".to_owned(), json(serde_json::to_value(metadata)));
    let mut begin = 0;
    for Stored { name, shape, dtype, bytes } in stored {
        let end = begin + bytes.len();
        let info = TensorInfo { dtype: *dtype, shape: shape.clone(), data_offsets: (begin, end) };
        header.insert(name.clone(), json(serde_json::to_value(info)));
        begin = end;
    }
    let mut text = Value::Object(header).to_string().into_bytes();
    text.resize(text.len().next_multiple_of(HEADER_LEN as usize), b' ');
    [(text.len() as u64).to_le_bytes().as_slice(), &text].concat()
}

fn codebook_tensors(codebook: &Codebook, names: [&'static str; 3]) -> Result<[Stored; 3], InvertError> {
    let (projection, offset) = (codebook.projection.clone(), codebook.offset.clone());
    let bytes = codebook.codes.iter().flat_map(|value| value.to_le_bytes()).collect();
    let shape = vec![codebook.vocab_size(), codebook.rank()];
    Ok([
        float(names[0], projection)?,
        float(names[1], offset)?,
        Stored { name: names[2].to_owned(), shape, dtype: Dtype::F16, bytes },
    ])
}

fn float(name: &'static str, values: Tensor<2>) -> Result<Stored, InvertError> {
    let shape = values.dims().to_vec();
    let bytes = read_f32(values)?.into_iter().flat_map(f32::to_le_bytes).collect();
    Ok(Stored { name: name.to_owned(), shape, dtype: Dtype::F32, bytes })
}

pub(super) fn malformed(path: &Path, reason: String) -> LensError {
    LensError::Malformed { path: path.to_owned(), reason }
}

/// A lens file whose header was read.
pub(super) struct Reader<'a> {
    path: &'a Path,
    pub(super) tensors: SafeTensors<'a>,
    pub(super) metadata: HashMap<String, String>,
}

impl<'a> Reader<'a> {
    fn new(path: &'a Path, bytes: &'a [u8]) -> Result<Self, LensError> {
        Reader::of(path, bytes, "inject.lens", VERSION)
    }

    /// A reader of a file whose kind is of this version.
    pub(super) fn of(path: &'a Path, bytes: &'a [u8], kind: &str, expected: &str) -> Result<Self, LensError> {
        let wrong = |error: safetensors::SafeTensorError| malformed(path, error.to_string());
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(wrong)?;
        let metadata = header.metadata().clone().unwrap_or_default();
        match metadata.get(kind) {
            Some(version) if version == expected => {}
            found => {
                let found = found.map_or("none", String::as_str);
                return Err(malformed(path, format!("{kind} is {found}, expected version {expected}")));
            }
        }
        Ok(Reader { path, tensors: SafeTensors::deserialize(bytes).map_err(wrong)?, metadata })
    }

    fn wrong(&self, reason: String) -> LensError {
        malformed(self.path, reason)
    }

    fn info(&self) -> Result<LensInfo, LensError> {
        let text = self.metadata.get("about").ok_or_else(|| self.wrong("about is missing".to_owned()))?;
        serde_json::from_str(text).map_err(|error| self.wrong(format!("about: {error}")))
    }

    /// Returns the values of a tensor of type `dtype` with `rows` rows, and the number of its columns.
    fn values(&self, name: &str, dtype: Dtype, rows: usize) -> Result<(Vec<f32>, usize), LensError> {
        let view = self.tensors.tensor(name).map_err(|_| self.wrong(format!("{name} is missing")))?;
        let shape = view.shape();
        let (found, found_dtype) = (format!("{shape:?}"), view.dtype());
        match shape {
            [found_rows, columns] if *found_rows == rows && *columns > 0 && found_dtype == dtype => {
                let values: Vec<f32> = match dtype {
                    Dtype::F16 => view
                        .data()
                        .as_chunks::<2>()
                        .0
                        .iter()
                        .map(|&b| f16::from_le_bytes(b).to_f32())
                        .collect(),
                    _ => view.data().as_chunks::<4>().0.iter().map(|&b| f32::from_le_bytes(b)).collect(),
                };
                match values.iter().find(|value| !value.is_finite()) {
                    None => Ok((values, *columns)),
                    Some(value) => Err(self.wrong(format!("{name} holds {value}, expected finite values"))),
                }
            }
            _ => {
                Err(self
                    .wrong(format!("{name} is {found_dtype:?} {found}, expected {dtype:?} with {rows} rows")))
            }
        }
    }

    /// The values of a tensor of f32 with `rows` rows.
    pub(super) fn floats(&self, name: &str, rows: usize) -> Result<Vec<f32>, LensError> {
        Ok(self.values(name, Dtype::F32, rows)?.0)
    }

    fn matrix(&self, name: &str, shape: [usize; 2], device: &Device) -> Result<Tensor<2>, LensError> {
        let (values, columns) = self.values(name, Dtype::F32, shape[0])?;
        match columns == shape[1] {
            true => Ok(tensor(values, shape, device)),
            false => Err(self.wrong(format!("{name} has {columns} columns, expected {}", shape[1]))),
        }
    }

    fn codebook(
        &self,
        names: [&str; 3],
        inputs: usize,
        vocab_size: usize,
        kind: CodebookKind,
        device: &Device,
    ) -> Result<Codebook, InvertError> {
        let (codes, rank) = self.values(names[2], Dtype::F16, vocab_size)?;
        let projection = self.matrix(names[0], [inputs, rank], device)?;
        let offset = self.matrix(names[1], [1, rank], device)?;
        Codebook::new(projection, offset, &codes, kind)
    }
}
