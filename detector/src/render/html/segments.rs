//! The page of `wmdetect segments --html`.

use super::super::words::{changed, one_in};
use super::{Escaped, fact, page, put, warnings};
use crate::report::{Failure, Row, SegmentsReport, Span};
use crate::statistics::PValue;

/// What a page says of one input.
#[derive(Clone, Debug)]
pub enum Segmented {
    /// A text, as bytes if it is to be shown, and the passages that were found in it.
    Text {
        /// Where it came from.
        input: String,
        /// The input's bytes; `None` if it was token ids or is too long to be shown.
        bytes: Option<Vec<u8>>,
        /// The passages.
        report: Box<SegmentsReport>,
    },
    /// It could not be read.
    Failed(Row<Failure>),
}

/// Returns one page for all texts of a call.
pub fn segments(texts: &[Segmented]) -> String {
    let mut body = String::new();
    for text in texts {
        body.push_str("<section>\n");
        match text {
            Segmented::Text { input, bytes, report } => one(&mut body, input, bytes.as_deref(), report),
            Segmented::Failed(Row { input, report, .. }) => {
                put!(body, "<h2>{}</h2>\n", Escaped(input));
                put!(body, "<p class=\"verdict bad\">Could not be read: {}</p>\n", Escaped(&report.error));
            }
        }
        body.push_str("</section>\n");
    }
    body.push_str(
        "<section>\n<h2>What this means, and what it does not</h2>\n\
         <p>Each passage meets text that was written with the key's mark, or there is a coincidence, as in at \
         most the stated share of unmarked texts. Where a passage begins and ends is an estimate.</p>\n\
         <p>Text outside the passages may be a machine's, too: a passage that is short, that was rewritten, or that left the \
         model little choice is not found.</p>\n</section>\n",
    );
    page("Marked passages", &body)
}

fn one(body: &mut String, input: &str, bytes: Option<&[u8]>, report: &SegmentsReport) {
    put!(body, "<h2>{}</h2>\n", Escaped(input));
    let (class, found) = match report.segments.len() {
        0 => ("not_detected", "No marked passage was found.".to_owned()),
        1 => ("watermarked", "1 marked passage was found.".to_owned()),
        n => ("watermarked", format!("{n} marked passages were found.")),
    };
    put!(body, "<p class=\"verdict {class}\">{found}</p>\n");
    warnings(body, &report.warnings);
    body.push_str("<table class=\"facts\">\n");
    let alarms = format!("one in {} unmarked texts has any passage", one_in(report.fpr.log10()));
    fact(body, "false alarms", &alarms);
    fact(body, "keys tried", &report.keys_tried.to_string());
    fact(body, "tokens", &format!("{}, of which {} count", report.tokens, report.scored_tokens));
    if let Some(tokenizer) = &report.tokenizer {
        fact(body, "tokenizer", tokenizer);
    }
    if let Some(changed) = changed(report.normalisation, report.forms_tried) {
        fact(body, "changed before scoring", &changed);
    }
    body.push_str("</table>\n");
    if !report.segments.is_empty() {
        table(body, report);
    }
    match bytes {
        Some(bytes) => underlined(body, bytes, &report.segments),
        None if report.tokenizer.is_some() => {
            body.push_str("<p class=\"small\">The text is too long to be shown.</p>\n");
        }
        None => {}
    }
}

fn table(body: &mut String, report: &SegmentsReport) {
    body.push_str(
        "<div class=\"wide\"><table>\n<tr><th>bytes</th><th>tokens</th><th class=\"n\">p</th><th>key</th></tr>\n",
    );
    let range = |[start, end]: [u64; 2]| format!("{start} to {end}");
    for span in &report.segments {
        put!(
            body,
            "<tr><td>{}</td><td>{}</td><td class=\"n\">{}</td><td>{}</td></tr>\n",
            span.bytes.map(range).unwrap_or_default(),
            range(span.tokens),
            PValue { log10: span.log10_p, kind: report.p_kind },
            Escaped(&span.key_id)
        );
    }
    body.push_str("</table></div>\n");
}

/// Writes the text with the passages underlined. Those of several keys may overlap.
fn underlined(body: &mut String, bytes: &[u8], spans: &[Span]) {
    show(body, bytes, spans.iter().filter_map(|span| span.bytes).collect());
}

/// Writes a text with these stretches of its bytes underlined, which may overlap.
pub(super) fn show(body: &mut String, bytes: &[u8], ranges: Vec<[u64; 2]>) {
    let mut ranges: Vec<[usize; 2]> =
        ranges.into_iter().map(|range| range.map(|byte| byte as usize)).collect();
    ranges.sort_unstable();
    let mut at = 0;
    body.push_str("<div class=\"text\" dir=\"auto\">");
    for [start, end] in ranges {
        let (start, end) = (start.clamp(at, bytes.len()), end.min(bytes.len()));
        if end > start {
            piece(body, &bytes[at..start], "");
            piece(body, &bytes[start..end], " class=\"s\"");
            at = end;
        }
    }
    piece(body, &bytes[at..], "");
    body.push_str("</div>\n");
}

fn piece(body: &mut String, bytes: &[u8], class: &str) {
    if !bytes.is_empty() {
        put!(body, "<span{class}>{}</span>", Escaped(&String::from_utf8_lossy(bytes)));
    }
}
