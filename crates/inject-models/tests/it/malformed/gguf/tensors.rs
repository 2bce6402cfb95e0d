//! Faults of the tensors.

use super::*;

#[test]
fn a_tensor_stands_once() {
    File::sound()
        .with_tensors(&[("a", &[8, 4], F32, 0), ("a", &[8], F32, 128)])
        .damaged(&["tensor `a` occurs twice"]);
}

#[test]
fn a_tensor_has_one_to_four_dimensions() {
    File::sound().with_tensors(&[("a", &[], F32, 0)]).damaged(&["tensor `a` has 0 dimensions"]);
    File::sound().with_tensors(&[("a", &[2, 2, 2, 2, 2], F32, 0)]).damaged(&["tensor `a` has 5 dimensions"]);
}

#[test]
fn shapes_without_extent_or_beyond_all_counting_are_refused() {
    for shape in [&[0_u64, 4][..], &[8, 0], &[1 << 32, 1 << 32], &[u64::MAX], &[1 << 47, 2]] {
        File::sound()
            .with_tensors(&[("a", shape, F32, 0)])
            .damaged(&["tensor `a` has the shape", &format!("{shape:?}")]);
    }
}

#[test]
fn formats_that_are_not_read_are_named() {
    File::sound()
        .with_tensors(&[("a", &[256], IQ2_XXS, 0)])
        .damaged(&["tensor `a` is stored as IQ2_XXS, expected one of F32, F16", "Q6_K, IQ4_NL, IQ4_XS"]);
    File::sound().with_tensors(&[("a", &[256], 99, 0)]).damaged(&["stored as format number 99"]);
}

#[test]
fn rows_consist_of_whole_blocks() {
    File::sound()
        .with_tensors(&[("a", &[40, 4], Q8_0, 0)])
        .damaged(&["tensor `a` has rows of 40 numbers, expected a multiple of 32, the block of Q8_0"]);
}

#[test]
fn tensors_that_overlap_leave_gaps_or_are_not_aligned_are_refused() {
    for offset in [0, 96, 124, 132, 160, u64::MAX] {
        let says = format!("tensor `b` begins at byte {offset} of the data, expected 128");
        File::sound().with_tensors(&[("a", &[8, 4], F32, 0), ("b", &[8], F32, offset)]).damaged(&[&says]);
    }
    File::sound().with_tensors(&[("a", &[8], F32, 32)]).damaged(&["begins at byte 32", "expected 0"]);
}

#[test]
fn a_tensor_beyond_the_end_of_the_file_is_refused() {
    File { data: 159, ..File::sound() }
        .damaged(&["tensor `b` ends at byte", "of the file, expected at most"]);
    File::sound().with_tensors(&[("a", &[1 << 40], F32, 0)]).damaged(&["tensor `a` ends at byte"]);
}

#[test]
fn weights_that_are_missing_surplus_or_not_finite_are_named() {
    let edited = |edit: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = std::fs::read(fixture::folder("gguf/phi3.gguf")).unwrap();
        edit(&mut bytes);
        load(&bytes)
    };
    let (_folder, path, error) = edited(&|bytes| rename(bytes, "blk.1.ffn_norm"));
    says_all(&error, &path, &["tensor `blk.1.ffn_norm.weight` is missing"]);
    let (_folder, path, error) = edited(&|bytes| {
        let end = bytes.len();
        bytes[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    });
    says_all(&error, &path, &["holds NaN at element"]);
    let (_folder, path, error) = edited(&|bytes| set(bytes, "phi3.block_count", &2_u32.to_le_bytes()));
    says_all(&error, &path, &["is not part of a `phi3` model"]);
}
