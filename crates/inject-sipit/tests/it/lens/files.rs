//! The files of lenses: written, read and refused.

mod damaged;
mod prior;

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use burn::tensor::Device;
use inject_sipit::{
    InvertError, Lens, LensError, Policy, Settings, TensorFileError,
    models::{Decoder, Tap, checkpoint::HeaderError, silent},
    sources::LensProposals,
};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};

use super::{builder, by_lens};
use crate::small::{invert, model, target};

/// Type, shape and bytes of a tensor.
type Stored = (Dtype, Vec<usize>, Vec<u8>);

/// Metadata and tensors of a file: their order is not fixed.
#[derive(Debug, PartialEq)]
struct Contents {
    metadata: HashMap<String, String>,
    tensors: HashMap<String, Stored>,
}

fn contents(bytes: &[u8]) -> Contents {
    let (_, header) = SafeTensors::read_metadata(bytes).unwrap();
    let metadata = header.metadata().clone().unwrap();
    let tensors = SafeTensors::deserialize(bytes).unwrap();
    let tensors = tensors
        .tensors()
        .into_iter()
        .map(|(name, view)| (name, (view.dtype(), view.shape().to_vec(), view.data().to_vec())));
    Contents { metadata, tensors: tensors.collect() }
}

/// A lens file with something changed.
struct Written {
    folder: tempfile::TempDir,
    path: PathBuf,
    hash: String,
    tap: Tap,
    device: Device,
    bytes: Vec<u8>,
}

impl Written {
    fn new(device: &Device) -> Self {
        let model = model("gpt2", device);
        let (tap, hash) = (Tap::Block(2), model.weight_hash().unwrap());
        let folder = tempfile::tempdir().unwrap();
        let lens = builder(vec![tap]).build(&model.decoder, &hash, &mut silent).unwrap().remove(0);
        let path = lens.save(folder.path()).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        Written { folder, path, hash, tap, device: device.clone(), bytes }
    }

    fn load(&self) -> Result<Lens, LensError> {
        match Lens::load(self.folder.path(), self.tap, &self.hash, &self.device) {
            Ok(lens) => Ok(lens),
            Err(InvertError::Lens(error)) => Err(error),
            Err(other) => panic!("{other}"),
        }
    }

    fn load_bytes(&self, bytes: &[u8]) -> Result<Lens, LensError> {
        std::fs::write(&self.path, bytes).unwrap();
        self.load()
    }

    fn changed(&self, change: impl FnOnce(&mut Contents)) -> Result<Lens, LensError> {
        let mut contents = contents(&self.bytes);
        // As in the files of older versions, so that the change is found for what it is.
        contents.metadata.retain(|name, _| !name.starts_with("xxh3:"));
        change(&mut contents);
        let views = contents.tensors.iter().map(|(name, (dtype, shape, bytes))| {
            (name.as_str(), TensorView::new(*dtype, shape.clone(), bytes).unwrap())
        });
        let bytes = safetensors::serialize(views, Some(contents.metadata.clone())).unwrap();
        self.load_bytes(&bytes)
    }

    /// Asserts that the file is refused as malformed, with its path and this text in the message.
    fn assert_malformed(&self, outcome: Result<Lens, LensError>, text: &str) {
        let refused = outcome.err().unwrap_or_else(|| panic!("not refused: {text}"));
        let at = matches!(&refused, LensError::File(TensorFileError::Malformed { path, .. }) if *path == self.path);
        assert!(at, "{refused:?}");
        let message = refused.to_string();
        assert!(message.contains(text) && message.contains("lens-block-2"), "{message}");
    }
}

#[test]
fn a_file_that_is_no_lens_is_refused() {
    let device = inject_testing::any_device();
    let written = Written::new(&device);
    written.load().unwrap();

    // Another kind of file.
    let fault = |bytes: &[u8]| match written.load_bytes(bytes).unwrap_err() {
        LensError::File(TensorFileError::Header { path, source }) if path == written.path => source,
        other => panic!("{other:?}"),
    };
    let found = fault(b"no tensors at all, only a line of text");
    assert!(matches!(found, HeaderError::TooLong { file: 38, .. }), "{found:?}");
    assert!(matches!(fault(b""), HeaderError::TooShort { found: 0 }));
    let weights =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../inject-models/tests/fixtures/gpt2/model.safetensors");
    written.assert_malformed(written.load_bytes(&std::fs::read(weights).unwrap()), "inject.lens is none");
    written.assert_malformed(
        written.changed(|c| drop(c.metadata.insert("inject.lens".into(), "7".into()))),
        "is 7",
    );

    // Cut off anywhere.
    for len in [1, 7, 8, 100, written.bytes.len() / 2, written.bytes.len() - 1] {
        let header = u64::from_le_bytes(written.bytes[..8].try_into().unwrap()) as usize;
        match fault(&written.bytes[..len]) {
            HeaderError::TooShort { .. } => assert!(len < 8),
            HeaderError::TooLong { .. } => assert!((8..8 + header).contains(&len)),
            HeaderError::Place { .. } => assert!(len >= 8 + header),
            other => panic!("cut off after {len} bytes: {other:?}"),
        }
    }

    std::fs::remove_file(&written.path).unwrap();
    let missing = written.load().unwrap_err();
    let at = matches!(&missing, LensError::File(TensorFileError::Io { path, .. }) if *path == written.path);
    assert!(at, "{missing:?}");
}

