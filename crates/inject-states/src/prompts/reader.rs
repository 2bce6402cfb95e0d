//! Prompts from files, one at a time.

use std::path::{Path, PathBuf};

use super::{
    PromptError, PromptProblem, field::Field, input::ending, lines::Lines, table::Table, values::Values,
};

/// The endings [`Prompts::open`] knows.
const ENDINGS: &str =
    "`.txt`, `.jsonl`, `.ndjson`, `.json`, `.csv`, `.tsv`, `.parquet`, and `.gz` after all but the last";

/// The prompts of a file, read one by one.
///
/// Holds one line, or one page of a column, at a time. Ends after the first error.
#[derive(Debug)]
pub struct Prompts {
    path: PathBuf,
    most: usize,
    /// `None` after the end or an error.
    texts: Option<Texts>,
}

/// The texts of a file, the empty ones among them.
#[derive(Debug)]
enum Texts {
    Lines(Lines),
    JsonLines(Lines, Field),
    Values(Values),
    Table(Table),
    #[cfg(feature = "parquet")]
    Parquet(Box<super::parquet::TextColumn>),
}

/// Reads all prompts of a file, at most [`MAX_FILE_BYTES`] of text.
///
/// # Errors
///
/// As [`Prompts::open`] and each item of [`Prompts`], and [`PromptProblem::TooMuchText`].
pub fn read_prompts(path: impl AsRef<Path>) -> Result<Vec<String>, PromptError> {
    Prompts::open(path)?.read_all()
}

/// The largest text that [`read_prompts`] reads, in bytes, with the memory that it takes to keep each prompt. A small file can
/// stand for much text, in a format that compresses.
pub const MAX_FILE_BYTES: usize = 1 << 30;

/// The empty texts that are skipped one after another. A small Parquet file can stand for billions.
const MOST_EMPTY: usize = 1 << 22;

impl Prompts {
    /// The default limit of one prompt, in bytes: several times the longest context of today's models.
    pub const DEFAULT_MAX_BYTES: usize = 4 << 20;

    /// Opens a file of texts, or of the fields `text` of a table or of JSON objects.
    ///
    /// # Errors
    ///
    /// [`PromptError`] if the name has another ending, or the file cannot be opened or has no texts. An
    /// item is an error if a text is missing, malformed or too long.
    pub fn open(path: impl AsRef<Path>) -> Result<Prompts, PromptError> {
        Prompts::open_with(path.as_ref(), Field::default())
    }

    /// Opens a file of which another field or column than `text` has the prompts. A dotted name leads deeper.
    ///
    /// # Errors
    ///
    /// As [`Prompts::open`].
    ///
    /// # Example
    ///
    /// ```
    /// use inject_states::prompts::Prompts;
    ///
    /// let folder = tempfile::tempdir()?;
    /// let path = folder.path().join("chats.jsonl");
    /// std::fs::write(&path, r#"{"messages": [{"role": "user", "content": "Hello."}]}"#)?;
    ///
    /// let mut prompts = Prompts::open_field(&path, "messages.0.content")?;
    /// assert_eq!(prompts.next().transpose()?.as_deref(), Some("Hello."));
    /// let error = Prompts::open(&path)?.next().unwrap().unwrap_err();
    /// assert!(error.to_string().contains("no text `text`; it has messages"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn open_field(path: impl AsRef<Path>, field: &str) -> Result<Prompts, PromptError> {
        Prompts::open_with(path.as_ref(), Field::new(field))
    }

    fn open_with(path: &Path, field: Field) -> Result<Prompts, PromptError> {
        match Texts::open(path, field) {
            Ok(texts) => {
                Ok(Prompts { path: path.to_owned(), most: Self::DEFAULT_MAX_BYTES, texts: Some(texts) })
            }
            Err(problem) => Err(PromptError { path: path.to_owned(), problem }),
        }
    }

    /// Reads all prompts, at most [`MAX_FILE_BYTES`] of text.
    ///
    /// # Errors
    ///
    /// Those of each item, and [`PromptProblem::TooMuchText`].
    pub fn read_all(self) -> Result<Vec<String>, PromptError> {
        let path = self.path.clone();
        let mut bytes = 0;
        let mut prompts = Vec::new();
        for prompt in self {
            let prompt = prompt?;
            bytes += prompt.len() + size_of::<String>();
            if bytes > MAX_FILE_BYTES {
                let problem = PromptProblem::TooMuchText { prompts: prompts.len(), most: MAX_FILE_BYTES };
                return Err(PromptError { path, problem });
            }
            prompts.push(prompt);
        }
        Ok(prompts)
    }

    /// Returns the same prompts with another limit on the bytes of each.
    ///
    /// A longer prompt is an error and is not held in memory. A text that has more bytes than the tokens of a context can have need
    /// not be tokenised.
    pub fn with_max_bytes(self, most: usize) -> Self {
        Prompts { most, ..self }
    }
}

