//! The formats in which GGUF files store numbers.
//!
//! A row is cut into blocks, and the numbers of a block share one or more scales. Every number is restored with the
//! operations, and in the order, of the reference: `gguf.quants` of the Python package `gguf`, which agrees with
//! `ggml-quants.c`.
//!
//! # Source
//!
//! github.com/ggml-org/llama.cpp, `gguf-py/gguf/quants.py` (`dequantize_blocks` of each class) and
//! `gguf-py/gguf/constants.py` (`GGMLQuantizationType`, `GGML_QUANT_SIZES`).

mod fours;
mod k;
mod legacy;

use half::f16;

use crate::format::FloatFormat;

/// A format of stored numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Blocks {
    Float(FloatFormat),
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q8_0,
    Q2K,
    Q3K,
    Q4K,
    Q5K,
    Q6K,
    Iq4Nl,
    Iq4Xs,
}

/// Every format that is read: its number in files, and its name.
const KNOWN: [(u32, &str, Blocks); 16] = [
    (0, "F32", Blocks::Float(FloatFormat::F32)),
    (1, "F16", Blocks::Float(FloatFormat::F16)),
    (2, "Q4_0", Blocks::Q4_0),
    (3, "Q4_1", Blocks::Q4_1),
    (6, "Q5_0", Blocks::Q5_0),
    (7, "Q5_1", Blocks::Q5_1),
    (8, "Q8_0", Blocks::Q8_0),
    (10, "Q2_K", Blocks::Q2K),
    (11, "Q3_K", Blocks::Q3K),
    (12, "Q4_K", Blocks::Q4K),
    (13, "Q5_K", Blocks::Q5K),
    (14, "Q6_K", Blocks::Q6K),
    (20, "IQ4_NL", Blocks::Iq4Nl),
    (23, "IQ4_XS", Blocks::Iq4Xs),
    (28, "F64", Blocks::Float(FloatFormat::F64)),
    (30, "BF16", Blocks::Float(FloatFormat::Bf16)),
];

/// The names of other formats, for errors.
const OTHER: [(u32, &str); 17] = [
    (9, "Q8_1"),
    (15, "Q8_K"),
    (16, "IQ2_XXS"),
    (17, "IQ2_XS"),
    (18, "IQ3_XXS"),
    (19, "IQ1_S"),
    (21, "IQ3_S"),
    (22, "IQ2_S"),
    (24, "I8"),
    (25, "I16"),
    (26, "I32"),
    (27, "I64"),
    (29, "IQ1_M"),
    (34, "TQ1_0"),
    (35, "TQ2_0"),
    (39, "MXFP4"),
    (40, "NVFP4"),
];

impl Blocks {
    /// Returns the format with this number.
    pub(super) fn of(number: u32) -> Result<Blocks, ()> {
        KNOWN.iter().find(|(known, ..)| *known == number).map(|(.., blocks)| *blocks).ok_or(())
    }

    /// Returns the name of a format that is not read, or its number.
    pub(super) fn name_of(number: u32) -> String {
        let other = OTHER.iter().find(|(other, _)| *other == number);
        other.map_or_else(|| format!("format number {number}"), |(_, name)| (*name).to_owned())
    }

    /// Returns the names of all formats that are read.
    pub(super) fn known() -> String {
        KNOWN.map(|(_, name, _)| name).join(", ")
    }

