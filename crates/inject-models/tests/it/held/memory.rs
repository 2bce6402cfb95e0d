//! The estimate of the memory that weights take, against what a loaded model has.

use std::{fs, path::Path};

use burn::{
    module::{Module, ModuleVisitor, Param},
    tensor::{Device, Tensor},
};
use inject_models::{Decoder, FloatFormat, Hold, Model, ModelFiles, Origin, Precision};
use safetensors::{SafeTensors, tensor::TensorView};

use super::{MAPPED, load, stored_in};
use crate::{
    fixture, gguf,
    malformed::{self},
    parity, quantised,
};

/// The bytes of a decoder's tensors.
fn bytes(decoder: &Decoder) -> u64 {
    struct Bytes(usize);

    impl ModuleVisitor for Bytes {
        fn visit_float<const D: usize>(&mut self, parameter: &Param<Tensor<D>>) {
            let values = parameter.val();
            self.0 += values.dtype().size() * values.dims().iter().product::<usize>();
        }
    }

    let mut bytes = Bytes(0);
    decoder.visit(&mut bytes);
    bytes.0 as u64
}

/// Each way to hold weights, with each format that is computed in.
fn precisions(device: &Device) -> impl Iterator<Item = Precision> {
    let formats = [FloatFormat::F32, FloatFormat::F64, FloatFormat::Bf16];
    let computed =
        move |format: &FloatFormat| *format != FloatFormat::F64 || inject_testing::computes_in_f64(device);
    let holds = [Hold::Fastest, Hold::Computed, Hold::StoredOnDevice, Hold::Stored];
    formats
        .into_iter()
        .filter(computed)
        .flat_map(move |format| holds.map(|hold| Precision::new(hold, format)))
}

/// Compares the two for every precision.
fn check(origin: &Origin, device: &Device) {
    for precision in precisions(device) {
        let files = ModelFiles::open(origin.clone()).unwrap();
        let expected = files.bytes_in_memory(precision, device);
        let decoder = files.load(precision, device).unwrap().decoder;
        assert_eq!(bytes(&decoder), expected, "{} {precision:?}", origin.id);
    }
}