impl Iterator for Prompts {
    type Item = Result<String, PromptError>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut empty = 0;
        let problem = loop {
            match self.texts.as_mut()?.next_text(self.most) {
                Ok(Some(text)) if !text.is_empty() => return Some(Ok(text)),
                Ok(Some(_)) if empty == MOST_EMPTY => break PromptProblem::TooManyEmpty { most: MOST_EMPTY },
                Ok(Some(_)) => empty += 1,
                Ok(None) => self.texts = None,
                Err(problem) => break problem,
            }
        };
        self.texts = None;
        Some(Err(PromptError { path: self.path.clone(), problem }))
    }
}

impl std::iter::FusedIterator for Prompts {}

impl Texts {
    fn open(path: &Path, field: Field) -> Result<Texts, PromptProblem> {
        let (ending, packed) = ending(path);
        match ending.as_str() {
            "txt" => Ok(Texts::Lines(Lines::open(path)?)),
            "jsonl" | "ndjson" => Ok(Texts::JsonLines(Lines::open(path)?, field)),
            "json" => Ok(Texts::Values(Values::open(path, field)?)),
            "csv" => Ok(Texts::Table(Table::open(path, b',', &field)?)),
            "tsv" => Ok(Texts::Table(Table::open(path, b'\t', &field)?)),
            #[cfg(feature = "parquet")]
            "parquet" if !packed => {
                Ok(Texts::Parquet(Box::new(super::parquet::TextColumn::open(path, field.name())?)))
            }
            #[cfg(not(feature = "parquet"))]
            "parquet" if !packed => Err(PromptProblem::NoParquet),
            _ => {
                let found = if packed { format!("{ending}.gz") } else { ending };
                Err(PromptProblem::UnknownEnding { found, known: ENDINGS })
            }
        }
    }

