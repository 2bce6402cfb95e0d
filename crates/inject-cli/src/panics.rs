//! Panics of the libraries, without noise.
//!
//! A panic that is caught prints nothing. A panic that is not caught ends the program with one line and status 101.

use std::{
    any::Any,
    backtrace::{Backtrace, BacktraceStatus},
    panic::{self, UnwindSafe},
    sync::{Mutex, PoisonError},
};

use inject_sipit::models::panics::message;

use crate::output::note;

/// The latest panic: where it was, and the trace that `RUST_BACKTRACE` asks for.
static LATEST: Mutex<Option<(String, Backtrace)>> = Mutex::new(None);

/// Makes panics silent until they reach [`contained`].
pub(crate) fn install() {
    panic::set_hook(Box::new(|panic| {
        let place =
            panic.location().map_or_else(String::new, |at| format!(" at {}:{}", at.file(), at.line()));
        *LATEST.lock().unwrap_or_else(PoisonError::into_inner) = Some((place, Backtrace::capture()));
    }));
}

/// Runs the program. Returns the payload of a panic that is not caught.
pub(crate) fn contained<T>(run: impl FnOnce() -> T + UnwindSafe) -> Result<T, Box<dyn Any + Send>> {
    panic::catch_unwind(run)
}

/// Reports a panic that was not caught.
pub(crate) fn report(payload: &(dyn Any + Send)) {
    let text = message(payload).unwrap_or("no reason given");
    let latest = LATEST.lock().unwrap_or_else(PoisonError::into_inner).take();
    let (place, trace) = latest.unwrap_or_else(|| (String::new(), Backtrace::disabled()));
    note(&format!("error: the program has a defect: {}{place}", text.replace('\n', " ")));
    if trace.status() == BacktraceStatus::Captured {
        note(&trace.to_string());
    }
}
