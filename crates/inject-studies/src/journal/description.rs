//! The description of a study.

use std::path::Path;

use inject_sipit::{
    models::Decoder,
    states::durable::{JsonLines, circumstances},
};
use serde_json::{Map, Value};

use crate::name::StudyName;

/// The field of the memory budget, which older versions did not record.
const MEMORY: &str = "memory_budget";

/// The name of a study, and everything on which its results depend.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Description {
    study: StudyName,
    #[serde(flatten)]
    dependencies: Map<String, Value>,
}

impl Description {
    /// Describes a study. `dependencies` is a JSON object with everything on which its results depend.
    ///
    /// # Panics
    ///
    /// Panics if `dependencies` is not an object.
    pub fn new(study: StudyName, dependencies: Value) -> Self {
        match dependencies {
            Value::Object(dependencies) => Description { study, dependencies },
            other => panic!("the dependencies of a study are {other}, expected an object"),
        }
    }

    /// Adds the circumstances on which the rounding of the decoder's states depends. Results computed in different ones must not be
    /// mixed.
    pub fn computed_by(mut self, decoder: &Decoder) -> Self {
        self.dependencies.extend(circumstances::to_fields(decoder.circumstances()));
        self
    }

    /// Adds the memory that a batch or a search may use, in bytes. It decides which prompts are computed together, which changes states by
    /// rounding, and the number of distances that a search computes directly.
    pub fn within_memory(mut self, bytes: usize) -> Self {
        self.dependencies.insert(MEMORY.to_owned(), bytes.into());
        self
    }

    /// Returns the description as the version that began a journal recorded it: without the fields that it did not know.
    pub(crate) fn as_recorded_in(&self, journal: &Path) -> Self {
        let mut about = self.clone();
        if let Ok(Some(found)) = JsonLines::header::<Description>(journal) {
            circumstances::leave_out_unrecorded(&mut about.dependencies, &found.dependencies);
            if !found.dependencies.contains_key(MEMORY) {
                about.dependencies.remove(MEMORY);
            }
        }
        about
    }

    /// Returns the name of the study.
    pub fn study(&self) -> StudyName {
        self.study
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;

    use inject_sipit::models::{FloatFormat, Hold, Model, Origin, Precision};
    use serde_json::json;

    use super::*;

    #[test]
    fn results_of_weights_that_are_held_otherwise_belong_to_another_study() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../inject-models/tests/fixtures/llama-bf16-shards");
        let of = |hold: Hold| {
            let precision = Precision::new(hold, FloatFormat::F32);
            let model =
                Model::load(Origin::of_folder(&folder), precision, &inject_testing::any_device()).unwrap();
            Description::new(StudyName::Lengths, json!({})).computed_by(&model.decoder)
        };
        assert_eq!(of(Hold::Stored), of(Hold::Stored));
        assert_ne!(of(Hold::Stored), of(Hold::Computed));
        assert_eq!(of(Hold::Stored).dependencies["weights_held_as"], "stored");
    }

    #[test]
    fn results_of_other_lanes_belong_to_another_study() {
        let decoder = inject_testing::models::model("gpt2", &inject_testing::any_device()).decoder;
        let of = |lanes| {
            let decoder = decoder.clone().with_lanes(NonZeroUsize::new(lanes).unwrap());
            Description::new(StudyName::Lengths, json!({})).computed_by(&decoder)
        };
        assert_eq!(of(2), of(2));
        assert_ne!(of(2), of(3));
    }
}
