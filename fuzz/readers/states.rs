//! Readers of states, stores, journals and prompts.

#[path = "tiny.rs"]
mod tiny;

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use flate2::{Compression, write::GzEncoder};
use inject_states::{
    Extraction, Share,
    durable::JsonLines,
    extract_share_to_store,
    foreign::{Axes, ColumnChoice, ReadOptions, StatesFile},
    models::{FloatFormat, Model, Origin, Tap, silent},
    prompts::{Prompts, read_ids},
    store::{self, Block, Opened, Positions, Store, StoreSpec, StoreWriter},
};

/// The readers, each with the name of its target and of its folder of seeds.
pub const READERS: &[(&str, fn(&[u8]))] = &[
    ("foreign_npy", foreign_npy),
    ("foreign_npz", foreign_npz),
    ("foreign_packed", foreign_packed),
    ("foreign_safetensors", foreign_safetensors),
    ("foreign_torch", foreign_torch),
    ("json_lines", json_lines),
    ("prompt_ids", prompt_ids),
    ("prompts_csv", prompts_csv),
    ("prompts_json", prompts_json),
    ("prompts_jsonl", prompts_jsonl),
    ("prompts_parquet", prompts_parquet),
    ("prompts_text", prompts_text),
    ("store", store),
    ("store_shares", store_shares),
    ("vllm_sidecar", vllm_sidecar),
];

/// Most values that are read of one file: a header can announce that rows of no numbers fill any number of rows.
const MOST_ROWS: usize = 1 << 20;

fn in_file(name: &str, bytes: &[u8], read: impl FnOnce(&Path)) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    fs::write(&path, bytes).unwrap();
    read(&path);
}

/// States in a `.npy` file.
pub fn foreign_npy(bytes: &[u8]) {
    in_file("states.npy", bytes, foreign);
}

/// States in a `.safetensors` file.
pub fn foreign_safetensors(bytes: &[u8]) {
    in_file("states.safetensors", bytes, foreign);
}

/// States in a `.npz` archive.
pub fn foreign_npz(bytes: &[u8]) {
    in_file("states.npz", bytes, foreign);
}

/// States in a file that `torch.save` wrote.
pub fn foreign_torch(bytes: &[u8]) {
    in_file("states.pt", bytes, foreign);
}

/// States in a compressed file. The first byte chooses the ending, and whether the file is compressed already.
pub fn foreign_packed(bytes: &[u8]) {
    const NAMES: [&str; 3] = ["states.npy.gz", "states.npz.gz", "states.pt.gz"];
    let Some((&choice, bytes)) = bytes.split_first() else { return };
    let packed = match usize::from(choice) / NAMES.len() % 2 {
        0 => bytes.to_vec(),
        _ => {
            let mut out = GzEncoder::new(Vec::new(), Compression::none());
            out.write_all(bytes).unwrap();
            out.finish().unwrap()
        }
    };
    in_file(NAMES[usize::from(choice) % NAMES.len()], &packed, foreign);
}

/// The sidecar of states that vLLM-Hook wrote.
pub fn vllm_sidecar(bytes: &[u8]) {
    const STATES: &[u8] =
        include_bytes!("../../crates/inject-states/tests/fixtures/dumps/vllm-hook.safetensors");
    in_file("states.safetensors", STATES, |path| {
        fs::write(path.with_extension("json"), bytes).unwrap();
        foreign(path);
        if let Ok(file) = StatesFile::open(path) {
            assert!(file.prompts() > 0);
            file.fingerprint().unwrap();
        }
    });
}

fn foreign(path: &Path) {
    let files = [
        ReadOptions::new(),
        ReadOptions::new().axes(Axes::TokenTap),
        ReadOptions::new().axes(Axes::TapToken),
    ];
    for mut file in files.iter().flat_map(|options| StatesFile::open_with(path, options)) {
        assert!(file.rows() <= MOST_ROWS || file.d_model() > 0);
        let _ = file.states_at(Tap::Block(1), file.d_model());
        for column in 0..file.columns().min(3) {
            let _ = file.column(ColumnChoice::Index(column));
        }
    }
}

