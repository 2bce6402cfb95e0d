//! The text of a sentence template: its braces, the parts of its choices, and the capital at its beginning.

/// Returns the position of the brace that closes the one at the beginning of `text`.
pub(super) fn closing_brace(text: &str) -> usize {
    let mut depth = 0;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return at;
        }
    }
    unreachable!("the grammar closes every brace it opens: {text}")
}

/// Returns the parts of a choice, split at the bars outside inner braces.
pub(super) fn choices(inside: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0;
    inside.split(move |c| {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        depth == 0 && c == '|'
    })
}

/// Capitalises the first letter of the sentence, and that of a speech with which it begins.
pub(super) fn capitalise(mut sentence: String) -> String {
    let letter = usize::from(sentence.starts_with('"'));
    if let Some(first) = sentence.get_mut(letter..letter + 1) {
        first.make_ascii_uppercase();
    }
    sentence
}
