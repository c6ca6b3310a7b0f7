//! The page of `wmgen compare --html`. All of it can be read without the script. The script filters, sorts, searches and shows
//! differences.

mod charts;
mod examples;

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};
use wmdetect::render::html::parts::{Escaped, Page};
use wmdetect::report::Explanation;
use wmgen::compare::rationales::Reason;
use wmgen::compare::report::CompareReport;
use wmgen::compare::summary::Rated;

use super::table;

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// Returns the page.
pub(super) fn of(
    report: &CompareReport,
    all: &[Rated],
    reasons: &[Vec<Reason>],
    marks: &[[Explanation; 2]],
) -> String {
    let [a, b] = &report.models;
    let mut body = String::new();
    // Writing to a string cannot fail.
    let _ = writeln!(
        body,
        "<p class=\"models\"><span class=\"model a\">A</span> {} <span class=\"model b\">B</span> {}</p>",
        Escaped(a),
        Escaped(b)
    );
    let _ = writeln!(body, "<p class=\"verdict\">{}</p>", Escaped(&table::answer(report)));
    if !report.warnings.is_empty() {
        body.push_str("<ul class=\"warnings\">\n");
        for warning in &report.warnings {
            let _ = writeln!(body, "<li>{}</li>", Escaped(warning));
        }
        body.push_str("</ul>\n");
    }
    body.push_str("<div class=\"columns charts\">\n");
    charts::scores(&mut body, all);
    charts::marks(&mut body, marks);
    charts::lengths(&mut body, all);
    body.push_str("</div>\n");
    charts::wins(&mut body, report);
    charts::reasons(&mut body, &report.rationales);
    let facts = table::facts(report);
    if !facts.is_empty() {
        body.push_str("<ul class=\"small\">\n");
        for fact in facts.iter().filter(|fact| !fact.starts_with("reasons:")) {
            let _ = writeln!(body, "<li>{}</li>", Escaped(fact));
        }
        body.push_str("</ul>\n");
    }
    examples::all(&mut body, report, all, reasons, marks);
    meaning(&mut body, report);
    let script_sha256 = STANDARD.encode(Sha256::digest(format!("\n{SCRIPT}")));
    let title = format!("{a} and {b}, side by side");
    Page { title: &title, body: &body, style: STYLE, script: SCRIPT, script_sha256: &script_sha256 }.html()
}

/// Writes what the numbers mean, and what they do not mean.
fn meaning(body: &mut String, report: &CompareReport) {
    if report.judge.is_none() && report.watermark.is_none() {
        return;
    }
    body.push_str("<section>\n<h2>What this means, and what it does not</h2>\n");
    if report.judge.is_some() {
        body.push_str(
            "<p>The score of an example is the mean of its ratings, from 1.5 (A is much better) to −1.5. Above 0.25 A has won it, \
             below −0.25 B has. A win rate counts ties as half. Its interval treats prompts as a sample, and so does p, the \
             probability of a sum of scores as far from 0 if it made no difference which model is which.</p>\n\
             <p>All of it is about this judge's taste. Judges prefer the response that they read first and the longer one more often \
             than they should. Half of the ratings have the other order, which takes the first bias out of the win rate; nothing takes \
             out the second. The interval of a tag is not corrected for the number of tags.</p>\n",
        );
    }
    if report.watermark.is_some() {
        body.push_str(
            "<p>The colours show where the evidence of the key's mark lies. Whether a response is marked is decided by the p-value of the \
             whole response alone. Not detected does not mean that a person wrote it.</p>\n",
        );
    }
    body.push_str("</section>\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The script is inside an element, and the content security policy names its hash.
    #[test]
    fn the_script_cannot_end_its_element() {
        assert!(!SCRIPT.contains("</script") && !STYLE.contains("</style"));
        assert!(
            !SCRIPT.contains("innerHTML") && !SCRIPT.contains("eval("),
            "texts are never read as HTML or as a program"
        );
    }
}
