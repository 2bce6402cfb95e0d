//! Finished work opens on a read-only medium.

use std::{
    fs,
    os::unix::{fs::MetadataExt, fs::PermissionsExt, process::CommandExt},
    path::Path,
    process::{Command, Output},
};

use super::support::{program, succeed};

/// A user without any right of its own. The superuser may write everywhere.
const NOBODY: u32 = 65534;

/// Takes away the right to write a folder and everything in it.
fn protect(path: &Path) {
    let is_folder = path.is_dir();
    if is_folder {
        fs::read_dir(path).unwrap().for_each(|entry| protect(&entry.unwrap().path()));
    }
    let mode = if is_folder { 0o555 } else { 0o444 };
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Runs the program as a user who may not write.
fn run(folder: &Path, arguments: &str) -> Output {
    // Nobody may not enter the folder of the build. The copy is another process's, because a process that another test starts meanwhile
    // would hold a file that this one writes, and then it could not be run.
    let copy = folder.join("inject");
    let copied = Command::new("cp").arg(env!("CARGO_BIN_EXE_inject")).arg(&copy).status().unwrap();
    assert!(copied.success());
    let mut command = Command::new(&copy);
    let known = program(folder);
    command.current_dir(folder).envs(known.get_envs().filter_map(|(name, value)| Some((name, value?))));
    if fs::metadata(&copy).unwrap().uid() == 0 {
        command.uid(NOBODY);
    }
    command.args(arguments.split_whitespace()).output().unwrap()
}

#[test]
fn a_finished_store_and_a_finished_study_open_where_nothing_can_be_written() {
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let extract = "extract --generate 3 --positions all --taps block-1 --out medium/store";
    let study = "study collisions --count 20 --taps block-1 --out medium/study";
    succeed(dir.path(), extract);
    let shown = succeed(dir.path(), study).out;
    protect(&dir.path().join("medium"));
    fs::create_dir(dir.path().join("free")).unwrap();
    fs::set_permissions(dir.path().join("free"), fs::Permissions::from_mode(0o777)).unwrap();

    let check = |arguments: &str, parts: &[&str]| {
        let output = run(dir.path(), arguments);
        let [out, err] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
        assert_eq!(output.status.code(), Some(0), "{arguments}: {err}");
        parts.iter().for_each(|part| assert!(out.contains(part), "{arguments}: `{part}` is not in: {out}"));
    };
    check(extract, &["wrote nothing: medium/store holds a store already: 3 prompts"]);
    check("invert --states medium/store --out free/out.jsonl", &["3 prompts: 3 verified at every position"]);
    let table = shown.lines().find(|line| line.contains("block-1")).unwrap();
    check(study, &[table, "wrote nothing: medium/study is read-only"]);
    check(
        "study collisions --count 20 --taps block-1 --out free/study --merge medium/study/corpus.jsonl",
        &[table],
    );

    // Unfinished work cannot go on there.
    let output = run(dir.path(), "study collisions --count 21 --taps block-1 --out medium/study");
    assert_eq!(output.status.code(), Some(1));
}
