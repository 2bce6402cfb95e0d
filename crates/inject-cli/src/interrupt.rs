//! Signals that ask the program to stop.
//!
//! A signal sets a flag. The next report of progress, the next block of a pass, or the wait for a download or a pipe, sees it and unwinds to the program's entry,
//! so files are closed, locks are dropped, and no line is left half-written. A second signal ends the program at once, and where nothing is
//! being written so does the first.

use std::{
    any::Any,
    panic,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc::{Receiver, RecvTimeoutError, channel},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use signal_hook::{
    consts::{SIGINT, SIGTERM},
    flag, low_level,
};

use crate::output::note;

/// The time between two looks for a signal.
const LOOK: Duration = Duration::from_millis(100);

static SIGNAL: OnceLock<Arc<AtomicUsize>> = OnceLock::new();
static ADVICE: Mutex<Option<&'static str>> = Mutex::new(None);

/// The payload that unwinds an interrupted run.
struct Interrupted(usize);

/// Begins to listen for SIGINT and SIGTERM.
pub(crate) fn install() {
    let signal = Arc::new(AtomicUsize::new(0));
    let again = Arc::new(AtomicBool::new(false));
    for number in [SIGINT, SIGTERM] {
        // The order matters: the first signal finds `again` unset, and then sets it.
        let listening =
            flag::register_conditional_shutdown(number, status(number as usize).into(), again.clone())
                .and_then(|_| flag::register(number, again.clone()))
                .and_then(|_| flag::register_usize(number, signal.clone(), number as usize));
        if let Err(error) = listening {
            note(&format!("signals end the program at once: {error}"));
        }
    }
    // Writing beyond the limit of a file's size is then an error, and not the end of the program.
    #[cfg(unix)]
    if let Err(error) = flag::register(signal_hook::consts::SIGXFSZ, Arc::default()) {
        note(&format!("a file that grows beyond its limit ends the program: {error}"));
    }
    // The program begins to listen once.
    let _ = SIGNAL.set(signal);
}

/// Says how an interrupted run can be continued.
pub(crate) fn advise(advice: &'static str) {
    *advice_lock() = Some(advice);
}

fn advice_lock() -> MutexGuard<'static, Option<&'static str>> {
    ADVICE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Says how a run can be continued that is interrupted during this part of it.
#[cfg(feature = "hub")]
pub(crate) fn advising<T>(advice: &'static str, part: impl FnOnce() -> T) -> T {
    let before = advice_lock().replace(advice);
    let done = part();
    *advice_lock() = before;
    done
}

/// A part of the work during which a signal ends the program at once, and not only where the work looks for it. It must write no file.
pub(crate) fn at_once<T>(part: impl FnOnce() -> T) -> T {
    check();
    let (running, over) = channel::<()>();
    // Where the system allows no thread, the work sees the signal where it looks for it.
    let watch = thread::Builder::new().spawn(move || {
        while let Err(RecvTimeoutError::Timeout) = over.recv_timeout(LOOK) {
            if let Some(number) = signal() {
                say();
                // The work goes on meanwhile, so what libraries do at an ordinary exit might wait for it.
                low_level::exit(status(number).into());
            }
        }
    });
    let done = part();
    drop(running);
    // Once it has ended, it no longer ends the program.
    let _ = watch.map(JoinHandle::join);
    done
}

/// The signal that asked for an end, if one did.
fn signal() -> Option<usize> {
    SIGNAL.get().map(|signal| signal.load(Ordering::Relaxed)).filter(|&number| number != 0)
}

/// Ends the run if a signal asked for it.
pub(crate) fn check() {
    if let Some(number) = signal() {
        // Unlike `panic!` this does not call the panic hook.
        panic::resume_unwind(Box::new(Interrupted(number)));
    }
}

/// Waits for what another thread sends, and ends the run if a signal asks for it. Returns nothing if the other thread has ended.
pub(crate) fn receive<T>(from: &Receiver<T>) -> Option<T> {
    loop {
        check();
        match from.recv_timeout(LOOK) {
            Ok(sent) => return Some(sent),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return None,
        }
    }
}

/// Reports an interruption to the user. Returns the exit status, or nothing if the payload is that of a panic.
pub(crate) fn report(payload: &(dyn Any + Send)) -> Option<u8> {
    let Interrupted(number) = *payload.downcast_ref()?;
    say();
    Some(status(number))
}

/// Says how the run can be continued.
fn say() {
    let advice = advice_lock().unwrap_or("nothing was kept, and the same command begins again");
    note(&format!("interrupted: {advice}"));
}

/// 128 plus the number of the signal, as in shells.
fn status(number: usize) -> u8 {
    128 + number as u8
}
