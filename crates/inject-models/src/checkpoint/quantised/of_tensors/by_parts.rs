//! Methods that are known by the tensors beside one another in a matrix.

use safetensors::Dtype;

use super::Method;
use crate::checkpoint::{Checkpoint, Entry, restored::is_stored_as};

/// A method whose matrices consist of tensors with names of their own.
struct Known {
    name: &'static str,
    /// The ends of the names of two tensors of each matrix, and the formats of their numbers if these distinguish it from other methods.
    parts: [(&'static str, &'static [Dtype]); 2],
    /// Returns the bits as far as they are known. `None` if the matrix is of another method.
    bits: fn(&Matrix<'_>) -> Option<Vec<u64>>,
}

/// The tensors of one matrix.
struct Matrix<'c> {
    checkpoint: &'c Checkpoint,
    stem: &'c str,
    /// The two that [`Known::parts`] names.
    parts: [&'c Entry; 2],
}

const ANY: &[Dtype] = &[];

/// # Source
///
/// EXL3: github.com/turboderp-org/exllamav3, `exllamav3/modules/quant/exl3.py`. EXL2: github.com/turboderp-org/exllamav2,
/// `exllamav2/ext.py`. QTIP and QuIP#: github.com/Cornell-RelaxML, `qtip/lib/linear/quantized_linear.py` and
/// `quip-sharp/lib/linear/quantized_linear.py`. AQLM: github.com/Vahe1994/AQLM, `inference_lib/src/aqlm/inference.py`. NVFP4 and MXFP4:
/// github.com/NVIDIA/Model-Optimizer, github.com/vllm-project/compressed-tensors (`compressors/nvfp4`), and Hugging Face transformers
/// 5.24, `integrations/mxfp4.py`. The others: the files of the same name in `integrations` there.
const KNOWN: &[Known] = &[
    Known { name: "EXL3", parts: [(".trellis", ANY), (".suh", ANY)], bits: of_trellis },
    Known { name: "EXL3", parts: [(".trellis", ANY), (".su", ANY)], bits: of_trellis },
    Known { name: "QTIP", parts: [(".trellis", ANY), (".SU", ANY)], bits: of_trellis },
    Known { name: "EXL2", parts: [(".q_weight", ANY), (".q_groups", ANY)], bits: of_groups },
    Known { name: "AQLM", parts: [(".codes", ANY), (".codebooks", ANY)], bits: of_codebooks },
    Known { name: "QuIP#", parts: [(".Qidxs", ANY), (".SU", ANY)], bits: of_indices },
    Known { name: "SpQR", parts: [(".dense_weights", ANY), (".row_offsets", ANY)], bits: unsaid },
    Known { name: "VPTQ", parts: [(".indices", ANY), (".centroids.weight", ANY)], bits: unsaid },
    Known { name: "HIGGS", parts: [(".tables", ANY), (".tables2", ANY)], bits: of_tables },
    Known { name: "FP-Quant", parts: [(".qweight", ANY), (".forward_hadamard_matrix", ANY)], bits: four },
    Known { name: "EETQ", parts: [(".weight", &[Dtype::I8]), (".weight_scales", ANY)], bits: eight },
    Known { name: "quanto", parts: [(".weight._data", ANY), (".weight._scale", ANY)], bits: unsaid },
    Known { name: "torchao", parts: [("_weight_qdata", ANY), ("_weight_scale", ANY)], bits: unsaid },
    Known { name: "NVFP4", parts: [(".weight", &[Dtype::U8]), (".weight_scale_2", ANY)], bits: four },
    Known { name: "NVFP4", parts: [(".weight_packed", ANY), (".weight_global_scale", ANY)], bits: four },
    Known {
        name: "MXFP4",
        parts: [(".weight_packed", &[Dtype::U8]), (".weight_scale", &[Dtype::U8, Dtype::F8_E8M0])],
        bits: four,
    },
    Known {
        name: "MXFP4",
        parts: [(".weight", &[Dtype::U8]), (".weight_scale", &[Dtype::U8, Dtype::F8_E8M0])],
        bits: four,
    },
    Known { name: "MXFP4", parts: [("_blocks", &[Dtype::U8]), ("_scales", &[Dtype::U8])], bits: four },
    Known { name: "BitNet", parts: [(".weight", &[Dtype::U8]), (".weight_scale", ANY)], bits: ternary },
];

/// Returns the first method that a matrix of the checkpoint has the tensors of.
pub(super) fn by_parts(checkpoint: &Checkpoint) -> Option<Method> {
    KNOWN.iter().find_map(|known| {
        let mut found = known.matrices(checkpoint).filter_map(|matrix| (known.bits)(&matrix)).peekable();
        found.peek()?;
        Some(Method::new(known.name, found.flatten()))
    })
}

impl Known {
    /// The matrices that consist of these tensors.
    fn matrices<'c>(&self, checkpoint: &'c Checkpoint) -> impl Iterator<Item = Matrix<'c>> {
        let [(first, formats), (second, others)] = self.parts;
        let fits = |entry: &Entry, formats: &[Dtype]| {
            formats.is_empty() || formats.iter().any(|&format| is_stored_as(entry, format))
        };
        checkpoint.tensors.iter().filter_map(move |(name, entry)| {
            let stem = name.strip_suffix(first).filter(|_| fits(entry, formats))?;
            let beside = checkpoint.tensors.get(&format!("{stem}{second}"))?;
            fits(beside, others).then_some(Matrix { checkpoint, stem, parts: [entry, beside] })
        })
    }
}

