//! A file of results or a journal that was begun with another option, in the words of the command line.

use clap::Args;
use inject_sipit::states::durable::JsonLinesError;
use serde_json::Value;

use crate::options::PolicyOptions;

/// Says which option of a recovery a file was begun with, and which one is given now. None if the error is another one.
pub(crate) fn with_option(error: &JsonLinesError) -> Option<String> {
    let JsonLinesError::Header { path, field, found, expected, .. } = error else { return None };
    let name = field.strip_prefix("job.").or_else(|| field.strip_prefix("policy."))?.replace('_', "-");
    let options = PolicyOptions::augment_args(clap::Command::new("recovery"));
    // A lens is recorded by its content.
    options.get_arguments().find(|option| option.get_long() == Some(&name) && name != "lens")?;
    let (found, expected) = (value(found)?, value(expected)?);
    let given = |value: &str| format!("--{name}{}{value}", if value.is_empty() { "" } else { " " });
    let words = match (found, expected) {
        (Some(found), Some(expected)) => format!("{}, now {}", given(&found), given(&expected)),
        (Some(found), None) => format!("{}, now without it", given(&found)),
        (None, Some(expected)) => format!("no --{name}, now {}", given(&expected)),
        (None, None) => return None,
    };
    let path = path.display();
    Some(format!("`{path}` was begun with {words}: choose another file, or the first options"))
}

/// The value of an option as it is typed, empty if the option has none. The inner None stands for an option that is not given, the outer one
/// for a value that is not an option's.
fn value(json: &str) -> Option<Option<String>> {
    Some(match serde_json::from_str(json).ok()? {
        Value::Null | Value::Bool(false) => None,
        Value::Bool(true) => Some(String::new()),
        Value::String(text) => Some(text),
        Value::Number(number) => Some(match number.as_f64() {
            Some(float) if number.is_f64() => float.to_string(),
            _ => number.to_string(),
        }),
        Value::Array(numbers) => {
            let numbers: Vec<String> = numbers.iter().map(Value::to_string).collect();
            Some(numbers.join(","))
        }
        Value::Object(_) => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(field: &str, found: &str, expected: &str) -> Option<String> {
        let (field, found, expected) = (field.to_owned(), found.to_owned(), expected.to_owned());
        let path = "out.jsonl".into();
        with_option(&JsonLinesError::Header { path, field, found, expected, unused: false })
    }

    #[test]
    fn options_are_named_as_they_are_typed() {
        for (field, found, expected, said) in [
            ("job.epsilon", "100000.0", "null", "--epsilon 100000, now without it"),
            ("job.max_candidates", "null", "7", "no --max-candidates, now --max-candidates 7"),
            ("job.certify", "true", "false", "--certify, now without it"),
            (
                "job.allclose",
                "[1e-5,1e-5]",
                "[0.1,1e-5]",
                "--allclose 0.00001,0.00001, now --allclose 0.1,0.00001",
            ),
            ("policy.policy", "\"prior\"", "\"auto\"", "--policy prior, now --policy auto"),
        ] {
            let expected_words =
                format!("`out.jsonl` was begun with {said}: choose another file, or the first options");
            assert_eq!(words(field, found, expected), Some(expected_words));
        }
        for field in ["job.lens", "job.weight_hash", "job.files.policy", "width"] {
            assert_eq!(words(field, "\"a\"", "\"b\""), None, "{field}");
        }
        assert_eq!(
            words("job.epsilon", "nothing", "1.0"),
            None,
            "a field that an older version did not have"
        );
    }
}
