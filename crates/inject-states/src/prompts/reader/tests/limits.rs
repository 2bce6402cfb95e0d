//! The limits of lines, rows, values and empty prompts.

use super::*;

#[test]
fn a_prompt_that_is_too_long_is_named_and_the_longest_is_read() {
    let read = |name: &str, content: &str| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        Prompts::open(&path).unwrap().with_max_bytes(5).collect::<Result<Vec<_>, _>>()
    };
    for (name, line) in [("a.txt", "12345"), ("a.jsonl", r#"{"more": "123456", "text": "\u0031234\u0035"}"#)]
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
fn no_more_of_a_row_is_held_than_its_limit() {
    let folder = tempfile::tempdir().unwrap();
    let of = |name: &str, begin: &str, length: u64| {
        let path = folder.path().join(name);
        std::fs::write(&path, begin).unwrap();
        std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(length).unwrap();
        Prompts::open(&path).and_then(|prompts| prompts.with_max_bytes(1000).next().unwrap())
    };
    // The rest of a sparse file is zeros: a gibibyte that is never held.
    for (begin, place) in [
        ("", "the first row"),
        ("text,more\na,", "row 0"),
        ("text,more\n\"a", "row 0"),
        ("more,text\n,,,\"", "row 0"),
    ] {
        let error = of("a.csv", begin, 1 << 30).unwrap_err();
        let expected =
            matches!(&error.problem, PromptProblem::RecordTooLong { place: found, .. } if found == place);
        assert!(expected, "{begin:?}: {error}");
    }
    // Texts up to the limit are read, whatever they consist of.
    let longest = "\"\"".repeat(1000);
    let path = folder.path().join("b.tsv");
    std::fs::write(&path, format!("text\n\"{longest}\"\n\"{longest}\"\n")).unwrap();
    let read: Vec<_> = Prompts::open(&path).unwrap().with_max_bytes(1000).collect();
    assert_eq!(read.len(), 2);
    assert!(read.into_iter().all(|text| text.unwrap() == "\"".repeat(1000)));
}

#[test]
fn a_small_file_of_json_cannot_take_much_memory() {
    let deep =
        |item: &str, count: usize| format!("{{\"more\": [{}0], \"other\": \"a\"}}", item.repeat(count));
    for (name, content) in [
        ("a.json", format!("[{}, \"a\"]", deep("{\"\":0},", 1 << 18))),
        ("a.json", deep("[[]],", 1 << 21)),
        ("a.json", format!("[{}0]", "0,".repeat(1 << 23))),
        ("a.jsonl", deep("{\"\":0},", 1 << 18)),
    ] {
        let problem = read(name, content.as_bytes()).unwrap_err();
        assert!(matches!(problem, PromptProblem::Json { .. }), "{name}: {problem}");
    }
    // Many small values are not one large value.
    let many = format!("[{}\"b\"]", "{\"text\": \"a\"},".repeat(1 << 18));
    assert_eq!(read("a.json", many.as_bytes()).unwrap().len(), (1 << 18) + 1);
}

#[test]
fn empty_texts_without_end_are_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let most = "\n".repeat(MOST_EMPTY);
    let [a, b] = ["a", "b"].map(|text| format!("{{\"text\": \"{text}\"}}"));
    for (name, text, is_read) in [
        ("a.txt", format!("{most}a\n{most}b"), true),
        ("a.txt", format!("{most}\na"), false),
        ("a.jsonl", format!("{most}{a}\n{most}{b}"), true),
        ("a.jsonl", format!("{most}\n{a}"), false),
    ] {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        match read_prompts(&path).map_err(|error| error.problem) {
            Ok(prompts) if is_read => assert_eq!(prompts, ["a", "b"]),
            Err(PromptProblem::TooManyEmpty { most: MOST_EMPTY }) if !is_read => {}
            other => panic!("{other:?}"),
        }
    }
}
