//! The examples, one after the other.

use std::fmt::Write as _;

use wmdetect::render::html::parts::{Escaped, coloured, legend, shown_p};
use wmdetect::report::Explanation;
use wmgen::compare::rationales::Reason;
use wmgen::compare::report::CompareReport;
use wmgen::compare::summary::Rated;
use wmgen::compare::{Rating, Winner};

use super::charts;

/// Number of characters up to which a prompt is shown whole.
const LONG: usize = 1000;

/// Writes the controls, which the script makes visible, and all examples.
pub(super) fn all(
    body: &mut String,
    report: &CompareReport,
    all: &[Rated],
    reasons: &[Vec<Reason>],
    marks: &[[Explanation; 2]],
) {
    body.push_str("<h2 id=\"examples-heading\">Examples</h2>\n");
    controls(body, report, !marks.is_empty());
    // Take the column whose legend says most: the legend explains underlined passages where there are
    // some.
    if let Some(longest) = marks.iter().flatten().max_by_key(|found| found.report.spans.len()) {
        body.push_str("<div id=\"legend\">");
        legend(body, longest);
        body.push_str("</div>\n");
    }
    body.push_str("<div id=\"examples\">\n");
    let tags: Vec<&str> = report.tags.iter().map(|tag| tag.tag.as_str()).collect();
    for (at, rated) in all.iter().enumerate() {
        let reasons = reasons.get(at).map_or(&[][..], Vec::as_slice);
        one(body, at, rated, &tags, reasons, marks.get(at));
    }
    body.push_str("</div>\n");
}

fn controls(body: &mut String, report: &CompareReport, marked: bool) {
    body.push_str(
        "<form id=\"controls\" hidden>\n<p class=\"search\"><label for=\"search\">Search</label> \
         <input type=\"search\" id=\"search\" autocomplete=\"off\" spellcheck=\"false\"> \
         <label><input type=\"checkbox\" id=\"regex\"> regular expression</label> <span id=\"problem\" role=\"alert\"></span></p>\n<p>",
    );
    if !report.tags.is_empty() {
        let tags = report.tags.iter().map(|tag| tag.tag.as_str());
        select(body, "tag", "Tag", &[("", "all")], tags);
    }
    if report.judge.is_some() {
        let winners = [
            ("", "all"),
            ("a", "A is better"),
            ("tie", "ties"),
            ("b", "B is better"),
            ("none", "without a rating"),
        ];
        select(body, "winner", "Verdict", &winners, [].into_iter());
    }
    if !report.rationales.is_empty() {
        let groups = report.rationales.iter().map(|group| group.title.as_str());
        select(body, "group", "Reason", &[("", "all")], groups);
    }
    let mut orders = vec![("at", "as in the file")];
    if report.judge.is_some() {
        orders.extend([
            ("score-down", "A’s best score first"),
            ("score-up", "B’s best score first"),
            ("spread", "least agreement first"),
        ]);
    }
    if marked {
        orders.extend([("pa", "most evidence in A first"), ("pb", "most evidence in B first")]);
    }
    orders.push(("length", "longest first"));
    select(body, "sort", "Order", &orders, [].into_iter());
    let mut views =
        vec![("marks", "evidence of the mark"), ("differences", "differences"), ("plain", "plain text")];
    if !marked {
        views.remove(0);
        views.reverse();
    }
    select(body, "view", "Show", &views, [].into_iter());
    body.push_str(
        "<button type=\"reset\">Reset</button></p>\n<p id=\"count\" role=\"status\"></p>\n</form>\n",
    );
}

/// Writes a list to choose from. The values of `numbered` lists are the numbers of the entries.
fn select<'a>(
    body: &mut String,
    id: &str,
    label: &str,
    named: &[(&str, &str)],
    numbered: impl Iterator<Item = &'a str>,
) {
    let _ = write!(body, "<label class=\"choice\">{label} <select id=\"{id}\">");
    for (value, name) in named {
        let _ = write!(body, "<option value=\"{value}\">{}</option>", Escaped(name));
    }
    for (at, name) in numbered.enumerate() {
        let _ = write!(body, "<option value=\"{at}\">{}</option>", Escaped(name));
    }
    body.push_str("</select></label>\n");
}