impl Matrix<'_> {
    /// The number of values in another tensor of the matrix.
    fn len(&self, part: &str) -> Option<u64> {
        let entry = self.checkpoint.tensors.get(&format!("{}{part}", self.stem))?;
        Some(entry.shape.iter().map(|&size| size as u64).product())
    }
}

fn unsaid(_: &Matrix<'_>) -> Option<Vec<u64>> {
    Some(Vec::new())
}

fn four(_: &Matrix<'_>) -> Option<Vec<u64>> {
    Some(vec![4])
}

fn eight(_: &Matrix<'_>) -> Option<Vec<u64>> {
    Some(vec![8])
}

/// Codes of three values, with one scale for all.
fn ternary(matrix: &Matrix<'_>) -> Option<Vec<u64>> {
    (matrix.len(".weight_scale")? == 1).then(|| vec![2])
}

/// A block of 256 weights takes 16 words of 16 bits for each bit.
fn of_trellis(matrix: &Matrix<'_>) -> Option<Vec<u64>> {
    let words = *matrix.parts[0].shape.last()? as u64;
    Some(vec![words.div_ceil(16)])
}

/// Each group of rows has two numbers: its bits, and its first row.
fn of_groups(matrix: &Matrix<'_>) -> Option<Vec<u64>> {
    let numbers = matrix.checkpoint.small_numbers(matrix.parts[1]).unwrap_or_default();
    Some(numbers.into_iter().step_by(2).filter(|bits| (1..=8).contains(bits)).collect())
}

/// Some tables with a power of two of entries, of which each stands for a block of weights.
fn of_codebooks(matrix: &Matrix<'_>) -> Option<Vec<u64>> {
    let &[tables, entries, rows, columns] = matrix.parts[1].shape.as_slice() else { return unsaid(matrix) };
    let (bits, weights) = (tables as u64 * u64::from(entries.max(1).ilog2()), (rows * columns) as u64);
    Some(bits.checked_div(weights).filter(|each| each * weights == bits).into_iter().collect())
}

/// There is a sign for each input and for each output.
fn of_indices(matrix: &Matrix<'_>) -> Option<Vec<u64>> {
    let size = [(Dtype::I16, 16), (Dtype::I32, 32), (Dtype::I64, 64)];
    let size = size.into_iter().find(|(format, _)| is_stored_as(matrix.parts[0], *format));
    let bits = (|| {
        let weights = matrix.len(".SU")?.checked_mul(matrix.len(".SV")?)?;
        matrix.len(".Qidxs")?.checked_mul(size?.1)?.checked_div(weights)
    })();
    Some(bits.into_iter().collect())
}

/// The table has an entry for each code.
fn of_tables(matrix: &Matrix<'_>) -> Option<Vec<u64>> {
    let codes = matrix.parts[0].shape.iter().product::<usize>();
    Some(vec![u64::from(codes.max(1).ilog2())])
}