    /// Returns the next text, of at most `most` bytes.
    fn next_text(&mut self, most: usize) -> Result<Option<String>, PromptProblem> {
        match self {
            Texts::Lines(lines) => lines.next_line(most),
            Texts::JsonLines(lines, field) => lines.next_json(most, field),
            Texts::Values(values) => values.next_text(most),
            Texts::Table(table) => table.next_text(most),
            #[cfg(feature = "parquet")]
            Texts::Parquet(column) => column.next_text(most),
        }
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
            ("{\"text\": 1}", "line 2, column 10: invalid type: integer `1`, expected a string"),
            ("{\"text\": null}", "line 2, column 13: invalid type: null, expected a string"),
            ("{\"text\": \"a\", \"text\": \"b\"}", "line 2, column 20: duplicate field `text`"),
            ("{\"text\": \"a\"", "line 2, column 12: EOF while parsing an object"),
            ("{\"text\": \"a\"} x", "line 2, column 15: trailing characters"),
            ("{\"text\": \"\\ud800\"}", "line 2, column 17: unexpected end of hex escape"),
        ] {
            let problem = read("a.jsonl", format!("\n{line}").as_bytes()).unwrap_err();
            let source = std::error::Error::source(&problem).unwrap().to_string();
            assert_eq!(format!("{problem}: {}", source.rsplit_once(" at line ").unwrap().0), message);
        }
    }

    #[test]
    fn a_missing_field_lists_the_ones_that_are_there() {
        for (name, content) in [
            ("a.jsonl", "\n{\"id\": 1, \"prompt\": {\"en\": \"a\"}}"),
            ("a.json", "[{\"text\": \"b\"}, {\"id\": 1, \"prompt\": {\"en\": \"a\"}}]"),
            ("a.csv", "id,prompt.en\n1,a\n"),
        ] {
            let problem = read(name, content.as_bytes()).unwrap_err();
            assert!(
                problem.to_string().contains("no text `text`; it has id, prompt.en"),
                "{name}: {problem}"
            );
        }
    }

    #[test]
    fn other_formats_of_the_same_texts_are_read() {
        for (name, content) in [
            ("a.ndjson", "{\"text\": \"a\"}\n{\"text\": \"b, c\"}\n"),
            ("a.json", "[{\"text\": \"a\"}, {\"text\": \"b, c\"}]"),
            ("a.json", "[\"a\", \"b, c\"]"),
            ("a.json", "{\"text\": \"a\"}\n{\"text\": \"b, c\"}\n"),
            ("a.csv", "\u{feff}text,id\na,1\n\"b, c\",2\n"),
            ("a.tsv", "id\ttext\n1\ta\n2\tb, c\n"),
        ] {
            assert_eq!(read(name, content.as_bytes()).unwrap(), ["a", "b, c"], "{name}: {content}");
        }
    }

    #[test]
    fn a_compressed_file_is_read_as_what_it_unpacks_to() {
        use std::io::Write;
        for (name, content) in
            [("a.txt.gz", "a\nb\n"), ("a.JSONL.GZ", "{\"text\": \"a\"}\n{\"text\": \"b\"}")]
        {
            let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            packed.write_all(content.as_bytes()).unwrap();
            assert_eq!(read(name, &packed.finish().unwrap()).unwrap(), ["a", "b"]);
        }
        let problem = read("a.txt.gz", b"a\n").unwrap_err();
        assert!(matches!(problem, PromptProblem::Io(_)), "{problem}");
    }

    #[test]
    fn a_prompt_that_is_too_long_is_named_and_the_longest_is_read() {
        let read = |name: &str, content: &str| {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join(name);
            std::fs::write(&path, content).unwrap();
            Prompts::open(&path).unwrap().with_max_bytes(5).collect::<Result<Vec<_>, _>>()
        };
        for (name, line) in
            [("a.txt", "12345"), ("a.jsonl", r#"{"more": "123456", "text": "\u0031234\u0035"}"#)]
        {
            assert_eq!(read(name, &format!("\u{feff}{line}\r\n{line}")).unwrap(), ["12345", "12345"]);
            let longer = line.replace('4', "44");
            for end in ["", "\n", "\r\n", "\nmore\n"] {
                let error = read(name, &format!("{line}\n{longer}{end}")).unwrap_err();
                assert!(matches!(error.problem, PromptProblem::LineTooLong { line: 2, most: 5 }), "{error}");
            }
        }
    }

    #[test]
    fn no_more_of_a_line_is_held_than_its_limit() {
        // A sparse file: reading it whole would take a terabyte.
        for name in ["a.txt", "a.jsonl"] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join(name);
            let file = std::fs::File::create(&path).unwrap();
            if file.set_len(1 << 40).is_err() {
                // A file system without sparse files bounds what can be written instead.
                file.set_len(1 << 26).unwrap();
            }
            let error = Prompts::open(&path).unwrap().with_max_bytes(1000).next().unwrap().unwrap_err();
            assert!(matches!(error.problem, PromptProblem::LineTooLong { line: 1, .. }), "{error}");
        }
    }

    #[test]
    fn empty_texts_without_end_are_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        let most = "\n".repeat(MOST_EMPTY);
        for (text, is_read) in [(format!("{most}a\n{most}b"), true), (format!("{most}\na"), false)] {
            std::fs::write(&path, text).unwrap();
            match read_prompts(&path).map_err(|error| error.problem) {
                Ok(prompts) if is_read => assert_eq!(prompts, ["a", "b"]),
                Err(PromptProblem::TooManyEmpty { most: MOST_EMPTY }) if !is_read => {}
                other => panic!("{other:?}"),
            }
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
        for name in ["a.md", "a", "a.parquet.gz"] {
            let problem = read(name, b"a").unwrap_err();
            assert!(matches!(problem, PromptProblem::UnknownEnding { .. }), "{problem}");
            assert!(problem.to_string().contains("`.txt`, `.jsonl`, `.ndjson`"), "{problem}");
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
