//! Any division of an inversion, in any order, with shares that are killed or run twice, gives the bytes of one run.

use std::{fmt::Write, fs, path::Path};

use inject_sipit::states::random::SplitMix;

use super::support::{run, succeed};

fn shuffled<T>(mut things: Vec<T>, numbers: &mut SplitMix) -> Vec<T> {
    for last in (1..things.len()).rev() {
        things.swap(last, numbers.below(last as u64 + 1) as usize);
    }
    things
}

/// Extracts prompts of these lengths, of tokens drawn at random.
fn extract(dir: &Path, model: &str, store: &str, lens: impl Iterator<Item = u64>, numbers: &mut SplitMix) {
    let mut prompts = String::new();
    for len in lens {
        let ids: Vec<String> = (0..len).map(|_| numbers.below(97).to_string()).collect();
        writeln!(prompts, "{}", ids.join(",")).unwrap();
    }
    fs::write(dir.join("prompts.jsonl"), prompts).unwrap();
    succeed(
        dir,
        &format!("extract {model} --prompt-ids prompts.jsonl --taps block-1 --positions all --out {store}"),
    );
}

#[test]
fn any_division_of_an_inversion_gives_the_bytes_of_one_run() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../inject-models/tests/fixtures/llama");
    let model = format!("--model {}", folder.display());
    let mut numbers = SplitMix::seeded(23);
    extract(dir, &model, "few", (0..13).map(|i| 1 + i % 4), &mut numbers);
    // More than fit into one group of prompts that are recovered together.
    extract(dir, &model, "many", (0..600).map(|_| 1), &mut numbers);
    // With a limit of time, each prompt is a group of its own.
    for (case, (store, policy)) in [
        ("few", "--policy secant --max-seconds 3600"),
        ("few", "--policy random --max-candidates 40 --max-seconds 3600"),
        // The first prompt of a run measures the noise of the format for all of them.
        ("few", "--policy prior --computed-in bf16 --max-seconds 3600"),
        ("few", "--policy prior"),
        ("many", "--policy scan"),
    ]
    .into_iter()
    .enumerate()
    {
        let invert = |out: &str| {
            let ran = run(dir, &format!("invert {model} --states {store} {policy} --out {out}"));
            // 3: some prompts are not recovered.
            assert!([0, 3].contains(&ran.status), "{policy}: {}", ran.err);
        };
        invert(&format!("whole-{case}.jsonl"));
        let whole = fs::read_to_string(dir.join(format!("whole-{case}.jsonl"))).unwrap();
        let of = 2 + numbers.below(5) as usize;
        let mut files = Vec::new();
        for (turn, number) in shuffled((1..=of).collect(), &mut numbers).into_iter().enumerate() {
            let name = format!("{case}-{number}-of-{of}.jsonl");
            let share = format!("{name} --share {number}/{of}");
            invert(&share);
            // A share may be empty.
            let Ok(bytes) = fs::read(dir.join(&name)) else { continue };
            if turn == 0 {
                // Killed at any moment, it goes on.
                fs::write(dir.join(&name), &bytes[..numbers.below(bytes.len() as u64) as usize]).unwrap();
            }
            if turn < 2 {
                invert(&share);
                assert!(fs::read(dir.join(&name)).unwrap() == bytes, "{policy}: {name} differs");
            }
            files.push(name);
        }
        let merge = shuffled(files, &mut numbers).join(" ");
        let ran = run(dir, &format!("invert --merge {merge} --out merged-{case}.jsonl"));
        assert!([0, 3].contains(&ran.status), "{}", ran.err);
        assert_eq!(fs::read_to_string(dir.join(format!("merged-{case}.jsonl"))).unwrap(), whole, "{policy}");
    }
}
