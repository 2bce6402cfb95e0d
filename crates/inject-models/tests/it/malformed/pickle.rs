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

/// The error of a pickled file among the fixtures.
fn of_fixture(name: &str, says: &[&str]) -> ModelError {
    let bytes = std::fs::read(crate::fixture::folder("pickled").join(name)).unwrap();
    Checkpoint::copy_of("llama").without_file("model.safetensors").with_file(FILE, bytes).error(FILE, says)
}

#[test]
fn pickled_codes_are_named_by_method_and_bits() {
    for (name, method) in [
        ("fp8.bin", "FP8, 8 bits"),
        ("int8.bin", "bitsandbytes, 8 bits"),
        ("nf4.bin", "bitsandbytes, 4 bits"),
    ] {
        let says = format!("the weights are quantised ({method}), which is read from safetensors files only");
        let error = of_fixture(name, &[&says, "save it with `save_pretrained`"]);
        assert!(matches!(error, ModelError::PickledCodes { .. }), "{error:?}");
    }
}

/// The reader would return the numbers with the other sign.
#[test]
fn a_pickled_tensor_that_is_stored_negated_is_refused() {
    for name in ["neg.bin", "neg-old.bin"] {
        let error = of_fixture(name, &["a tensor is marked `neg`", "save it after `.resolve_neg()`"]);
        assert!(matches!(error, ModelError::LazyBit { bit: "neg", .. }), "{error:?}");
    }
}
