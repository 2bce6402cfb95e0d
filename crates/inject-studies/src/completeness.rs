//! The units of a study that a result contains.

use std::fmt;

use serde::Serialize;
use serde_json::Value;

/// The units of a study that a result contains. The result of one share, or of a merge that lacks a share, is incomplete.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
pub struct Completeness {
    /// Whether the result contains every unit.
    pub complete: bool,
    /// The number of units of the whole study.
    pub units: usize,
    /// The missing units, as the journal names them.
    pub missing: Vec<Value>,
}

impl Completeness {
    /// Describes a result of a study of `units` units that lacks `missing`.
    ///
    /// # Panics
    ///
    /// Panics if a unit cannot be written as JSON.
    pub(crate) fn of<U: Serialize>(units: usize, missing: impl IntoIterator<Item = U>) -> Self {
        let value = |unit: U| serde_json::to_value(unit).expect("units of studies are plain data");
        let missing: Vec<Value> = missing.into_iter().map(value).collect();
        Completeness { complete: missing.is_empty(), units, missing }
    }
}

impl Default for Completeness {
    /// Returns the value for results that were written before it was recorded: complete, with an unknown number of units.
    fn default() -> Self {
        Completeness { complete: true, units: 0, missing: Vec::new() }
    }
}

impl fmt::Display for Completeness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const LISTED: usize = 5;
        if self.complete {
            return f.write_str("complete");
        }
        write!(f, "incomplete: {} of {} units missing: ", self.missing.len(), self.units)?;
        let listed: Vec<String> = self.missing.iter().take(LISTED).map(Value::to_string).collect();
        f.write_str(&listed.join(", "))?;
        if self.missing.len() > LISTED { f.write_str(", ...") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_units_are_named() {
        assert_eq!(Completeness::of::<u32>(4, []).to_string(), "complete");
        let some = Completeness::of(4, [1, 3]);
        assert_eq!(some.to_string(), "incomplete: 2 of 4 units missing: 1, 3");
        let many = Completeness::of(9, 0..7).to_string();
        assert_eq!(many, "incomplete: 7 of 9 units missing: 0, 1, 2, 3, 4, ...");
    }
}
