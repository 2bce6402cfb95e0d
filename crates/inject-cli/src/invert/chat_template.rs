//! The tokens that a chat template puts before the user's text.

use std::path::Path;

use inject_sipit::models::{Bos, Model};
use minijinja::{Environment, Error, ErrorKind, Value, context};

use super::watched::{Stopped, watched};
use crate::{
    outcome::{Failure, chain},
    text_file,
};

/// A text that stands for the user's.
const USER: &str = "\u{e000}user\u{e000}";

/// The longest file of a template, in bytes: a tokenizer_config.json lists tokens too.
const LONGEST: u64 = 4 << 20;

/// The longest template, in bytes. Published ones have up to about 20,000. A template can nest as deeply as it is long.
const LONGEST_TEMPLATE: usize = 1 << 16;

/// The tokens before the text of the user, after a system prompt if one is given.
///
/// `path` is a Jinja template, or a JSON file with the field `chat_template`, as tokenizer_config.json.
pub(super) fn tokens_before(model: &Model, path: &Path, system: Option<&str>) -> Result<Vec<u32>, Failure> {
    let text = read(path)?;
    let spelled = |id: Option<u32>| id.and_then(|id| model.tokenizer().ok()?.token(id)).unwrap_or_default();
    let (bos_token, system) = (spelled(model.first_token()), system.map(str::to_owned));
    let rendered =
        watched(move || render(&text, system.as_deref(), &bos_token).map_err(|error| chain(&error)));
    let before = rendered
        .unwrap_or_else(|stopped: Stopped| Err(stopped.to_string()))
        .map_err(|problem| Failure::new(format!("{}: {problem}", path.display())))?;
    let before = before.ok_or_else(|| {
        Failure::new(format!(
            "{}: the text of the user does not occur in what the template gives",
            path.display()
        ))
    })?;
    // The template writes BOS itself.
    Ok(model
        .tokenizer()?
        .encode(&before, Bos::No)
        .or_else(|_| model.tokenizer()?.encode(&before, Bos::Auto))?)
}

fn read(path: &Path) -> Result<String, Failure> {
    let text = text_file::read(path, LONGEST)?;
    let field = |json: serde_json::Value| json.get("chat_template")?.as_str().map(str::to_owned);
    let template = serde_json::from_str(&text).ok().and_then(field).unwrap_or(text);
    match template.len() {
        length if length > LONGEST_TEMPLATE => Err(Failure::new(format!(
            "{}: the template has {length} bytes, expected at most {LONGEST_TEMPLATE}",
            path.display()
        ))),
        _ => Ok(template),
    }
}

/// The text before that of the user, as transformers renders a template. None if that text does not occur.
fn render(template: &str, system: Option<&str>, bos_token: &str) -> Result<Option<String>, Error> {
    let mut environment = Environment::new();
    environment.set_trim_blocks(true);
    environment.set_lstrip_blocks(true);
    environment.set_fuel(Some(1 << 20));
    environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
    environment.add_function("raise_exception", |text: String| -> Result<Value, Error> {
        Err(Error::new(ErrorKind::InvalidOperation, text))
    });
    environment.add_template("chat", template)?;
    let message = |role: &str, content: &str| context! { role, content };
    let system = system.map(|text| message("system", text));
    let messages: Vec<Value> = system.into_iter().chain([message("user", USER)]).collect();
    let eos_token = "";
    let rendered = environment
        .get_template("chat")?
        .render(context! { messages, bos_token, eos_token, add_generation_prompt => true })?;
    Ok(rendered.split_once(USER).map(|(before, _)| before.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHATML: &str = "{%- for message in messages %}\n    {{- '<|im_start|>' + message['role'] + '\\n' + message['content'].strip() + '<|im_end|>\\n' }}\n{%- endfor %}\n{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";

    #[test]
    fn the_text_before_the_user_is_what_transformers_writes() {
        let before = |system| render(CHATML, system, "<s>").unwrap().unwrap();
        assert_eq!(before(None), "<|im_start|>user\n");
        assert_eq!(
            before(Some(" Be brief. ")),
            "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n"
        );
        let with_bos = render("{{ bos_token }}{{ messages[0].content }}", None, "<s>").unwrap();
        assert_eq!(with_bos.as_deref(), Some("<s>"));
    }

    #[test]
    fn a_template_that_nests_as_deeply_as_it_can_is_an_error_or_rendered() {
        for (begin, link, end) in
            [("{{ ", "-", "1 }}"), ("{{ ", "not ", "1 }}"), ("{{ a", ".b", " }}"), ("{{ a", "|e", " }}")]
        {
            let links = link.repeat((LONGEST_TEMPLATE - 20) / link.len());
            let template = format!("{begin}{links}{end}");
            // A stack that does not suffice would end the process.
            watched(move || render(&template, None, "").map_err(|error| chain(&error))).unwrap().ok();
        }
    }

    #[test]
    fn a_template_that_refuses_or_never_ends_is_an_error() {
        let refused = render("{{ raise_exception('no system role') }}", Some("a"), "").unwrap_err();
        assert!(refused.to_string().contains("no system role"), "{refused}");
        let endless = "{% for a in range(10000) %}{% for b in range(10000) %}{{ b }}{% endfor %}{% endfor %}";
        assert_eq!(render(endless, None, "").unwrap_err().kind(), ErrorKind::OutOfFuel);
        assert_eq!(render("nothing of the user", None, "").unwrap(), None);
    }
}
