//! The page of `wmdetect score --html`.

use super::super::words::{changed, false_alarms, needed, one_in, passages};
use super::{Escaped, fact, page, put, warnings};
use crate::report::{Explanation, Failure, LEVELS, Report, Row, TokenEvidence};
use crate::statistics::{PKind, PValue};
use crate::verdict::{Strength, Verdict};

/// What a page says of one input.
#[derive(Clone, Debug)]
pub enum Scored {
    /// A text, as bytes if the input was one, and what was found in it.
    Text {
        /// Where it came from.
        input: String,
        /// The input's bytes; `None` if it was token ids.
        bytes: Option<Vec<u8>>,
        /// Report and tokens.
        explanation: Box<Explanation>,
    },
    /// It could not be scored.
    Failed(Row<Failure>),
}

/// Returns one page for all texts of a call.
pub fn score(texts: &[Scored]) -> String {
    let mut body = String::new();
    if texts.len() > 1 {
        contents(&mut body, texts);
    }
    for (i, text) in texts.iter().enumerate() {
        put!(body, "<section id=\"t{i}\">\n");
        match text {
            Scored::Text { input, bytes, explanation } => {
                one(&mut body, input, bytes.as_deref(), explanation);
            }
            Scored::Failed(row) => {
                put!(body, "<h2>{}</h2>\n", Escaped(&row.input));
                put!(
                    body,
                    "<p class=\"verdict bad\">Could not be read: {}</p>\n",
                    Escaped(&row.report.error)
                );
            }
        }
        body.push_str("</section>\n");
    }
    meaning(&mut body);
    page("Watermark report", &body)
}

/// Returns a page for a report whose text is not at hand: the verdict, the warnings and the numbers.
pub fn report(report: &Report) -> String {
    let mut body = String::new();
    verdict(&mut body, report);
    page("Watermark report", &body)
}

fn contents(body: &mut String, texts: &[Scored]) {
    body.push_str(
        "<div class=\"wide\"><table>\n<tr><th>text</th><th>verdict</th><th class=\"n\">p</th></tr>\n",
    );
    for (i, text) in texts.iter().enumerate() {
        let (input, verdict, p) = match text {
            Scored::Text { input, explanation, .. } => {
                let report = &explanation.report;
                (input, report.verdict.to_string(), shown_p(report))
            }
            Scored::Failed(row) => (&row.input, "could not be read".into(), String::new()),
        };
        put!(
            body,
            "<tr><td><a href=\"#t{i}\">{}</a></td><td>{verdict}</td><td class=\"n\">{}</td></tr>\n",
            Escaped(input),
            Escaped(&p)
        );
    }
    body.push_str("</table></div>\n");
    let rate = texts.iter().find_map(|text| match text {
        Scored::Text { explanation, .. } => Some(explanation.report.fpr),
        Scored::Failed(_) => None,
    });
    if let Some(fpr) = rate {
        put!(body, "<p class=\"small\">By chance alone, {}.</p>\n", false_alarms(fpr));
    }
}

/// Returns the p-value of a report that has one.
pub fn shown_p(report: &Report) -> String {
    report.log10_p.map_or_else(String::new, |log10| PValue { log10, kind: report.p_kind }.to_string())
}

/// Returns the verdict in one plain sentence.
pub fn sentence(report: &Report) -> String {
    let key = match report.keys_tried {
        Some(keys) if keys > 1 => format!("key {} (the best of {keys})", report.key_id),
        _ => format!("key {}", report.key_id),
    };
    let about = if report.p_kind == PKind::Approximate { "roughly " } else { "" };
    match (report.verdict, report.log10_p) {
        (Verdict::Watermarked, Some(log10)) => {
            let finding = match Strength::new(log10, report.fpr) {
                Strength::Weak => "Weak evidence of",
                Strength::Moderate => "Some evidence of",
                Strength::Strong => "Strong evidence that this text carries",
                Strength::VeryStrong => "This text carries",
            };
            format!(
                "{finding} the mark of {key}: of unmarked texts, {about}one in {} or fewer would look so marked.",
                one_in(log10)
            )
        }
        (_, Some(_)) if !report.spans.is_empty() => format!(
            "The text as a whole does not show the mark of {key}, but a passage in it does: see what is underlined."
        ),
        (Verdict::NotDetected, _) => format!(
            "The mark of {key} was not found, and a text this long that carries it throughout would probably have \
             been recognised."
        ),
        _ => format!(
            "Too short to tell: the mark of {key} was not found, but even a marked text of this length is often \
             missed."
        ),
    }
}

fn one(body: &mut String, input: &str, bytes: Option<&[u8]>, explanation: &Explanation) {
    let report = &explanation.report;
    put!(body, "<h2>{}</h2>\n", Escaped(input));
    verdict(body, report);
    if explanation.tokens.is_empty() {
        let why =
            if report.tokens == 0 { "The text has no tokens." } else { "The text is too long to be shown." };
        put!(body, "<p class=\"small\">{why}</p>\n");
        return;
    }
    evidence(body, bytes, explanation);
}

/// Writes the verdict, the warnings about it, and the numbers.
fn verdict(body: &mut String, report: &Report) {
    put!(body, "<p class=\"verdict {}\">{}</p>\n", report.verdict.name(), Escaped(&sentence(report)));
    warnings(body, &report.warnings);
    facts(body, report);
}

