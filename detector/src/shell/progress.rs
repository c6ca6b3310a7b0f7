//! A line on a terminal that shows the progress of long work.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use crate::counted::counted;

/// Shorter work shows no line.
const BEFORE: Duration = Duration::from_secs(1);
/// Time between two changes of the line.
const BETWEEN: Duration = Duration::from_millis(200);

/// A line on standard error that changes as work goes on. There is no line if standard error is not a terminal.
///
/// It is erased when the value is dropped. [`clear`](Self::clear) it before anything else is printed.
#[derive(Debug)]
pub struct ProgressLine {
    on: bool,
    what: String,
    unit: &'static str,
    start: Instant,
    shown: Option<Instant>,
}

impl ProgressLine {
    /// Makes a line for the work `what`, counted in `unit`, such as "scoring" and "texts".
    pub fn new(what: impl Into<String>, unit: &'static str) -> Self {
        Self { on: io::stderr().is_terminal(), what: what.into(), unit, start: Instant::now(), shown: None }
    }

    /// Shows that `done` of `total` are done, unless it is too early.
    pub fn show(&mut self, done: u64, total: u64) {
        self.put(|this, spent| line(&this.what, this.unit, done, total, spent));
    }

    fn put(&mut self, line: impl FnOnce(&Self, Duration) -> String) {
        if !self.on {
            return;
        }
        let now = Instant::now();
        let (since, wait) = self.shown.map_or((self.start, BEFORE), |shown| (shown, BETWEEN));
        if now.duration_since(since) < wait {
            return;
        }
        self.shown = Some(now);
        let line = line(self, now.duration_since(self.start));
        // The cursor goes to the first column, and the line is erased.
        let _ = write!(io::stderr(), "\r\x1b[2K{line}").and_then(|()| io::stderr().flush());
    }

    /// Shows that `done` are done of an unknown number.
    pub fn count(&mut self, done: u64) {
        self.put(|line, _| format!("{}: {}", line.what, counted(done, line.unit.trim_end_matches('s'))));
    }

    /// Erases the line and restarts its clock.
    pub fn clear(&mut self) {
        if self.shown.take().is_some() {
            let _ = write!(io::stderr(), "\r\x1b[2K").and_then(|()| io::stderr().flush());
        }
        self.start = Instant::now();
    }
}

impl Drop for ProgressLine {
    fn drop(&mut self) {
        self.clear();
    }
}

/// Returns the text of the line after `spent`.
fn line(what: &str, unit: &str, done: u64, total: u64, spent: Duration) -> String {
    let share = if total == 0 { 1.0 } else { done as f64 / total as f64 };
    let done_so_far = format!("{what}: {done} of {total} {unit} ({:.0} %)", (100.0 * share).floor());
    if done == 0 || done >= total {
        return done_so_far;
    }
    format!("{done_so_far}, {} left", about(spent.mul_f64(1.0 / share - 1.0)))
}

/// Returns a time in one unit, such as `about 4 min`.
pub fn about(time: Duration) -> String {
    match time.as_secs_f64().ceil() as u64 {
        seconds @ 0..100 => format!("about {seconds} s"),
        seconds @ 100..6000 => format!("about {} min", seconds.div_ceil(60)),
        seconds => format!("about {} h", seconds.div_ceil(3600)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_says_how_much_is_done_and_how_long_the_rest_takes() {
        let after =
            |done, total, seconds| line("reading", "tokens", done, total, Duration::from_secs(seconds));
        assert_eq!(after(0, 40, 5), "reading: 0 of 40 tokens (0 %)");
        assert_eq!(after(10, 40, 5), "reading: 10 of 40 tokens (25 %), about 15 s left");
        assert_eq!(after(1, 200, 1), "reading: 1 of 200 tokens (0 %), about 4 min left");
        assert_eq!(after(1, 9000, 2), "reading: 1 of 9000 tokens (0 %), about 5 h left");
        assert_eq!(after(40, 40, 5), "reading: 40 of 40 tokens (100 %)");
        assert_eq!(after(0, 0, 5), "reading: 0 of 0 tokens (100 %)");
    }
}
