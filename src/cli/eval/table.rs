//! The report for people.

use std::fmt::Write as _;

use unicode_width::UnicodeWidthStr as _;
use wmdetect::counted::counted;
use wmdetect::shell::OneLine;
use wmgen::eval::Kind;
use wmgen::eval::report::{Compared, EvalReport, TaskReport};

/// Returns the tables.
pub(super) fn of(report: &EvalReport) -> String {
    let mut out = String::new();
    let measured: Vec<&TaskReport> =
        report.tasks.iter().filter(|task| task.comparison.is_none()).flat_map(with_groups).collect();
    if !measured.is_empty() {
        let mut rows = vec![row(["task", "filter", "shots", "metric", "value", "stderr", "documents"])];
        for task in measured {
            for metric in &task.metrics {
                // Tasks without questions have no shots.
                let none = task.shots == 0 && matches!(task.kind, Kind::Perplexity | Kind::FreeText);
                let shots = if none { "-".into() } else { task.shots.to_string() };
                rows.push(vec![
                    OneLine(&task.task).to_string(),
                    metric.filter.clone().unwrap_or_else(|| "none".into()),
                    shots,
                    metric.metric.into(),
                    number(metric.value),
                    number(metric.stderr),
                    metric.documents.to_string(),
                ]);
            }
        }
        put(&mut out, &rows, 4);
    }
    for task in report.tasks.iter().flat_map(with_groups) {
        let Some(comparison) = &task.comparison else { continue };
        let keys = task.watermark.as_ref().map_or(0, |mark| mark.key_ids.len() as u64);
        let runs = comparison.runs.len() as u64;
        let _ = writeln!(
            out,
            "{}: marked and unmarked, {}, {}",
            OneLine(&task.task),
            counted(keys, "key"),
            counted(runs, "run")
        );
        let mut rows = vec![row([
            "metric",
            "unmarked",
            "marked",
            "difference",
            "95 % interval",
            "margin",
            "p",
            "documents",
            "verdict",
        ])];
        rows.extend(comparison.metrics.iter().map(compared));
        put(&mut out, &rows, 1);
    }
    out
}

fn with_groups(task: &TaskReport) -> impl Iterator<Item = &TaskReport> {
    std::iter::once(task).chain(&task.groups)
}

fn row<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.map(str::to_owned).to_vec()
}

fn number(number: Option<f64>) -> String {
    number.map_or_else(|| "-".into(), |number| format!("{number:.4}"))
}

fn compared(metric: &Compared) -> Vec<String> {
    let name = match &metric.filter {
        Some(filter) => format!("{}, {filter}", metric.metric),
        None => metric.metric.into(),
    };
    let Some(found) = &metric.difference else {
        let mut cells = vec!["-".to_owned(); 9];
        cells[0] = name;
        return cells;
    };
    let verdict = match (found.equivalent, found.different) {
        (true, true) => "equivalent, though different",
        (true, false) => "equivalent",
        (false, true) => "different",
        (false, false) => "undecided",
    };
    vec![
        name,
        number(Some(found.unmarked)),
        number(Some(found.marked)),
        format!("{:+.4}", found.difference),
        format!("{:+.4} to {:+.4}", found.interval[0], found.interval[1]),
        number(Some(found.margin)),
        format!("{:.4}", found.p_equivalence),
        found.documents.to_string(),
        verdict.into(),
    ]
}

/// Writes rows in columns. The first `left` columns hold words; if `left` is 1, so does the last column.
fn put(out: &mut String, rows: &[Vec<String>], left: usize) {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |column: usize| rows.iter().map(|row| row[column].width()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    for row in rows {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            let space = " ".repeat(widths[column] - cell.width());
            let words = column < left || (left == 1 && column + 1 == columns);
            let _ = if words { write!(line, "{cell}{space}  ") } else { write!(line, "{space}{cell}  ") };
        }
        let _ = writeln!(out, "{}", line.trim_end());
    }
}
