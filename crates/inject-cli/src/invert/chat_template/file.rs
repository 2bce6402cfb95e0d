//! The file of a chat template, and the tokens that it and the file beside it name.

use std::path::Path;

use serde_json::{Map, Value as Json};

use crate::{outcome::Failure, text_file};

/// The longest file of a template, in bytes: a tokenizer_config.json lists tokens too.
const LONGEST: u64 = 4 << 20;

/// The longest template, in bytes. Published ones have up to about 20,000. A template can nest as deeply as it is long.
pub(super) const LONGEST_TEMPLATE: usize = 1 << 16;

/// A chat template, and how the tokens that it may write are spelled, as far as the files say.
pub(super) struct Template {
    pub(super) text: String,
    pub(super) bos_token: Option<String>,
    pub(super) eos_token: Option<String>,
}

impl Template {
    /// Reads the file, and the tokenizer_config.json beside it if there is one.
    pub(super) fn read(path: &Path) -> Result<Self, Failure> {
        let text = text_file::read(path, LONGEST)?;
        let shown = path.display();
        let (template, tokens) = match serde_json::from_str(&text) {
            Ok(json @ (Json::Object(_) | Json::Array(_))) => {
                let template =
                    of_json(&json).map_err(|problem| Failure::new(format!("{shown}: {problem}")))?;
                (template, Some(json))
            }
            Err(error) if path.extension().is_some_and(|ending| ending == "json") => {
                return Err(Failure::new(format!("{shown}: expected JSON: {error}")));
            }
            _ => (text, None),
        };
        match template.len() {
            length if length > LONGEST_TEMPLATE => Err(Failure::new(format!(
                "{shown}: the template has {length} bytes, expected at most {LONGEST_TEMPLATE}"
            ))),
            _ => {
                let files: Vec<Json> = tokens.into_iter().chain(settings_beside(path)?).collect();
                let [bos_token, eos_token] = ["bos_token", "eos_token"]
                    .map(|name| files.iter().find_map(|settings| spelling(&settings[name])));
                Ok(Template { text: template, bos_token, eos_token })
            }
        }
    }
}

/// The tokenizer_config.json beside a template, if there is one.
fn settings_beside(template: &Path) -> Result<Option<Json>, Failure> {
    let path = template.with_file_name("tokenizer_config.json");
    // A link that leads nowhere is a file that cannot be read.
    if !path.exists() && !path.is_symlink() {
        return Ok(None);
    }
    let beside = |problem: String| {
        Failure::new(format!("{problem}, and it says how tokens of {} are spelled", template.display()))
    };
    let text = text_file::read(&path, LONGEST).map_err(|failure| beside(failure.to_string()))?;
    let settings: Map<String, Json> = serde_json::from_str(&text)
        .map_err(|error| beside(format!("{}: expected an object of JSON: {error}", path.display())))?;
    Ok(Some(settings.into()))
}

/// How a token is spelled: it is a text, or has the text as its content.
fn spelling(token: &Json) -> Option<String> {
    token.as_str().or_else(|| token["content"].as_str()).map(str::to_owned)
}

/// The template in a JSON file: the only one, or of several with names the one named "default", as transformers chooses.
fn of_json(json: &Json) -> Result<String, String> {
    let expected = "expected a template, or a list of templates with names";
    let field = json.get("chat_template").ok_or("the JSON has no field chat_template")?;
    let named: Vec<(&str, &str)> = match field {
        Json::String(template) => return Ok(template.clone()),
        Json::Object(by_name) => {
            by_name.iter().filter_map(|(name, template)| Some((name.as_str(), template.as_str()?))).collect()
        }
        Json::Array(list) => list
            .iter()
            .filter_map(|entry| Some((entry["name"].as_str()?, entry["template"].as_str()?)))
            .collect(),
        Json::Null => return Err(format!("the field chat_template is null, {expected}")),
        _ => return Err(format!("the field chat_template is a number or a truth value, {expected}")),
    };
    let default = named.iter().find(|(name, _)| *name == "default");
    default.map(|(_, template)| (*template).to_owned()).ok_or_else(|| {
        let names: Vec<&str> = named.iter().map(|(name, _)| *name).collect();
        match names.is_empty() {
            true => format!("the field chat_template holds no template, {expected}"),
            false => format!(
                "none of the templates {} is named \"default\": write the one that was used into a file of its own",
                names.join(", ")
            ),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_templates_with_names_the_default_is_taken() {
        let list = |name: &str| serde_json::json!({ "chat_template": [{ "name": "tool_use", "template": "x" }, { "name": name, "template": "y" }] });
        assert_eq!(of_json(&list("default")).unwrap(), "y");
        let by_name = serde_json::json!({ "chat_template": { "default": "y", "rag": "z" } });
        assert_eq!(of_json(&by_name).unwrap(), "y");
        let error = of_json(&list("rag")).unwrap_err();
        assert!(error.contains("tool_use, rag"), "{error}");
        for template in
            [serde_json::json!(null), serde_json::json!(3), serde_json::json!([]), serde_json::json!({})]
        {
            let json = serde_json::json!({ "chat_template": template });
            assert!(of_json(&json).unwrap_err().contains("expected a template"), "{json}");
        }
        assert!(
            of_json(&serde_json::json!({ "bos_token": "<s>" }))
                .unwrap_err()
                .contains("no field chat_template")
        );
    }

    #[test]
    fn tokens_are_spelled_as_the_file_or_the_one_beside_it_says() {
        let folder = tempfile::tempdir().unwrap();
        let place = |name: &str| folder.path().join(name);
        std::fs::write(place("chat_template.jinja"), "{{ bos_token }}").unwrap();
        let spelled =
            |name: &str| Template::read(&place(name)).map(|read| (read.bos_token, read.eos_token)).unwrap();
        assert_eq!(spelled("chat_template.jinja"), (None, None));
        let config = r#"{ "chat_template": "x", "bos_token": { "content": "<a>" }, "eos_token": "<b>" }"#;
        std::fs::write(place("tokenizer_config.json"), config).unwrap();
        let both = (Some("<a>".to_owned()), Some("<b>".to_owned()));
        assert_eq!(spelled("chat_template.jinja"), both);
        assert_eq!(spelled("tokenizer_config.json"), both);
        // Processors have a file of the template alone.
        std::fs::write(place("chat_template.json"), r#"{ "chat_template": "x" }"#).unwrap();
        assert_eq!(spelled("chat_template.json"), both);
    }

    #[test]
    fn a_damaged_file_beside_a_template_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let template = folder.path().join("chat_template.jinja");
        std::fs::write(&template, "{{ bos_token }}{{ messages[0].content }}").unwrap();
        let read = || Template::read(&template).map(|read| read.bos_token);
        assert_eq!(read().unwrap(), None);
        for damaged in [r#"{ "bos_token": "<b"#, "[]", "", "\u{0}"] {
            std::fs::write(folder.path().join("tokenizer_config.json"), damaged).unwrap();
            let error = read().unwrap_err().to_string();
            for part in
                ["tokenizer_config.json: expected an object of JSON: ", "chat_template.jinja are spelled"]
            {
                assert!(error.contains(part), "{damaged:?}: {error}");
            }
        }
        std::fs::write(folder.path().join("tokenizer_config.json"), b"\xff").unwrap();
        assert!(read().unwrap_err().to_string().contains("tokenizer_config.json is not UTF-8, and"));
    }
}
