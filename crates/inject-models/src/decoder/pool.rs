//! The threads that compute a pass on the processor.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use rayon::Yield;

use super::Decoder;
use crate::{host, tuning::POOL_MOST_ROWS};

impl Decoder {
    /// Runs the computation of some rows on a thread of rayon's pool, if the weights are in mapped files and the device is the
    /// processor.
    ///
    /// Each product with a mapped matrix divides its work among the threads of the pool. Asked from outside, the pool has to wake its
    /// threads, and then the caller, for every product.
    pub(super) fn on_pool<T: Send>(&self, rows: usize, compute: impl FnOnce() -> T + Send) -> T {
        let device = self.device();
        let in_pool = rayon::current_thread_index().is_some();
        // A gradient, or a GPU, has data of its own for each thread.
        let mapped = self.blocks.iter().any(|block| block.mapped().next().is_some());
        if in_pool || !mapped || device.is_autodiff() || host::is_remote(&device) {
            return compute();
        }
        if rows > POOL_MOST_ROWS {
            return rayon::scope(|_| compute());
        }
        with_a_second_thread(compute)
    }
}

/// Runs a computation in the pool while another of its threads stays awake.
///
/// Several computations do not wait for each other in a circle. The thread that stays awake for one may have another beneath it on its
/// stack, which then waits. But that one was waiting already when the job was stolen, so a part of it had been stolen. The oldest job of
/// a thread is stolen first, and that is the one that stays awake. So each waits only for computations whose job was stolen later.
fn with_a_second_thread<T: Send>(compute: impl FnOnce() -> T + Send) -> T {
    let done = AtomicBool::new(false);
    let compute = || {
        // Set when the computation panics, too.
        let _done = Done(&done);
        compute()
    };
    rayon::join(compute, || stay_awake(&done)).0
}

/// Works for the pool until something is done.
fn stay_awake(done: &AtomicBool) {
    while !done.load(Ordering::Relaxed) {
        if rayon::yield_now() != Some(Yield::Executed) {
            thread::yield_now();
        }
    }
}

/// Reports the end of its scope.
struct Done<'a>(&'a AtomicBool);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use rayon::prelude::*;

    use super::*;

    #[test]
    fn computations_of_many_threads_do_not_wait_for_each_other_for_ever() {
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..500 {
                        let sum = || (0..64_u32).into_par_iter().with_max_len(1).sum::<u32>();
                        assert_eq!(with_a_second_thread(|| sum() + sum()), 4032);
                    }
                });
            }
        });
    }
}
