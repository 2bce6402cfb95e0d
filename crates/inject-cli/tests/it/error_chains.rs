//! The causes of errors, held by a test over the sources: every `thiserror` type of the workspace has its cause in `source()`,
//! and never also in its text.

use std::{fs, path::Path};

/// A type or variant with `#[error(...)]`.
#[derive(Debug, PartialEq)]
struct Message<'a> {
    name: &'a str,
    /// The arguments of `#[error(...)]`.
    text: &'a str,
    fields: &'a str,
    /// Whether the fields are numbered, not named.
    numbered: bool,
}

impl Message<'_> {
    fn has_source(&self) -> bool {
        self.field_lines().any(|line| {
            let name = line.trim_start().trim_start_matches("pub ");
            line.contains("#[source]") || line.contains("#[from]") || name.starts_with("source:")
        })
    }

    /// The lines of the fields without their documentation.
    fn field_lines(&self) -> impl Iterator<Item = &str> {
        self.fields.lines().filter(|line| !line.trim_start().starts_with("///"))
    }

    /// Returns the fault, if there is one.
    fn fault(&self) -> Option<&'static str> {
        let transparent = self.text == "transparent";
        // Failures side by side have no place in a chain, which has room for one, so the text has them all.
        let holds_error = self.field_lines().filter(|line| line.contains("Error")).count() == 1;
        if transparent {
            return None;
        }
        if self.has_source() {
            let mut words = self.text.split(|c: char| !c.is_alphanumeric() && c != '_');
            let named = words.any(|word| word == "source");
            let numbered = self.numbered && (self.text.contains("{0") || self.text.contains(".0"));
            return (named || numbered).then_some("its text repeats its source");
        }
        holds_error.then_some("it holds an error that is not its source")
    }
}

/// Returns the part of `text` before the bracket that closes the one before it, and the part after that bracket.
fn closed(text: &str) -> (&str, &str) {
    let (mut depth, mut in_string, mut escaped) = (1, false, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if in_string => escaped = true,
            '"' => in_string = !in_string,
            '(' | '{' | '[' if !in_string => depth += 1,
            ')' | '}' | ']' if !in_string => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return (&text[..at], &text[at + 1..]);
        }
    }
    panic!("no closing bracket: {text}");
}

/// The messages of a source file.
fn messages(source: &str) -> Vec<Message<'_>> {
    let mut found = Vec::new();
    for (at, marker) in source.match_indices("#[error(") {
        let (text, mut rest) = closed(&source[at + marker.len()..]);
        rest = rest.trim_start_matches(']').trim_start();
        while let Some(attribute) = rest.strip_prefix("#[") {
            rest = closed(attribute).1.trim_start();
        }
        for word in ["pub ", "struct ", "enum "] {
            rest = rest.trim_start_matches(word);
        }
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        let (name, after) = rest.split_at(end);
        let after = after.trim_start();
        let fields = match after.as_bytes().first() {
            Some(b'{' | b'(') => closed(&after[1..]).0,
            _ => "",
        };
        found.push(Message { name, text: text.trim(), fields, numbered: after.starts_with('(') });
    }
    found
}

fn each_source(folder: &Path, take: &mut dyn FnMut(&Path, &str)) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            each_source(&path, take);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            take(&path, &fs::read_to_string(&path).unwrap());
        }
    }
}

#[test]
fn a_cause_is_a_source_and_never_part_of_the_text() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let (mut with_source, mut faults) = (0, Vec::new());
    for entry in fs::read_dir(crates).unwrap() {
        each_source(&entry.unwrap().path().join("src"), &mut |path, source| {
            for message in messages(source) {
                with_source += usize::from(message.has_source());
                let fault = message.fault();
                faults.extend(fault.map(|fault| format!("{}: {}: {fault}", path.display(), message.name)));
            }
        });
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(with_source > 40, "only {with_source} errors with a source were found in {}", crates.display());
}

#[test]
fn a_repeated_cause_and_a_hidden_one_are_faults() {
    let fault = |source| messages(source).iter().map(|message| message.fault().is_some()).collect::<Vec<_>>();
    let good = r#"
        /// Text.
        #[error("cannot read {}", path.display())]
        Read { path: PathBuf, /// The source.
            source: io::Error },
        #[error(transparent)]
        Model(#[from] ModelError),
        #[error("it has {found} of ({{}})")]
        #[cfg(feature = "hub")]
        Found { found: usize },
        #[error("none")]
        Nothing,
    "#;
    assert_eq!(fault(good), [false; 4]);
    let bad = r#"
        #[error("cannot read {path}: {source}")]
        Read { path: String,
            source: io::Error },
        #[error("not JSON: {0}")]
        Json(#[from] serde_json::Error),
        #[error("failed: {}", .error)]
        Hidden { error: Box<dyn Error> },
    "#;
    assert_eq!(fault(bad), [true; 3]);
    assert_eq!(messages(bad)[2].name, "Hidden");
}
