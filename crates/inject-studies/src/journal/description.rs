//! The description of a study.

use inject_sipit::models::Decoder;
use serde_json::{Map, Value};

use crate::name::StudyName;

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

    /// Adds the number of lanes of `decoder` to the description. It depends on the number of cores and changes states by rounding
    /// errors, so results computed with different numbers of lanes must not be mixed.
    pub fn computed_by(mut self, decoder: &Decoder) -> Self {
        self.dependencies.insert("lanes".to_owned(), decoder.lanes().into());
        self
    }

    /// Returns the name of the study.
    pub fn study(&self) -> StudyName {
        self.study
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;

    use super::*;

    #[test]
    fn results_of_other_lanes_belong_to_another_study() {
        let decoder = inject_testing::models::model("gpt2", &inject_testing::any_device()).decoder;
        let of = |lanes| {
            let decoder = decoder.clone().with_lanes(NonZeroUsize::new(lanes).unwrap());
            Description::new(StudyName::Lengths, serde_json::json!({})).computed_by(&decoder)
        };
        assert_eq!(of(2), of(2));
        assert_ne!(of(2), of(3));
    }
}
