//! The number formats that files hold.

use clap::ValueEnum;
use inject_sipit::models::FloatFormat;
use serde::Serialize;

/// A number format of states or weights in a file. The computation may be in f64, files are not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum FileFormat {
    /// 32 bits
    F32,
    /// 16 bits, 11 of them significant
    F16,
    /// 16 bits, 8 of them significant
    Bf16,
}

impl From<FileFormat> for FloatFormat {
    fn from(format: FileFormat) -> Self {
        match format {
            FileFormat::F32 => FloatFormat::F32,
            FileFormat::F16 => FloatFormat::F16,
            FileFormat::Bf16 => FloatFormat::Bf16,
        }
    }
}
