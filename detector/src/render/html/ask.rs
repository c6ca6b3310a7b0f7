//! The page of `wmdetect serve`: a form for a text, and what was found in it. It works without its script, which only
//! loads a file into the form.

use super::super::words::one_in;
use super::score::{evidence, facts, sentence, verdicts};
use super::{Escaped, put, segments, warnings};
use crate::report::{Explanation, Report};
use crate::verdict::{Strength, Verdict};

/// The text inside the page's `<style>`, for the hash in its policy.
pub const STYLE: &str = concat!("\n", include_str!("style.css"), include_str!("ask.css"));

/// The text inside the page's `<script>`, for the hash in its policy.
pub const SCRIPT: &str = concat!("\n", include_str!("ask.js"));

/// The longest text, in bytes, that is shown with its evidence or put back into the form.
pub const SHOWN: usize = 200_000;

/// How many passages are quoted.
const PASSAGES: usize = 20;

/// Everything that the page shows.
#[derive(Clone, Copy, Debug)]
pub struct Page<'a> {
    /// The text that was sent; empty if none was.
    pub text: &'a str,
    /// Whether the form asks for a token.
    pub token: Token,
    /// The longest text, in bytes, that is taken.
    pub limit: usize,
    /// Whether the server writes a line about each text.
    pub audited: bool,
    /// What became of the text; `None` if none was sent.
    pub outcome: Option<Outcome<'a>>,
}

/// Whether the form has a field for an access token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Token {
    /// Everybody gets the same answer.
    None,
    /// Without a token the answer is the public one.
    Optional {
        /// The longest text, in bytes, that is taken without a token.
        limit_without: usize,
    },
    /// Without a token there is no answer.
    Required,
}

