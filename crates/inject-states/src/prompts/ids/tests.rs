use super::*;

fn read(name: &str, content: &str) -> Result<Vec<Vec<u32>>, PromptProblem> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, content).unwrap();
    read_ids(&path).map_err(|error| {
        assert_eq!(error.path, path);
        error.problem
    })
}

#[test]
fn every_form_of_a_prompt_is_read() {
    let content =
        "\u{feff}1, 2,3\r\n\n[4,5]\n {\"text\": \"a\", \"ids\": [6]}\n{\"input_ids\": [[7, 8], [9]]}\n[]\n";
    for name in ["a.txt", "a.jsonl", "a"] {
        let expected: [&[u32]; 5] = [&[1, 2, 3], &[4, 5], &[6], &[7, 8], &[9]];
        assert_eq!(read(name, content).unwrap(), expected, "{name}");
    }
    let expected = [vec![1, 2], vec![3]];
    for content in ["[[1, 2], [3]]", "[{\"token_ids\": [1, 2]},\n {\"token_ids\": [3]}]", "[1, 2]\n[3]"] {
        assert_eq!(read("a.json", content).unwrap(), expected, "{content}");
    }
    assert_eq!(read("a.json", "[1, 2]").unwrap(), [vec![1, 2]]);
}

#[test]
fn empty_lines_and_prompts_are_left_out_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    for (name, content, expected) in
        [("a.jsonl", "1\n\n[]\n{\"ids\": []}\n2\n \n", 4), ("a.json", "[[1], [], {\"ids\": []}, [2]]", 2)]
    {
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        let mut prompts = IdPrompts::open(&path).unwrap();
        assert_eq!(prompts.read_all().unwrap(), [[1], [2]], "{name}");
        assert_eq!(prompts.left_out(), expected, "{name}");
    }
}

#[test]
fn what_is_not_a_list_of_ids_is_named_with_its_place() {
    for line in
        ["1,x", "1 2", "-1", "4294967296", "[1, -2]", "[1.5]", "[\"a\"]", "{\"text\": \"a\"}", "{\"ids\": 1}"]
    {
        let problem = read("a.jsonl", &format!("1,2\n{line}\n")).unwrap_err();
        let message = problem.to_string();
        assert!(matches!(problem, PromptProblem::NotIds { .. }), "{line}: {message}");
        assert!(message.starts_with("line 2 is `") && message.contains("expected token ids"), "{message}");
    }
    let problem = read("a.jsonl", "1,2\n\n[1, 2\n").unwrap_err();
    assert!(matches!(problem, PromptProblem::Json { line: 3, .. }), "{problem}");
    let problem = read("a.json", "[[1], [2, null]]").unwrap_err();
    assert!(problem.to_string().starts_with("value 2 is `[2,null]`"), "{problem}");
}

#[test]
fn a_line_beyond_the_limit_is_not_held() {
    let problem = read("a.txt", &"1,".repeat(LONGEST_LINE / 2 + 8)).unwrap_err();
    assert!(matches!(problem, PromptProblem::IdsTooLong { line: 1, .. }), "{problem}");
}

#[test]
fn prompts_before_a_bad_line_are_returned_and_none_after_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.jsonl");
    std::fs::write(&path, "[[1], [2]]\n[[3], [\"x\"]]\n4\n").unwrap();
    let mut prompts = IdPrompts::open(&path).unwrap();
    let read: Vec<_> = prompts.by_ref().map_while(Result::ok).collect();
    assert_eq!(read, [vec![1], vec![2]]);
    assert!(prompts.next().is_none());
}

#[test]
fn ids_are_read_as_far_as_they_may_take_memory() {
    let folder = tempfile::tempdir().unwrap();
    let enough = 3 * 4 + 2 * 64;
    for (name, content) in [("a.txt", "1,2\n3\n"), ("a.json", "[[1, 2], [3]]")] {
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        assert_eq!(read_ids_within(&path, enough).unwrap(), [vec![1, 2], vec![3]]);
        let problem = read_ids_within(&path, enough - 1).unwrap_err().problem;
        assert!(matches!(problem, PromptProblem::TooManyIds(found) if found.prompts == 2), "{problem}");
    }
}
