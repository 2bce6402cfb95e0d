//! Journals cut, damaged, locked and begun by others.

use std::fs;

use super::*;

#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
struct Line {
    unit: u32,
    result: f64,
}

fn open(path: &Path, header: &impl Serialize) -> Result<(JsonLines, Vec<Line>), JsonLinesError> {
    let mut lines = Vec::new();
    let journal = JsonLines::open(path, header, &mut |line| {
        lines.push(line);
        Ok(())
    })?;
    Ok((journal, lines))
}

const LINES: [Line; 2] = [Line { unit: 1, result: 0.1 }, Line { unit: 2, result: 0.3 }];

/// A folder with a journal of two lines, and its path.
fn journal() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.jsonl");
    let (mut journal, _) = open(&path, &"numbers").unwrap();
    LINES.iter().for_each(|line| journal.append(line).unwrap());
    (folder, path)
}

#[test]
fn a_file_cut_anywhere_is_completed_to_the_same_bytes() {
    let (_folder, path) = journal();
    let whole = fs::read(&path).unwrap();
    for length in 0..=whole.len() {
        fs::write(&path, &whole[..length]).unwrap();
        let (mut journal, found) = open(&path, &"numbers").unwrap();
        assert_eq!(found, LINES[..found.len()]);
        let ends = whole[..length].iter().filter(|&&byte| byte == b'\n').count();
        assert_eq!(found.len(), ends.saturating_sub(1));
        LINES[found.len()..].iter().for_each(|line| journal.append(line).unwrap());
        drop(journal);
        assert_eq!(fs::read(&path).unwrap(), whole);
    }
}

#[test]
fn a_line_without_an_end_is_refused_before_it_is_all_in_memory() {
    let (_folder, path) = journal();
    let length = fs::metadata(&path).unwrap().len();
    // Zeros that take no space on the disk.
    File::options().write(true).open(&path).unwrap().set_len(1 << 40).unwrap();
    match open(&path, &"numbers").unwrap_err() {
        JsonLinesError::TooLong { path: found, line: 4, most: LONGEST } => assert_eq!(found, path),
        other => panic!("{other}"),
    }
    File::options().write(true).open(&path).unwrap().set_len(length).unwrap();
    assert_eq!(open(&path, &"numbers").unwrap().1, LINES);
}

#[test]
fn every_flipped_bit_of_a_line_is_found() {
    let (_folder, path) = journal();
    let whole = fs::read(&path).unwrap();
    let first = whole.iter().position(|&byte| byte == b'\n').unwrap() + 1;
    let sum = whole.windows(6).position(|window| window == b"\"xxh3\"").unwrap();
    for place in first..sum - 1 {
        for bit in 0..8 {
            let mut damaged = whole.clone();
            damaged[place] ^= 1 << bit;
            fs::write(&path, &damaged).unwrap();
            let error = open(&path, &"numbers").unwrap_err();
            assert!(
                matches!(
                    error,
                    JsonLinesError::Checksum { line: 2 | 3, .. } | JsonLinesError::Syntax { line: 2, .. }
                ),
                "{place} {bit}: {error}"
            );
            assert_eq!(fs::read(&path).unwrap(), damaged, "a damaged file is left alone");
        }
    }
}

#[test]
fn a_damaged_line_is_refused_with_the_command_that_computes_it_again() {
    let (_folder, path) = journal();
    let damaged = fs::read_to_string(&path).unwrap().replace("0.3", "0.4");
    fs::write(&path, damaged).unwrap();
    let remedy = |error: JsonLinesError| match error {
        JsonLinesError::Checksum { line: 3, remedy, .. } => remedy,
        other => panic!("{other}"),
    };
    assert_eq!(remedy(open(&path, &"numbers").unwrap_err()), Remedy::SameCommand);
    let read = || JsonLines::read(&path, &"numbers", &mut |_: Line| Ok(())).unwrap_err();
    assert_eq!(remedy(read()), Remedy::None);
    let text = read().of_a_share().to_string();
    assert!(text.ends_with("and the command of the share that wrote it computes the rest again"), "{text}");
}

#[test]
fn lines_of_older_versions_have_no_checksum() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.jsonl");
    fs::write(&path, "\"numbers\"\n{\"unit\":1,\"result\":0.1}\n").unwrap();
    assert_eq!(open(&path, &"numbers").unwrap().1, LINES[..1]);
}

