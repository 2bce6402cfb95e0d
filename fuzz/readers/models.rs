//! Readers of checkpoints and of the Hub's answers.

use std::{
    fs::{self, File},
    path::Path,
    sync::OnceLock,
};
#[cfg(feature = "hub")]
use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use burn::tensor::Device;
#[cfg(feature = "hub")]
use inject_models::hub::{HubOptions, HubRepo, fetch};
use inject_models::{
    Bos, DecoderConfig, FloatFormat, Model, Origin,
    checkpoint::{Header, ShardIndex},
    random_checkpoint::RandomCheckpoint,
    silent,
};
use tempfile::TempDir;

/// The readers, each with the name of its target and of its folder of seeds.
pub const READERS: &[(&str, fn(&[u8]))] = &[
    ("adapter", adapter),
    ("byte_level", byte_level),
    ("config", config),
    ("gguf", gguf),
    #[cfg(feature = "hub")]
    ("hub_answers", hub_answers),
    ("pytorch_weights", pytorch_weights),
    ("quantised", quantised),
    ("safetensors_header", safetensors_header),
    ("safetensors_weights", safetensors_weights),
    ("sentence_piece", sentence_piece),
    ("shard_index", shard_index),
    ("tokenizer", tokenizer),
    ("tokenizer_settings", tokenizer_settings),
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
    load(&[("config.json", CONFIG), ("model.safetensors", WEIGHTS), (name, bytes)], |model| encode(&model));
}

fn encode(model: &Model) {
    // A list of ranks counts as no tokenizer.
    let Ok(tokenizer) = model.tokenizer() else { return };
    for text in ["", "ab ba", "The cat\u{e9}\u{1f600} sat\n\t0123 on\u{0} "] {
        for bos in [Bos::Auto, Bos::Yes, Bos::No] {
            let _ = tokenizer.encode(text, bos).and_then(|ids| tokenizer.decode(&ids));
        }
    }
}

const VOCAB: &[u8] = include_bytes!("../../crates/inject-models/tests/fixtures/byte-level/vocab.json");
const MERGES: &[u8] = include_bytes!("../../crates/inject-models/tests/fixtures/byte-level/merges.txt");

/// `vocab.json` and `merges.txt`. The first byte chooses the one that is replaced.
pub fn byte_level(bytes: &[u8]) {
    let Some((choice, bytes)) = bytes.split_first() else { return };
    match choice % 2 {
        0 => encode_of(&[("vocab.json", bytes), ("merges.txt", MERGES)]),
        _ => encode_of(&[("vocab.json", VOCAB), ("merges.txt", bytes)]),
    }
}

/// The files beside a tokenizer. The first byte chooses the file, and the kind of tokenizer.
pub fn tokenizer_settings(bytes: &[u8]) {
    const NAMES: [&str; 4] =
        ["tokenizer_config.json", "added_tokens.json", "special_tokens_map.json", "config.json"];
    const JSON: &[u8] = include_bytes!("../../crates/inject-models/tests/fixtures/byte-level/tokenizer.json");
    const PIECES: &[u8] =
        include_bytes!("../../crates/inject-models/tests/fixtures/sentence-piece/llama.model");
    let Some((choice, bytes)) = bytes.split_first() else { return };
    let (choice, beside) = (usize::from(*choice), (NAMES[usize::from(*choice) % NAMES.len()], bytes));
    match choice / NAMES.len() % 3 {
        0 => encode_of(&[("tokenizer.json", JSON), beside]),
        1 => encode_of(&[("vocab.json", VOCAB), ("merges.txt", MERGES), beside]),
        _ => encode_of(&[("tokenizer.model", PIECES), beside]),
    }
}

/// Encodes texts with the tokenizer in these files.
fn encode_of(files: &[(&str, &[u8])]) {
    /// A model with more tokens than the tokenizers of the fixtures.
    static MODEL: OnceLock<Model> = OnceLock::new();
    let model = MODEL.get_or_init(|| {
        let text = std::str::from_utf8(CONFIG).unwrap().replace("\"vocab_size\": 97", "\"vocab_size\": 512");
        let weights = RandomCheckpoint::of_config(&text, FloatFormat::F32, 1).unwrap();
        let folder = tempfile::tempdir().unwrap();
        for file in weights.files() {
            let mut out = File::create(folder.path().join(file.name())).unwrap();
            file.write_to(&mut out, &mut silent).unwrap();
        }
        Model::load(Origin::of_folder(folder.path()), FloatFormat::F32, &Device::flex()).unwrap()
    });
    let folder = folder_with(files);
    if let Ok(model) = model.clone().with_tokenizer(folder.path()) {
        encode(&model);
    }
}

/// The settings, the weights or the pickled weights of an adapter. The first byte chooses the file.
pub fn adapter(bytes: &[u8]) {
    const MODEL: [(&str, &[u8]); 2] = [
        ("config.json", include_bytes!("../../crates/inject-models/tests/fixtures/llama/config.json")),
        (
            "model.safetensors",
            include_bytes!("../../crates/inject-models/tests/fixtures/llama/model.safetensors"),
        ),
    ];
    const SETTINGS: &[u8] =
        include_bytes!("../../crates/inject-models/tests/fixtures/adapters/llama/adapter_config.json");
    const FACTORS: &[u8] =
        include_bytes!("../../crates/inject-models/tests/fixtures/adapters/llama/adapter_model.safetensors");
    static FOLDER: OnceLock<TempDir> = OnceLock::new();
    let Some((choice, bytes)) = bytes.split_first() else { return };
    let model = FOLDER.get_or_init(|| folder_with(&MODEL));
    let adapter = match choice % 3 {
        0 => folder_with(&[("adapter_config.json", bytes), ("adapter_model.safetensors", FACTORS)]),
        1 => folder_with(&[("adapter_config.json", SETTINGS), ("adapter_model.safetensors", bytes)]),
        _ => folder_with(&[("adapter_config.json", SETTINGS), ("adapter_model.bin", bytes)]),
    };
    let origin = Origin::of_folder(model.path()).with_adapter(adapter.path());
    let _ = Model::load(origin, FloatFormat::F32, &Device::flex());
}

/// The codes of a quantised model, or its config. The first byte chooses the model and the file.
pub fn quantised(bytes: &[u8]) {
    macro_rules! models {
        ($($name:literal),*) => {
            [$((
                include_bytes!(concat!("../../crates/inject-models/tests/fixtures/quantised/", $name, "/config.json")).as_slice(),
                include_bytes!(concat!("../../crates/inject-models/tests/fixtures/quantised/", $name, "/model.safetensors")).as_slice(),
            )),*]
        };
    }
    const MODELS: [(&[u8], &[u8]); 7] =
        models!("nf4", "nf4-nested", "fp4", "int8", "fp8-channel", "fp8-tensor", "fp8-block");
    let Some((choice, bytes)) = bytes.split_first() else { return };
    let (config, weights) = MODELS[usize::from(choice / 2) % MODELS.len()];
    let (config, weights) = if choice % 2 == 0 { (bytes, weights) } else { (config, bytes) };
    load(&[("config.json", config), ("model.safetensors", weights)], |_| ());
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

fn folder_with(files: &[(&str, &[u8])]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        fs::write(folder.path().join(name), bytes).unwrap();
    }
    folder
}

fn load(files: &[(&str, &[u8])], then: impl FnOnce(Model)) {
    let folder = folder_with(files);
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
