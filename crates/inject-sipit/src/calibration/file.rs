//! A calibration on disk: one safetensors file for each tap and format, which names the weights it was measured with.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use safetensors::Dtype;
use serde::{Deserialize, Serialize};

use crate::{
    models::{NumberFormat, Tap},
    tensor_file::{self, Stored, TensorFile, TensorFileError},
};

use super::{Calibration, LogNormal, PlaceNoise, place::Loud};

/// The version of the layout and of the measurement.
const VERSION: u32 = 3;

/// The vectors of a place, in the order of their tensors.
const VECTORS: [&str; 5] = ["damped", "directions", "means", "shares", "variances"];

/// The largest file that is read, in bytes: two sets of a few hundred directions.
const LARGEST: u64 = 1 << 30;

/// The fault of a calibration's file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CalibrationError {
    /// The file cannot be read or written, is not a calibration, or is damaged.
    #[error(transparent)]
    File(#[from] TensorFileError),
    /// The calibration was measured with other weights, at another tap or in another format.
    #[error("{} was measured for {found}, expected {expected}", path.display())]
    Other {
        /// Path of the calibration's file.
        path: PathBuf,
        /// The version, weights, tap and format of the file.
        found: String,
        /// The version, weights, tap and format that were requested.
        expected: String,
    },
}

/// The weights, tap and format for which a calibration was measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Identity {
    version: u32,
    weight_hash: String,
    tap: Tap,
    format: String,
}

/// The numbers of one kind of position, without the matrices.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PositionKind {
    typical_norm: f64,
    noise: LogNormal,
    margin: LogNormal,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct About {
    identity: Identity,
    first: PositionKind,
    later: PositionKind,
}

impl Identity {
    fn words(&self) -> String {
        let Identity { version, weight_hash, tap, format } = self;
        format!("weights {weight_hash}, {tap} and {format} by version {version}")
    }
}

impl Calibration {
    /// Returns the file name of a calibration, such as `calibration-block-7-bf16.safetensors`.
    pub fn file_name(tap: Tap, format: NumberFormat) -> String {
        format!("calibration-{tap}-{format}.safetensors")
    }

    /// Writes the calibration into a folder, under [`Calibration::file_name`]. `weight_hash` identifies the model.
    ///
    /// # Errors
    ///
    /// [`CalibrationError::File`] if the file cannot be written.
    pub fn save(&self, folder: &Path, weight_hash: &str) -> Result<PathBuf, CalibrationError> {
        let path = folder.join(Self::file_name(self.tap, self.format));
        let identity = identity(weight_hash, self.tap, self.format);
        let about =
            About { identity, first: PositionKind::of(&self.first), later: PositionKind::of(&self.later) };
        let about = serde_json::to_string(&about)
            .map_err(|error| TensorFileError::malformed(&path, error.to_string()))?;
        let stored: Vec<Stored> = [("first", &self.first), ("later", &self.later)]
            .into_iter()
            .flat_map(|(name, place)| vectors(name, place))
            .collect();
        tensor_file::write(&path, BTreeMap::from([("about", about)]), &stored)?;
        Ok(path)
    }

    /// Reads the calibration for a tap and a format from a folder. None if the folder has none.
    ///
    /// # Errors
    ///
    /// [`CalibrationError`] if the file cannot be read, is damaged, or was measured for anything else.
    pub fn load(
        folder: &Path,
        tap: Tap,
        format: NumberFormat,
        weight_hash: &str,
        d_model: usize,
    ) -> Result<Option<Self>, CalibrationError> {
        let path = folder.join(Self::file_name(tap, format));
        let file = match TensorFile::open(&path, Some(LARGEST)) {
            Err(error) if error.is_missing() => return Ok(None),
            // A flipped bit would be another bound on the noise.
            opened => opened?.verified()?,
        };
        if !file.has_checksums() {
            return Err(file.wrong("it has no checksums: remove it to measure again".to_owned()).into());
        }
        let about: About = file.json("about")?;
        let expected = identity(weight_hash, tap, format);
        if about.identity != expected {
            let (found, expected) = (about.identity.words(), expected.words());
            return Err(CalibrationError::Other { path, found, expected });
        }
        let first = Arc::new(about.first.with_vectors(&file, "first", d_model)?);
        let later = Arc::new(about.later.with_vectors(&file, "later", d_model)?);
        Ok(Some(Calibration { tap, format, first, later }))
    }
}

