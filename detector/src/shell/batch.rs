//! Runs over several texts: their progress and their results.

use std::io::{self, IsTerminal as _};

use super::{ProgressLine, say};
use crate::counted::counted;

/// Number of different mistakes that are remembered; each further one is reported at once.
const MISTAKES: usize = 64;
/// Number of inputs that are named if several share a mistake.
const NAMED: usize = 5;

/// The progress and the results of a run over texts.
#[derive(Debug)]
pub struct Batch {
    /// The noun for one text.
    unit: &'static str,
    /// `None` if results go to the terminal and show the progress themselves.
    line: Option<ProgressLine>,
    /// The texts that were judged, by what was found.
    findings: Vec<(String, u64)>,
    failed: u64,
    mistakes: Vec<Mistake>,
}

/// A mistake that was reported for one input, and the other inputs that share it.
#[derive(Debug)]
struct Mistake {
    /// The input for which it was reported.
    first: String,
    error: String,
    /// The next ones, as many as are named.
    more: Vec<String>,
    /// Number of inputs except the first.
    count: u64,
}

impl Batch {
    /// Starts a run over texts, named for people as in "scoring".
    pub fn new(what: &str) -> Self {
        Self::of(what, ["text", "texts"])
    }

    /// Starts a run as [`new`](Self::new) does, over things with another noun: its singular and its plural.
    pub fn of(what: &str, [unit, units]: [&'static str; 2]) -> Self {
        let line = (!io::stdout().is_terminal()).then(|| ProgressLine::new(what, units));
        Self { line, ..Self::without_progress().counting(unit) }
    }

    /// Sets the noun for one of the things.
    #[must_use]
    pub fn counting(self, unit: &'static str) -> Self {
        Self { unit, ..self }
    }

    /// Starts a run as [`new`](Self::new) does, but without a line of progress.
    pub fn without_progress() -> Self {
        Self { unit: "text", line: None, findings: Vec::new(), failed: 0, mistakes: Vec::new() }
    }

    /// Counts a text that was judged.
    pub fn found(&mut self, finding: &str) {
        match self.findings.iter_mut().find(|(known, _)| known == finding) {
            Some((_, count)) => *count += 1,
            None => self.findings.push((finding.to_owned(), 1)),
        }
        self.show();
    }

    /// Counts an input that failed, and returns the message to write at once. Returns `None` if another input failed in
    /// the same way: this one is then named or counted at the end.
    #[must_use]
    pub fn failed(&mut self, input: &str, error: &str) -> Option<String> {
        self.failed += 1;
        self.show();
        if let Some(known) = self.mistakes.iter_mut().find(|known| alike(&known.error, error)) {
            known.count += 1;
            if known.more.len() < NAMED {
                known.more.push(input.to_owned());
            }
            return None;
        }
        if self.mistakes.len() < MISTAKES {
            let (first, error) = (input.to_owned(), error.to_owned());
            self.mistakes.push(Mistake { first, error, more: Vec::new(), count: 0 });
        }
        Some(format!("error: {input}: {error}"))
    }

    /// Erases the line of progress, so that something else can be written.
    pub fn clear(&mut self) {
        if let Some(line) = &mut self.line {
            line.clear();
        }
    }

    /// Returns how many inputs failed.
    pub fn failures(&self) -> u64 {
        self.failed
    }

    /// Writes the result of the run, if there were several texts. `rate` is the share of unmarked texts in which chance
    /// alone finds something. With `named` it names the inputs that share a mistake, since no row does.
    pub fn finish(mut self, rate: Option<f64>, named: bool) {
        self.clear();
        for line in self.lines(rate, named) {
            say(&line);
        }
    }

    fn show(&mut self) {
        let judged: u64 = self.findings.iter().map(|(_, count)| count).sum();
        if let Some(line) = &mut self.line {
            line.count(judged + self.failed);
        }
    }

    fn lines(&self, rate: Option<f64>, named: bool) -> Vec<String> {
        let mut lines = Vec::new();
        let shared = self.mistakes.iter().filter(|mistake| mistake.count > 0);
        for Mistake { first, error, more, count } in shared.filter(|_| named) {
            let others = count - more.len() as u64;
            let others =
                if others > 0 { format!(" and {}", counted(others, "other")) } else { String::new() };
            // Numbers in the message, such as a column, are those of the first input.
            lines.push(format!("error: {}{others}: as {first}: {error}", more.join(", ")));
        }
        let judged: u64 = self.findings.iter().map(|(_, count)| count).sum();
        // Without a rate nothing is found, and the user need not hear that all were read.
        if judged + self.failed < 2 || rate.is_none() && self.failed == 0 {
            return lines;
        }
        let mut parts: Vec<String> =
            self.findings.iter().map(|(finding, count)| format!("{count} {finding}")).collect();
        parts.sort();
        if self.failed > 0 {
            parts.push(format!("{} failed", self.failed));
        }
        let mut summary = format!("{}: {}", counted(judged + self.failed, self.unit), parts.join(", "));
        if let [Mistake { error, count, .. }] = &self.mistakes[..]
            && count + 1 == self.failed
            && judged == 0
            && !named
        {
            summary = format!("{summary}, all alike: {error}");
        }
        if let Some(rate) = rate.filter(|_| judged > 0) {
            let hits = two_digits(rate * judged as f64);
            summary = format!(
                "{summary}; chance alone finds up to {hits} on average in {judged} unmarked texts at the rate {rate:?}"
            );
        }
        lines.push(summary);
        lines
    }
}

/// Returns whether two errors are the same except for numbers, such as the column of a syntax error.
fn alike(a: &str, b: &str) -> bool {
    let words = |text: &str| {
        text.split(|c: char| c.is_ascii_digit()).filter(|part| !part.is_empty()).collect::<String>()
    };
    a == b || words(a) == words(b)
}

/// Returns a number rounded to two digits, or to a whole one.
fn two_digits(number: f64) -> String {
    if number >= 10.0 || number <= 0.0 {
        return format!("{number:.0}");
    }
    let decimals = (1.0 - number.log10().floor()).clamp(0.0, 300.0) as usize;
    let digits = format!("{number:.decimals$}");
    digits.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_text_and_nothing_found_or_failed_have_no_summary() {
        let mut one = Batch::without_progress();
        one.found("watermarked");
        assert_eq!(one.lines(Some(0.001), true), Vec::<String>::new());
        one.found("read");
        assert_eq!(one.lines(None, true), Vec::<String>::new());
        let mut one = Batch::without_progress();
        assert_eq!(one.failed("a", "cannot read it").unwrap(), "error: a: cannot read it");
        assert_eq!(one.lines(Some(0.001), true), Vec::<String>::new());
    }

    #[test]
    fn a_mistake_that_inputs_share_is_said_once_and_names_them() {
        let mut run = Batch::without_progress();
        run.found("not_detected");
        run.found("watermarked");
        let said: Vec<_> =
            (1..=9).filter_map(|n| run.failed(&format!("t:{n}"), &format!("not JSON: column {n}"))).collect();
        assert_eq!(said, ["error: t:1: not JSON: column 1"]);
        assert!(run.failed("b", "no such file").is_some());
        assert_eq!(
            run.lines(Some(0.001), true),
            [
                "error: t:2, t:3, t:4, t:5, t:6 and 3 others: as t:1: not JSON: column 1",
                "12 texts: 1 not_detected, 1 watermarked, 10 failed; chance alone finds up to 0.002 on average in 2 \
                 unmarked texts at the rate 0.001",
            ]
        );
        assert_eq!(run.lines(None, false), ["12 texts: 1 not_detected, 1 watermarked, 10 failed"]);
    }

    #[test]
    fn where_all_fail_alike_the_summary_says_why() {
        let mut run = Batch::without_progress();
        for n in 0..3 {
            let _ = run.failed(&format!("t:{n}"), "no field \"text\"");
        }
        assert_eq!(run.lines(Some(0.001), false), ["3 texts: 3 failed, all alike: no field \"text\""]);
    }

    #[test]
    fn expected_numbers_have_two_digits() {
        let shown = [0.002, 0.7, 1.0, 9.96, 99.97, 1234.5, 0.0].map(two_digits);
        assert_eq!(shown, ["0.002", "0.7", "1", "10", "100", "1234", "0"]);
    }
}