/// Writes the numbers of a report as a table.
pub(super) fn facts(body: &mut String, report: &Report) {
    body.push_str("<table class=\"facts\">\n");
    if report.log10_p.is_some() {
        let kind = match report.p_kind {
            PKind::Exact => "exact",
            PKind::Conservative => "an upper bound",
            PKind::Approximate => "approximate",
        };
        fact(body, "p-value", &format!("{} ({kind}); watermarked from {} down", shown_p(report), report.fpr));
    }
    fact(body, "false alarms", &false_alarms(report.fpr));
    fact(body, "key", &format!("{}, {}", report.key_id, report.scheme));
    fact(body, "tokens", &format!("{}, of which {} count", report.tokens, report.scored_tokens));
    if let Some(needed) = needed(report) {
        fact(body, "too short", &needed);
    }
    if let Some(score) = report.score {
        fact(body, "statistic", &format!("{} {score:.4}", report.detector.name().replace('_', " ")));
    }
    if let Some(tokenizer) = &report.tokenizer {
        fact(body, "tokenizer", tokenizer);
    }
    if !report.spans.is_empty() {
        fact(body, "marked passages", &passages(&report.spans, report.p_kind));
    }
    if let Some(changed) = changed(report.normalisation, report.forms_tried) {
        fact(body, "changed before scoring", &changed);
    }
    body.push_str("</table>\n");
}

/// Writes the text in colours, under a heading and the legend.
pub(super) fn evidence(body: &mut String, bytes: Option<&[u8]>, explanation: &Explanation) {
    body.push_str("<h3>Where the evidence is</h3>\n");
    legend(body, explanation);
    coloured(body, bytes, explanation);
}

/// Writes the text, or the token ids if there is no text, in the colours of the legend.
pub fn coloured(body: &mut String, bytes: Option<&[u8]>, explanation: &Explanation) {
    body.push_str("<div class=\"text\" dir=\"auto\">");
    match bytes {
        Some(bytes) => text(body, bytes, explanation),
        None => ids(body, explanation),
    }
    body.push_str("</div>\n");
}

/// Writes what the colours mean.
pub fn legend(body: &mut String, explanation: &Explanation) {
    body.push_str("<p class=\"legend\">With its neighbours, a word is ");
    for (i, (name, _)) in LEVELS.iter().enumerate() {
        put!(body, "<span class=\"e{}\">{name}</span> ", i + 1);
    }
    body.push_str(
        "times or more as likely with the mark as without it. In unmarked text, at most one word in 10 is coloured \
         at all and one in 100, 1,000 and 1,000,000 as deep. <span class=\"u\">Grey</span> words do not count.",
    );
    if explanation.tokens.iter().any(|token| token.in_span) {
        body.push_str(
            " <span class=\"s\">Underlined</span> passages pass the level on their own, corrected for all places.",
        );
    }
    body.push_str("</p>\n");
}

/// Opens an element where the class changes, so that neighbours of one colour are one element.
struct Runs<'a> {
    body: &'a mut String,
    class: String,
}

impl Runs<'_> {
    fn put(&mut self, class: String, shown: &str) {
        if class != self.class {
            self.end();
            if !class.is_empty() {
                put!(self.body, "<span class=\"{class}\">");
            }
            self.class = class;
        }
        put!(self.body, "{}", Escaped(shown));
    }

    fn end(&mut self) {
        if !self.class.is_empty() {
            self.body.push_str("</span>");
            self.class.clear();
        }
    }
}

/// Returns the classes: e1 to e4 for a level of evidence, u for not counted, s inside a marked passage.
fn class(token: &TokenEvidence) -> String {
    let mut class = match token.level() {
        0 if !token.counts() => "u".to_owned(),
        0 => String::new(),
        level => format!("e{level}"),
    };
    if token.in_span {
        class.push_str(if class.is_empty() { "s" } else { " s" });
    }
    class
}

fn text(body: &mut String, bytes: &[u8], explanation: &Explanation) {
    let mut runs = Runs { body, class: String::new() };
    for piece in explanation.pieces(bytes.len()) {
        let shown = String::from_utf8_lossy(&bytes[piece.bytes.clone()]);
        // What lies between two tokens was removed before the text was cut.
        runs.put(piece.token.map_or_else(|| "u".into(), class), &shown);
    }
    runs.end();
}

fn ids(body: &mut String, explanation: &Explanation) {
    let mut runs = Runs { body, class: String::new() };
    for token in &explanation.tokens {
        runs.put(class(token), &format!("{} ", token.id));
    }
    runs.end();
}

/// Writes what a verdict means, and what it does not.
pub fn meaning(body: &mut String) {
    body.push_str("<section>\n<h2>What this means, and what it does not</h2>\n");
    verdicts(body, "Watermarked", "Not detected");
    body.push_str(
        "<p class=\"small\">The colours show where the evidence lies. The verdict rests on the p-value of the whole \
         text alone; a single coloured word proves nothing.</p>\n</section>\n",
    );
}

/// Writes what each verdict means; `found` and `not_found` are the page's names for them.
pub(super) fn verdicts(body: &mut String, found: &str, not_found: &str) {
    put!(
        body,
        "<p><strong>{found}</strong> means that the text, or a part of it, was written with this key's mark, \
         or that there is a coincidence, as in at most the stated share of unmarked texts. That share holds for any \
         author and any language. It is a share of unmarked texts, and not the probability that this text is \
         unmarked.</p>\n\
         <p>It does not mean that everything in the text is a machine's: a person may quote a marked passage, or have \
         edited it. It says nothing about other keys, and nothing about machines that do not mark.</p>\n\
         <p><strong>{not_found}</strong> does not mean that a person wrote the text. Rewriting, mixing and \
         translating there and back weaken the mark. A translation into another language has lost it. Text that leaves \
         a model little choice (code, lists, quotations) carries little of it.</p>\n",
    );
}