impl PositionKind {
    fn of(place: &PlaceNoise) -> Self {
        PositionKind { typical_norm: place.typical_norm, noise: place.noise, margin: place.margin }
    }

    /// Adds the vectors of a place, from the tensors whose names begin with `name`.
    fn with_vectors(
        self,
        file: &TensorFile,
        name: &str,
        d_model: usize,
    ) -> Result<PlaceNoise, TensorFileError> {
        let variances = file.vector(&format!("{name}.variances"))?;
        let count = variances.len();
        let of = |kind: &str, expected: usize| {
            let name = format!("{name}.{kind}");
            let values = file.vector(&name)?;
            match values.len() {
                found if found == expected => Ok(values),
                found => Err(file.wrong(format!("{name} has {found} numbers, expected {expected}"))),
            }
        };
        let directions = of("directions", count.saturating_mul(d_model))?;
        let loud = Loud { directions, damped: of("damped", count)?, variances };
        let states_along = of("means", count)?.into_iter().zip(of("shares", count)?).collect();
        let PositionKind { typical_norm, noise, margin } = self;
        let positive = [noise.spread, margin.spread].iter().all(|spread| *spread > 0.0);
        if !positive || !loud.damped.iter().all(|share| (0.0..=1.0).contains(share)) {
            return Err(
                file.wrong(format!("{name}: a spread is not positive, or a share lies outside 0 to 1"))
            );
        }
        Ok(PlaceNoise { typical_norm, loud, states_along, noise, margin })
    }
}

/// The vectors of a place as tensors whose names begin with `name`.
fn vectors(name: &str, place: &PlaceNoise) -> [Stored; 5] {
    let (means, shares): (Vec<f64>, Vec<f64>) = place.states_along.iter().copied().unzip();
    let loud = &place.loud;
    let values = [loud.damped.clone(), loud.directions.clone(), means, shares, loud.variances.clone()];
    let mut values = values.into_iter();
    VECTORS.map(|kind| (kind, values.next().unwrap_or_default())).map(|(kind, values)| Stored {
        name: format!("{name}.{kind}"),
        shape: vec![values.len()],
        dtype: Dtype::F64,
        bytes: values.into_iter().flat_map(f64::to_le_bytes).collect(),
    })
}

fn identity(weight_hash: &str, tap: Tap, format: NumberFormat) -> Identity {
    Identity { version: VERSION, weight_hash: weight_hash.to_owned(), tap, format: format.to_string() }
}

#[cfg(test)]
mod tests {
    use inject_testing::models::random;

    use std::fs;

    use super::*;
    use crate::{
        collisions::Arithmetic,
        models::{FloatFormat, checkpoint::HeaderError, silent},
        vocabulary::Vocabulary,
    };

