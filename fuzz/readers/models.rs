//! Readers of checkpoints and of the Hub's answers.

use std::{
    fs::{self, File},
    path::Path,
};
#[cfg(feature = "hub")]
use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use burn::tensor::Device;
use inject_models::{
    Bos, DecoderConfig, FloatFormat, Model, Origin,
    checkpoint::{Header, ShardIndex},
};
#[cfg(feature = "hub")]
use inject_models::{
    hub::{HubOptions, HubRepo, fetch},
    silent,
};

/// The readers, each with the name of its target and of its folder of seeds.
pub const READERS: &[(&str, fn(&[u8]))] = &[
    ("config", config),
    ("gguf", gguf),
    #[cfg(feature = "hub")]
    ("hub_answers", hub_answers),
    ("pytorch_weights", pytorch_weights),
    ("safetensors_header", safetensors_header),
    ("safetensors_weights", safetensors_weights),
    ("sentence_piece", sentence_piece),
    ("shard_index", shard_index),
    ("tokenizer", tokenizer),
];

const CONFIG: &[u8] = include_bytes!("../../crates/inject-states/tests/fixtures/tiny/config.json");
const WEIGHTS: &[u8] = include_bytes!("../../crates/inject-states/tests/fixtures/tiny/model.safetensors");

/// Reads a `config.json`.
pub fn config(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Ok(config) = DecoderConfig::parse(text)
    {
        assert!(config.n_layers() > 0);
        let _ = config.check_prompt(0, &[0, 1]);
    }
}

/// The header of a safetensors file, and the places of its tensors.
pub fn safetensors_header(bytes: &[u8]) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    fs::write(&path, bytes).unwrap();
    let file = File::open(&path).unwrap();
    if let Ok(header) = Header::read(&file) {
        for tensor in header.tensors().values() {
            assert_eq!(tensor.read(&file).unwrap().len() as u64, tensor.bytes.end - tensor.bytes.start);
        }
    }
}

/// `model.safetensors` of a known config.
pub fn safetensors_weights(bytes: &[u8]) {
    load(&[("config.json", CONFIG), ("model.safetensors", bytes)], |_| ());
}

/// `pytorch_model.bin` of a known config.
pub fn pytorch_weights(bytes: &[u8]) {
    load(&[("config.json", CONFIG), ("pytorch_model.bin", bytes)], |_| ());
}

/// A model in one GGUF file.
pub fn gguf(bytes: &[u8]) {
    load(&[("model.gguf", bytes)], |_| ());
}

/// `tokenizer.json` of a known model, and texts.
pub fn tokenizer(bytes: &[u8]) {
    encode_with("tokenizer.json", bytes);
}

/// `tokenizer.model` of a known model, and texts.
pub fn sentence_piece(bytes: &[u8]) {
    encode_with("tokenizer.model", bytes);
}

fn encode_with(name: &str, bytes: &[u8]) {
    let files = [("config.json", CONFIG), ("model.safetensors", WEIGHTS), (name, bytes)];
    load(&files, |model| {
        // A list of ranks counts as no tokenizer.
        let Ok(tokenizer) = model.tokenizer() else { return };
        for text in ["", "ab ba", "The cat\u{e9}\u{1f600} sat\n\t0123 on\u{0} "] {
            for bos in [Bos::Auto, Bos::Yes, Bos::No] {
                let _ = tokenizer.encode(text, bos).and_then(|ids| tokenizer.decode(&ids));
            }
        }
    });
}

/// Reads a `model.safetensors.index.json`.
pub fn shard_index(bytes: &[u8]) {
    if let Ok(index) = ShardIndex::parse(bytes) {
        for file in index.files() {
            let outside = Path::new(file).is_absolute() || file.split('/').any(|part| part == "..");
            assert!(!outside, "{file}");
        }
    }
}

fn load(files: &[(&str, &[u8])], then: impl FnOnce(Model)) {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        fs::write(folder.path().join(name), bytes).unwrap();
    }
    if let Ok(model) = Model::load(Origin::of_folder(folder.path()), FloatFormat::F32, &Device::flex()) {
        then(model);
    }
}

/// Separates two answers of a Hub.
#[cfg(feature = "hub")]
const NEXT: &[u8] = b"\n--next--\n";

/// Answers of a Hub, as they come from the network.
#[cfg(feature = "hub")]
pub fn hub_answers(bytes: &[u8]) {
    static HUB: OnceLock<(String, Arc<Mutex<Vec<Vec<u8>>>>)> = OnceLock::new();
    /// One fetch at a time has the server.
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let (endpoint, answers) = HUB.get_or_init(serve);
    let mut left = bytes;
    let mut parts = Vec::new();
    while let Some(at) = left.windows(NEXT.len()).position(|window| window == NEXT) {
        parts.push(left[..at].to_vec());
        left = &left[at + NEXT.len()..];
    }
    parts.push(left.to_vec());
    parts.reverse();
    *answers.lock().unwrap() = parts;

    let folder = tempfile::tempdir().unwrap();
    let repo: HubRepo = "owner/tiny".parse().unwrap();
    let second = Duration::from_secs(1);
    let options = HubOptions::new(folder.path().join("a/b/cache")).with_endpoint(endpoint).unwrap();
    let options = options.with_token("secret").unwrap().with_timeouts(second, second).unwrap();
    let _ = fetch(&repo, &options, &mut silent);
    for (path, only) in [("", "a"), ("a", "b"), ("a/b", "cache")] {
        let Ok(entries) = fs::read_dir(folder.path().join(path)) else { continue };
        for entry in entries {
            assert_eq!(entry.unwrap().file_name(), only, "written outside the cache");
        }
    }
}

/// A server that gives each connection the next answer, whatever it asks for.
#[cfg(feature = "hub")]
fn serve() -> (String, Arc<Mutex<Vec<Vec<u8>>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let answers = Arc::new(Mutex::new(Vec::<Vec<u8>>::new()));
    let next = Arc::clone(&answers);
    std::thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            let answer = next.lock().unwrap().pop().unwrap_or_default();
            answer_one(stream, &answer);
        }
    });
    (endpoint, answers)
}

#[cfg(feature = "hub")]
fn answer_one(mut stream: TcpStream, answer: &[u8]) {
    let mut request = Vec::new();
    let mut piece = [0; 1024];
    while !request.ends_with(b"\r\n\r\n") {
        match stream.read(&mut piece) {
            Ok(read) if read > 0 => request.extend_from_slice(&piece[..read]),
            _ => return,
        }
    }
    // The client may have hung up.
    let _ = stream.write_all(answer);
}
