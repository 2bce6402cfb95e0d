//! A store of hidden states on disk, from outside.

#![allow(clippy::unwrap_used, reason = "clippy does not see that the helpers belong to tests")]

mod damaged;
mod interrupted;
mod killed;
mod malformed;
mod merged;
mod refused;
mod round_trip;

use std::{collections::BTreeMap, fs, path::Path};

use inject_states::{
    models::{Bos, FloatFormat, Tap},
    store::{Block, NoiseFloors, Opened, Positions, Store, StoreError, StoreSpec, StoreWriter},
};

const TAPS: [Tap; 3] = [Tap::Embedding, Tap::Block(1), Tap::FinalNorm];

/// A store to write, except the numbers, which follow from [`value`].
#[derive(Clone, Debug)]
struct Job {
    spec: StoreSpec,
    prompts: Vec<Vec<u32>>,
}

impl Job {
    fn new(positions: Positions, dtype: FloatFormat) -> Self {
        let mut spec =
            StoreSpec::new("nobody/tiny", "248dfc39", TAPS.to_vec(), positions, 5).with_dtype(dtype);
        spec.revision = Some("607a30d783dfa663caf39e06633721c8d4cfcd7e".to_owned());
        spec.tokenizer_hash = Some("3a1b".to_owned());
        spec.bos = Bos::Auto.into();
        Job { spec, prompts: prompts(7) }
    }

    fn writer(&self, dir: &Path) -> Result<StoreWriter, StoreError> {
        match StoreWriter::open(dir, self.spec.clone(), &self.prompts)? {
            Opened::Writing(writer) => Ok(writer),
            Opened::Complete(_) => panic!("the store is complete"),
        }
    }

    /// The states of some prompts at one tap.
    fn states(&self, prompts: std::ops::Range<usize>, tap: Tap) -> Vec<f32> {
        let mut states = Vec::new();
        for prompt in prompts {
            let length = self.prompts[prompt].len();
            let first = if self.spec.positions == Positions::Last { length - 1 } else { 0 };
            for position in first..length {
                states.extend((0..self.spec.d_model).map(|column| value(tap, prompt, position, column)));
            }
        }
        states
    }

    /// Gives the next prompts to the writer.
    fn append(&self, writer: &mut StoreWriter, prompts: usize) -> Result<(), StoreError> {
        let next = writer.next_prompt()..writer.next_prompt() + prompts;
        let states: Vec<_> =
            self.spec.taps.iter().map(|&tap| (tap, self.states(next.clone(), tap))).collect();
        let states: Vec<_> = states.iter().map(|(tap, states)| (*tap, states.as_slice())).collect();
        writer.append(&Block::new(prompts, &states))
    }

    /// Writes what is missing, at most `step` prompts at a time.
    fn complete(&self, dir: &Path, step: usize) -> Store {
        let mut writer = self.writer(dir).unwrap();
        while writer.next_prompt() < self.prompts.len() {
            let left = self.prompts.len() - writer.next_prompt();
            self.append(&mut writer, step.min(left)).unwrap();
        }
        writer.finish(Some(noise())).unwrap()
    }

    /// As [`Job::complete`]. Returns every file of the store.
    fn completed(&self, dir: &Path, step: usize) -> Files {
        drop(self.complete(dir, step));
        files(dir)
    }

    /// Every file of the store that an uninterrupted run writes in one block.
    fn uninterrupted(&self) -> Files {
        self.completed(tempfile::tempdir().unwrap().path(), self.prompts.len())
    }
}

/// A job in a folder, of which the first prompts are written.
fn begun(positions: Positions, dtype: FloatFormat, prompts: usize) -> (Job, tempfile::TempDir, StoreWriter) {
    let (job, dir) = (Job::new(positions, dtype), tempfile::tempdir().unwrap());
    let mut writer = job.writer(dir.path()).unwrap();
    job.append(&mut writer, prompts).unwrap();
    (job, dir, writer)
}

fn prompts(count: usize) -> Vec<Vec<u32>> {
    (0..count as u32)
        .map(|prompt| (0..1 + prompt * 5 % 4).map(|token| prompt * 100 + token).collect())
        .collect()
}

/// A number between -8 and 8 that no other place has.
fn value(tap: Tap, prompt: usize, position: usize, column: usize) -> f32 {
    let tap = TAPS.iter().position(|&known| known == tap).unwrap();
    let place = ((tap * 1009 + prompt) * 1013 + position) * 1019 + column;
    (place as u32).wrapping_mul(2_654_435_761) as f32 / (1u32 << 28) as f32 - 8.0
}

fn noise() -> NoiseFloors {
    NoiseFloors::new(4, TAPS.map(|tap| (tap, Some(0.125))).into())
}

/// A manifest or a journal as older versions wrote it, without the checksum. So a test can change it.
fn without_checksum(json: &[u8]) -> String {
    let text = std::str::from_utf8(json).unwrap();
    let place = text.rfind(",\n  \"xxh3\"").unwrap();
    format!("{}\n}}\n", &text[..place])
}

type Files = BTreeMap<String, Vec<u8>>;

/// Every file of a folder.
fn files(dir: &Path) -> Files {
    let entries = fs::read_dir(dir).unwrap().map(Result::unwrap);
    entries.map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap())).collect()
}

/// A folder with these files.
fn folder(files: &Files) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        fs::write(dir.path().join(name), bytes).unwrap();
    }
    dir
}

/// Names every file that differs instead of printing its bytes.
#[track_caller]
fn assert_same(found: &Files, expected: &Files) {
    let names = |files: &Files| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(found), names(expected));
    let differing: Vec<_> = expected.keys().filter(|&name| found[name] != expected[name]).collect();
    assert!(differing.is_empty(), "{differing:?} differ");
}
