mod limits;

use super::{super::check_rereadable, *};

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
fn the_column_of_the_texts_has_a_name_of_its_own() {
    let problem = read("a.csv", b"text,text\na,b\n").unwrap_err();
    assert!(matches!(problem, PromptProblem::TwoColumns { .. }), "{problem}");
    assert_eq!(read("a.csv", b"text,id,id\na,1,2\n").unwrap(), ["a"]);
}

#[test]
fn empty_prompts_are_left_out_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let contents = [
        // A line of text may be blank. Between objects or rows there is no text to count.
        ("a.txt", "a\n\n\r\nb\n\n", 3),
        ("a.jsonl", "\n{\"text\": \"\"}\n\n \t\n{\"text\": \"a\"}\n\r\n{\"text\": \"b\"}\n\n", 1),
        ("a.json", "\n[\"\", \"a\", \n\n\"\", \"b\", \"\"]\n\n", 3),
        ("a.csv", "\ntext,more\n\na,1\n,2\n\r\nb,3\n\n", 1),
    ];
    for (name, content, expected) in contents {
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        let mut prompts = Prompts::open(&path).unwrap();
        let texts: Vec<String> = prompts.by_ref().map(Result::unwrap).collect();
        assert_eq!((texts, prompts.left_out()), (vec!["a".to_owned(), "b".to_owned()], expected), "{name}");
    }
}

#[test]
fn only_an_ordinary_file_can_be_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let problem = |path: &Path| {
        let error = check_rereadable(path).unwrap_err();
        assert_eq!(error.path, path);
        error.problem
    };
    let path = folder.path().join("prompts.txt");
    assert!(matches!(problem(&path), PromptProblem::Io(_)));
    assert!(matches!(problem(folder.path()), PromptProblem::ReadOnce));
    std::fs::write(&path, "a").unwrap();
    check_rereadable(&path).unwrap();
    #[cfg(unix)]
    {
        let pipe = folder.path().join("pipe.txt");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        assert!(matches!(problem(&pipe), PromptProblem::ReadOnce));
    }
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
        assert_eq!(problem.to_string(), message);
    }
}

#[test]
fn a_missing_field_lists_the_ones_that_are_there() {
    for (name, content) in [
        ("a.jsonl", "\n{\"id\": \"1\", \"prompt\": {\"en\": \"a\"}}"),
        ("a.json", "[{\"text\": \"b\"}, {\"id\": \"1\", \"prompt\": {\"en\": \"a\"}}]"),
        ("a.csv", "id,prompt.en\n1,a\n"),
    ] {
        let problem = read(name, content.as_bytes()).unwrap_err();
        assert!(problem.to_string().contains("no text `text`; it has id, prompt.en"), "{name}: {problem}");
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
    for (name, content) in [("a.txt.gz", "a\nb\n"), ("a.JSONL.GZ", "{\"text\": \"a\"}\n{\"text\": \"b\"}")] {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(content.as_bytes()).unwrap();
        assert_eq!(read(name, &packed.finish().unwrap()).unwrap(), ["a", "b"]);
    }
    let problem = read("a.txt.gz", b"a\n").unwrap_err();
    assert!(matches!(problem, PromptProblem::Io(_)), "{problem}");
}

#[test]
fn a_text_is_read_before_the_value_without_one_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.json");
    for (content, value) in
        [("[\"a\", 1, \"b\"]", 2), ("[1, 2, \"b\"]", 1), ("[1, 2]", 1), ("\"a\" {} \"b\"", 2)]
    {
        std::fs::write(&path, content).unwrap();
        let found: Vec<_> = Prompts::open(&path).unwrap().collect();
        let error = found.last().unwrap().as_ref().unwrap_err();
        assert!(error.to_string().contains(&format!("value {value} has no text")), "{content}: {error}");
        assert_eq!(found.len(), value, "{content}");
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
fn a_name_without_an_ending_is_told_from_what_is_not_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let problem = |path: &Path| Prompts::open(path).unwrap_err().problem;
    let path = folder.path().join("prompts");
    assert!(matches!(problem(&path), PromptProblem::Io(_)), "there is no file");
    assert!(matches!(problem(folder.path()), PromptProblem::Io(_)), "a folder");
    std::fs::write(&path, "a").unwrap();
    assert!(problem(&path).to_string().starts_with("no ending: expected one of `.txt`"));
    assert!(matches!(problem(Path::new("-")), PromptProblem::PipeWithoutEnding { .. }));
    #[cfg(unix)]
    {
        let pipe = |name: &str| {
            let path = folder.path().join(name);
            assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
            path
        };
        for name in ["pipe", "pipe.log"] {
            let message = problem(&pipe(name)).to_string();
            assert!(message.starts_with("a pipe") && message.contains("`.jsonl`"), "{message}");
        }
        // A pipe whose name says the format is read, once.
        let path = pipe("pipe.txt");
        let written = path.clone();
        let writer = std::thread::spawn(move || std::fs::write(written, "a\nb\n").unwrap());
        assert_eq!(read_prompts(&path).unwrap(), ["a", "b"]);
        writer.join().unwrap();
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
