//! The page of `wmgen demo --html`: texts side by side.

use std::fmt::Write as _;

use wmdetect::render::html::parts::{Escaped, coloured, legend, meaning, page, shown_p, warnings};
use wmdetect::render::html::sentence;
use wmdetect::report::Explanation;

/// One of the texts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Column<'a> {
    /// Heading above the text.
    pub heading: &'a str,
    /// The text.
    pub text: &'a str,
    /// The detector's explanation of the text.
    pub explanation: &'a Explanation,
}

/// Returns a page of texts that continue one prompt. `intro` says what was done, and `commands` what to try next, one
/// a line.
pub(super) fn comparison(
    title: &str,
    intro: &str,
    prompt: &str,
    columns: &[Column<'_>],
    commands: &str,
) -> String {
    let mut body = String::new();
    // Writing to a string cannot fail.
    let _ = writeln!(body, "<p>{}</p>", Escaped(intro));
    if !prompt.is_empty() {
        let _ = writeln!(body, "<p class=\"prompt\">{} …</p>", Escaped(prompt));
    }
    body.push_str("<div class=\"columns\">\n");
    for Column { heading, text, explanation } in columns {
        let report = &explanation.report;
        let _ = writeln!(body, "<section>\n<h2>{}</h2>", Escaped(heading));
        let _ = write!(body, "<p class=\"verdict {}\">{}", report.verdict.name(), report.verdict);
        if report.log10_p.is_some() {
            let _ = write!(body, ", p = {}", Escaped(&shown_p(report)));
        }
        let _ = writeln!(
            body,
            "<br><span class=\"small\">{} {} of {} tokens count.</span></p>",
            Escaped(&sentence(report)),
            report.scored_tokens,
            report.tokens
        );
        warnings(&mut body, &report.warnings);
        coloured(&mut body, Some(text.as_bytes()), explanation);
        body.push_str("</section>\n");
    }
    body.push_str("</div>\n");
    // Take the column whose legend says most: the legend explains underlined passages where there are some.
    if let Some(column) = columns.iter().max_by_key(|column| column.explanation.report.spans.len()) {
        legend(&mut body, column.explanation);
    }
    if !commands.is_empty() {
        let _ = writeln!(body, "<h2>Try next</h2>\n<pre>{}</pre>", Escaped(commands));
    }
    meaning(&mut body);
    page(title, &body)
}