#[test]
fn lines_of_older_versions_have_a_checksum_of_their_own_text_and_come_first() {
    let (_folder, path) = journal();
    let whole = fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = whole.lines().collect();
    let older: Vec<String> =
        LINES.iter().map(|line| checksum_member::added(serde_json::to_string(line).unwrap())).collect();
    for text in [[lines[0], &older[0], &older[1]], [lines[0], &older[0], lines[2]]] {
        fs::write(&path, text.join("\n") + "\n").unwrap();
        assert_eq!(open(&path, &"numbers").unwrap().1, LINES);
    }
    fs::write(&path, [lines[0], lines[1], &older[1]].join("\n") + "\n").unwrap();
    assert!(matches!(open(&path, &"numbers").unwrap_err(), JsonLinesError::Checksum { line: 3, .. }));
    let without = serde_json::to_string(&LINES[1]).unwrap();
    fs::write(&path, [lines[0], lines[1], &without].join("\n") + "\n").unwrap();
    assert!(matches!(open(&path, &"numbers").unwrap_err(), JsonLinesError::Checksum { line: 3, .. }));
}

#[test]
fn a_line_of_another_file_is_refused() {
    let (folder, path) = journal();
    let other = folder.path().join("other.jsonl");
    let (mut letters, _) = open(&other, &"letters").unwrap();
    LINES.iter().for_each(|line| letters.append(line).unwrap());
    drop(letters);
    let [ours, theirs] = [&path, &other].map(|path| fs::read_to_string(path).unwrap());
    let [ours, theirs]: [Vec<&str>; 2] = [&ours, &theirs].map(|text| text.lines().collect());
    for line in 1..=LINES.len() {
        let mut spliced = ours.clone();
        spliced[line] = theirs[line];
        fs::write(&path, spliced.join("\n") + "\n").unwrap();
        let error = open(&path, &"numbers").unwrap_err();
        assert!(
            matches!(error, JsonLinesError::Checksum { line: found, .. } if found == line + 1),
            "{error}"
        );
    }
    assert_eq!(JsonLines::text(&"letters", &LINES), fs::read(&other).unwrap());
}

#[test]
fn another_header_a_second_writer_and_a_foreign_file_are_refused() {
    let (_folder, path) = journal();
    let (held, _) = open(&path, &"numbers").unwrap();
    assert!(matches!(open(&path, &"numbers"), Err(JsonLinesError::Busy { .. })));
    drop(held);
    let error = open(&path, &"letters").unwrap_err();
    assert!(matches!(error, JsonLinesError::Header { .. }), "{error}");
    for foreign in ["years of work", "years of work\n", "\"num\nbers\"\n"] {
        fs::write(&path, foreign).unwrap();
        let error = open(&path, &"numbers").unwrap_err();
        assert!(matches!(error, JsonLinesError::Foreign { .. }), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), foreign);
    }
}

#[test]
fn a_line_that_the_caller_refuses_is_named() {
    let (_folder, path) = journal();
    let refuse = &mut |line: Line| if line.unit == 2 { Err("no unit 2".to_owned()) } else { Ok(()) };
    let error = JsonLines::open(&path, &"numbers", refuse).unwrap_err();
    assert_eq!(error.to_string(), format!("`{}`, line 3: no unit 2", path.display()));
}

#[test]
fn a_header_without_lines_is_told_from_lost_work() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.jsonl");
    let header = |width: u32| serde_json::json!({ "model": "gpt2", "width": width });
    drop(open(&path, &header(1)).unwrap());
    let refused = |header: &Value, expected: bool| match open(&path, header).unwrap_err() {
        JsonLinesError::Header { field, unused, .. } => {
            assert_eq!(unused, expected);
            field
        }
        other => panic!("{other}"),
    };
    assert_eq!(refused(&header(2), true), "width");
    assert_eq!(refused(&serde_json::json!({ "model": "gpt2" }), false), "width");
    let (mut journal, _) = open(&path, &header(1)).unwrap();
    journal.append(&LINES[0]).unwrap();
    drop(journal);
    assert_eq!(refused(&header(2), false), "width");
    let error = open(&path, &header(2)).unwrap_err().to_string();
    assert!(error.contains("begun with width = 1, now 2:"), "{error}");
}

#[cfg(unix)]
#[test]
fn a_file_that_cannot_be_written_opens_and_refuses_new_lines() {
    use std::os::unix::fs::PermissionsExt;

    let (_folder, path) = journal();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o444)).unwrap();
    if File::options().write(true).open(&path).is_ok() {
        // The superuser may write everywhere; the decision is tested by itself.
        assert!(denied(io::ErrorKind::PermissionDenied) && denied(io::ErrorKind::ReadOnlyFilesystem));
        return;
    }
    let (mut journal, lines) = open(&path, &"numbers").unwrap();
    assert_eq!(lines, LINES);
    assert_eq!(journal.append(&LINES[0]).unwrap_err().action, "write");
}
