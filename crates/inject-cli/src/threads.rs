//! The threads of the program, as many as the system allows.

use std::{num::NonZeroUsize, sync::mpsc::channel, thread};

use rayon::ThreadPoolBuilder;

use crate::{number::counted, output::note};

/// Starts the threads that compute: one for each processor, or as many as the system allows. If it allows none, the calling thread
/// computes alone. The results do not depend on their number.
pub(crate) fn install() {
    let wanted = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let found = startable(wanted);
    // rayon panics at its first use where it cannot start its threads, and cannot be asked twice.
    let built = match found {
        0 => ThreadPoolBuilder::new().num_threads(1).use_current_thread().build_global(),
        _ if found < wanted => ThreadPoolBuilder::new().num_threads(found).build_global(),
        _ => return,
    };
    if built.is_ok() {
        note(&format!(
            "the system allows {}, and {wanted} were asked for: it takes longer",
            counted(found, "more thread")
        ));
    }
}

/// Returns how many of these threads can exist at once.
fn startable(wanted: usize) -> usize {
    let mut held = Vec::new();
    for _ in 0..wanted {
        // A thread lives until its channel is closed.
        let (send, receive) = channel::<()>();
        match thread::Builder::new().spawn(move || receive.recv()) {
            Ok(thread) => held.push((send, thread)),
            Err(_) => break,
        }
    }
    let found = held.len();
    for (send, thread) in held {
        drop(send);
        let _ = thread.join();
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_threads_are_found_as_are_wanted() {
        assert_eq!([0, 1, 3].map(startable), [0, 1, 3]);
    }
}
