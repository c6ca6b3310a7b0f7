//! The output of `wmdetect attack`: a table of the marked texts and a table of the human texts.

use std::fmt::Write as _;

use super::end;
use crate::counted::counted;
use crate::one_line::OneLine;
use crate::report::{AttackReport, AttackRow, Found, Summary};
use crate::statistics::PValue;

/// Returns the tables of an attack.
pub fn attack(report: &AttackReport) -> String {
    let key = match (&report.key_id, report.keys_tried) {
        (Some(id), _) => format!("key {id}"),
        (None, keys) => format!("the best of {}", counted(keys.unwrap_or_default(), "key")),
    };
    let mut text = format!("{key}, {}, {}", report.scheme, report.detector.name().replace('_', " "));
    if let Some(tokenizer) = &report.tokenizer {
        let _ = write!(text, "; tokenizer {}", OneLine(tokenizer));
    }
    let _ = write!(text, "; seed {}", report.seed);
    if let (judged, Some(of)) = (report.judged, report.judged_of) {
        let _ = write!(text, "\n  interrupted: {judged} of {of} results");
    }
    let together = match &report.cluster {
        Some(field) => format!(", texts with the same {:?} taken together", OneLine(field).to_string()),
        None => String::new(),
    };
    let _ = write!(
        text,
        "\n\nmarked: share of {} found, with its 95 % interval{together}\n",
        counted(report.texts, "text")
    );
    table(&mut text, report, |row| &row.marked);
    let _ = write!(
        text,
        "\nhuman: share of {} taken for marked, with its 95 % interval\n",
        counted(report.human_texts, "text")
    );
    table(&mut text, report, |row| &row.human);
    end(&mut text, &report.warnings);
    text
}

/// Writes a line for each row that has a text, under the names of the columns.
fn table(text: &mut String, report: &AttackReport, side: impl Fn(&AttackRow) -> &Summary) {
    let mut lines =
        vec![["edit", "tokens", "texts", "errors", "words kept", "median p"].map(String::from).to_vec()];
    lines[0].extend(report.fprs.iter().map(|fpr| format!("at {fpr:?}")));
    for row in &report.rows {
        let summary = side(row);
        if summary.texts + summary.errors == 0 {
            continue;
        }
        let p = |log10| PValue { log10, kind: report.p_kind }.to_string();
        let mut line = vec![
            OneLine(&row.label()).to_string(),
            row.length.to_string(),
            summary.texts.to_string(),
            summary.errors.to_string(),
            summary.words_kept.map_or_else(|| "–".into(), |kept| format!("{:.0} %", 100.0 * kept)),
            summary.median_log10_p.map_or_else(|| "–".into(), p),
        ];
        line.extend(summary.found.iter().map(share));
        lines.push(line);
    }
    if lines.iter().skip(1).all(|line| line[3] == "0") {
        for line in &mut lines {
            line.remove(3);
        }
    }
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..lines[0].len()).map(width).collect();
    for line in &lines {
        let _ = write!(text, "  {:<1$}", line[0], widths[0]);
        for (cell, width) in line.iter().zip(&widths).skip(1) {
            let _ = write!(text, "  {cell:>width$}");
        }
        text.push('\n');
    }
}

fn share(found: &Found) -> String {
    match (found.share, found.interval) {
        (Some(share), Some([low, high])) => {
            format!("{:.1} % ({:.1}–{:.1})", 100.0 * share, 100.0 * low, 100.0 * high)
        }
        _ => "–".into(),
    }
}
