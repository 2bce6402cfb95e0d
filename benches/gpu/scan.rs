//! The exhaustive scan: every token at every position, each with its certificate.

use std::time::{Duration, Instant};

use inject_benches::ids;
use inject_sipit::{
    Inverter, Policy, Settings, TargetStates,
    models::{
        Decoder, Progress, Tap,
        host::{Reads, is_remote},
    },
    settings::{Budget, Scan},
};

use super::{Ran, check, print_row};

/// The memory that a batch of candidates may take: far less than a GPU has, and enough for the largest batch of every shape.
const MEMORY: usize = 8 << 30;

/// The rows of the positions of one scan. A scan that is cut off has printed those up to there, and so its rate.
struct Positions {
    label: String,
    of: usize,
    /// The positions that were scanned before, so that the time of these has no compiling and tuning in it.
    warm: usize,
    /// Floating-point operations of the whole vocabulary.
    flop: f64,
    at: u64,
    begin: Instant,
    /// The end of its last batch, after which progress is reported.
    end: Instant,
    /// The share of the vocabulary that was tested at this position.
    tested: f64,
}

impl Positions {
    fn reached(&mut self, progress: Progress<'_>) {
        if progress.done != self.at {
            self.finished();
            (self.at, self.begin) = (progress.done, self.end);
        }
        (self.end, self.tested) = (Instant::now(), progress.part);
    }

    fn finished(&self) {
        let position = self.at as usize + 1;
        let note = if position > self.warm { ", not warmed up" } else { "" };
        let label = format!("{}/position {position} of {}{note}", self.label, self.of);
        print_row(&label, (self.end - self.begin).as_secs_f64(), 1, self.tested * self.flop);
    }
}

/// Inverts the states of a prompt at half depth by testing the whole vocabulary at every position. The same is done before that for at
/// most `warm_up`, because each length of the prefix has kernels of its own to compile and tune.
pub(crate) fn scan(decoder: &Decoder, label: &str, positions: usize, warm_up: Duration) -> Ran {
    let config = decoder.config();
    let tap = Tap::Block(config.n_layers() / 2);
    let prompt = ids(positions, config.vocab_size);
    let target = TargetStates::of_prompt(decoder, tap, &prompt)?;
    let settings = Settings::new().with_scan(Scan::Whole).with_memory_budget(MEMORY);
    let inverter = Inverter::new(decoder, tap, settings.clone())?;
    let nothing = Policy::new();
    let (label, flop) = (format!("scan/{label}/{tap}"), inverter.scan_cost(1).flop);
    let bounded = Inverter::new(decoder, tap, settings.with_budget(Budget::default().with_time(warm_up)))?;
    let (begin, mut warm) = (Instant::now(), 0);
    bounded.invert(&target, &mut bounded.searcher(&nothing), &mut |progress| {
        if progress.part >= 1.0 {
            warm = progress.done as usize + 1;
        }
    })?;
    let seconds = begin.elapsed().as_secs_f64();
    print_row(&format!("{label}/warm-up"), seconds, 1, warm as f64 * flop);
    let text = format!("{warm} of {positions} in {seconds:.1} s");
    check(&format!("{label}: positions warmed up before the timed scan"), warm == positions, &text);

    let (begin, before) = (Instant::now(), Reads::of_this_thread());
    let mut rows =
        Positions { label: label.clone(), of: positions, warm, flop, at: 0, begin, end: begin, tested: 0.0 };
    let inversion =
        inverter.invert(&target, &mut inverter.searcher(&nothing), &mut |progress| rows.reached(progress))?;
    let (seconds, reads) = (begin.elapsed().as_secs_f64(), Reads::of_this_thread() - before);
    rows.finished();

    let note = if warm < positions { format!(", {} not warmed up", positions - warm) } else { String::new() };
    let label = format!("{label}/{positions}{note}");
    print_row(&label, seconds, 1, inverter.scan_cost(positions).flop);
    let (recovered, certain) = (inversion.token_ids() == prompt, inversion.is_certain());
    let verdict = format!("noise {:.1e}; {}", inverter.noise().relative(), verdicts(&inversion));
    check(&format!("{label}: the prompt"), recovered, &verdict);
    check(&format!("{label}: all positions certain"), certain, &verdict);
    if !is_remote(&decoder.device()) {
        return Ok(());
    }
    let batches = inversion.cost.stages().get("scan").map_or(0.0, |scan| scan.batches);
    let (each, bytes) = (reads.count as f64 / batches, reads.bytes as f64 / batches);
    // The distances of 4,096 candidates and the states of a few tens of them.
    let few = each <= 3.0 && bytes <= (4 * 4096 + 100 * 4 * config.d_model) as f64;
    let text = format!("{each:.2} reads and {:.1} kB a batch, {batches} batches", bytes / 1e3);
    check(&format!("{label}: reads"), few, &text);
    Ok(())
}

fn verdicts(inversion: &inject_sipit::Inversion) -> String {
    let least =
        inversion.positions.iter().filter_map(|position| Some(position.margin()? / position.noise_floor()?));
    let certain = inversion
        .positions
        .iter()
        .filter(|position| position.verdict == inject_sipit::Verdict::Certain)
        .count();
    let least = least.fold(f64::INFINITY, f64::min);
    format!("{certain} of {} certain; the least margin is {least:.1} noise floors", inversion.positions.len())
}