    pub(super) fn name(self) -> &'static str {
        KNOWN.iter().find(|(.., blocks)| *blocks == self).map_or("", |(_, name, _)| name)
    }

    /// Returns the count of numbers in a block.
    pub(super) fn numbers(self) -> usize {
        match self {
            Blocks::Float(_) => 1,
            Blocks::Q4_0 | Blocks::Q4_1 | Blocks::Q5_0 | Blocks::Q5_1 | Blocks::Q8_0 | Blocks::Iq4Nl => 32,
            Blocks::Q2K | Blocks::Q3K | Blocks::Q4K | Blocks::Q5K | Blocks::Q6K | Blocks::Iq4Xs => 256,
        }
    }

    /// Returns the count of bytes in a block.
    pub(super) fn bytes(self) -> usize {
        match self {
            Blocks::Float(float) => float.bytes(),
            Blocks::Q4_0 | Blocks::Iq4Nl => 18,
            Blocks::Q4_1 => 20,
            Blocks::Q5_0 => 22,
            Blocks::Q5_1 => 24,
            Blocks::Q8_0 => 34,
            Blocks::Q2K => 84,
            Blocks::Q3K => 110,
            Blocks::Q4K => 144,
            Blocks::Q5K => 176,
            Blocks::Q6K => 210,
            Blocks::Iq4Xs => 136,
        }
    }

    /// Restores the numbers of whole blocks.
    ///
    /// # Panics
    ///
    /// Panics if `bytes` does not hold exactly the blocks of `values`.
    pub(super) fn decode(self, bytes: &[u8], values: &mut [f32]) {
        assert_eq!(bytes.len() / self.bytes(), values.len() / self.numbers(), "bytes and numbers must agree");
        match self {
            Blocks::Float(float) => float.decode(bytes, values),
            Blocks::Q4_0 => each(bytes, values, legacy::q4_0),
            Blocks::Q4_1 => each(bytes, values, legacy::q4_1),
            Blocks::Q5_0 => each(bytes, values, legacy::q5_0),
            Blocks::Q5_1 => each(bytes, values, legacy::q5_1),
            Blocks::Q8_0 => each(bytes, values, legacy::q8_0),
            Blocks::Q2K => each(bytes, values, k::q2),
            Blocks::Q3K => each(bytes, values, k::q3),
            Blocks::Q4K => each(bytes, values, k::q4),
            Blocks::Q5K => each(bytes, values, k::q5),
            Blocks::Q6K => each(bytes, values, k::q6),
            Blocks::Iq4Nl => each(bytes, values, fours::nl),
            Blocks::Iq4Xs => each(bytes, values, fours::xs),
        }
    }
}

/// Restores blocks of `B` bytes with `N` numbers each, by the vector instructions of the processor. `restore` and all that it calls is
/// inlined, because a called function is not compiled for the instructions of its caller.
fn each<const B: usize, const N: usize>(
    bytes: &[u8],
    values: &mut [f32],
    restore: impl Fn(&[u8; B], &mut [f32; N]),
) {
    pulp::Arch::new().dispatch(
        #[inline(always)]
        || {
            for (block, values) in bytes.as_chunks::<B>().0.iter().zip(values.as_chunks_mut::<N>().0) {
                restore(block, values);
            }
        },
    );
}

/// The half-precision number in two bytes of a block.
#[inline(always)]
fn half(block: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([block[at], block[at + 1]]).to_f32()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Blocks of random bytes, and the numbers that the package `gguf` restores from them: see
    /// `tests/fixtures/gguf/generate.py`.
    fn reference() -> Vec<u8> {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/gguf/blocks.safetensors");
        std::fs::read(path).unwrap()
    }

    /// Blocks of random bytes in every format but F64, of which the reference has none.
    pub(in super::super) fn of_every_format() -> Vec<(Blocks, Vec<u8>)> {
        let bytes = reference();
        let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        let known = KNOWN.into_iter().filter(|(_, name, _)| *name != "F64");
        known
            .map(|(_, name, blocks)| {
                (blocks, file.tensor(&format!("{name}.blocks")).unwrap().data().to_vec())
            })
            .collect()
    }

    #[test]
    fn every_format_restores_what_the_reference_restores_bit_for_bit() {
        let bytes = reference();
        let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        for (blocks, stored) in of_every_format() {
            let name = blocks.name();
            let restored = file.tensor(&format!("{name}.values")).unwrap();
            let expected: Vec<u32> =
                restored.data().as_chunks::<4>().0.iter().map(|raw| u32::from_le_bytes(*raw)).collect();
            let mut found = vec![0.0; expected.len()];
            assert_eq!(expected.len() / blocks.numbers() * blocks.bytes(), stored.len(), "{name}");
            blocks.decode(&stored, &mut found);
            let found: Vec<u32> = found.into_iter().map(f32::to_bits).collect();
            assert!(expected.len() >= 1024 && found == expected, "{name}");
        }
    }
}
