//! Memory over many batches of candidates.

use std::{fs, time::Instant};

use inject_benches::ids;
use inject_sipit::{
    Inverter, Policy, Settings, TargetStates,
    models::{Decoder, Tap, silent},
    settings::Scan,
};

use super::{Ran, check};

/// Growth that counts as none, in bytes a batch: less than the distances of a batch take, so that a leak of any of its tensors shows.
const NONE: f64 = 1024.0;

/// The memory that the process and the device have in use.
#[derive(Clone, Copy)]
struct Used {
    /// Bytes that the device has reserved; 0 if it has no memory of its own.
    device: u64,
    /// Bytes of the process that are in memory.
    process: u64,
}

impl Used {
    fn now(decoder: &Decoder) -> Self {
        Used {
            device: decoder.device().memory_pool_usage().map_or(0, |usage| usage.bytes_reserved),
            process: resident().unwrap_or(0),
        }
    }
}

/// The resident pages of this process, in bytes, on Linux.
fn resident() -> Option<u64> {
    const PAGE: u64 = 4096;
    let pages: u64 = fs::read_to_string("/proc/self/statm").ok()?.split(' ').nth(1)?.parse().ok()?;
    Some(PAGE * pages)
}

/// The batches after which the memory is looked at.
const OFTEN: f64 = 1000.0;

/// The memory at some time.
#[derive(Clone, Copy)]
struct Seen {
    batches: f64,
    used: Used,
}

/// Scans the vocabulary again and again until so many batches were computed, and compares the memory after a fifth of them with that
/// at the end. The same check is printed on the way, so a run that is cut off has the last one.
pub(crate) fn memory(decoder: &Decoder, label: &str, batches: usize) -> Ran {
    let config = decoder.config();
    let tap = Tap::Block(config.n_layers() / 2);
    let target = TargetStates::of_prompt(decoder, tap, &ids(20, config.vocab_size))?;
    let inverter = Inverter::new(decoder, tap, Settings::new().with_scan(Scan::Whole))?;
    let nothing = Policy::new();
    let (begin, batches) = (Instant::now(), batches as f64);
    let (mut done, mut printed, mut early) = (0.0, 0.0, None);
    while done < batches {
        let inversion = inverter.invert(&target, &mut inverter.searcher(&nothing), &mut silent)?;
        done += inversion.cost.stages().values().map(|stage| stage.batches).sum::<f64>();
        let now = || Seen { batches: done, used: Used::now(decoder) };
        if early.is_none() && done >= batches / 5.0 {
            early = Some(now());
        }
        if done >= batches || done - printed >= OFTEN {
            printed = done;
            report(label, early, now(), begin.elapsed().as_secs_f64());
        }
    }
    Ok(())
}

/// Prints whether the memory has not grown, and the time of a batch.
fn report(label: &str, early: Option<Seen>, last: Seen, seconds: f64) {
    let early = early.unwrap_or(last);
    let since = (last.batches - early.batches).max(1.0);
    let grown = |early: u64, last: u64| last.saturating_sub(early) as f64 / since;
    let flat = grown(early.used.device, last.used.device) < NONE
        && grown(early.used.process, last.used.process) < NONE;
    let mb = |bytes: u64| bytes as f64 / 1e6;
    let text = format!(
        "after {} and {} batches: device {:.1} and {:.1} MB, process {:.1} and {:.1} MB; {:.2} ms a batch",
        early.batches,
        last.batches,
        mb(early.used.device),
        mb(last.used.device),
        mb(early.used.process),
        mb(last.used.process),
        1e3 * seconds / last.batches
    );
    check(&format!("memory/{label}"), flat, &text);
}
