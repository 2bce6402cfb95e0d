//! The tokens that a chat template puts before the user's text.

use std::{
    io::{self, Write},
    path::Path,
};

use inject_sipit::models::{Bos, Model};
use minijinja::{Environment, Error, ErrorKind, Value, context, value::Kwargs};
use serde::Serialize;
use serde_json::{Map, Value as Json, ser::Formatter};

use super::{
    beginning::Beginning,
    watched::{Stopped, watched},
};
use crate::{
    outcome::{Failure, chain},
    text_file,
};

/// A text that stands for the user's.
const USER: &str = "\u{e000}user\u{e000}";

/// Texts that stand for tokens of which nothing says how they are written.
const UNKNOWN_BOS: &str = "\u{e000}bos\u{e000}";
const UNKNOWN_EOS: &str = "\u{e000}eos\u{e000}";

/// The longest file of a template, in bytes: a tokenizer_config.json lists tokens too.
const LONGEST: u64 = 4 << 20;

/// The longest template, in bytes. Published ones have up to about 20,000. A template can nest as deeply as it is long.
const LONGEST_TEMPLATE: usize = 1 << 16;

/// The advice where a template cannot be rendered.
const AS_TEXT: &str = "give the text before that of the user with --prefix instead";

/// A chat template, and how the tokens that it may write are spelled, as far as the files say.
struct Template {
    text: String,
    bos_token: Option<String>,
    eos_token: Option<String>,
}

/// The tokens before the text of the user, after a system prompt if one is given.
///
/// `path` is a Jinja template, or a JSON file with the field `chat_template`, as tokenizer_config.json. The file, or the
/// tokenizer_config.json beside it, may say what BOS and EOS are. Otherwise BOS is the token with which the model's texts begin.
pub(super) fn tokens_before(model: &Model, path: &Path, system: Option<&str>) -> Result<Beginning, Failure> {
    let first = model.first_token().and_then(|id| model.tokenizer().ok()?.token(id));
    let before = text_before(path, system, first)?;
    // The template writes BOS itself.
    Beginning::of_text(model, &before, Bos::No).or_else(|_| Beginning::of_text(model, &before, Bos::Auto))
}

/// The text before that of the user. `first` is the token with which the model's texts begin.
///
/// # Errors
///
/// [`Failure`] if the template or a file beside it cannot be read, or the template cannot be rendered within the limits.
pub fn text_before(path: &Path, system: Option<&str>, first: Option<String>) -> Result<String, Failure> {
    let Template { text, bos_token, eos_token } = read(path)?;
    let bos_token = bos_token.or(first).unwrap_or_else(|| UNKNOWN_BOS.to_owned());
    let eos_token = eos_token.unwrap_or_else(|| UNKNOWN_EOS.to_owned());
    let system = system.map(str::to_owned);
    let rendered = watched(move || {
        render(&text, system.as_deref(), &bos_token, &eos_token).map_err(|error| told(&error))
    });
    let before = rendered
        .unwrap_or_else(|stopped: Stopped| Err(stopped.to_string()))
        .map_err(|problem| Failure::new(format!("{}: {problem}", path.display())))?;
    let before = before.ok_or_else(|| {
        Failure::new(format!(
            "{}: the text of the user does not occur in what the template gives",
            path.display()
        ))
    })?;
    for (name, unknown) in [("bos_token", UNKNOWN_BOS), ("eos_token", UNKNOWN_EOS)] {
        if before.contains(unknown) {
            return Err(Failure::new(format!(
                "{}: the template writes {name}, and nothing says how it is spelled: put the model's tokenizer_config.json beside it, or {AS_TEXT}",
                path.display()
            )));
        }
    }
    Ok(before)
}

/// The words for an error, with what to do where the template may be right.
fn told(error: &Error) -> String {
    let text = chain(error);
    match error.kind() {
        ErrorKind::UnknownFunction
        | ErrorKind::UnknownFilter
        | ErrorKind::UnknownMethod
        | ErrorKind::UnknownTest
        | ErrorKind::SyntaxError => format!("{text}; {AS_TEXT}"),
        _ => text,
    }
}

