//! Prompts from files, one at a time.

use std::{
    fs::File,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
};

use super::{PromptError, PromptProblem};

/// The endings [`Prompts::open`] knows.
const ENDINGS: &str = "`.txt`, `.jsonl`, `.parquet`";

const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// The prompts of a file, read as they are asked for.
///
/// Holds one line, or one page of a column, at a time. Ends after the first error.
#[derive(Debug)]
pub struct Prompts {
    path: PathBuf,
    /// None after the end or an error.
    texts: Option<Texts>,
}

/// The texts of a file, the empty ones among them.
#[derive(Debug)]
enum Texts {
    Lines(Lines),
    JsonLines(Lines),
    #[cfg(feature = "parquet")]
    Parquet(Box<super::parquet::TextColumn>),
}

/// The lines of a file without their line breaks.
#[derive(Debug)]
struct Lines {
    reader: BufReader<File>,
    /// The number of the line read last, from 1.
    line: usize,
}

#[derive(serde::Deserialize)]
struct JsonLine {
    text: String,
}

/// Reads all prompts of a file.
///
/// # Errors
///
/// As [`Prompts::open`] and each item of [`Prompts`].
pub fn read_prompts(path: impl AsRef<Path>) -> Result<Vec<String>, PromptError> {
    Prompts::open(path)?.collect()
}

impl Prompts {
    /// Opens a `.txt`, `.jsonl` or `.parquet` file.
    ///
    /// # Errors
    ///
    /// [`PromptError`] when the ending is another one, or the file cannot be opened or has no texts. The
    /// items are errors where a text is missing or malformed.
    pub fn open(path: impl AsRef<Path>) -> Result<Prompts, PromptError> {
        let path = path.as_ref();
        match Texts::open(path) {
            Ok(texts) => Ok(Prompts { path: path.to_owned(), texts: Some(texts) }),
            Err(problem) => Err(PromptError { path: path.to_owned(), problem }),
        }
    }
}

impl Iterator for Prompts {
    type Item = Result<String, PromptError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.texts.as_mut()?.next_text() {
                Ok(Some(text)) if text.is_empty() => {}
                Ok(Some(text)) => return Some(Ok(text)),
                Ok(None) => self.texts = None,
                Err(problem) => {
                    self.texts = None;
                    return Some(Err(PromptError { path: self.path.clone(), problem }));
                }
            }
        }
    }
}

impl std::iter::FusedIterator for Prompts {}

impl Texts {
    fn open(path: &Path) -> Result<Texts, PromptProblem> {
        let ending = path.extension().unwrap_or_default().to_string_lossy().into_owned();
        match ending.to_ascii_lowercase().as_str() {
            "txt" => Ok(Texts::Lines(Lines::open(path)?)),
            "jsonl" => Ok(Texts::JsonLines(Lines::open(path)?)),
            #[cfg(feature = "parquet")]
            "parquet" => Ok(Texts::Parquet(Box::new(super::parquet::TextColumn::open(path)?))),
            #[cfg(not(feature = "parquet"))]
            "parquet" => Err(PromptProblem::NoParquet),
            _ => Err(PromptProblem::UnknownEnding { found: ending, known: ENDINGS }),
        }
    }

    fn next_text(&mut self) -> Result<Option<String>, PromptProblem> {
        match self {
            Texts::Lines(lines) => lines.next_line(),
            Texts::JsonLines(lines) => match lines.next_line()? {
                Some(text) => text_of_json(lines.line, &text).map(Some),
                None => Ok(None),
            },
            #[cfg(feature = "parquet")]
            Texts::Parquet(column) => column.next_text(),
        }
    }
}

/// The field `text`, or nothing on a line of white space.
fn text_of_json(line: usize, text: &str) -> Result<String, PromptProblem> {
    // serde would also take an array of one string for the object.
    match text.trim_ascii_start().bytes().next() {
        None => Ok(String::new()),
        Some(b'{') => serde_json::from_str(text)
            .map(|JsonLine { text }| text)
            .map_err(|source| PromptProblem::Json { line, source }),
        Some(_) => Err(PromptProblem::NotAnObject { line }),
    }
}

impl Lines {
    fn open(path: &Path) -> Result<Lines, PromptProblem> {
        Ok(Lines { reader: BufReader::new(File::open(path)?), line: 0 })
    }

    fn next_line(&mut self) -> Result<Option<String>, PromptProblem> {
        let mut line = Vec::new();
        if self.reader.read_until(b'\n', &mut line)? == 0 {
            return Ok(None);
        }
        self.line += 1;
        if line.ends_with(b"\n") {
            line.pop();
            if line.ends_with(b"\r") {
                line.pop();
            }
        }
        if self.line == 1 && line.starts_with(BYTE_ORDER_MARK) {
            line.drain(..BYTE_ORDER_MARK.len());
        }
        String::from_utf8(line).map(Some).map_err(|_| PromptProblem::LineNotUtf8 { line: self.line })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The prompts of a file with this name and content.
    fn read(name: &str, content: &[u8]) -> Result<Vec<String>, PromptProblem> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        read_prompts(&path).map_err(|error| {
            assert_eq!(error.path, path);
            error.problem
        })
    }

