//! The page of `wmgen demo --html`: texts beside each other.

use super::score::{coloured, legend, meaning, sentence, shown_p};
use super::{Escaped, page, put, warnings};
use crate::detect::explain::Explanation;

/// One of the texts.
#[derive(Clone, Copy, Debug)]
pub struct Column<'a> {
    /// What stands above it.
    pub heading: &'a str,
    /// The text.
    pub text: &'a str,
    /// What was found in it.
    pub explanation: &'a Explanation,
}

/// A page of texts that continue one prompt: what was done (`intro`), the texts, what to try next (`commands`, a line
/// each).
pub fn comparison(title: &str, intro: &str, prompt: &str, columns: &[Column<'_>], commands: &str) -> String {
    let mut body = String::new();
    put!(body, "<p>{}</p>\n", Escaped(intro));
    if !prompt.is_empty() {
        put!(body, "<p class=\"prompt\">{} …</p>\n", Escaped(prompt));
    }
    body.push_str("<div class=\"columns\">\n");
    for Column { heading, text, explanation } in columns {
        let report = &explanation.report;
        put!(body, "<section>\n<h2>{}</h2>\n", Escaped(heading));
        put!(body, "<p class=\"verdict {}\">{}", report.verdict.name(), report.verdict);
        if report.log10_p.is_some() {
            put!(body, ", p = {}", Escaped(&shown_p(report)));
        }
        put!(
            body,
            "<br><span class=\"small\">{} {} of {} tokens count.</span></p>\n",
            Escaped(&sentence(report)),
            report.scored_tokens,
            report.tokens
        );
        warnings(&mut body, &report.warnings);
        coloured(&mut body, Some(text.as_bytes()), explanation);
        body.push_str("</section>\n");
    }
    body.push_str("</div>\n");
    // The column whose legend has most to say: underlined passages are explained where there are some.
    if let Some(column) = columns.iter().max_by_key(|column| column.explanation.report.spans.len()) {
        legend(&mut body, column.explanation);
    }
    if !commands.is_empty() {
        put!(body, "<h2>Try next</h2>\n<pre>{}</pre>\n", Escaped(commands));
    }
    meaning(&mut body);
    page(title, &body)
}
