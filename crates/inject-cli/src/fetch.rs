//! Fetching from the Hub, in a thread of its own: a signal ends the program while a server is waited for.

use std::{
    panic,
    sync::{Arc, mpsc::sync_channel},
    thread,
};

use inject_sipit::models::{Progress, Unit};

use crate::{interrupt, progress::Meter};

/// Reports that may wait to be shown.
const REPORTS: usize = 16;

/// A [`Progress`] that can be sent.
struct Report {
    task: String,
    unit: Unit,
    done: u64,
    total: u64,
}

/// Runs a download, and shows its progress. Unwinds if a signal asks for it; the download then ends with the program.
///
/// Where the system allows no thread, the download runs in the calling one, and a signal is seen when something arrives.
pub(crate) fn fetched<T: Send + 'static>(
    download: impl Fn(&mut dyn FnMut(Progress<'_>)) -> T + Send + Sync + 'static,
) -> T {
    let (send, receive) = sync_channel(REPORTS);
    let download = Arc::new(download);
    let theirs = Arc::clone(&download);
    let thread = thread::Builder::new().spawn(move || {
        theirs(&mut |Progress { task, unit, done, total, .. }| {
            if send.send(Report { task: task.to_owned(), unit, done, total }).is_err() {
                // Nobody waits for the file any more.
                panic::resume_unwind(Box::new("interrupted"));
            }
        })
    });
    let mut meter = Meter::new();
    meter.about("download");
    interrupt::advising("what has arrived is kept, and the same command fetches the rest", || {
        let Ok(thread) = thread else { return download(&mut |progress| meter.show(progress)) };
        while let Some(Report { task, unit, done, total }) = interrupt::receive(&receive) {
            meter.show(Progress::new(&task, unit, done, total));
        }
        thread.join().unwrap_or_else(|payload| panic::resume_unwind(payload))
    })
}
