//! The description of a study.

use serde_json::{Map, Value};

use crate::name::StudyName;

/// The description of a study: its name, and everything that its results depend on.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Description {
    study: StudyName,
    #[serde(flatten)]
    dependencies: Map<String, Value>,
}

impl Description {
    /// Describes a study. `dependencies` is a JSON object with everything that its results depend on.
    ///
    /// # Panics
    ///
    /// If `dependencies` is not an object.
    pub fn new(study: StudyName, dependencies: Value) -> Self {
        match dependencies {
            Value::Object(dependencies) => Description { study, dependencies },
            other => panic!("the dependencies of a study are {other}, expected an object"),
        }
    }

    /// The name of the study.
    pub fn study(&self) -> StudyName {
        self.study
    }
}