fn read(path: &Path) -> Result<Template, Failure> {
    let text = text_file::read(path, LONGEST)?;
    let shown = path.display();
    let (template, tokens) = match serde_json::from_str(&text) {
        Ok(json @ (Json::Object(_) | Json::Array(_))) => {
            let template = of_json(&json).map_err(|problem| Failure::new(format!("{shown}: {problem}")))?;
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

/// The text before that of the user, as transformers renders a template. None if that text does not occur.
fn render(
    template: &str,
    system: Option<&str>,
    bos_token: &str,
    eos_token: &str,
) -> Result<Option<String>, Error> {
    let mut environment = Environment::new();
    environment.set_trim_blocks(true);
    environment.set_lstrip_blocks(true);
    environment.set_fuel(Some(1 << 20));
    environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
    environment.add_function("raise_exception", |text: String| -> Result<Value, Error> {
        Err(Error::new(ErrorKind::InvalidOperation, text))
    });
    environment.add_function("strftime_now", |format: String| -> Result<Value, Error> {
        let text = format!(
            "strftime_now(\"{format}\") is the date on which the prompt was made: write that date into the template in its place, or {AS_TEXT}"
        );
        Err(Error::new(ErrorKind::InvalidOperation, text))
    });
    environment.add_filter("tojson", to_json);
    let template = without_generation(template);
    environment.add_template("chat", &template)?;
    let message = |role: &str, content: &str| context! { role, content };
    let system = system.map(|text| message("system", text));
    let messages: Vec<Value> = system.into_iter().chain([message("user", USER)]).collect();
    let rendered = environment
        .get_template("chat")?
        .render(context! { messages, bos_token, eos_token, add_generation_prompt => true })?;
    Ok(rendered.split_once(USER).map(|(before, _)| before.to_owned()))
}

/// JSON as Python writes it, and not escaped for HTML, as transformers has it.
fn to_json(value: &Value, options: Kwargs) -> Result<String, Error> {
    let indent: Option<usize> = options.get("indent")?;
    let mut written = Vec::new();
    let done = match indent {
        Some(spaces) => {
            let spaces = " ".repeat(spaces.min(16));
            let pretty = serde_json::ser::PrettyFormatter::with_indent(spaces.as_bytes());
            value.serialize(&mut serde_json::Serializer::with_formatter(&mut written, pretty))
        }
        None => value.serialize(&mut serde_json::Serializer::with_formatter(&mut written, Spaced)),
    };
    let invalid = |problem: String| Error::new(ErrorKind::BadSerialization, problem);
    done.map_err(|error| invalid(error.to_string()))?;
    String::from_utf8(written).map_err(|error| invalid(error.to_string()))
}

/// JSON in one line, with a space after each comma and colon.
struct Spaced;

impl Formatter for Spaced {
    fn begin_array_value<W: ?Sized + Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_key<W: ?Sized + Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(b": ")
    }
}

/// The same template without the tags `generation` and `endgeneration`, which mark text for training: a condition that holds is in their
/// place.
fn without_generation(template: &str) -> String {
    let mut parts = template.split("{%");
    let mut changed = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        changed.push_str("{%");
        let (tag, rest) = part.split_once("%}").unwrap_or((part, ""));
        let name = tag.trim_matches(|c: char| c.is_whitespace() || c == '-' || c == '+');
        let instead = match name {
            "generation" => "if true",
            "endgeneration" => "endif",
            _ => name,
        };
        changed.push_str(&tag.replacen(name, instead, 1));
        if part.len() > tag.len() {
            changed.push_str("%}");
        }
        changed.push_str(rest);
    }
    changed
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHATML: &str = "{%- for message in messages %}\n    {{- '<|im_start|>' + message['role'] + '\\n' + message['content'].strip() + '<|im_end|>\\n' }}\n{%- endfor %}\n{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";

    #[test]
    fn the_text_before_the_user_is_what_transformers_writes() {
        let before = |system| render(CHATML, system, "<s>", "").unwrap().unwrap();
        assert_eq!(before(None), "<|im_start|>user\n");
        assert_eq!(
            before(Some(" Be brief. ")),
            "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n"
        );
        let with_bos = render("{{ bos_token }}{{ messages[0].content }}", None, "<s>", "").unwrap();
        assert_eq!(with_bos.as_deref(), Some("<s>"));
        let with_eos = "{{ bos_token }}{{ messages[0].content }}{{ eos_token }}{{ messages[1].content }}";
        let with_eos = render(with_eos, Some("Be kind."), "<s>", "</s>").unwrap();
        assert_eq!(with_eos.as_deref(), Some("<s>Be kind.</s>"));
    }

    #[test]
    fn a_template_with_the_extensions_of_transformers_is_rendered() {
        let before = |template: &str| render(template, Some("Say <b> & 'c'."), "", "").unwrap().unwrap();
        let looped = "{% for m in messages %}{{ m.role }} {% if loop.last %}{% break %}{% endif %}{% endfor %}{{ messages[1].content }}";
        assert_eq!(before(looped), "system user ");
        let json = "{{ messages[0] | tojson }}{{ messages[1].content }}";
        assert_eq!(before(json), r#"{"role": "system", "content": "Say <b> & 'c'."}"#);
        let marked = "{%- generation -%} a {%- endgeneration %}{{ messages[1].content }}";
        assert_eq!(before(marked), "a");
    }

    #[test]
    fn a_template_that_asks_for_the_date_says_what_to_do() {
        let template = "{{ strftime_now('%d %B %Y') }}{{ messages[0].content }}";
        let error = told(&render(template, None, "", "").unwrap_err());
        for part in ["strftime_now(\"%d %B %Y\")", "write that date into the template", "--prefix"] {
            assert!(error.contains(part), "{error}");
        }
        let error = told(&render("{{ today() }}{{ messages[0].content }}", None, "", "").unwrap_err());
        assert!(error.contains("today") && error.contains("--prefix"), "{error}");
    }

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
        let spelled = |name: &str| read(&place(name)).map(|read| (read.bos_token, read.eos_token)).unwrap();
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
        let before = || text_before(&template, None, Some("<a>".to_owned()));
        assert_eq!(before().unwrap(), "<a>");
        for damaged in [r#"{ "bos_token": "<b"#, "[]", "", "\u{0}"] {
            std::fs::write(folder.path().join("tokenizer_config.json"), damaged).unwrap();
            let error = before().unwrap_err().to_string();
            for part in
                ["tokenizer_config.json: expected an object of JSON: ", "chat_template.jinja are spelled"]
            {
                assert!(error.contains(part), "{damaged:?}: {error}");
            }
        }
        std::fs::write(folder.path().join("tokenizer_config.json"), b"\xff").unwrap();
        assert!(before().unwrap_err().to_string().contains("tokenizer_config.json is not UTF-8, and"));
    }

    #[test]
    fn a_template_that_nests_as_deeply_as_it_can_is_an_error_or_rendered() {
        for (begin, link, end) in
            [("{{ ", "-", "1 }}"), ("{{ ", "not ", "1 }}"), ("{{ a", ".b", " }}"), ("{{ a", "|e", " }}")]
        {
            let links = link.repeat((LONGEST_TEMPLATE - 20) / link.len());
            let template = format!("{begin}{links}{end}");
            // A stack that does not suffice would end the process.
            watched(move || render(&template, None, "", "").map_err(|error| chain(&error))).unwrap().ok();
        }
    }

    #[test]
    fn a_template_that_refuses_or_never_ends_is_an_error() {
        let refused = render("{{ raise_exception('no system role') }}", Some("a"), "", "").unwrap_err();
        assert!(refused.to_string().contains("no system role"), "{refused}");
        let endless = "{% for a in range(10000) %}{% for b in range(10000) %}{{ b }}{% endfor %}{% endfor %}";
        assert_eq!(render(endless, None, "", "").unwrap_err().kind(), ErrorKind::OutOfFuel);
        assert_eq!(render("nothing of the user", None, "", "").unwrap(), None);
    }
}
