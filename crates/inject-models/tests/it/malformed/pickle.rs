//! Faults of a pickled PyTorch file.

use inject_models::{ModelError, checkpoint::Damage};

use super::Checkpoint;

const FILE: &str = "pytorch_model.bin";

fn pickled() -> Checkpoint {
    Checkpoint::copy_of("gpt-neo-bin")
}

/// The reader calls some damage an I/O error and some by its own names.
fn refused(checkpoint: &Checkpoint) {
    match checkpoint.error(FILE, &[]) {
        ModelError::Damaged { path, source } => {
            assert_eq!(path, checkpoint.path(FILE));
            assert!(matches!(source, Damage::Pickle(_)), "{source:?}");
        }
        ModelError::Read { path, .. } => assert_eq!(path, checkpoint.path(FILE)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_empty_pickle_is_refused() {
    refused(&pickled().with_file(FILE, ""));
}

#[test]
fn a_truncated_pickle_is_refused() {
    let length = std::fs::metadata(pickled().path(FILE)).unwrap().len() as usize;
    for kept in [1, 3, 30, length / 2, length - 1] {
        refused(&pickled().with_bytes(FILE, |bytes| bytes.truncate(kept)));
    }
}

#[test]
fn garbage_in_the_place_of_a_pickle_is_refused() {
    refused(&pickled().with_file(FILE, "garbage"));
    refused(&pickled().with_file(FILE, [0x80; 4096]));
    refused(&pickled().with_file(FILE, b"PK\x03\x04 and then nothing that an archive would hold"));
}

#[test]
fn a_pickled_tensor_of_another_shape_is_named() {
    let error = pickled()
        .with_key("vocab_size", 98)
        .error(FILE, &["`transformer.wte.weight` has shape [97, 24]", "expected [98, 24]"]);
    assert!(matches!(error, ModelError::TensorShape { .. }), "{error:?}");
}

#[test]
fn a_missing_pickled_tensor_is_named() {
    let error = pickled()
        .with_key("num_layers", 5)
        .with_key("attention_layers", vec!["global"; 5])
        .error(FILE, &["`transformer.h.4.ln_1.weight` is missing", "expected shape [24]"]);
    assert!(matches!(error, ModelError::Tensors { .. }), "{error:?}");
}

#[test]
fn pickled_numbers_of_8_bits_are_called_fp8() {
    let fp8 = std::fs::read(crate::fixture::folder("fp8.bin")).unwrap();
    let checkpoint = Checkpoint::copy_of("llama").without_file("model.safetensors").with_file(FILE, fp8);
    let error =
        checkpoint.error(FILE, &["the weights are quantised (FP8, 8 bits, pickled), which is not read"]);
    assert!(matches!(error, ModelError::Quantised { .. }), "{error:?}");
}
