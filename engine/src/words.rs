//! The words of an executor, on their way through the engine.
//!
//! The engine hands the error of a task on as the `Debug` text of several nested errors. Marks find the words in it, and no
//! character of them is one that `Debug` escapes.

use std::fmt::Write;

const BEGIN: &str = "<inject ";
const END: &str = " inject>";

/// Puts the marks around a text by which it is found again in an error of the engine.
pub(crate) fn marked(text: &str) -> String {
    let mut marked = BEGIN.to_owned();
    for character in text.chars() {
        let changes =
            matches!(character, '%' | '"' | '\\' | '\'' | '<' | '>') || character.escape_debug().len() > 1;
        if changes {
            // Writing to a text does not fail.
            let _ = write!(marked, "%{:06x}", u32::from(character));
        } else {
            marked.push(character);
        }
    }
    marked + END
}

/// Returns the first marked text within a text.
pub(crate) fn found(text: &str) -> Option<String> {
    let (_, rest) = text.split_once(BEGIN)?;
    let (marked, _) = rest.split_once(END)?;
    let mut parts = marked.split('%');
    let mut found = parts.next()?.to_owned();
    for part in parts {
        let code = u32::from_str_radix(part.get(..6)?, 16).ok()?;
        found.push(char::from_u32(code)?);
        found.push_str(part.get(6..)?);
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_come_through_any_number_of_debug_texts() {
        for words in
            ["`a b` is not a store", "C:\\new \"100 %\" <x> inject>", "größer\n\u{7f}\u{200b}'", "%", ""]
        {
            let mut text = marked(words);
            for _ in 0..4 {
                assert_eq!(found(&text).as_deref(), Some(words), "{text}");
                text = format!("Job failed: {:?}", Some(text));
            }
        }
        assert_eq!(found("Job failed"), None);
        assert_eq!(found("<inject %zz inject>"), None);
    }
}
