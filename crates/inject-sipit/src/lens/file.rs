//! Lenses on disk: one safetensors file a tap, points in f16.

use std::{
    collections::HashMap,
    fs::File,
    path::{Path, PathBuf},
};

use burn::tensor::{Device, Tensor};
use half::f16;
use inject_collisions::models::Tap;
use safetensors::{Dtype, SafeTensors, tensor::TensorView};

use super::{Codebook, First, Kind, Lens, LensAbout, LensError, PriorMap, tensor};
use crate::{InvertError, read_f32};

/// The version of the layout.
const VERSION: &str = "1";

/// A tensor on its way to a file.
struct Stored {
    name: &'static str,
    shape: Vec<usize>,
    dtype: Dtype,
    bytes: Vec<u8>,
}

impl Lens {
    /// The name of a lens's file: `lens-block-7.safetensors`.
    pub fn file_name(tap: Tap) -> String {
        format!("lens-{tap}.safetensors")
    }

    /// Writes the lens into a folder, under [`Lens::file_name`]. A file that is there is replaced in one step.
    ///
    /// # Errors
    ///
    /// [`LensError::File`] when that is not possible.
    pub fn save(&self, folder: &Path) -> Result<PathBuf, InvertError> {
        let path = folder.join(Self::file_name(self.about.tap));
        let mut stored = vec![];
        stored.extend(codebook_tensors(&self.later, ["projection", "offset", "codes"])?);
        if let First::Any(codebook) = &self.first {
            stored.extend(codebook_tensors(codebook, ["first.projection", "first.offset", "first.codes"])?);
        }
        if let Some(prior) = &self.prior {
            stored.push(float("prior.map", prior.map.clone())?);
            stored.push(float("prior.offset", prior.offset.clone())?);
        }
        let about =
            serde_json::to_string(&self.about).map_err(|error| malformed(&path, error.to_string()))?;
        let mut metadata: HashMap<String, String> =
            [("inject.lens", VERSION.to_owned()), ("about", about)].map(|(k, v)| (k.to_owned(), v)).into();
        if let Some(prior) = &self.prior {
            metadata.insert("prior.weight".to_owned(), prior.weight.to_string());
        }
        if let First::Bos(id) = self.first {
            metadata.insert("first.bos".to_owned(), id.to_string());
        }
        let views = stored.iter().map(|stored| {
            let view = TensorView::new(stored.dtype, stored.shape.clone(), &stored.bytes)?;
            Ok((stored.name, view))
        });
        let views = views.collect::<Result<Vec<_>, safetensors::SafeTensorError>>();
        let views = views.map_err(|error| malformed(&path, error.to_string()))?;
        let fresh = path.with_extension("new");
        safetensors::serialize_to_file(views, Some(metadata), &fresh).map_err(|error| match error {
            safetensors::SafeTensorError::IoError(source) => LensError::File { path: fresh.clone(), source },
            other => malformed(&fresh, other.to_string()),
        })?;
        // Under the lens's own name only what is whole, even if the machine stops.
        let synced = File::open(&fresh).and_then(|file| file.sync_all());
        synced.map_err(|source| LensError::File { path: fresh.clone(), source })?;
        std::fs::rename(&fresh, &path).map_err(|source| LensError::File { path: path.clone(), source })?;
        Ok(path)
    }

