//! The rendering of a chat template, as transformers renders it.

use std::io::{self, Write};

use minijinja::{Environment, Error, ErrorKind, Value, context, value::Kwargs};
use serde::Serialize;
use serde_json::ser::Formatter;

use super::AS_TEXT;

/// A text that stands for the user's.
const USER: &str = "\u{e000}user\u{e000}";

/// The text before that of the user, as transformers renders a template. None if that text does not occur.
pub(super) fn render(
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
    use crate::{
        invert::{chat_template::file::LONGEST_TEMPLATE, watched::watched},
        outcome::chain,
    };

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
