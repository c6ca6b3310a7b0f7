//! The report for people.

use std::fmt::Write as _;

use unicode_width::UnicodeWidthStr as _;
use wmdetect::counted::counted;
use wmdetect::shell::OneLine;
use wmgen::compare::report::{CompareReport, Verdicts};
use wmgen::compare::summary::{Share, Wins};

/// Returns the report as lines of text.
pub(super) fn of(report: &CompareReport) -> String {
    let [a, b] = report.models.each_ref().map(|name| OneLine(name).to_string());
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = writeln!(out, "A is {a}, B is {b}. {}", answer(report));
    if report.judge.is_some() {
        let mut rows = vec![
            ["tag", "examples", "A wins", "ties", "B wins", "A's win rate", "95 % interval", "mean score"]
                .map(str::to_owned),
        ];
        rows.push(row("(all)", &report.overall));
        rows.extend(report.tags.iter().map(|tag| row(&OneLine(&tag.tag).to_string(), &tag.wins)));
        put(&mut out, &rows);
    }
    for line in facts(report) {
        let _ = writeln!(out, "{line}");
    }
    out
}

/// Returns the result in a sentence.
pub(super) fn answer(report: &CompareReport) -> String {
    let wins = &report.overall;
    let examples = counted(wins.examples as u64, "example");
    let Some(rate) = wins.win_rate else {
        return format!("{examples}, without ratings.");
    };
    let rated = counted(wins.rated as u64, "rated example");
    let of = if wins.rated == wins.examples { String::new() } else { format!(" (of {})", wins.examples) };
    let ties = counted(wins.ties as u64, "tie");
    format!(
        "Of {rated}{of} A wins {} and B wins {}, with {ties}. A's win rate is {}{}{}.",
        wins.a,
        wins.b,
        percent(rate),
        wins.interval.map_or_else(String::new, within),
        report.p_value.map_or_else(String::new, |p| format!("; p = {}", short(p)))
    )
}

/// Formats an interval, to follow its number.
fn within([low, high]: [f64; 2]) -> String {
    format!(" (95 %: {} to {})", percent(low), percent(high))
}

/// Returns the remaining facts, one a line.
pub(super) fn facts(report: &CompareReport) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(judge) = &report.judge {
        let mut line =
            format!("judge: {}, {}", OneLine(&judge.name), counted(judge.ratings as u64, "rating"));
        if let Some(repeats) = judge.repeats {
            let _ = write!(line, ", {} of each example", counted(repeats as u64, "repeat"));
        }
        for (number, what) in [
            (judge.unread, "replies without a verdict"),
            (judge.too_long, "prompts too long"),
            (judge.refused, "prompts refused"),
        ] {
            if number > 0 {
                let _ = write!(line, ", {number} {what}");
            }
        }
        lines.push(line);
        let position = &report.position;
        if position.first.of > 0 {
            lines.push(format!(
                "position: {} are for the response that was read first; 50 % is unbiased",
                share(&position.first, "preference")
            ));
        }
        if position.consistent.of > 0 {
            lines.push(format!(
                "position: {} have two orders that do not contradict each other",
                share(&position.consistent, "example")
            ));
        }
        if report.longer_wins.of > 0 {
            lines.push(format!(
                "length: {} are won by the longer response",
                share(&report.longer_wins, "won example")
            ));
        }
    }
    if !report.rationales.is_empty() {
        let groups: Vec<String> = report
            .rationales
            .iter()
            .map(|group| format!("{} (A {}, B {})", OneLine(&group.title), group.a, group.b))
            .collect();
        lines.push(format!("reasons: {}", groups.join(", ")));
    }
    if let Some(mark) = &report.watermark {
        let found = |of: &Verdicts| {
            let all = of.watermarked + of.not_detected + of.too_short;
            let short = if of.too_short > 0 {
                format!(", {} too short to tell", of.too_short)
            } else {
                String::new()
            };
            format!("{} of {all}{short}", of.watermarked)
        };
        lines.push(format!(
            "mark of key {}: A {}; B {}; at a rate of {:?}",
            mark.key_id,
            found(&mark.a),
            found(&mark.b),
            mark.fpr
        ));
    }
    lines
}

fn share(share: &Share, what: &str) -> String {
    let of = counted(share.of as u64, what);
    let interval = share.interval.map_or_else(String::new, within);
    format!("{}{interval} of {of}", share.share.map_or_else(|| "-".into(), percent))
}

fn row(name: &str, wins: &Wins) -> [String; 8] {
    let none = || "-".to_owned();
    [
        name.to_owned(),
        wins.examples.to_string(),
        wins.a.to_string(),
        wins.ties.to_string(),
        wins.b.to_string(),
        wins.win_rate.map_or_else(none, percent),
        wins.interval.map_or_else(none, |[low, high]| format!("{} to {}", percent(low), percent(high))),
        wins.mean_score.map_or_else(none, |score| format!("{score:+.2}")),
    ]
}

/// Formats a share as a percentage.
pub(super) fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

/// Formats a p-value with two digits.
pub(super) fn short(p: f64) -> String {
    if p >= 0.01 { format!("{p:.2}") } else { format!("{p:.1e}") }
}

/// Writes rows in columns; the first column holds a word.
fn put(out: &mut String, rows: &[[String; 8]]) {
    let widths: [usize; 8] =
        std::array::from_fn(|column| rows.iter().map(|row| row[column].width()).max().unwrap_or_default());
    for row in rows {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            let space = " ".repeat(widths[column] - cell.width());
            let _ =
                if column == 0 { write!(line, "{cell}{space}  ") } else { write!(line, "{space}{cell}  ") };
        }
        let _ = writeln!(out, "{}", line.trim_end());
    }
}
