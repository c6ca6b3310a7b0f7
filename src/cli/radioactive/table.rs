//! The report for people.

use std::fmt::Write as _;

use wmdetect::counted::counted;
use wmdetect::shell::OneLine;
use wmdetect::statistics::PValue;
use wmgen::radioactive::report::{KeyReport, RadioactiveReport, Verdict};

/// Returns the report in a few lines: the verdict first.
pub(super) fn of(report: &RadioactiveReport) -> String {
    let verdict = match report.verdict {
        Verdict::Radioactive => "radioactive",
        Verdict::NotDetected => "not detected",
    };
    let p = |log10: Option<f64>, kind| match log10 {
        Some(log10) => format!("p = {}", PValue { log10, kind }),
        None => "no p".to_owned(),
    };
    let of = match report.keys_tried {
        1 => String::new(),
        keys => format!(", the best of {keys} keys"),
    };
    let mut text = format!(
        "{}: {verdict} ({}{of})\n  {}, {} of answers\n",
        OneLine(&report.student.name),
        p(report.log10_p, report.p_kind),
        counted(report.documents, "document"),
        counted(report.positions, "token"),
    );
    for key in &report.keys {
        key_lines(&mut text, key, &p);
    }
    text
}

fn key_lines(
    text: &mut String,
    key: &KeyReport,
    p: &dyn Fn(Option<f64>, wmdetect::statistics::PKind) -> String,
) {
    let channels = match key.channels {
        1 => String::new(),
        channels => format!(" of {channels} channels"),
    };
    // Writing to a string cannot fail.
    let _ = writeln!(text, "  key {}, {}{channels}: {}", key.key_id, key.scheme, p(key.log10_p, key.p_kind));
    let score = key.score.map_or_else(String::new, |score| format!(", score {score:.4}"));
    let agreeing = counted(key.agreeing, "of them the corpus's token");
    let _ = writeln!(text, "    {} counted{score}; {agreeing}", counted(key.pairs, "pair"));
    let excluded = key.excluded;
    for (number, what) in [
        (excluded.incomplete_context, "without a whole context in the answer"),
        (excluded.repeated_context, "with a context that the student has read before"),
        (excluded.earlier_document, "that repeat an earlier one"),
        (excluded.beyond_pairs, "beyond --pairs"),
    ] {
        if number > 0 {
            let _ = writeln!(text, "    {} {what} not counted", counted(number, "position"));
        }
    }
    let _ = writeln!(
        text,
        "    the corpus itself: {}",
        p(key.corpus_log10_p, wmdetect::statistics::PKind::Exact)
    );
    if let Some(control) = &key.control {
        let _ = writeln!(
            text,
            "    {}: p uniform with p = {:.3} (Kolmogorov-Smirnov), {} at most the rate",
            counted(control.keys, "random key"),
            control.ks_p,
            control.at_most_fpr
        );
    }
}
