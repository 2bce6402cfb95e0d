//! The states of small models of every family, compared with those of transformers.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    time::Instant,
};

use burn::tensor::Device;
use inject_sipit::models::{FloatFormat, panics::message};
use inject_testing::{
    computes_in_f64,
    parity::{CASES, compare_fixture},
};

use super::check;

/// Prints a check for each fixture as soon as it is compared. What fails, fails alone: the others are compared all the same, so a run
/// without a GPU compiles the kernels of all of them.
pub(crate) fn parity(fixtures: &Path, format: FloatFormat, device: &Device) {
    if format == FloatFormat::F64 && !computes_in_f64(device) {
        return check("parity/f64", true, "the device does not compute in f64");
    }
    for case in CASES {
        let begin = Instant::now();
        let compared = catch_unwind(AssertUnwindSafe(|| compare_fixture(fixtures, case, format, device)));
        let (holds, found) = match &compared {
            Ok(comparison) => (comparison.holds(), comparison.to_string()),
            Err(panic) => {
                let text = message(panic.as_ref()).and_then(|text| text.lines().next());
                (false, text.unwrap_or("no reason given").to_owned())
            }
        };
        let (folder, file) = case;
        let found = format!("{found}; {:.1} s", begin.elapsed().as_secs_f64());
        check(&format!("parity/{format}/{folder}/{file}"), holds, &found);
    }
}
