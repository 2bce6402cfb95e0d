//! The ways in which a GGUF file can be malformed.

/// A fault in a GGUF file.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum GgufError {
    /// The file does not begin as a GGUF file does.
    #[error("it begins with the bytes {found:?}, expected the letters `GGUF`")]
    Magic {
        /// The first four bytes of the file.
        found: [u8; 4],
    },
    /// The version of the container is not supported.
    #[error("it is GGUF version {found}, expected 2 or 3")]
    Version {
        /// The version that the file states.
        found: u32,
    },
    /// The numbers are stored with the most significant byte first.
    #[error("its numbers are big-endian, expected little-endian ones")]
    BigEndian,
    /// The file ends too early.
    #[error("it ends after {length} bytes, expected {wanted} more at byte {at}")]
    CutOff {
        /// Offset of the byte at which the read began.
        at: usize,
        /// The bytes that should follow.
        wanted: u64,
        /// The length of the file.
        length: usize,
    },
    /// A count is larger than the rest of the file can hold.
    #[error("it announces {found} {items}, expected at most the {most} that its length can hold")]
    Count {
        /// A plural noun for the things counted.
        items: &'static str,
        /// The count that the file states.
        found: u64,
        /// The largest count for which the file is long enough.
        most: u64,
    },
    /// A count is larger than any model needs.
    #[error("it has {found} {items}, expected at most {most}")]
    TooMany {
        /// A plural noun for the things counted.
        items: &'static str,
        /// The count that the file states.
        found: u64,
        /// The largest count that is read.
        most: u64,
    },
    /// A text is not UTF-8.
    #[error("the text at byte {at} is not UTF-8")]
    Text {
        /// Offset of the first byte of the text.
        at: usize,
    },
    /// A value has a type that the format does not know.
    #[error("key `{key}` has the value type {found}, expected one from 0 to 12")]
    ValueType {
        /// The key whose value it is.
        key: String,
        /// The number of the type.
        found: u32,
    },
    /// A metadata value is a list of lists, which no known key has.
    #[error("key `{key}` is a list of lists, expected a list of numbers, flags or texts")]
    NestedList {
        /// The key of the list.
        key: String,
    },
    /// A flag is neither true nor false.
    #[error("key `{key}` holds the flag {found}, expected 0 or 1")]
    Flag {
        /// The key of the flag.
        key: String,
        /// The byte stored in place of the flag.
        found: u8,
    },
    /// The metadata names a key more than once.
    #[error("key `{key}` occurs twice")]
    KeyTwice {
        /// Name of the repeated key.
        key: String,
    },
    /// The alignment of the data is not a power of two.
    #[error("key `general.alignment` is {found}, expected a power of two")]
    Alignment {
        /// The value of `general.alignment`, as text.
        found: String,
    },
    /// Two entries of the file have the same tensor name.
    #[error("tensor `{tensor}` occurs twice")]
    TensorTwice {
        /// The name that two tensors have.
        tensor: String,
    },
    /// A tensor has too many dimensions, or none.
    #[error("tensor `{tensor}` has {found} dimensions, expected 1 to 4")]
    Dimensions {
        /// Name of the tensor with too few or too many dimensions.
        tensor: String,
        /// The number of dimensions that the file states.
        found: u32,
    },
    /// A tensor has a dimension without extent, or more numbers than can be counted.
    #[error("tensor `{tensor}` has the shape {found:?}, expected sizes from 1 on with a product below 2^48")]
    Shape {
        /// Name of the tensor with the impossible shape.
        tensor: String,
        /// Its shape, the innermost dimension first, as the file has it.
        found: Vec<u64>,
    },
    /// A tensor is stored in a format that is not read.
    #[error("tensor `{tensor}` is stored as {found}, expected one of {expected}")]
    Format {
        /// Name of the tensor in an unknown or unsupported format.
        tensor: String,
        /// The name or the number of the format.
        found: String,
        /// The names of the formats that are read.
        expected: String,
    },
    /// The rows of a tensor do not consist of whole blocks.
    #[error(
        "tensor `{tensor}` has rows of {found} numbers, expected a multiple of {block}, the block of {format}"
    )]
    Row {
        /// Name of the tensor whose rows are not whole blocks.
        tensor: String,
        /// The number of values in one of its rows.
        found: u64,
        /// The number of values that one block of the format encodes.
        block: usize,
        /// The name of the format.
        format: &'static str,
    },
    /// A tensor overlaps another, leaves a gap or is not aligned.
    #[error(
        "tensor `{tensor}` begins at byte {found} of the data, expected {expected}, where the one before it ends"
    )]
    Place {
        /// Name of the tensor at the wrong offset.
        tensor: String,
        /// Offset of its first byte, relative to the data.
        found: u64,
        /// The end of the tensor before it, aligned.
        expected: u64,
    },
    /// A tensor ends after the end of the file.
    #[error("tensor `{tensor}` ends at byte {found} of the file, expected at most {length}")]
    Beyond {
        /// Name of the tensor that exceeds the file.
        tensor: String,
        /// The byte after its last.
        found: u64,
        /// The length of the file.
        length: usize,
    },
}
