//! The JSON that the program writes, against docs/schema.

use std::{fs, path::Path};

use serde_json::Value;

use super::{
    studies::STUDIES,
    support::{run, succeed},
};

fn schema(name: &str) -> Value {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/schema");
    serde_json::from_str(&fs::read_to_string(folder.join(name).with_extension("schema.json")).unwrap())
        .unwrap()
}

/// The part of JSON Schema that the project's schemas use. An unknown keyword is an error, so none is passed over.
fn validate(value: &Value, schema: &Value, root: &Value) -> Result<(), String> {
    let fail = |reason: &str| Err(format!("{reason}: {value} against {schema}"));
    let Some(keywords) = schema.as_object() else {
        return if schema == &Value::Bool(true) { Ok(()) } else { fail("nothing is allowed here") };
    };
    for (keyword, rule) in keywords {
        let holds = match keyword.as_str() {
            "$schema" | "$defs" | "title" | "description" | "format" | "default" => true,
            "$ref" => {
                let pointer = rule.as_str().unwrap().strip_prefix('#').unwrap();
                validate(value, root.pointer(pointer).unwrap(), root)?;
                true
            }
            "type" => match rule {
                Value::Array(types) => types.iter().any(|name| is_of(value, name)),
                name => is_of(value, name),
            },
            "const" => value == rule,
            "enum" => rule.as_array().unwrap().contains(value),
            "minimum" => value.as_f64().is_none_or(|number| number >= rule.as_f64().unwrap()),
            "maximum" => value.as_f64().is_none_or(|number| number <= rule.as_f64().unwrap()),
            "required" => {
                rule.as_array().unwrap().iter().all(|name| value.get(name.as_str().unwrap()).is_some())
            }
            "properties" => {
                for (name, schema) in rule.as_object().unwrap() {
                    value.get(name).map_or(Ok(()), |value| validate(value, schema, root))?;
                }
                true
            }
            "additionalProperties" => {
                let known = schema.get("properties").and_then(Value::as_object);
                let others = value.as_object().into_iter().flatten();
                for (_, value) in
                    others.filter(|(name, _)| known.is_none_or(|known| !known.contains_key(*name)))
                {
                    validate(value, rule, root)?;
                }
                true
            }
            "minItems" => value.as_array().is_none_or(|items| items.len() as u64 >= rule.as_u64().unwrap()),
            "maxItems" => value.as_array().is_none_or(|items| items.len() as u64 <= rule.as_u64().unwrap()),
            "items" => {
                value.as_array().into_iter().flatten().try_for_each(|item| validate(item, rule, root))?;
                true
            }
            "anyOf" | "oneOf" => {
                let fitting =
                    rule.as_array().unwrap().iter().filter(|rule| validate(value, rule, root).is_ok());
                let count = fitting.count();
                if keyword == "oneOf" { count == 1 } else { count > 0 }
            }
            _ => return Err(format!("unknown keyword {keyword}")),
        };
        if !holds {
            return fail(keyword);
        }
    }
    Ok(())
}

fn is_of(value: &Value, name: &Value) -> bool {
    match name.as_str().unwrap() {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("unknown type {other}"),
    }
}

#[track_caller]
fn check(name: &str, text: &str) {
    let (schema, value) = (schema(name), serde_json::from_str(text).unwrap());
    validate(&value, &schema, &schema).unwrap_or_else(|error| panic!("{name}: {error}"));
}

#[test]
fn a_recovered_prompt_has_the_documented_fields() {
    let dir = tempfile::tempdir().unwrap();
    let cases = [
        "invert --json",
        "invert --json --policy prior --certify --ids 1,2",
        "invert --json --allclose 1e-3,1e-2 --policy prior",
        "invert --json --policy random --max-candidates 1",
    ];
    for arguments in cases {
        check("invert", &run(dir.path(), arguments).out);
    }
}

#[test]
fn a_store_gives_lines_and_counts_with_the_documented_fields() {
    let dir = tempfile::tempdir().unwrap();
    succeed(dir.path(), "extract --generate 3 --taps block-1 --positions all --out states");
    let ran = succeed(dir.path(), "invert --states states --out out.jsonl --policy prior --json");
    check("invert-store", &ran.out);
    let lines = fs::read_to_string(dir.path().join("out.jsonl")).unwrap();
    assert_eq!(lines.lines().count(), 4);
    lines.lines().skip(1).for_each(|line| check("invert-store-line", line));
}

#[test]
fn measurements_have_the_documented_fields() {
    let dir = tempfile::tempdir().unwrap();
    check(
        "depth",
        &succeed(dir.path(), "depth --json --taps block-1 --lengths 4 --count 1 --policy prior").out,
    );
    let compare =
        "compare-policies --json --policies scan,hard-prompts --count 2 --length 4 --max-seconds 0.2";
    check("compare-policies", &succeed(dir.path(), compare).out);
}

#[test]
fn every_file_of_every_study_has_the_documented_fields() {
    let dir = tempfile::tempdir().unwrap();
    for (number, (study, names)) in STUDIES.into_iter().enumerate() {
        let out = dir.path().join(number.to_string());
        succeed(dir.path(), &format!("{study} --out {}", out.display()));
        for name in names {
            check(name, &fs::read_to_string(out.join(name).with_extension("json")).unwrap());
        }
    }
    let (study, _) = STUDIES[0];
    succeed(dir.path(), &format!("{study} --against 0/corpus.json --out second"));
    check("between-models", &fs::read_to_string(dir.path().join("second/between_models.json")).unwrap());
}

#[test]
fn what_a_schema_does_not_allow_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let schema = schema("invert");
    let value: Value = serde_json::from_str(&run(dir.path(), "invert --json").out).unwrap();
    let broken = |keyword: &str, change: &dyn Fn(&mut Value)| {
        let mut value = value.clone();
        change(&mut value);
        let error = validate(&value, &schema, &schema).unwrap_err();
        assert!(error.starts_with(keyword), "{error}");
    };
    broken("type:", &|value| value["recovered"]["verified"] = "yes".into());
    broken("oneOf:", &|value| value["recovered"]["positions"][0]["verdict"] = "perhaps".into());
    broken("nothing is allowed here:", &|value| value["more"] = 1.into());
    broken("required:", &|value| drop(value.as_object_mut().unwrap().remove("tap")));
    validate(&value, &schema, &schema).unwrap();
}
