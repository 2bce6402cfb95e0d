//! `manifest.json`: the description of a store. Its presence marks the store as finished.

pub(crate) mod bos;
pub(crate) mod json;
pub(crate) mod noise;
pub(crate) mod positions;
pub(crate) mod share;
pub(crate) mod spec;

use std::path::Path;

use serde_json::Value;

use self::{
    json::{read_versioned, to_json},
    noise::NoiseFloors,
    positions::Positions,
    spec::StoreSpec,
};
use super::{error::StoreError, ids::extent::Extent};
use crate::{
    difference::Difference,
    durable::{self, circumstances},
};

/// The version of the format that this crate reads and writes.
pub const FORMAT_VERSION: u32 = 1;

const FILE: &str = "manifest.json";

/// The description of a store: everything except its states.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Manifest {
    /// The version of the format in which the store is written: [`FORMAT_VERSION`].
    pub format_version: u32,
    /// The crate and version that wrote the store.
    pub created_by: String,
    /// The origin of the states, and the selection of them that is stored.
    pub spec: StoreSpec,
    /// The number of prompts whose states the store holds.
    pub prompt_count: usize,
    /// The number of tokens of all prompts.
    pub token_count: usize,
    /// The number of states at each tap.
    pub row_count: usize,
    /// SHA-256, in hexadecimal, of the data of `prompts.safetensors`: `offsets`, then `token_ids`.
    pub prompts_sha256: String,
    /// The noise floor of each tap, if the floors were measured.
    pub noise: Option<NoiseFloors>,
}

impl Manifest {
    /// Creates the manifest of a job that has not begun.
    ///
    /// # Errors
    ///
    /// [`StoreError::InvalidSpec`], and [`StoreError::TooLarge`] if one tap cannot be memory-mapped.
    pub(crate) fn of(spec: StoreSpec, extent: Extent, prompts_sha256: String) -> Result<Self, StoreError> {
        let manifest = Manifest {
            format_version: FORMAT_VERSION,
            created_by: concat!("inject-states ", env!("CARGO_PKG_VERSION")).to_owned(),
            spec: spec.checked()?,
            prompt_count: extent.prompts,
            token_count: extent.tokens,
            row_count: extent.rows,
            prompts_sha256,
            noise: None,
        };
        manifest.within_memory()?;
        Ok(manifest)
    }

    /// Reads the manifest of a folder. Returns `None` if it has none.
    pub(crate) fn read(dir: &Path) -> Result<Option<Self>, StoreError> {
        let path = dir.join(FILE);
        let manifest: Option<Manifest> = read_versioned(&path, |json| json)?;
        manifest.map(|manifest| manifest.checked(&path)).transpose()
    }

    /// Marks the store in the folder as finished. All its other files must be durable already.
    pub(crate) fn write(&self, dir: &Path) -> Result<(), StoreError> {
        let path = dir.join(FILE);
        Ok(durable::replace(&path, &to_json(self, &path)?)?)
    }

    /// Marks the store in the folder as unfinished. Its journal must be durable already.
    pub(crate) fn remove(dir: &Path) -> Result<(), StoreError> {
        durable::remove(&dir.join(FILE))?;
        Ok(durable::sync_folder(dir)?)
    }

    /// Returns the description without the noise floors. No other content of the store depends on them.
    pub fn without_noise(&self) -> Manifest {
        Manifest { noise: None, ..self.clone() }
    }

    /// Returns the first field in which a store that was begun differs from this job. Noise floors are not part of a job. A store
    /// of an older version may not know the circumstances in which its states were computed.
    pub(crate) fn difference_of_job(&self, found: &Manifest) -> Option<Difference> {
        let [found, mut job] = [found, self].map(|manifest| as_value(&manifest.without_noise()));
        if let (Some(job), Some(found)) = (job["spec"].as_object_mut(), found["spec"].as_object()) {
            circumstances::leave_out_unrecorded(job, found);
        }
        Difference::first(&found, &job)
    }

    /// Returns the first field in which another share of this job contradicts this one.
    pub(crate) fn difference_of_share(&self, found: &Manifest) -> Option<Difference> {
        Difference::first(&found.common(), &self.common())
    }

    /// Returns what all shares of a job have in common.
    fn common(&self) -> Value {
        let mut common = as_value(&self.without_noise());
        for field in ["prompt_count", "token_count", "row_count", "prompts_sha256"] {
            common[field] = Value::Null;
        }
        if self.spec.share.is_some() {
            common["spec"]["share"]["share"] = Value::Null;
            common["spec"]["share"]["first_prompt"] = Value::Null;
        }
        common
    }

    /// Returns the first field in which a finished store differs from this job. Its crate version does not matter.
    pub(crate) fn difference_of_content(&self, found: &Manifest) -> Option<Difference> {
        self.difference_of_job(&Manifest { created_by: self.created_by.clone(), ..found.clone() })
    }

