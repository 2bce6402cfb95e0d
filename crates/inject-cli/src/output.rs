//! Standard output and standard error.
//!
//! Neither ends a run. A reader that has seen enough, as `head` has, is not a failure; another error of standard output is
//! reported at the end, after everything else is safe on disk.
//!
//! A terminal obeys the control characters that it is shown. Texts from models and files may hold them, so they are escaped here,
//! whatever the text.

use std::{
    borrow::Cow,
    io::{self, Write},
    sync::{Mutex, PoisonError},
};

use crate::outcome::Failure;

/// The first error of standard output other than a closed pipe.
static FAILED: Mutex<Option<io::Error>> = Mutex::new(None);

/// Writes a line of results to standard output.
pub(crate) fn say(text: &str) {
    say_as_it_is(&shown(text));
}

/// Writes JSON to standard output. It stays JSON of the same value.
pub(crate) fn say_json(json: &str) {
    say_as_it_is(&escaped(json, |control| format!("\\u{:04x}", u32::from(control))));
}

/// The text as a terminal may show it.
pub(crate) fn shown(text: &str) -> Cow<'_, str> {
    escaped(text, |control| control.escape_default().to_string())
}

/// Replaces the characters that a terminal obeys, other than the ends of lines and tabs: control characters, and those that change
/// the direction of what follows.
fn escaped(text: &str, escape: fn(char) -> String) -> Cow<'_, str> {
    let is_obeyed = |c: char| {
        (c.is_control() && c != '\n' && c != '\t')
            || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    if !text.contains(is_obeyed) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match is_obeyed(c) {
            true => escaped.push_str(&escape(c)),
            false => escaped.push(c),
        }
    }
    Cow::Owned(escaped)
}

fn say_as_it_is(text: &str) {
    let mut stdout = io::stdout().lock();
    written(writeln!(stdout, "{text}").and_then(|()| stdout.flush()));
}

/// Takes note of the outcome of writing to standard output.
pub(crate) fn written(outcome: io::Result<()>) {
    if let Err(error) = outcome
        && error.kind() != io::ErrorKind::BrokenPipe
    {
        FAILED.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
    }
}

/// Writes a line to standard error: something for the user that is not a result.
pub(crate) fn note(text: &str) {
    // There is nobody left to tell if this fails.
    let _ = writeln!(io::stderr().lock(), "{}", shown(text));
}

/// Reports whether everything said has been written.
///
/// # Errors
///
/// The first error of standard output. A closed pipe is not an error.
pub(crate) fn delivered() -> Result<(), Failure> {
    match FAILED.lock().unwrap_or_else(PoisonError::into_inner).take() {
        None => Ok(()),
        Some(error) => Err(Failure::new(format!("cannot write to standard output: {error}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_escaped_and_nothing_else() {
        let plain = "two lines\nand\ta tab: ä, 漢, \u{1f600}";
        assert!(matches!(shown(plain), Cow::Borrowed(text) if text == plain));
        let text = "a\u{1b}[31m\r\u{7}\u{7f}\u{9b}2J\u{202e}\u{2066}\u{200f}b";
        assert_eq!(shown(text), "a\\u{1b}[31m\\r\\u{7}\\u{7f}\\u{9b}2J\\u{202e}\\u{2066}\\u{200f}b");
        let json = serde_json::to_string(text).unwrap();
        let safe = escaped(&json, |control| format!("\\u{:04x}", u32::from(control)));
        assert!(!safe.contains(|c: char| c.is_control() || c == '\u{202e}'), "{safe}");
        assert_eq!(serde_json::from_str::<String>(&safe).unwrap(), text);
    }
}