/// A prompt a line.
pub fn prompts_text(bytes: &[u8]) {
    prompts("prompts.txt", bytes);
}

/// A JSON object a line.
pub fn prompts_jsonl(bytes: &[u8]) {
    prompts("prompts.jsonl", bytes);
}

/// JSON values and arrays of them.
pub fn prompts_json(bytes: &[u8]) {
    prompts("prompts.json", bytes);
}

/// A column of a table, plain and compressed.
pub fn prompts_csv(bytes: &[u8]) {
    prompts("prompts.csv", bytes);
    prompts("prompts.tsv.gz", bytes);
}

/// Token ids a line, and in JSON values.
pub fn prompt_ids(bytes: &[u8]) {
    for name in ["ids.txt", "ids.json"] {
        in_file(name, bytes, |path| {
            if let Ok(prompts) = read_ids(path) {
                assert!(prompts.iter().all(|ids| !ids.is_empty()));
            }
        });
    }
}

/// A column of a Parquet table.
pub fn prompts_parquet(bytes: &[u8]) {
    prompts("prompts.parquet", bytes);
}

fn prompts(name: &str, bytes: &[u8]) {
    /// A small file can stand for any number of prompts.
    const MOST: usize = 1 << 16;
    in_file(name, bytes, |path| {
        if let Ok(prompts) = Prompts::open(path) {
            for prompt in prompts.with_max_bytes(1 << 16).take(MOST).map_while(Result::ok) {
                assert!(!prompt.is_empty() && prompt.len() <= 1 << 16);
            }
        }
    });
}

/// A journal, read and then continued.
pub fn json_lines(bytes: &[u8]) {
    in_file("journal.jsonl", bytes, |path| {
        let mut known = Vec::new();
        let opened = JsonLines::open(path, &JOURNAL, &mut |line: serde_json::Value| {
            known.push(line);
            Ok(())
        });
        let Ok(mut journal) = opened else {
            assert_eq!(fs::read(path).unwrap(), bytes, "a journal that is refused stays as it is");
            return;
        };
        let added = serde_json::json!({ "unit": 3, "result": 0.1 });
        journal.append(&added).unwrap();
        drop(journal);
        let mut found = Vec::new();
        JsonLines::read(path, &JOURNAL, &mut |line: serde_json::Value| {
            found.push(line);
            Ok(())
        })
        .unwrap();
        assert_eq!(found.len(), known.len() + 1, "what was appended is read back");
    });
}

/// The header of the journals of [`json_lines`].
pub const JOURNAL: &str = "a study";

const TAPS: [Tap; 2] = [Tap::Embedding, Tap::FinalNorm];

/// The files of a small finished store, sorted by name.
pub fn finished_store() -> Vec<(String, Vec<u8>)> {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = writer(folder.path()).unwrap();
    append(&mut writer);
    writer.finish(None).unwrap();
    files(folder.path())
}

/// The files of an unfinished store.
pub fn unfinished_store() -> Vec<(String, Vec<u8>)> {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = writer(folder.path()).unwrap();
    append_one(&mut writer);
    drop(writer);
    files(folder.path())
}

fn writer(folder: &Path) -> Option<StoreWriter> {
    let spec = StoreSpec::new("tiny", "248dfc39", TAPS.to_vec(), Positions::All, 3);
    match StoreWriter::open(folder, spec, &[vec![1, 2], vec![3]]) {
        Ok(Opened::Writing(writer)) => Some(writer),
        _ => None,
    }
}

fn append_one(writer: &mut StoreWriter) {
    let states = vec![0.5; 3 * writer.rows_of_next(1)];
    let states = TAPS.map(|tap| (tap, &states[..]));
    // Another file may stand where one of the store's belongs.
    let _ = writer.append(&Block::new(1, &states));
}

