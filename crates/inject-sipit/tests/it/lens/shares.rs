//! Shares of the passes over the vocabulary, put together, are the lenses of one run.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use inject_sipit::{lens::LensShare, states::Share};
use inject_testing::any_device;

use super::*;

/// Five batches of tokens, the last one short.
const VOCAB_SIZE: usize = 4 * 512 + 100;

/// The bytes of the files of lenses, by their names.
fn files(lenses: &[Lens], folder: &Path) -> Vec<(String, Vec<u8>)> {
    let file = |lens: &Lens| {
        let path = lens.save(folder).unwrap();
        (path.file_name().unwrap().to_string_lossy().into_owned(), fs::read(path).unwrap())
    };
    lenses.iter().map(file).collect()
}

fn shuffled<T>(mut things: Vec<T>, numbers: &mut Numbers) -> Vec<T> {
    for last in (1..things.len()).rev() {
        things.swap(last, numbers.below(last + 1));
    }
    things
}

#[test]
fn any_division_of_the_vocabulary_in_any_order_gives_the_bytes_of_one_run() {
    let decoder = of_vocabulary("llama", VOCAB_SIZE, 5, &any_device());
    let mut numbers = Numbers(23);
    for first in [FirstPosition::Any, FirstPosition::Bos(3)] {
        let builder = builder(vec![Tap::Block(2), Tap::Block(1)]).with_first(first);
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let whole = files(&build(&decoder, &builder).unwrap(), folder);
        assert_eq!(whole.len(), 2);
        // The last number is above that of the batches, so some shares are empty.
        for of in [1, 2, 2 + numbers.below(3), 7] {
            let make = |number: usize| {
                let share = Share::new(number, of).unwrap();
                builder.build_share(share, &decoder, HASH, &mut silent).unwrap().save(folder).unwrap()
            };
            let order = shuffled((0..of).collect(), &mut numbers);
            let paths: Vec<_> = order.iter().map(|&number| make(number)).collect();
            // One of them runs twice, as one that was killed before it wrote its file does.
            let again = numbers.below(of);
            let before = fs::read(&paths[again]).unwrap();
            make(order[again]);
            assert!(fs::read(&paths[again]).unwrap() == before, "share {again} of {of} differs");
            let shares: Vec<_> =
                shuffled(paths, &mut numbers).iter().map(|path| LensShare::load(path).unwrap()).collect();
            let merged = builder.build_from(&shares, &decoder, HASH, &mut silent).unwrap();
            assert!(files(&merged, folder) == whole, "{of} shares, {first:?}");
        }
    }
}

/// The variable that passes the folder to the child. Without it the child's test returns immediately.
const FOLDER: &str = "INJECT_TEST_LENS_FOLDER";
/// The variable with the number of the progress report at which the child aborts.
const ABORT_AT: &str = "INJECT_TEST_LENS_ABORT_AT";

/// Makes one of two shares and returns its file.
fn make_half(
    decoder: &Decoder,
    number: usize,
    folder: &Path,
    progress: &mut dyn FnMut(Progress<'_>),
) -> PathBuf {
    let share = Share::new(number, 2).unwrap();
    let made = builder(vec![Tap::Block(1)]).build_share(share, decoder, HASH, progress).unwrap();
    made.save(folder).unwrap()
}

#[test]
fn child_makes_a_share_until_it_aborts() {
    let Some(folder) = env::var_os(FOLDER).map(PathBuf::from) else { return };
    let last: usize = env::var(ABORT_AT).unwrap().parse().unwrap();
    let mut reports = 0;
    make_half(&of_vocabulary("llama", VOCAB_SIZE, 5, &any_device()), 1, &folder, &mut |_| {
        reports += 1;
        if reports == last {
            // Aborts without flushing, dropping or unlocking anything.
            std::process::abort();
        }
    });
}

#[test]
fn a_share_that_ends_abruptly_leaves_no_file_and_is_made_again() {
    let decoder = of_vocabulary("llama", VOCAB_SIZE, 5, &any_device());
    let folders = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let [killed, undisturbed] = folders.each_ref().map(|folder| folder.path());
    let name = format!("{}::child_makes_a_share_until_it_aborts", module_path!().split_once("::").unwrap().1);
    let child = |abort_at: usize| {
        let mut child = Command::new(env::current_exe().unwrap());
        child.args(["--exact", &name]).env(FOLDER, killed).env(ABORT_AT, abort_at.to_string());
        child.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success()
    };
    let mut reports = 0;
    let expected = make_half(&decoder, 1, undisturbed, &mut |_| reports += 1);
    assert!(reports > 4, "{reports} reports");
    // During the text, between two batches of the vocabulary, and before the file is written.
    for at in [1, reports - 2, reports] {
        assert!(!child(at), "it did not reach report {at} of {reports}");
        assert_eq!(fs::read_dir(killed).unwrap().count(), 0, "at report {at} of {reports}");
    }
    assert!(child(reports + 1), "the same command makes the share");
    let found = killed.join(expected.file_name().unwrap());
    assert!(fs::read(&found).unwrap() == fs::read(&expected).unwrap(), "the bytes differ");

    let other = make_half(&decoder, 0, killed, &mut silent);
    let shares = [found, other].map(|path| LensShare::load(&path).unwrap());
    let builder = builder(vec![Tap::Block(1)]);
    let merged = builder.build_from(&shares, &decoder, HASH, &mut silent).unwrap();
    let whole = build(&decoder, &builder).unwrap();
    assert!(files(&merged, killed) == files(&whole, undisturbed), "the lenses differ");
}