    #[test]
    fn the_exact_text_of_each_line_is_kept() {
        let prompts = read("a.txt", " a\t\n\nb \r\n \nc\rd\n\r\ne\u{2028}f".as_bytes()).unwrap();
        assert_eq!(prompts, [" a\t", "b ", " ", "c\rd", "e\u{2028}f"]);
    }

    #[test]
    fn a_carriage_return_at_the_end_of_the_file_is_text() {
        assert_eq!(read("a.txt", b"a\r").unwrap(), ["a\r"]);
    }

    #[test]
    fn a_byte_order_mark_is_not_part_of_the_first_prompt() {
        assert_eq!(read("a.txt", "\u{feff}a\n\u{feff}b\n".as_bytes()).unwrap(), ["a", "\u{feff}b"]);
        assert_eq!(read("a.jsonl", "\u{feff}{\"text\": \"a\"}\n".as_bytes()).unwrap(), ["a"]);
    }

    #[test]
    fn an_empty_file_has_no_prompts() {
        assert_eq!(read("a.txt", b"").unwrap(), [""; 0]);
        assert_eq!(read("a.jsonl", b"\n \n").unwrap(), [""; 0]);
    }

    #[test]
    fn the_ending_may_be_in_capitals() {
        assert_eq!(read("A.TXT", b"a").unwrap(), ["a"]);
    }

    #[test]
    fn the_text_field_of_each_object_is_read() {
        let content = r#"
            {"text": " a\n\u00e9\ud83d\ude00", "id": 7, "more": {"text": "no"}}
            {"text": ""}
            {"id": null, "text": "b"}"#;
        assert_eq!(read("a.jsonl", content.as_bytes()).unwrap(), [" a\né😀", "b"]);
    }

    #[test]
    fn a_line_that_is_not_utf8_is_named() {
        for name in ["a.txt", "a.jsonl"] {
            let problem = read(name, b"{\"text\": \"a\"}\n\n\xff\n").unwrap_err();
            assert!(matches!(problem, PromptProblem::LineNotUtf8 { line: 3 }), "{problem}");
        }
    }

    #[test]
    fn a_line_that_is_not_an_object_is_named() {
        for line in ["[\"b\"]", "\"b\"", "null", "b"] {
            let problem = read("a.jsonl", format!("{{\"text\": \"a\"}}\n{line}").as_bytes()).unwrap_err();
            assert!(matches!(problem, PromptProblem::NotAnObject { line: 2 }), "{line}: {problem}");
        }
    }

    #[test]
    fn a_malformed_object_is_named_with_its_place() {
        for (line, message) in [
            ("{\"id\": 1}", "line 2, column 9: missing field `text`"),
            ("{\"text\": 1}", "line 2, column 10: invalid type: integer `1`, expected a string"),
            ("{\"text\": null}", "line 2, column 13: invalid type: null, expected a string"),
            ("{\"text\": \"a\", \"text\": \"b\"}", "line 2, column 20: duplicate field `text`"),
            ("{\"text\": \"a\"", "line 2, column 12: EOF while parsing an object"),
            ("{\"text\": \"a\"} x", "line 2, column 15: trailing characters"),
            ("{\"text\": \"\\ud800\"}", "line 2, column 17: unexpected end of hex escape"),
        ] {
            let problem = read("a.jsonl", format!("\n{line}").as_bytes()).unwrap_err();
            assert_eq!(problem.to_string(), message);
        }
    }

    #[test]
    fn nothing_follows_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        std::fs::write(&path, b"a\n\xff\nb\n").unwrap();
        let found: Vec<bool> = Prompts::open(&path).unwrap().map(|prompt| prompt.is_ok()).collect();
        assert_eq!(found, [true, false]);
    }

    #[test]
    fn an_unknown_ending_lists_the_known_ones() {
        for name in ["a.csv", "a"] {
            let problem = read(name, b"a").unwrap_err();
            assert!(matches!(problem, PromptProblem::UnknownEnding { .. }), "{problem}");
            assert!(problem.to_string().contains("`.txt`, `.jsonl`, `.parquet`"), "{problem}");
        }
    }

    #[test]
    fn prompts_can_be_read_in_another_thread() {
        fn is_send<T: Send>() {}
        is_send::<Prompts>();
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = read_prompts("/nowhere/a.txt").unwrap_err();
        assert!(matches!(error.problem, PromptProblem::Io(_)), "{error}");
        assert!(error.to_string().starts_with("/nowhere/a.txt: "), "{error}");
    }

    #[cfg(not(feature = "parquet"))]
    #[test]
    fn a_parquet_file_names_the_feature_that_reads_it() {
        let problem = read("a.parquet", b"PAR1").unwrap_err();
        assert!(matches!(problem, PromptProblem::NoParquet), "{problem}");
        assert!(problem.to_string().contains("`parquet`"), "{problem}");
    }
}
