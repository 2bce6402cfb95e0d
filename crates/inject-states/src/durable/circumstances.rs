//! The circumstances of a computation, in the descriptions of stores, journals and files of inversions.

use inject_models::Circumstances;
use serde_json::{Map, Value, json};

/// Returns the circumstances as the fields of a description. One that is not known is null.
pub fn to_fields(circumstances: Circumstances) -> Map<String, Value> {
    let Circumstances { lanes, weights_held_as, instructions, .. } = circumstances;
    match json!({ "lanes": lanes, "weights_held_as": weights_held_as, "instructions": instructions }) {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

/// Removes those of these fields from a description which the version that wrote `recorded` did not know. So work that an older
/// version began can be continued. Fields that it recorded are left, to be compared.
pub fn leave_out_unrecorded(description: &mut Map<String, Value>, recorded: &Map<String, Value>) {
    let [lanes, form, instructions] = ["lanes", "weights_held_as", "instructions"];
    let lacks = |field: &str| !recorded.contains_key(field);
    let unknown = [
        (lanes, lacks(lanes)),
        (form, lacks(form)),
        // A store leaves out the instructions where no CPU computes. It has the form of the weights then.
        (instructions, lacks(instructions) && lacks(form)),
    ];
    for (field, _) in unknown.into_iter().filter(|(_, is_unknown)| *is_unknown) {
        description.remove(field);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(value: Value) -> Map<String, Value> {
        value.as_object().cloned().unwrap()
    }

    #[test]
    fn only_what_an_older_version_did_not_record_is_left_out() {
        let all = json!({ "seed": 1, "lanes": 2, "weights_held_as": "f32", "instructions": "avx2" });
        for (recorded, expected) in [
            (json!({ "seed": 3 }), json!({ "seed": 1 })),
            (json!({ "lanes": 3 }), json!({ "seed": 1, "lanes": 2 })),
            (all.clone(), all.clone()),
            // A journal of a study without loaded weights has the instructions alone.
            (json!({ "instructions": "avx2" }), json!({ "seed": 1, "instructions": "avx2" })),
            // A store of a GPU, then a journal of one: the instructions were known to be none.
            (json!({ "lanes": 3, "weights_held_as": "f16" }), all.clone()),
            (json!({ "lanes": 3, "weights_held_as": "f16", "instructions": null }), all.clone()),
        ] {
            let mut left = fields(all.clone());
            leave_out_unrecorded(&mut left, &fields(recorded.clone()));
            assert_eq!(left, fields(expected), "{recorded}");
        }
    }

    #[test]
    fn a_store_leaves_out_what_is_not_known_and_a_journal_says_null() {
        let mut known = Circumstances::default();
        known.lanes = Some(2);
        assert_eq!(serde_json::to_value(known).unwrap(), json!({ "lanes": 2 }));
        let all = json!({ "lanes": 2, "weights_held_as": null, "instructions": null });
        assert_eq!(Value::Object(to_fields(known)), all);
    }

    #[test]
    fn every_field_is_recorded() {
        let device = inject_testing::any_device();
        let circumstances = inject_testing::models::random("gpt2", 1, &device).circumstances();
        let Value::Object(own) = serde_json::to_value(circumstances).unwrap() else { panic!() };
        let recorded = to_fields(circumstances);
        assert!(own.keys().all(|field| recorded.contains_key(field)), "{own:?}, {recorded:?}");
    }
}