fn one(
    body: &mut String,
    at: usize,
    rated: &Rated,
    tags: &[&str],
    reasons: &[Reason],
    marks: Option<&[Explanation; 2]>,
) {
    let example = &rated.example;
    let numbers = |has: &dyn Fn(usize) -> bool, of: usize| -> String {
        let numbers: Vec<String> =
            (0..of).filter(|&number| has(number)).map(|number| number.to_string()).collect();
        numbers.join(" ")
    };
    let of_tags = numbers(&|tag| example.tags.iter().any(|other| other == tags[tag]), tags.len());
    let groups = reasons.first().map_or(0, |reason| reason.groups.len());
    let of_groups = numbers(&|group| reasons.iter().any(|reason| reason.groups[group]), groups);
    let (winner, words) = match rated.winner() {
        Some(Winner::A) => ("a", "A is better"),
        Some(Winner::Tie) => ("tie", "tie"),
        Some(Winner::B) => ("b", "B is better"),
        None => ("none", "not rated"),
    };
    let score = rated.score();
    let _ = write!(
        body,
        "<article class=\"example\" data-at=\"{at}\" data-score=\"{}\" data-winner=\"{winner}\" data-tags=\"{of_tags}\" \
         data-groups=\"{of_groups}\" data-spread=\"{:.4}\"",
        score.map_or_else(String::new, |score| format!("{score:.4}")),
        spread(&rated.ratings)
    );
    if let Some(marks) = marks {
        for (side, name) in marks.iter().zip(["pa", "pb"]) {
            let _ = write!(body, " data-{name}=\"{:.4}\"", side.report.log10_p.unwrap_or_default());
        }
    }
    let _ = write!(body, ">\n<h3><span class=\"at\">{}</span>", at + 1);
    if let Some(id) = &example.id {
        let _ = write!(body, " <span class=\"id\">{}</span>", Escaped(id.trim_matches('"')));
    }
    for tag in &example.tags {
        let _ = write!(body, " <span class=\"tag\">{}</span>", Escaped(tag));
    }
    if let Some(score) = score {
        let score = format!("{score:+.2}").replace('-', "−");
        let _ = write!(body, " <span class=\"won {winner}\">{words}, {score}</span>");
    }
    // A long prompt scrolls and must be able to take the keyboard's focus.
    let long = if example.prompt.chars().count() > LONG { " long\" tabindex=\"0" } else { "" };
    let _ = writeln!(
        body,
        "</h3>\n<div class=\"text asked{long}\" dir=\"auto\">{}</div>\n<div class=\"columns\">",
        Escaped(&example.prompt)
    );
    for (side, name) in [(0, "A"), (1, "B")] {
        let response = &example.responses[side];
        let _ = writeln!(
            body,
            "<section class=\"side {}\">\n<h4><span class=\"model {0}\">{name}</span> <span class=\"small\">{}</span></h4>",
            name.to_lowercase(),
            charts::response(response)
        );
        match marks.map(|marks| &marks[side]) {
            Some(found) => {
                let report = &found.report;
                let p = if report.log10_p.is_some() {
                    format!(", p = {}", shown_p(report))
                } else {
                    String::new()
                };
                let _ = writeln!(
                    body,
                    "<p class=\"found {}\">{}{} <span class=\"small\">({} of {} tokens count)</span></p>",
                    report.verdict.name(),
                    report.verdict,
                    Escaped(&p),
                    report.scored_tokens,
                    report.tokens
                );
                coloured(body, Some(response.text.as_bytes()), found);
            }
            None => {
                let _ = writeln!(body, "<div class=\"text\" dir=\"auto\">{}</div>", Escaped(&response.text));
            }
        }
        body.push_str("</section>\n");
    }
    body.push_str("</div>\n");
    ratings(body, &rated.ratings);
    body.push_str("</article>\n");
}

/// Returns how far apart the ratings are: their standard deviation.
fn spread(ratings: &[Rating]) -> f64 {
    let number = ratings.len().max(1) as f64;
    let mean = ratings.iter().map(|rating| rating.score).sum::<f64>() / number;
    (ratings.iter().map(|rating| (rating.score - mean).powi(2)).sum::<f64>() / number).sqrt()
}

fn ratings(body: &mut String, ratings: &[Rating]) {
    if ratings.is_empty() {
        return;
    }
    let word = if ratings.len() == 1 { "rating" } else { "ratings" };
    let _ = writeln!(
        body,
        "<details>\n<summary>{} {word}</summary>\n<div class=\"wide\"><table>\n<thead><tr><th>read first</th><th class=\"n\">score</th>\
         <th>why</th></tr></thead>\n<tbody>",
        ratings.len()
    );
    for rating in ratings {
        let first = match rating.flipped {
            Some(false) => "A",
            Some(true) => "B",
            None => "not known",
        };
        let score = format!("{:+.1}", rating.score).replace("+0.0", "0").replace('-', "−");
        let _ = writeln!(
            body,
            "<tr><td>{first}</td><td class=\"n\">{score}</td><td class=\"why\">{}</td></tr>",
            Escaped(&rating.rationale)
        );
    }
    body.push_str("</tbody></table></div>\n</details>\n");
}
