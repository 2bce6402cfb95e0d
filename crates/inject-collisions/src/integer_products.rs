//! Products of rows of integers: the rounding of rows, and the kernels that multiply them.
//!
//! A sum of products of 16-bit integers is exact in 32 bits as long as it does not overflow, so every kernel returns the same
//! bits. [`Kernel::Vnni`] uses the AVX-512 VNNI instructions, and [`Kernel::Portable`] is plain Rust.

mod kernel;
mod portable;
mod round;
#[cfg(target_arch = "x86_64")]
mod vnni;

pub(crate) use self::{
    kernel::{Bytes, ColumnGroups, Kernel, LANES, Packed, RowStrip, STRIP, Words, put_row},
    round::{Rounded, round},
};
