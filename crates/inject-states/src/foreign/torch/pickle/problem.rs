//! The faults of a pickle.

/// The most values that are kept. A tensor takes some twenty.
pub(super) const MOST_VALUES: usize = 1 << 22;

/// The reason why a pickle is not read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PickleProblem {
    /// The pickle names a function or class that is not one of those known.
    #[error(
        "it would run or make `{name}`, which is not among the tensors and containers that are read: save the tensors alone"
    )]
    Global {
        /// Its module and name, as Python would import it.
        name: String,
    },
    /// An opcode that `torch.save` does not write.
    #[error("opcode {code:#04x} at byte {at} is not among those that are read")]
    Opcode {
        /// The byte of the opcode.
        code: u8,
        /// Offset of the opcode in the pickle.
        at: usize,
    },
    /// The pickle ends within an instruction.
    #[error("it ends at byte {at}, within an instruction")]
    CutOff {
        /// The length of the pickle.
        at: usize,
    },
    /// An instruction that does not fit the values before it.
    #[error("the instruction at byte {at} does not fit what stands before it")]
    Malformed {
        /// Offset of the instruction in the pickle.
        at: usize,
    },
    /// More values than any file of states has.
    #[error("it has more than {MOST_VALUES} values")]
    TooManyValues,
    /// A tensor whose values PyTorch changes while it reads them: negated, or conjugated.
    #[error(
        "a tensor is marked `{bit}`, so its values differ from the stored ones: save it after `.resolve_{bit}()`"
    )]
    LazyBit {
        /// The name of the bit in the tensor's metadata.
        bit: &'static str,
    },
    /// Containers within containers, deeper than any program nests states.
    #[error("its containers are nested too deep, or within themselves")]
    Nested,
}
