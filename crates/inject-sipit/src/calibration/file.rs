//! A calibration on disk: one safetensors file for each tap and format, which names the weights it was measured with.

use std::{
    collections::HashMap,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde::{Deserialize, Serialize};

use crate::{
    models::{NumberFormat, Tap},
    states::durable::{self, FileError},
};

use super::{Calibration, LogNormal, PlaceNoise, place::Loud};

/// The version of the layout and of the measurement.
const VERSION: u32 = 1;

/// The largest file that is read, in bytes: two sets of a few hundred directions.
const LARGEST: u64 = 1 << 30;

/// The fault of a calibration's file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CalibrationError {
    /// A file cannot be read or written.
    #[error("cannot read or write {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// A file is not a calibration, or is damaged.
    #[error("{}: {reason}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The content found, and the content expected.
        reason: String,
    },
    /// The calibration was measured with other weights, at another tap or in another format.
    #[error("{} was measured for {found}, expected {expected}", path.display())]
    Other {
        /// The file.
        path: PathBuf,
        /// Its version, weights, tap and format.
        found: String,
        /// Those wanted.
        expected: String,
    },
}

/// What a calibration was measured for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Identity {
    version: u32,
    weight_hash: String,
    tap: Tap,
    format: String,
}

/// The numbers of one kind of position, but for the matrices.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Place {
    typical_norm: f64,
    noise: LogNormal,
    margin: LogNormal,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct About {
    identity: Identity,
    first: Place,
    later: Place,
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
        let malformed = |reason: String| CalibrationError::Malformed { path: path.clone(), reason };
        let place = |place: &PlaceNoise| Place {
            typical_norm: place.typical_norm,
            noise: place.noise,
            margin: place.margin,
        };
        let identity = identity(weight_hash, self.tap, self.format);
        let about = About { identity, first: place(&self.first), later: place(&self.later) };
        let about = serde_json::to_string(&about).map_err(|error| malformed(error.to_string()))?;
        let mut tensors = Vec::new();
        for (name, place) in [("first", &self.first), ("later", &self.later)] {
            let (along, shares): (Vec<f64>, Vec<f64>) = place.states_along.iter().copied().unzip();
            let loud = &place.loud;
            let vectors = [
                ("directions", loud.directions.clone()),
                ("variances", loud.variances.clone()),
                ("damped", loud.damped.clone()),
                ("means", along),
                ("shares", shares),
            ];
            tensors.extend(vectors.map(|(of, values)| (format!("{name}.{of}"), values)));
        }
        let bytes: Vec<(String, Vec<u8>)> = tensors
            .into_iter()
            .map(|(name, values)| (name, values.into_iter().flat_map(f64::to_le_bytes).collect()))
            .collect();
        let views = bytes.iter().map(|(name, bytes)| {
            TensorView::new(Dtype::F64, vec![bytes.len() / 8], bytes).map(|view| (name.as_str(), view))
        });
        let views = views.collect::<Result<Vec<_>, _>>().map_err(|error| malformed(error.to_string()))?;
        let metadata = HashMap::from([("about".to_owned(), about)]);
        let file =
            safetensors::serialize(views, Some(metadata)).map_err(|error| malformed(error.to_string()))?;
        durable::replace(&path, &file)
            .map_err(|FileError { path, source, .. }| CalibrationError::File { path, source })?;
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
        let failed = |source| CalibrationError::File { path: path.clone(), source };
        let malformed = |reason: String| CalibrationError::Malformed { path: path.clone(), reason };
        let bytes = match fs::metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
            Ok(found) if found.len() > LARGEST => {
                return Err(malformed(format!("it has {} bytes, expected at most {LARGEST}", found.len())));
            }
            Ok(_) => fs::read(&path).map_err(failed)?,
        };
        let (_, header) = SafeTensors::read_metadata(&bytes).map_err(|error| malformed(error.to_string()))?;
        let tensors = SafeTensors::deserialize(&bytes).map_err(|error| malformed(error.to_string()))?;
        let about = header.metadata().as_ref().and_then(|metadata| metadata.get("about"));
        let about = about.ok_or_else(|| malformed("it has no description: not a calibration".to_owned()))?;
        let about: About = serde_json::from_str(about).map_err(|error| malformed(error.to_string()))?;
        let expected = identity(weight_hash, tap, format);
        if about.identity != expected {
            let (found, expected) = (about.identity.words(), expected.words());
            return Err(CalibrationError::Other { path, found, expected });
        }
        let vector = |name: String, length: Option<usize>| -> Result<Vec<f64>, CalibrationError> {
            let view = tensors.tensor(&name).map_err(|error| malformed(format!("{name}: {error}")))?;
            let values: Vec<f64> =
                view.data().as_chunks::<8>().0.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect();
            let right = view.dtype() == Dtype::F64 && length.is_none_or(|length| values.len() == length);
            match right && values.iter().all(|value| value.is_finite()) {
                true => Ok(values),
                false => Err(malformed(format!("{name} has {} numbers of {:?}", values.len(), view.dtype()))),
            }
        };
        let place = |name: &str, place: Place| -> Result<Arc<PlaceNoise>, CalibrationError> {
            let variances = vector(format!("{name}.variances"), None)?;
            let of = |what: &str, length: usize| vector(format!("{name}.{what}"), Some(length));
            let count = variances.len();
            let loud = Loud {
                directions: of("directions", count.saturating_mul(d_model))?,
                damped: of("damped", count)?,
                variances,
            };
            let states_along = of("means", count)?.into_iter().zip(of("shares", count)?).collect();
            let Place { typical_norm, noise, margin } = place;
            let positive = [noise.spread, margin.spread].iter().all(|spread| *spread > 0.0);
            if !positive || !loud.damped.iter().all(|share| (0.0..=1.0).contains(share)) {
                return Err(malformed(format!(
                    "{name}: a spread is not positive, or a share lies outside 0 to 1"
                )));
            }
            Ok(Arc::new(PlaceNoise { typical_norm, loud, states_along, noise, margin }))
        };
        let (first, later) = (place("first", about.first)?, place("later", about.later)?);
        Ok(Some(Calibration { tap, format, first, later }))
    }
}

fn identity(weight_hash: &str, tap: Tap, format: NumberFormat) -> Identity {
    Identity { version: VERSION, weight_hash: weight_hash.to_owned(), tap, format: format.to_string() }
}

#[cfg(test)]
mod tests {
    use inject_testing::models::random;

    use super::*;
    use crate::{collisions::Arithmetic, models::FloatFormat, vocabulary::Vocabulary};

    #[test]
    fn a_calibration_comes_back_to_the_last_bit_and_never_for_anything_else() {
        let device = inject_testing::compiled().swap_remove(0);
        let decoder = random("llama", 31, &device);
        let vocabulary = Vocabulary::new(&decoder, Arithmetic::I16OnProcessor);
        let (tap, format) = (Tap::Block(2), NumberFormat::from(FloatFormat::Bf16));
        let made = Calibration::measure(&vocabulary, tap, format).unwrap().unwrap();
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
        fs::write(&path, &bytes[..bytes.len() - 8]).unwrap();
        assert!(matches!(load(tap, format, "abc").unwrap_err(), CalibrationError::Malformed { .. }));
        let wrong_width = Calibration::load(dir.path(), tap, format, "abc", d_model + 1);
        assert!(matches!(wrong_width.unwrap_err(), CalibrationError::Malformed { .. }));
    }
}