#[test]
fn a_damaged_lens_is_refused_and_the_message_names_the_part() {
    let device = inject_testing::any_device();
    let written = Written::new(&device);
    for name in ["projection", "offset", "codes", "first.projection", "first.offset", "first.codes"] {
        let removed = written.changed(|c| drop(c.tensors.remove(name)));
        written.assert_malformed(removed, &format!("{name} is missing"));
        let shortened = written.changed(|c| {
            let (dtype, shape, bytes) = c.tensors.get_mut(name).unwrap();
            let row = shape[1] * dtype.bitsize() / 8;
            shape[0] += 1;
            bytes.extend(vec![0; row]);
        });
        written.assert_malformed(shortened, name);
        let not_a_number = written.changed(|c| {
            let (dtype, _, bytes) = c.tensors.get_mut(name).unwrap();
            match dtype {
                Dtype::F16 => bytes[..2].copy_from_slice(&half::f16::NAN.to_le_bytes()),
                _ => bytes[..4].copy_from_slice(&f32::INFINITY.to_le_bytes()),
            }
        });
        written.assert_malformed(not_a_number, &format!("{name} holds"));
        let other_type = written.changed(|c| {
            let (dtype, shape, bytes) = c.tensors.get_mut(name).unwrap();
            *dtype = Dtype::F64;
            *bytes = vec![0; shape.iter().product::<usize>() * 8];
        });
        written.assert_malformed(other_type, "F64");
    }
    let narrow = written.changed(|c| {
        let (_, shape, bytes) = c.tensors.get_mut("projection").unwrap();
        shape[1] -= 1;
        bytes.truncate(shape[0] * shape[1] * 4);
    });
    written.assert_malformed(narrow, "columns");
    for (key, value) in [("about", "{}"), ("about", "no json"), ("first.bos", "97"), ("first.bos", "-1")] {
        written.assert_malformed(written.changed(|c| drop(c.metadata.insert(key.into(), value.into()))), key);
    }
    written.assert_malformed(written.changed(|c| drop(c.metadata.remove("about"))), "about is missing");
}

#[test]
fn a_lens_for_something_else_is_refused() {
    let device = inject_testing::any_device();
    let written = Written::new(&device);
    let other = "0".repeat(64);
    let refused = Lens::load(written.folder.path(), written.tap, &other, &device).unwrap_err();
    assert!(
        matches!(&refused, InvertError::Lens(LensError::OtherWeights { found, expected })
            if *found == written.hash && *expected == other),
        "{refused:?}"
    );
    assert!(refused.to_string().contains(&written.hash) && refused.to_string().contains(&other), "{refused}");

    // A file under another tap's name.
    let renamed = written.folder.path().join(Lens::file_name(Tap::Block(3)));
    std::fs::copy(&written.path, renamed).unwrap();
    let refused = Lens::load(written.folder.path(), Tap::Block(3), &written.hash, &device).unwrap_err();
    let InvertError::Lens(LensError::OtherTap { found, expected }) = refused else { panic!("{refused:?}") };
    assert_eq!((found, expected), (Tap::Block(2), Tap::Block(3)));

    let gpt2 = model("gpt2", &device).decoder;
    let lens = Arc::new(written.load().unwrap());
    let at = |decoder: &Decoder, tap| by_lens(decoder, &target(decoder, &[3, 4], tap), &lens).unwrap_err();
    let refused = at(&gpt2, Tap::Block(1));
    let InvertError::Lens(LensError::OtherTap { found, expected }) = refused else { panic!("{refused:?}") };
    assert_eq!((found, expected), (Tap::Block(2), Tap::Block(1)));

    let refused = at(&model("llama", &device).decoder, Tap::Block(2));
    let InvertError::Lens(LensError::OtherShape { what, found, expected }) = refused else {
        panic!("{refused:?}")
    };
    assert_eq!((what, found, expected), ("coordinates", 24, 32));

    let mut config = gpt2.config().clone();
    config.vocab_size = 90;
    let smaller = config.init(0.2, &device);
    let states = target(&smaller, &[3, 4], Tap::Block(2));
    let policy = Policy::new().then(LensProposals::new(lens));
    let refused = invert(&smaller, &states, &policy, Settings::new()).unwrap_err();
    assert!(refused.to_string().contains("97 tokens, expected 90"), "{refused}");
}

#[test]
fn a_lens_is_written_alike_each_time_by_one_writer_for_every_reader() {
    let device = inject_testing::any_device();
    let written = Written::new(&device);
    let (lens, folder) = (written.load().unwrap(), tempfile::tempdir().unwrap());
    for _ in 0..8 {
        let path = lens.save(folder.path()).unwrap();
        assert!(std::fs::read(&path).unwrap() == written.bytes, "the bytes differ");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let plain = folder.path().join("plain");
            std::fs::write(&plain, "").unwrap();
            let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode();
            assert_eq!(mode(&path), mode(&plain));
        }
    }
    let partial = folder.path().join(format!("{}.partial", Lens::file_name(lens.info().tap)));
    let other = std::fs::File::create(&partial).unwrap();
    other.lock().unwrap();
    let error = lens.save(folder.path()).unwrap_err();
    let busy = |source: &std::io::Error| source.to_string().contains("another process is writing");
    assert!(
        matches!(&error, InvertError::Lens(LensError::File(TensorFileError::Io { path, source })) if *path == partial && busy(source)),
        "{error:?}"
    );
    drop(other);
    lens.save(folder.path()).unwrap();
}