fn append(writer: &mut StoreWriter) {
    while writer.next_prompt() < 2 {
        let before = writer.next_prompt();
        append_one(writer);
        if writer.next_prompt() == before {
            return;
        }
    }
}

fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<PathBuf> = entries.collect();
    paths.sort();
    let name = |path: &Path| path.file_name().unwrap().to_string_lossy().into_owned();
    paths.iter().map(|path| (name(path), fs::read(path).unwrap())).collect()
}

/// The files of the stores of two shares.
pub fn shares() -> Vec<Vec<(String, Vec<u8>)>> {
    let (_files, model) = tiny::model();
    let extraction = Extraction::new(TAPS.to_vec(), Positions::All).unwrap().with_memory_budget(1);
    let spec = StoreSpec::of(&model, &extraction).unwrap();
    let prompts = [vec![1, 2, 3], vec![4], vec![5, 6], vec![7, 8]];
    let of_share = |number| {
        let (folder, share) = (tempfile::tempdir().unwrap(), Share::new(number, 2).unwrap());
        let (decoder, spec) = (&model.decoder, spec.clone());
        extract_share_to_store(share, &extraction, decoder, &prompts, folder.path(), spec, &mut silent)
            .unwrap()
            .unwrap();
        files(folder.path())
    };
    vec![of_share(0), of_share(1)]
}

/// The stores of two shares, of which one file is replaced, and their merger. The first byte chooses the file.
pub fn store_shares(bytes: &[u8]) {
    static SHARES: OnceLock<Vec<Vec<(String, Vec<u8>)>>> = OnceLock::new();
    let shares = SHARES.get_or_init(shares);
    let Some((&choice, replacement)) = bytes.split_first() else { return };
    let (folder, mut choice) = (tempfile::tempdir().unwrap(), usize::from(choice));
    choice %= shares.iter().map(Vec::len).sum::<usize>();
    let mut opened = Vec::new();
    for (number, files) in shares.iter().enumerate() {
        let place = folder.path().join(number.to_string());
        fs::create_dir(&place).unwrap();
        write_replaced(&place, files, choice, replacement);
        choice = choice.wrapping_sub(files.len());
        opened.extend(Store::open_unverified(&place));
    }
    if let Ok(merged) = store::merge(&opened, &folder.path().join("merged"), &mut silent) {
        assert_eq!(merged.manifest().prompt_count, 4, "the merger of some of the prompts");
    }
}

/// Writes the files of a store, with another content for the one of this number.
fn write_replaced(folder: &Path, files: &[(String, Vec<u8>)], choice: usize, replacement: &[u8]) {
    for (number, (name, content)) in files.iter().enumerate() {
        let content = if number == choice { replacement } else { content };
        fs::write(folder.join(name), content).unwrap();
    }
}

/// A store of which one file is replaced. The first byte chooses the file.
pub fn store(bytes: &[u8]) {
    static STORES: OnceLock<Vec<Vec<(String, Vec<u8>)>>> = OnceLock::new();
    let stores = STORES.get_or_init(|| vec![finished_store(), unfinished_store()]);
    let Some((&choice, replacement)) = bytes.split_first() else { return };
    let choices: usize = stores.iter().map(Vec::len).sum();
    let mut choice = usize::from(choice) % choices;
    let Some(files) = stores.iter().find(|files| match choice.checked_sub(files.len()) {
        None => true,
        Some(rest) => {
            choice = rest;
            false
        }
    }) else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    write_replaced(folder.path(), files, choice, replacement);
    if let Ok(store) = Store::open(folder.path()) {
        let rows = store.rows();
        assert_eq!(rows.prompt.len(), rows.position.len());
        for prompt in 0..store.manifest().prompt_count {
            assert!(!store.prompt(prompt).is_empty());
            let _ = store.rows_of(prompt);
        }
        for tap in store.manifest().spec.taps.clone() {
            let _ = store.tap(tap).map(|states| states.to_array());
        }
    }
    if let Some(mut writer) = writer(folder.path()) {
        append(&mut writer);
        let _ = writer.finish(None);
    }
}
