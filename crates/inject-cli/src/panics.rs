//! Panics of the libraries, without noise.
//!
//! A panic that somebody contains prints nothing. One that nobody contains ends the program with one line and status 101.

use std::{
    any::Any,
    backtrace::{Backtrace, BacktraceStatus},
    panic::{self, UnwindSafe},
    sync::{Mutex, PoisonError},
};

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

/// Runs the program. An uncontained panic comes back as its payload.
pub(crate) fn contained<T>(run: impl FnOnce() -> T + UnwindSafe) -> Result<T, Box<dyn Any + Send>> {
    panic::catch_unwind(run)
}

/// Tells the user about a panic that nobody contained.
pub(crate) fn report(payload: &(dyn Any + Send)) {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("no reason given");
    let latest = LATEST.lock().unwrap_or_else(PoisonError::into_inner).take();
    let (place, trace) = latest.unwrap_or_else(|| (String::new(), Backtrace::disabled()));
    note(&format!("error: the program has a defect: {}{place}", text.replace('\n', " ")));
    if trace.status() == BacktraceStatus::Captured {
        note(&trace.to_string());
    }
}
