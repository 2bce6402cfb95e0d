//! Progress for the user: a bar on a terminal, a plain line now and then elsewhere.

use std::{
    io::{IsTerminal, stderr},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};
use inject_sipit::models::{Progress, Unit};

use crate::{
    interrupt, number,
    output::{note, shown},
};

/// The time between two plain lines.
const EVERY: Duration = Duration::from_secs(10);

/// Shows the reports of long computations on standard error, and ends them when a signal asks for it.
pub(crate) struct Meter {
    display: Display,
    /// The text that each line begins with, if any.
    about: String,
    task: Option<Task>,
}

enum Display {
    Bar(ProgressBar),
    Lines { last: Instant },
}

/// The piece of work that is reported on.
struct Task {
    name: String,
    begin: Instant,
    /// The fraction that was finished when the first report came: an earlier run did that.
    first: f64,
}

impl Meter {
    /// A display that shows nothing yet.
    pub(crate) fn new() -> Self {
        let display = if stderr().is_terminal() {
            let bar = ProgressBar::new(1000);
            let style = ProgressStyle::with_template("{bar:30} {msg}");
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            Display::Bar(bar)
        } else {
            Display::Lines { last: Instant::now() }
        };
        Meter { display, about: String::new(), task: None }
    }

    /// Puts a name before everything shown from now on.
    pub(crate) fn about(&mut self, name: impl Into<String>) {
        self.about = name.into();
    }

    /// Shows a report: at once on a terminal, every ten seconds elsewhere.
    pub(crate) fn show(&mut self, progress: Progress<'_>) {
        interrupt::check();
        let fraction = progress.fraction();
        if self.task.as_ref().is_none_or(|task| task.name != progress.task) {
            let name = progress.task.to_owned();
            self.task = Some(Task { name, begin: Instant::now(), first: fraction });
        }
        let line = self.line(progress);
        match &mut self.display {
            Display::Bar(bar) => {
                bar.set_position((1000.0 * fraction) as u64);
                bar.set_message(shown(&line).into_owned());
            }
            Display::Lines { last } if last.elapsed() >= EVERY => {
                *last = Instant::now();
                note(&line);
            }
            Display::Lines { .. } => {}
        }
    }

    /// Writes a line without disturbing the bar.
    pub(crate) fn suspend(&self, write: impl FnOnce()) {
        match &self.display {
            Display::Bar(bar) => bar.suspend(write),
            Display::Lines { .. } => write(),
        }
    }

    fn line(&self, progress: Progress<'_>) -> String {
        let names = [self.about.as_str(), progress.task].map(str::trim);
        let name = names.into_iter().filter(|name| !name.is_empty()).collect::<Vec<_>>().join(", ");
        let left = self
            .task
            .as_ref()
            .and_then(|task| seconds_left(task.begin.elapsed(), task.first, progress.fraction()));
        let left = left.map_or_else(String::new, |left| format!(", about {} left", whole_seconds(left)));
        format!("{name}: {}{left}", amount(progress))
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        if let Display::Bar(bar) = &self.display {
            bar.finish_and_clear();
        }
    }
}

/// The time to the end of a task that began at the fraction `first`, at the pace so far; nothing before enough is done to estimate it.
fn seconds_left(elapsed: Duration, first: f64, fraction: f64) -> Option<f64> {
    const ENOUGH: f64 = 0.02;
    let (seconds, done) = (elapsed.as_secs_f64(), fraction - first);
    (done >= ENOUGH && seconds >= 1.0 && fraction < 1.0).then(|| (seconds * (1.0 - fraction) / done).ceil())
}

/// An estimate of a time, without decimals.
fn whole_seconds(left: f64) -> String {
    if left < 10.0 { format!("{left:.0} s") } else { number::seconds(left) }
}

/// Finished and all units of a report.
fn amount(progress: Progress<'_>) -> String {
    let Progress { done, total, .. } = progress;
    let noun = match progress.unit {
        Unit::Bytes => return format!("{} of {}", number::bytes(done), number::bytes(total)),
        Unit::Prompts => "prompts",
        Unit::Positions => "positions",
        Unit::Tokens => "tokens",
        Unit::Pairs => "pairs",
        Unit::Taps => "taps",
        Unit::Steps => "steps",
        _ => "parts",
    };
    format!("{} of {} {noun}", number::count(done), number::count(total))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_what_is_done_of_how_much() {
        let mut meter = Meter::new();
        meter.about("block-3");
        let line = meter.line(Progress::new("recover", Unit::Positions, 3, 1200));
        assert_eq!(line, "block-3, recover: 3 of 1,200 positions");
        assert_eq!([4.0, 12.0, 200.0].map(whole_seconds), ["4 s", "12 s", "3 min 20 s"]);
        assert_eq!(amount(Progress::new("a", Unit::Bytes, 0, 2_500_000)), "0 B of 2.5 MB");
    }

    #[test]
    fn what_an_earlier_run_did_does_not_make_this_one_look_faster() {
        let after = Duration::from_secs(10);
        assert_eq!(seconds_left(after, 0.5, 0.75), Some(10.0), "a quarter in ten seconds");
        assert_eq!(seconds_left(after, 0.5, 0.51), None);
    }
}