    /// Checks a manifest that was read from disk for contradictory fields.
    fn checked(self, path: &Path) -> Result<Self, StoreError> {
        let field = |field: &str, found: String, expected: &str| StoreError::Field {
            path: path.to_owned(),
            field: field.to_owned(),
            found,
            expected: expected.to_owned(),
        };
        let spec = match self.spec.clone().checked() {
            Err(StoreError::InvalidSpec { field: name, found, expected }) => {
                return Err(field(name, found, expected));
            }
            other => other?,
        };
        if spec.taps != self.spec.taps {
            return Err(field("taps", format!("{:?}", self.spec.taps), "the order of computation"));
        }
        if self.prompt_count == 0 || self.token_count < self.prompt_count {
            let found = format!("{} prompts with {} tokens", self.prompt_count, self.token_count);
            return Err(field("prompt_count", found, "at least one prompt, and a token for each"));
        }
        let rows = match spec.positions {
            Positions::Last => self.prompt_count,
            Positions::All => self.token_count,
        };
        if self.row_count != rows {
            return Err(field("row_count", self.row_count.to_string(), &rows.to_string()));
        }
        if let Some(about) = &spec.share
            && about.first_prompt.checked_add(self.prompt_count).is_none_or(|end| end > about.prompt_count)
        {
            let found = format!("{} prompts from {} on", self.prompt_count, about.first_prompt);
            let expected = format!("a share of {} prompts", about.prompt_count);
            return Err(field("share", found, &expected));
        }
        if let Some(noise) = &self.noise {
            noise.check(&spec.taps)?;
        }
        self.within_memory()?;
        Ok(self)
    }

    /// Checks that every file fits into one memory map.
    ///
    /// # Errors
    ///
    /// [`StoreError::TooLarge`] if one does not.
    fn within_memory(&self) -> Result<(), StoreError> {
        let states = [self.row_count, self.spec.d_model, self.spec.dtype.bytes()];
        let rows = [self.row_count, 3, size_of::<i32>()];
        let prompts = [self.token_count.saturating_add(self.prompt_count), 1, size_of::<i64>()];
        let limit = isize::MAX as u128;
        for factors in [states, rows, prompts] {
            let found = factors.iter().fold(1u128, |bytes, &factor| bytes.saturating_mul(factor as u128));
            if found > limit {
                return Err(StoreError::TooLarge { what: "bytes in one file", found, limit });
            }
        }
        Ok(())
    }
}

fn as_value(manifest: &Manifest) -> Value {
    serde_json::to_value(manifest).expect("a manifest has only text keys")
}

#[cfg(test)]
mod tests {
    use inject_models::Tap;

    use super::{spec::tests::spec, *};

    fn manifest() -> Manifest {
        let extent = Extent { prompts: 2, tokens: 3, rows: 2 };
        Manifest::of(spec(), extent, "ab".to_owned()).unwrap()
    }

    #[test]
    fn a_manifest_survives_the_way_to_disk_and_back() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Manifest::read(dir.path()).unwrap(), None);
        manifest().write(dir.path()).unwrap();
        assert_eq!(Manifest::read(dir.path()).unwrap(), Some(manifest()));
    }

    #[test]
    fn every_field_of_a_job_can_be_the_one_that_differs() {
        let job = manifest();
        let mut json = as_value(&job);
        json["spec"].as_object_mut().unwrap().remove("taps");
        let fields = |json: &Value| json.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        for field in fields(&json).into_iter().chain(fields(&json["spec"])) {
            let mut changed = as_value(&job);
            let parent = if changed.get(&field).is_some() { &mut changed } else { &mut changed["spec"] };
            parent[&field] = match &parent[&field] {
                Value::Bool(bool) => Value::from(!bool),
                Value::Number(number) => Value::from(number.as_u64().unwrap() + 1),
                _ if field == "dtype" => Value::from("bf16"),
                _ if field == "positions" => Value::from("all"),
                _ if field == "bos" => Value::from("as given"),
                Value::String(_) | Value::Null if field != "noise" => Value::from("other"),
                _ => continue,
            };
            let found: Manifest = serde_json::from_value(changed).unwrap();
            assert_eq!(job.difference_of_job(&found).unwrap().name(), field);
        }
        let mut found = job.clone();
        found.spec.taps = vec![Tap::Embedding];
        assert_eq!(
            job.difference_of_job(&found),
            Some(Difference {
                field: "spec.taps".to_owned(),
                found: r#"["embedding"]"#.to_owned(),
                expected: r#"["embedding","block-2","final-norm"]"#.to_owned(),
            })
        );
    }

    #[test]
    fn noise_floors_and_the_version_that_finished_a_store_are_no_difference() {
        let floors = spec().taps.into_iter().map(|tap| (tap, Some(1e-3))).collect();
        let noise = Some(NoiseFloors { prompts_sampled: 2, floors });
        let found = Manifest { noise, created_by: "inject-states 99.0.0".to_owned(), ..manifest() };
        assert_eq!(manifest().difference_of_content(&found), None);
        assert_eq!(manifest().difference_of_job(&found).unwrap().field, "created_by");
    }

    #[test]
    fn a_tap_that_no_memory_map_can_hold_is_refused() {
        let extent = Extent { prompts: 2, tokens: 2, rows: 2 };
        let wide = StoreSpec { d_model: usize::MAX / 2, ..spec() };
        let error = Manifest::of(wide, extent, String::new()).unwrap_err();
        assert!(matches!(error, StoreError::TooLarge { .. }), "{error}");
    }
}