/// All cases are compared before the first fault is reported.
#[test]
fn the_memory_of_every_model_is_known_before_it_is_loaded() {
    let device = inject_testing::any_device();
    let of_fixtures = parity::CASES.iter().map(|(case, _)| fixture::folder(case));
    let of_files = gguf::FILES.iter().map(|(file, ..)| gguf::path(file));
    let mut faults = Vec::new();
    for path in of_fixtures.chain(of_files) {
        for precision in precisions(&device) {
            let files = ModelFiles::open(Origin::of_folder(&path)).unwrap();
            let expected = files.bytes_in_memory(precision, &device);
            let decoder = files.load(precision, &device).unwrap().decoder;
            let config = decoder.config();
            // It has a copy of the embedding as its head. Only the values show that it is one.
            let copy = if path.ends_with("gpt-neo-bin") { config.vocab_size * config.d_model } else { 0 };
            let of_number = match precision.hold {
                Hold::StoredOnDevice => precision.compute.bytes().min(FloatFormat::F32.bytes()),
                _ => precision.compute.bytes(),
            };
            let found = bytes(&decoder) + (copy * of_number) as u64;
            if found != expected {
                faults.push(format!("{path:?} {precision:?}: {found}, expected {expected}"));
            }
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn quantised_matrices_take_their_scales_where_they_are_and_all_numbers_elsewhere() {
    let device = Device::flex();
    for case in quantised::CASES {
        let folder = fixture::folder("quantised").join(case);
        for precision in precisions(&device) {
            let files = ModelFiles::open(Origin::of_folder(&folder)).unwrap();
            let expected = files.bytes_in_memory(precision, &device);
            let decoder = files.load(precision, &device).unwrap().decoder;
            let scales = expected.checked_sub(bytes(&decoder)).unwrap();
            let (in_files, coded) = (decoder.held_in_files() as u64, precision.hold == Hold::Stored);
            let some = coded && precision.compute != FloatFormat::Bf16;
            assert!(
                if some { 0 < scales && scales < in_files } else { scales == 0 },
                "{case} {precision:?}: {scales}"
            );
        }
    }
}

/// Queries, keys and values are one matrix. Numbers of several formats are not multiplied as fast as those of one, so the default
/// widens them, and all of the matrix.
#[test]
fn a_matrix_of_parts_in_several_formats_counts_as_the_tensor_that_it_becomes() {
    let device = Device::flex();
    let mixed = mixed_safetensors(&device);
    let gguf = mixed_gguf();
    for (path, of_one_format) in
        [(mixed.path().to_owned(), "llama"), (gguf.path().join("model.gguf"), "llama-bf16-shards")]
    {
        let origin = Origin::of_folder(&path);
        check(&origin, &device);
        let files = ModelFiles::open(origin).unwrap();
        let config = load(&path, MAPPED, &device).config().clone();
        let d_model = config.d_model;
        let attention = &config.blocks[0].attention;
        let numbers = d_model * attention.qkv_widths().iter().sum::<usize>();
        let plain = ModelFiles::open(Origin::of_folder(&fixture::folder(of_one_format))).unwrap();
        let more = files.bytes_in_memory(Precision::default(), &device)
            - plain.bytes_in_memory(Precision::default(), &device);
        assert_eq!(more, 4 * numbers as u64, "{path:?}");
        // Left in the files, they take none.
        assert_eq!(files.bytes_in_memory(MAPPED, &device), plain.bytes_in_memory(MAPPED, &device));
    }
}

/// The reference model in BF16, with the keys of the first block in F16.
fn mixed_safetensors(device: &Device) -> tempfile::TempDir {
    let folder = stored_in("llama", FloatFormat::Bf16, device);
    let other = stored_in("llama", FloatFormat::F16, device);
    let [bytes, of_other] =
        [&folder, &other].map(|folder| fs::read(folder.path().join("model.safetensors")).unwrap());
    let [file, other] = [&bytes, &of_other].map(|bytes| SafeTensors::deserialize(bytes).unwrap());
    let views = file.names().into_iter().map(|name| {
        let from = if name.contains("layers.0.self_attn.k_proj") { &other } else { &file };
        let view = from.tensor(name).unwrap();
        (name.to_owned(), TensorView::new(view.dtype(), view.shape().to_vec(), view.data()).unwrap())
    });
    let mixed = safetensors::serialize(views.collect::<Vec<_>>(), None).unwrap();
    fs::write(folder.path().join("model.safetensors"), mixed).unwrap();
    folder
}

/// A file in BF16 that calls the keys of the first block F16.
fn mixed_gguf() -> tempfile::TempDir {
    let mut bytes = fs::read(gguf::path("llama")).unwrap();
    // The number of sides and the two sides stand before the format.
    let format = malformed::gguf::after(&bytes, "blk.0.attn_k.weight") + 4 + 2 * 8;
    assert_eq!(bytes[format..format + 4], 30_u32.to_le_bytes());
    bytes[format..format + 4].copy_from_slice(&1_u32.to_le_bytes());
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("model.gguf"), bytes).unwrap();
    folder
}

#[test]
fn matrices_that_an_adapter_changes_count_as_tensors() {
    let device = Device::flex();
    for case in ["llama", "gpt2", "gpt-neox", "phi4"] {
        let folder = fixture::folder(case);
        let origin = Origin::of_folder(&folder).with_adapter(&fixture::folder("adapters").join(case));
        check(&origin, &device);
        let plain = ModelFiles::open(Origin::of_folder(&folder)).unwrap();
        let [merged, plain] =
            [ModelFiles::open(origin).unwrap(), plain].map(|files| files.bytes_in_memory(MAPPED, &device));
        assert!(merged > plain, "{case}: {merged} {plain}");
    }
}

/// Queries change, so queries, keys and values are widened. The other codes stay in the file.
#[test]
fn an_adapter_widens_the_quantised_matrices_that_it_changes() {
    let device = Device::flex();
    let adapter = adapter_of_queries();
    for case in quantised::CASES {
        let folder = fixture::folder("quantised").join(case);
        let origin = Origin::of_folder(&folder).with_adapter(adapter.path());
        let files = ModelFiles::open(origin.clone()).unwrap();
        let plain = load(&folder, MAPPED, &device);
        let decoder = Model::load(origin, MAPPED, &device).unwrap().decoder;
        assert!(decoder.held_in_files() > 0 && decoder.held_in_files() < plain.held_in_files(), "{case}");
        let attention = &plain.config().blocks[0].attention;
        let numbers = plain.config().d_model * attention.qkv_widths().iter().sum::<usize>();
        assert_eq!(bytes(&decoder) - bytes(&plain), 4 * numbers as u64, "{case}");
        let scales = files.bytes_in_memory(MAPPED, &device).checked_sub(bytes(&decoder)).unwrap();
        assert!(0 < scales && scales < decoder.held_in_files() as u64, "{case}: {scales}");
    }
}

/// The adapter of `llama` without its changes to other maps than the queries of the first block.
fn adapter_of_queries() -> tempfile::TempDir {
    let from = fixture::folder("adapters/llama");
    let folder = tempfile::tempdir().unwrap();
    let copy = |name: &str, bytes: &[u8]| fs::write(folder.path().join(Path::new(name)), bytes).unwrap();
    copy("adapter_config.json", &fs::read(from.join("adapter_config.json")).unwrap());
    let bytes = fs::read(from.join("adapter_model.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let kept = file.iter().filter(|(name, _)| name.contains(".layers.0.self_attn.q_proj."));
    copy("adapter_model.safetensors", &safetensors::serialize(kept, None).unwrap());
    folder
}
