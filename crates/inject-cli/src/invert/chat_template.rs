//! The tokens that a chat template puts before the user's text.

mod file;
mod render;

use std::path::Path;

use inject_sipit::models::{Bos, Model};
use minijinja::{Error, ErrorKind};

use self::{file::Template, render::render};
use super::{
    beginning::Beginning,
    watched::{Stopped, watched},
};
use crate::outcome::{Failure, chain};

/// Texts that stand for tokens of which nothing says how they are written.
const UNKNOWN_BOS: &str = "\u{e000}bos\u{e000}";
const UNKNOWN_EOS: &str = "\u{e000}eos\u{e000}";

/// The advice where a template cannot be rendered.
const AS_TEXT: &str = "give the text before that of the user with --prefix instead";

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
    let Template { text, bos_token, eos_token } = Template::read(path)?;
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

#[cfg(test)]
mod tests {
    use super::*;

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
}