    /// Reads the lens for a tap from a folder, and checks that it was made for these weights.
    ///
    /// # Errors
    ///
    /// [`LensError`]: no such file, a damaged one, or a lens for other weights.
    pub fn load(folder: &Path, tap: Tap, weight_hash: &str, device: &Device) -> Result<Self, InvertError> {
        let path = folder.join(Self::file_name(tap));
        let file = File::open(&path).map_err(|source| LensError::File { path: path.clone(), source })?;
        // SAFETY: the map is read-only and lives as long as this function. A file changed by somebody else meanwhile gives
        // other numbers, which are only proposals.
        let bytes = unsafe { memmap2::Mmap::map(&file) }
            .map_err(|source| LensError::File { path: path.clone(), source })?;
        let reader = Reader::new(&path, &bytes)?;
        let about: LensAbout = reader.about()?;
        if about.tap != tap {
            return Err(LensError::OtherTap { found: about.tap, expected: tap }.into());
        }
        if about.weight_hash != weight_hash {
            let (found, expected) = (about.weight_hash, weight_hash.to_owned());
            return Err(LensError::OtherWeights { found, expected }.into());
        }
        if let Some((name, found)) = about.out_of_range() {
            return Err(reader.wrong(format!("{name} is {found}")).into());
        }
        let (d, v) = (about.d_model, about.vocab_size);
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
        let kind = if prior.is_some() { Kind::BesidePrior } else { Kind::Later };
        let later = reader.codebook(["projection", "offset", "codes"], 2 * d, v, kind, device)?;
        let first = match reader.metadata.get("first.bos") {
            None => First::Any(Box::new(reader.codebook(
                ["first.projection", "first.offset", "first.codes"],
                d,
                v,
                Kind::First,
                device,
            )?)),
            Some(id) => match id.parse() {
                Ok(id) if (id as usize) < v => First::Bos(id),
                _ => return Err(reader.wrong(format!("first.bos is {id}, expected an id below {v}")).into()),
            },
        };
        Ok(Lens { about, later, prior, first })
    }
}

fn codebook_tensors(codebook: &Codebook, names: [&'static str; 3]) -> Result<[Stored; 3], InvertError> {
    let (projection, offset) = (codebook.projection.clone(), codebook.offset.clone());
    let bytes = codebook.codes.iter().flat_map(|value| value.to_le_bytes()).collect();
    let shape = vec![codebook.vocab_size(), codebook.rank()];
    Ok([
        float(names[0], projection)?,
        float(names[1], offset)?,
        Stored { name: names[2], shape, dtype: Dtype::F16, bytes },
    ])
}

fn float(name: &'static str, values: Tensor<2>) -> Result<Stored, InvertError> {
    let shape = values.dims().to_vec();
    let bytes = read_f32(values)?.into_iter().flat_map(f32::to_le_bytes).collect();
    Ok(Stored { name, shape, dtype: Dtype::F32, bytes })
}

fn malformed(path: &Path, reason: String) -> LensError {
    LensError::Malformed { path: path.to_owned(), reason }
}

/// A lens file, its header read.
struct Reader<'a> {
    path: &'a Path,
    tensors: SafeTensors<'a>,
    metadata: HashMap<String, String>,
}

impl<'a> Reader<'a> {
    fn new(path: &'a Path, bytes: &'a [u8]) -> Result<Self, LensError> {
        let wrong = |error: safetensors::SafeTensorError| malformed(path, error.to_string());
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(wrong)?;
        let metadata = header.metadata().clone().unwrap_or_default();
        match metadata.get("inject.lens") {
            Some(version) if version == VERSION => {}
            found => {
                let found = found.map_or("none", String::as_str);
                return Err(malformed(path, format!("inject.lens is {found}, expected version {VERSION}")));
            }
        }
        Ok(Reader { path, tensors: SafeTensors::deserialize(bytes).map_err(wrong)?, metadata })
    }

    fn wrong(&self, reason: String) -> LensError {
        malformed(self.path, reason)
    }

    fn about(&self) -> Result<LensAbout, LensError> {
        let text = self.metadata.get("about").ok_or_else(|| self.wrong("about is missing".to_owned()))?;
        serde_json::from_str(text).map_err(|error| self.wrong(format!("about: {error}")))
    }

    /// The values of a tensor of this type with so many rows; and the number of its columns.
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
        kind: Kind,
        device: &Device,
    ) -> Result<Codebook, InvertError> {
        let (codes, rank) = self.values(names[2], Dtype::F16, vocab_size)?;
        let projection = self.matrix(names[0], [inputs, rank], device)?;
        let offset = self.matrix(names[1], [1, rank], device)?;
        Codebook::new(projection, offset, &codes, kind)
    }
}
