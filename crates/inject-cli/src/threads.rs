//! The threads of the program: the one that works, and those that compute, as many as the system allows.

use std::{
    env, io,
    num::NonZeroUsize,
    panic,
    sync::mpsc::{Sender, channel},
    thread,
};

use rayon::{ThreadBuilder, ThreadPoolBuilder};

use crate::{number::counted, output::note};

/// The stack of the thread that works: that of a main thread where nothing else is set. The system may allow the main thread less
/// (`ulimit -s`), and to compile the regular expression of a tokenizer takes more than 64 KiB.
const STACK: usize = 8 << 20;

/// Runs the program in a thread with a large stack, or in the calling one if the system allows no other.
pub(crate) fn on_large_stack<T: Send + 'static>(work: fn() -> T) -> T {
    match thread::Builder::new().stack_size(STACK).spawn(work) {
        Ok(thread) => thread.join().unwrap_or_else(|payload| panic::resume_unwind(payload)),
        Err(_) => work(),
    }
}

/// Starts the threads that compute: as many as `RAYON_NUM_THREADS` says, or one for each processor, or as many as the system allows. If
/// it allows none, the calling thread computes alone. The results do not depend on their number.
pub(crate) fn install() {
    let set = env::var("RAYON_NUM_THREADS").ok().and_then(|text| text.parse().ok());
    let wanted = set.or(thread::available_parallelism().ok()).map_or(1, NonZeroUsize::get);
    // rayon panics at its first use where it cannot start its threads, and cannot be asked twice.
    let waiting = start(wanted);
    let found = waiting.len();
    let built = match found {
        0 => ThreadPoolBuilder::new().num_threads(1).use_current_thread().build_global(),
        _ => {
            let mut waiting = waiting.into_iter();
            let give = |worker| match waiting.next().map(|thread| thread.send(worker)) {
                Some(Ok(())) => Ok(()),
                Some(Err(_)) | None => Err(io::ErrorKind::WouldBlock.into()),
            };
            ThreadPoolBuilder::new().num_threads(found).spawn_handler(give).build_global()
        }
    };
    if built.is_ok() && found < wanted {
        note(&format!(
            "the system allows {}, and {wanted} were asked for: it takes longer",
            counted(found, "more thread")
        ));
    }
}

/// Starts up to so many threads, each of which waits for its part of a pool. It ends where none is sent.
fn start(wanted: usize) -> Vec<Sender<ThreadBuilder>> {
    let threads = (0..wanted).map_while(|_| {
        let (send, receive) = channel::<ThreadBuilder>();
        let wait = move || {
            if let Ok(part) = receive.recv() {
                part.run();
            }
        };
        thread::Builder::new().spawn(wait).ok().map(|_| send)
    });
    threads.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_threads_are_started_as_are_wanted_and_those_without_work_end() {
        assert_eq!([0, 1, 3].map(|wanted| start(wanted).len()), [0, 1, 3]);
    }

    #[test]
    fn work_has_the_stack_that_it_is_promised() {
        #[inline(never)]
        fn deep() -> usize {
            let on_stack = [1_u8; STACK / 4 * 3];
            std::hint::black_box(&on_stack).iter().map(|&byte| usize::from(byte)).sum()
        }
        // The thread of a test has 2 MiB.
        assert_eq!(on_large_stack(deep), STACK / 4 * 3);
    }
}
