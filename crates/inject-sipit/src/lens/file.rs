//! Lenses on disk: one safetensors file for each tap, with points in f16.

use std::{
    cmp::Reverse,
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use burn::tensor::{Device, Tensor};
use safetensors::Dtype;

use crate::{
    error::InvertError,
    models::Tap,
    tensor_file::{self, Stored, TensorFile, TensorFileError},
    tensors::read_f32,
};

use super::{Codebook, CodebookKind, First, Lens, LensError, LensInfo, PriorMap, tensor};

/// The name of the text that gives the version of the file format.
const KIND: &str = "inject.lens";
/// The version of the file format.
const VERSION: &str = "1";

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
        let about = serde_json::to_string(&self.info);
        let about =
            about.map_err(|error| lens_error(TensorFileError::malformed(&path, error.to_string())))?;
        let mut metadata: BTreeMap<&str, String> = [(KIND, VERSION.to_owned()), ("about", about)].into();
        if let Some(prior) = &self.prior {
            metadata.insert("prior.weight", prior.weight.to_string());
        }
        if let First::Bos(id) = self.first {
            metadata.insert("first.bos", id.to_string());
        }
        // Wide numbers come first, so that all tensors are aligned.
        stored.sort_by_key(|stored| Reverse(stored.dtype));
        tensor_file::write(&path, metadata, &stored).map_err(lens_error)?;
        Ok(path)
    }

    /// Reads the lens for a tap from a folder, and checks that it was made for these weights.
    ///
    /// Its parts are compared with their checksums. The files of older versions have none.
    ///
    /// # Errors
    ///
    /// [`LensError`] if the file does not exist or is damaged, or if the lens was made for other weights.
    pub fn load(folder: &Path, tap: Tap, weight_hash: &str, device: &Device) -> Result<Self, InvertError> {
        Lens::load_if(folder, tap, weight_hash, device, |file| file.verified())
    }

    /// Reads a lens like [`Lens::load`], but does not compare its parts with their checksums.
    ///
    /// # Errors
    ///
    /// The errors of [`Lens::load`], except for damage that leaves a lens.
    pub fn load_unverified(
        folder: &Path,
        tap: Tap,
        weight_hash: &str,
        device: &Device,
    ) -> Result<Self, InvertError> {
        Lens::load_if(folder, tap, weight_hash, device, Ok)
    }

    /// Reads a lens from a file that `check` accepts.
    fn load_if(
        folder: &Path,
        tap: Tap,
        weight_hash: &str,
        device: &Device,
        check: fn(TensorFile) -> Result<TensorFile, TensorFileError>,
    ) -> Result<Self, InvertError> {
        let path = folder.join(Self::file_name(tap));
        let file =
            TensorFile::open(&path, None).and_then(|file| file.expect_version(KIND, VERSION)).and_then(check);
        let reader = Reader { file: file.map_err(lens_error)?, device };
        let info: LensInfo = reader.file.json("about").map_err(lens_error)?;
        if info.tap != tap {
            return Err(LensError::OtherTap { found: info.tap, expected: tap }.into());
        }
        if info.weight_hash != weight_hash {
            let (found, expected) = (info.weight_hash, weight_hash.to_owned());
            return Err(LensError::OtherWeights { found, expected }.into());
        }
        if let Some((name, found)) = info.out_of_range() {
            return Err(reader.wrong(format!("{name} is {found}")));
        }
        let (d, v) = (info.d_model, info.vocab_size);
        let prior = reader.prior(d)?;
        let kind = if prior.is_some() { CodebookKind::BesidePrior } else { CodebookKind::Later };
        let later = reader.codebook(["projection", "offset", "codes"], 2 * d, v, kind)?;
        let first = reader.first(d, v)?;
        Ok(Lens { info, later, prior, first })
    }
}

fn lens_error(error: TensorFileError) -> InvertError {
    LensError::File(error).into()
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

/// A lens file whose header was read, and the device for its tensors.
struct Reader<'a> {
    file: TensorFile,
    device: &'a Device,
}

impl Reader<'_> {
    fn wrong(&self, reason: String) -> InvertError {
        lens_error(self.file.wrong(reason))
    }

    /// Returns the map of the prior, if the lens has one.
    fn prior(&self, d: usize) -> Result<Option<PriorMap>, InvertError> {
        let Some(weight) = self.file.find("prior.weight") else {
            return match self.file.tensors().contains_key("prior.map") {
                true => Err(self.wrong("prior.weight is missing".to_owned())),
                false => Ok(None),
            };
        };
        Ok(Some(PriorMap {
            map: self.matrix("prior.map", [d, d])?,
            offset: self.matrix("prior.offset", [1, d])?,
            weight: weight
                .parse()
                .ok()
                .filter(|weight: &f64| weight.is_finite() && *weight > 0.0)
                .ok_or_else(|| self.wrong(format!("prior.weight is {weight}")))?,
        }))
    }

    /// Returns the part of the lens for first positions.
    fn first(&self, d: usize, vocab_size: usize) -> Result<First, InvertError> {
        match self.file.find("first.bos") {
            None => {
                let names = ["first.projection", "first.offset", "first.codes"];
                let codebook = self.codebook(names, d, vocab_size, CodebookKind::First)?;
                Ok(First::Any(Box::new(codebook)))
            }
            Some(id) => match id.parse() {
                Ok(id) if (id as usize) < vocab_size => Ok(First::Bos(id)),
                _ => Err(self.wrong(format!("first.bos is {id}, expected an id below {vocab_size}"))),
            },
        }
    }

    fn matrix(&self, name: &str, shape: [usize; 2]) -> Result<Tensor<2>, InvertError> {
        let (values, columns) = self.file.matrix(name, Dtype::F32, shape[0]).map_err(lens_error)?;
        match columns == shape[1] {
            true => Ok(tensor(values, shape, self.device)),
            false => Err(self.wrong(format!("{name} has {columns} columns, expected {}", shape[1]))),
        }
    }

    fn codebook(
        &self,
        names: [&str; 3],
        inputs: usize,
        vocab_size: usize,
        kind: CodebookKind,
    ) -> Result<Codebook, InvertError> {
        let (codes, rank) = self.file.matrix(names[2], Dtype::F16, vocab_size).map_err(lens_error)?;
        let projection = self.matrix(names[0], [inputs, rank])?;
        let offset = self.matrix(names[1], [1, rank])?;
        Codebook::new(projection, offset, &codes, kind)
    }
}