    #[test]
    fn a_calibration_comes_back_to_the_last_bit_and_never_for_anything_else() {
        let device = inject_testing::compiled().swap_remove(0);
        let decoder = random("llama", 31, &device);
        let vocabulary = Vocabulary::new(&decoder, Arithmetic::I16OnProcessor);
        let (tap, format) = (Tap::Block(2), NumberFormat::from(FloatFormat::Bf16));
        let made = Calibration::measure(&vocabulary, tap, format, &mut silent).unwrap().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let path = made.save(dir.path(), "abc").unwrap();
        let d_model = decoder.config().d_model;
        let load = |tap, format, hash| Calibration::load(dir.path(), tap, format, hash, d_model);
        let back = load(tap, format, "abc").unwrap().unwrap();
        assert_eq!(format!("{back:?}"), format!("{made:?}"));

        assert!(load(Tap::Block(1), format, "abc").unwrap().is_none());
        assert!(load(tap, FloatFormat::F16.into(), "abc").unwrap().is_none());
        assert!(matches!(load(tap, format, "abd").unwrap_err(), CalibrationError::Other { .. }));
        // A file under another's name.
        fs::copy(&path, dir.path().join(Calibration::file_name(Tap::Block(1), format))).unwrap();
        assert!(matches!(load(Tap::Block(1), format, "abc").unwrap_err(), CalibrationError::Other { .. }));
        let bytes = fs::read(&path).unwrap();
        for at in (8..bytes.len()).step_by(211) {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1;
            fs::write(&path, flipped).unwrap();
            let error = load(tap, format, "abc").unwrap_err();
            let CalibrationError::File(
                TensorFileError::Header { .. }
                | TensorFileError::Malformed { .. }
                | TensorFileError::Damaged { .. },
            ) = error
            else {
                panic!("byte {at}: {error:?}")
            };
        }
        fs::write(&path, &bytes[..bytes.len() - 8]).unwrap();
        assert!(matches!(
            load(tap, format, "abc").unwrap_err(),
            CalibrationError::File(TensorFileError::Header { source: HeaderError::Place { .. }, .. })
        ));
        fs::write(&path, &bytes).unwrap();
        let wrong_width = Calibration::load(dir.path(), tap, format, "abc", d_model + 1).unwrap_err();
        assert!(wrong_width.to_string().contains("first.directions has "), "{wrong_width}");
    }

    /// The same file without checksums, as an older version wrote it.
    fn without_checksums(bytes: &[u8]) -> Vec<u8> {
        let (len, rest) = bytes.split_first_chunk::<8>().unwrap();
        let (header, data) = rest.split_at(u64::from_le_bytes(*len) as usize);
        let mut header: serde_json::Value = serde_json::from_slice(header).unwrap();
        let texts = header["__metadata__"].as_object_mut().unwrap();
        texts.retain(|name, _| !name.starts_with("xxh3:"));
        let header = header.to_string();
        [&(header.len() as u64).to_le_bytes(), header.as_bytes(), data].concat()
    }

    #[test]
    fn a_calibration_that_nobody_measured_so_is_refused() {
        let device = inject_testing::any_device();
        let decoder = random("llama", 31, &device);
        let vocabulary = Vocabulary::new(&decoder, Arithmetic::I16OnProcessor);
        let (tap, format) = (Tap::Block(2), NumberFormat::from(FloatFormat::Bf16));
        let made = Calibration::measure(&vocabulary, tap, format, &mut silent).unwrap().unwrap();
        let d_model = decoder.config().d_model;
        let dir = tempfile::tempdir().unwrap();
        let refused = |part: &str| {
            let error = Calibration::load(dir.path(), tap, format, "abc", d_model).unwrap_err();
            assert!(error.to_string().contains(part), "{error}");
        };
        let changes: [fn(&mut PlaceNoise); 5] = [
            |place| place.noise.spread = 0.0,
            |place| place.margin.spread = -1.0,
            |place| place.loud.damped[0] = 1.5,
            |place| place.loud.damped[0] = -0.1,
            |place| place.loud.damped.truncate(1),
        ];
        let place = |change: fn(&mut PlaceNoise), place: &PlaceNoise| {
            let mut place = place.clone();
            change(&mut place);
            Arc::new(place)
        };
        for (number, change) in changes.into_iter().enumerate() {
            let part = if number < 4 { "a spread is not positive" } else { "damped has 1 numbers" };
            for changed in [
                Calibration { first: place(change, &made.first), ..made.clone() },
                Calibration { later: place(change, &made.later), ..made.clone() },
            ] {
                changed.save(dir.path(), "abc").unwrap();
                refused(part);
            }
        }
        let path = made.save(dir.path(), "abc").unwrap();
        fs::write(&path, without_checksums(&fs::read(&path).unwrap())).unwrap();
        refused("it has no checksums: remove it to measure again");
    }
}
