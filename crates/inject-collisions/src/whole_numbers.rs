//! Rows of whole numbers: how they are rounded, and what multiplies them.

mod kernel;
mod round;

pub(crate) use self::{
    kernel::{Bytes, Columns, Kernel, LANES, Lanes, Packed, Rows, STRIP, put_row},
    round::{Rounded, round},
};