/// What became of a text.
#[derive(Clone, Copy, Debug)]
pub enum Outcome<'a> {
    /// Everything that is known. Tokens are shown only for texts of at most [`SHOWN`] bytes.
    Full(&'a Explanation),
    /// What people may know who could use more to remove or imitate the mark.
    Brief(&'a Brief),
    /// Why the text was not judged, as a sentence.
    Refused(&'a str),
}

/// A verdict without numbers.
#[derive(Clone, Debug)]
pub struct Brief {
    /// The verdict.
    pub verdict: Verdict,
    /// The false positive rate behind it.
    pub fpr: f64,
    /// How strong the evidence is; `None` if the reader may not know.
    pub strength: Option<Strength>,
    /// The label of the key; `None` if the reader may not know.
    pub key: Option<String>,
    /// The technique; `None` if the reader may not know.
    pub scheme: Option<String>,
    /// First byte of each marked passage and the one after its last; empty if the reader may not know.
    pub passages: Vec<[u64; 2]>,
}

impl Brief {
    /// Returns the verdict alone.
    pub fn verdict(verdict: Verdict, fpr: f64) -> Self {
        Self { verdict, fpr, strength: None, key: None, scheme: None, passages: Vec::new() }
    }

    /// Returns the verdict with its strength, the key called `key`, and the marked passages.
    pub fn with_passages(report: &Report, key: impl Into<String>) -> Self {
        let found = report.verdict == Verdict::Watermarked || !report.spans.is_empty();
        Self {
            verdict: report.verdict,
            fpr: report.fpr,
            strength: report.strength(),
            key: found.then(|| key.into()),
            scheme: Some(report.scheme.clone()),
            passages: report.spans.iter().filter_map(|span| span.bytes).collect(),
        }
    }
}

/// Returns the page.
pub fn ask(page: Page<'_>) -> String {
    let heading = page.outcome.map(heading);
    let title = heading.map_or_else(|| TITLE.to_owned(), |heading| format!("{heading} – {TITLE}"));
    let mut html = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
    );
    let (place, name) = if heading.is_some() { ("result", "the result") } else { ("text", "the form") };
    put!(html, "<a class=\"skip\" href=\"#{place}\">Skip to {name}</a>\n<main>\n<h1>{TITLE}</h1>\n");
    match page.outcome.zip(heading) {
        Some((outcome, heading)) => result(&mut html, page.text, outcome, heading),
        None => html.push_str(
            "<p>Programs that mark what they write choose some words by a secret key. This page looks for that mark.</p>\n",
        ),
    }
    form(&mut html, page);
    html.push_str("<section>\n<h2>What the answer means, and what it does not</h2>\n");
    verdicts(&mut html, "The mark was found", "The mark was not found");
    if page.outcome.is_some_and(shows_colours) {
        html.push_str(
            "<p>The colours show where the evidence lies. The verdict rests on the p-value of the whole text alone; \
             a single coloured word proves nothing.</p>\n",
        );
    }
    put!(html, "</section>\n</main>\n<script>{SCRIPT}</script>\n</body>\n</html>\n");
    html
}

const TITLE: &str = "Is this text marked?";

/// Returns the verdict in a few words.
fn heading(outcome: Outcome<'_>) -> &'static str {
    let (verdict, in_passage) = match outcome {
        Outcome::Full(explanation) => (explanation.report.verdict, !explanation.report.spans.is_empty()),
        Outcome::Brief(brief) => (brief.verdict, !brief.passages.is_empty()),
        Outcome::Refused(_) => return "The text was not checked",
    };
    match (verdict, in_passage) {
        (Verdict::Watermarked, _) => "The mark was found",
        (_, true) => "The mark was found in a passage",
        (Verdict::NotDetected, _) => "The mark was not found",
        (Verdict::TooShort, _) => "Too short to tell",
    }
}

/// Returns the verdict in one sentence or two.
fn brief_sentence(brief: &Brief) -> String {
    let mark = brief.key.as_ref().map_or_else(|| "the mark".to_owned(), |key| format!("the mark of {key}"));
    let chance = format!("By chance, one in {} unmarked texts is called so.", one_in(brief.fpr.log10()));
    match (brief.verdict, brief.strength) {
        (Verdict::Watermarked, Some(strength)) => {
            let strength = match strength {
                Strength::Weak => "Weak",
                Strength::Moderate => "Moderate",
                Strength::Strong => "Strong",
                Strength::VeryStrong => "Very strong",
            };
            format!("{strength} evidence that this text, or a part of it, carries {mark}. {chance}")
        }
        (Verdict::Watermarked, None) => format!("This text, or a part of it, carries {mark}. {chance}"),
        _ if !brief.passages.is_empty() => {
            format!("The text as a whole does not show {mark}, but a passage in it does. {chance}")
        }
        (Verdict::NotDetected, _) => format!(
            "A text this long that carries {mark} throughout would probably have been recognised. That does not mean \
             that a person wrote it."
        ),
        // Not everybody is told whether the mark was found in a short text.
        (Verdict::TooShort, _) if brief.scheme.is_none() => {
            "A text of this length is not judged. Some hundred words are needed.".into()
        }
        (Verdict::TooShort, _) => {
            format!("It does not show {mark}, but even a marked text of this length is often missed.")
        }
    }
}

fn shows_colours(outcome: Outcome<'_>) -> bool {
    matches!(outcome, Outcome::Full(explanation) if !explanation.tokens.is_empty())
}

fn result(html: &mut String, text: &str, outcome: Outcome<'_>, heading: &str) {
    html.push_str("<section aria-labelledby=\"verdict\">\n<div id=\"result\" tabindex=\"-1\">\n");
    put!(html, "<h2 id=\"verdict\">{heading}</h2>\n");
    let (class, sentence) = match outcome {
        Outcome::Full(explanation) => (explanation.report.verdict.name(), sentence(&explanation.report)),
        Outcome::Brief(brief) => (brief.verdict.name(), brief_sentence(brief)),
        Outcome::Refused(message) => ("bad", message.to_owned()),
    };
    put!(html, "<p class=\"verdict {class}\">{}</p>\n</div>\n", Escaped(&sentence));
    if !matches!(outcome, Outcome::Refused(_)) {
        html.push_str("<p><a href=\"#text\">Check another text</a></p>\n");
    }
    match outcome {
        Outcome::Full(explanation) => {
            let report = &explanation.report;
            warnings(html, &report.warnings);
            facts(html, report);
            let spans: Vec<_> = report.spans.iter().filter_map(|span| span.bytes).collect();
            if text.len() <= SHOWN && shows_colours(outcome) {
                evidence(html, Some(text.as_bytes()), explanation);
            } else if report.tokens > 0 {
                passages(html, text, &spans);
            }
        }
        Outcome::Brief(brief) => {
            if let Some(scheme) = &brief.scheme {
                put!(html, "<p class=\"small\">Technique: {}.</p>\n", Escaped(scheme));
            }
            if brief.passages.is_empty() {
            } else if text.len() <= SHOWN {
                html.push_str(
                    "<h3>Where the mark is</h3>\n<p class=\"legend\"><span class=\"s\">Underlined</span> ",
                );
                html.push_str("passages are marked.</p>\n");
                segments::show(html, text.as_bytes(), brief.passages.clone());
            } else {
                passages(html, text, &brief.passages);
            }
        }
        Outcome::Refused(_) => {}
    }
    html.push_str("</section>\n");
}

/// Quotes the marked passages of a text that is too long to be shown.
fn passages(html: &mut String, text: &str, ranges: &[[u64; 2]]) {
    html.push_str("<p class=\"small\">The text is too long to be shown here with its evidence. ");
    html.push_str("<code>wmdetect score --html</code> shows longer ones.</p>\n");
    if ranges.is_empty() {
        return;
    }
    html.push_str("<h3>Marked passages</h3>\n<ol class=\"passages\">\n");
    for [from, to] in ranges.iter().take(PASSAGES) {
        let bytes = text.as_bytes().get(*from as usize..*to as usize).unwrap_or_default();
        put!(html, "<li>Bytes {from} to {to}:\n<div class=\"text\" dir=\"auto\">");
        put!(html, "{}</div></li>\n", Escaped(&excerpt(&String::from_utf8_lossy(bytes))));
    }
    html.push_str("</ol>\n");
    if ranges.len() > PASSAGES {
        put!(html, "<p class=\"small\">And {} more.</p>\n", ranges.len() - PASSAGES);
    }
}

/// Returns the beginning and the end of a passage.
fn excerpt(passage: &str) -> String {
    const BEGINNING: usize = 400;
    const END: usize = 200;
    let count = passage.chars().count();
    if count <= BEGINNING + END {
        return passage.to_owned();
    }
    let beginning: String = passage.chars().take(BEGINNING).collect();
    let end: String = passage.chars().skip(count - END).collect();
    format!("{beginning} … {end}")
}

/// Returns how long a text may be, for people.
fn lengths(page: Page<'_>) -> String {
    let size = |bytes: usize| {
        if bytes < 1 << 20 { format!("{} KiB", bytes >> 10) } else { format!("{} MiB", bytes >> 20) }
    };
    match page.token {
        Token::Optional { limit_without } => {
            format!("{}, and {} with a token", size(limit_without), size(page.limit))
        }
        Token::None | Token::Required => size(page.limit),
    }
}

fn form(html: &mut String, page: Page<'_>) {
    let heading = match page.outcome {
        None | Some(Outcome::Refused(_)) => "Check a text",
        Some(_) => "Check another text",
    };
    // The fragment moves the focus to the result, also without the script. Nothing of the form goes into the address.
    put!(html, "<section id=\"ask\">\n<h2>{heading}</h2>\n");
    html.push_str("<form method=\"post\" action=\"#result\" autocomplete=\"off\">\n");
    put!(html, "<p><label for=\"text\">Text</label></p>\n");
    // Spell checkers of some browsers send typed text to other servers.
    put!(
        html,
        "<textarea id=\"text\" name=\"text\" rows=\"12\" required dir=\"auto\" spellcheck=\"false\" \
         aria-describedby=\"about-text\" data-limit=\"{}\">\n{}</textarea>\n",
        page.limit,
        Kept(page.text)
    );
    put!(
        html,
        "<p id=\"about-text\" class=\"small\">Up to {}. A few hundred words are better than a few. Paste the \
         text as it was published: changes weaken the mark.</p>\n",
        lengths(page)
    );
    html.push_str(
        "<p id=\"file-row\" hidden><label for=\"file\">Or take a file of plain text, or drop one on the field</label>\n\
         <input type=\"file\" id=\"file\" accept=\"text/*,.txt,.md\"></p>\n<p id=\"said\" role=\"status\"></p>\n",
    );
    if page.token != Token::None {
        let (required, about) = match page.token {
            Token::Required => (" required", "The operator of this service gives it to you."),
            _ => ("", "Without one you get the public answer: the verdict alone."),
        };
        put!(
            html,
            "<p><label for=\"token\">Access token</label></p>\n<input type=\"password\" id=\"token\" name=\"token\" \
             autocomplete=\"off\" aria-describedby=\"about-token\"{required}>\n\
             <p id=\"about-token\" class=\"small\">{about}</p>\n"
        );
    }
    html.push_str("<p><button type=\"submit\">Check</button></p>\n</form>\n<p class=\"small\">");
    html.push_str(if page.audited {
        "The text is not kept. The service writes down when it was checked, by whom, the verdict, and a salted hash of \
         the text that does not give it away.</p>\n"
    } else {
        "The text is not kept.</p>\n"
    });
    html.push_str("</section>\n");
}

/// The text for the form, if the form sends it back unchanged; otherwise nothing.
struct Kept<'a>(&'a str);

impl std::fmt::Display for Kept<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let spoiled = |c: char| c.is_control() && !matches!(c, '\n' | '\t' | '\r');
        if self.0.len() > SHOWN || self.0.contains(spoiled) {
            return Ok(());
        }
        for c in self.0.chars() {
            match c {
                // Direction marks act only inside the field. In the source of the page they act nowhere.
                c if crate::one_line::is_obeyed(c) && !c.is_control() => write!(f, "&#x{:x};", u32::from(c))?,
                c => write!(f, "{}", Escaped(c.encode_utf8(&mut [0; 4])))?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scheme::Key;
    use crate::statistics::PKind;
    use crate::{Detector, Input};

    const HOSTILE: &str = "</textarea><script>alert(1)</script> \u{202e}\u{1b}[31m\0";

    fn page(text: &str, outcome: Outcome<'_>) -> String {
        ask(Page {
            text,
            token: Token::Optional { limit_without: 256 << 10 },
            limit: 8 << 20,
            audited: true,
            outcome: Some(outcome),
        })
    }

    /// Returns an explanation of `text` as tokens of one byte each.
    fn explained(text: &str) -> Explanation {
        let ids: Vec<u32> = text.bytes().map(u32::from).collect();
        let detector = Detector::builder(Key::from_bytes(&[1; 32], "test").unwrap()).build().unwrap();
        let mut explanation = detector.explain(Input::tokens(&ids)).unwrap();
        for (at, token) in explanation.tokens.iter_mut().enumerate() {
            token.bytes = at..at + 1;
        }
        explanation
    }

    #[test]
    fn a_hostile_text_changes_nothing_around_it() {
        let quoted = Brief {
            key: Some(HOSTILE.into()),
            passages: vec![[0, HOSTILE.len() as u64]],
            ..Brief::verdict(Verdict::Watermarked, 1e-6)
        };
        let long = HOSTILE.repeat(SHOWN / 10);
        let explanation = explained(HOSTILE);
        for shown in [
            page(HOSTILE, Outcome::Full(&explanation)),
            page(HOSTILE, Outcome::Brief(&quoted)),
            page(&long, Outcome::Brief(&quoted)),
            page("</textarea><script>\u{202e}", Outcome::Refused(HOSTILE)),
        ] {
            assert_eq!(shown.matches("<script").count(), 1);
            assert_eq!(shown.matches("</textarea").count(), 1);
            assert!(!shown.contains(['\u{202e}', '\u{1b}', '\0']));
        }
    }

    #[test]
    fn the_form_keeps_a_text_exactly_or_not_at_all() {
        let kept = |text: &str| Kept(text).to_string();
        assert_eq!(kept("a < b & \u{202e}c\nd"), "a &lt; b &amp; &#x202e;c\nd");
        assert_eq!(kept("a\0b"), "");
        assert_eq!(kept(&"x".repeat(SHOWN + 1)), "");
        let shown = page("a", Outcome::Refused("No."));
        assert!(shown.contains("Up to 256 KiB, and 8 MiB with a token. "), "{shown}");
    }

    #[test]
    fn every_verdict_has_a_heading_and_a_sentence() {
        let of = |brief: &Brief| {
            let shown = page("text", Outcome::Brief(brief));
            let part = |from: &str| shown.split_once(from).unwrap().1.split_once("</").unwrap().0.to_owned();
            [part("<h2 id=\"verdict\">"), part("<p class=\"verdict ").split_once('>').unwrap().1.to_owned()]
        };
        let public = |verdict| Brief::verdict(verdict, 1e-6);
        assert_eq!(
            of(&public(Verdict::Watermarked)),
            [
                "The mark was found",
                "This text, or a part of it, carries the mark. By chance, one in 1 million unmarked texts is called so."
            ]
        );
        let [heading, sentence] = of(&public(Verdict::NotDetected));
        assert_eq!(heading, "The mark was not found");
        assert!(sentence.ends_with("That does not mean that a person wrote it."));
        let [heading, sentence] = of(&public(Verdict::TooShort));
        assert_eq!(heading, "Too short to tell");
        assert!(!sentence.contains("mark"), "it may be marked: {sentence}");
        let passage = Brief {
            strength: None,
            key: Some("acme".into()),
            passages: vec![[0, 2]],
            ..public(Verdict::NotDetected)
        };
        let [heading, sentence] = of(&passage);
        assert_eq!(heading, "The mark was found in a passage");
        assert!(
            sentence
                .starts_with("The text as a whole does not show the mark of acme, but a passage in it does.")
        );
        let strong = Brief { strength: Some(Strength::Strong), ..public(Verdict::Watermarked) };
        assert!(
            of(&strong)[1].starts_with("Strong evidence that this text, or a part of it, carries the mark.")
        );
    }

    #[test]
    fn who_may_not_know_is_not_told() {
        let mut report = explained("abc").report;
        (report.verdict, report.log10_p, report.p_value) = (Verdict::Watermarked, Some(-6.5), Some(3.2e-7));
        let expert = page("abc", Outcome::Brief(&Brief::with_passages(&report, "acme")));
        assert!(expert.contains("Strong evidence") && expert.contains("acme"));
        assert!(
            !expert.contains("3.2") && !expert.contains("p-value</th>") && !expert.contains(&report.key_id)
        );
        assert_eq!(report.p_kind, PKind::Exact);
        let public = page("abc", Outcome::Brief(&Brief::verdict(report.verdict, 1e-6)));
        assert!(!public.contains("Strong") && !public.contains("acme") && !public.contains("synthid"));
    }
}
