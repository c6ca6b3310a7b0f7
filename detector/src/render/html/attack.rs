//! The page of `wmdetect attack --html`.

use super::{Escaped, fact, page, put, warnings};
use crate::report::{AttackReport, AttackRow, Found, Summary};
use crate::statistics::PValue;

/// Size of a plot, in its own units.
const WIDTH: f64 = 480.0;
const HEIGHT: f64 = 280.0;
/// Space around the curves; the labels of the curves stand on the right.
const LEFT: f64 = 48.0;
const RIGHT: f64 = 110.0;
const TOP: f64 = 16.0;
const BOTTOM: f64 = 44.0;
/// Space between two labels.
const LINE: f64 = 14.0;

/// Dashes of the curves; the first is for the unedited text.
const DASHES: [&str; 6] = ["none", "7 3", "2 3", "9 3 2 3", "12 4", "4 2 1 2 1 2"];

/// Returns the page of an attack.
pub fn attack(report: &AttackReport) -> String {
    let mut body = String::new();
    answer(&mut body, report);
    warnings(&mut body, &report.warnings);
    facts(&mut body, report);
    for (i, fpr) in report.fprs.iter().enumerate() {
        put!(body, "<h2>Found at a rate of {fpr:?}</h2>\n<div class=\"columns\">\n");
        for group in groups(report) {
            plot(&mut body, report, &group, i);
        }
        body.push_str("</div>\n");
    }
    body.push_str(
        "<p class=\"small\">Across: tokens of the unedited text. Upwards: share of the marked texts with p at most at the \
         rate. Bars: 95 % intervals. The solid curve with dots is the unedited text. Below each plot: the same edit of \
         human texts, all lengths together.</p>\n",
    );
    body.push_str("<h2>Marked texts</h2>\n");
    table(&mut body, report, |row| &row.marked);
    body.push_str("<h2>Human texts, which nobody marked</h2>\n");
    table(&mut body, report, |row| &row.human);
    meaning(&mut body);
    page("What is found after edits", &body)
}

fn percent(share: f64) -> String {
    let percent = 100.0 * share;
    if percent > 0.0 && percent < 0.095 { format!("{percent:.3} %") } else { format!("{percent:.1} %") }
}

/// Writes the share of the longest unedited texts that are found, at the strictest rate.
fn answer(body: &mut String, report: &AttackReport) {
    let unedited = report.rows.iter().rfind(|row| row.edit == "none" && row.marked.texts > 0);
    let Some((row, found)) = unedited.and_then(|row| Some((row, row.marked.found.last()?))) else {
        body.push_str("<p class=\"verdict too_short\">No text was long enough to be edited.</p>\n");
        return;
    };
    put!(
        body,
        "<p class=\"verdict watermarked\">Unedited, {} of {} texts of {} tokens are found at a rate of {:?}.</p>\n",
        found.texts,
        row.marked.texts,
        row.length,
        found.fpr
    );
}

fn facts(body: &mut String, report: &AttackReport) {
    body.push_str("<table class=\"facts\">\n");
    let key = match (&report.key_id, report.keys_tried) {
        (Some(id), _) => format!("{id}, {}", report.scheme),
        (None, keys) => format!("the best of {}", keys.unwrap_or_default()),
    };
    fact(body, "key", &key);
    fact(body, "detector", &report.detector.name().replace('_', " "));
    if let Some(tokenizer) = &report.tokenizer {
        fact(body, "tokenizer", tokenizer);
    }
    let mut texts = format!("{} marked, {} human", report.texts, report.human_texts);
    if report.failed > 0 {
        put!(texts, "; {} more could not be read", report.failed);
    }
    fact(body, "texts", &texts);
    if let Some(field) = &report.cluster {
        fact(body, "clusters", &format!("texts with the same {field:?}"));
    }
    fact(body, "seed", &report.seed.to_string());
    if let Some(of) = report.judged_of {
        fact(body, "interrupted", &format!("{} of {of} results", report.judged));
    }
    body.push_str("</table>\n");
}

/// A curve: its label and its rows, by length.
struct Curve<'r> {
    label: String,
    rows: Vec<&'r AttackRow>,
}

/// The curves of one plot: the unedited text, and an edit at its rates or a program.
struct Group<'r> {
    title: String,
    curves: Vec<Curve<'r>>,
}

/// Returns one plot for each edit and each program, in the order of the rows.
fn groups(report: &AttackReport) -> Vec<Group<'_>> {
    let unedited = || Curve {
        label: "unedited".into(),
        rows: report.rows.iter().filter(|row| row.edit == "none").collect(),
    };
    let mut groups: Vec<Group<'_>> = Vec::new();
    for row in report.rows.iter().filter(|row| row.edit != "none") {
        let title = row.program.as_ref().map_or_else(|| row.edit.clone(), |_| row.label());
        let label = row.rate.map_or_else(|| "edited".into(), |rate| rate.to_string());
        if groups.last().is_none_or(|group| group.title != title) {
            groups.push(Group { title, curves: vec![unedited()] });
        }
        let Some(group) = groups.last_mut() else { continue };
        match group.curves.last_mut().filter(|curve| curve.label == label) {
            Some(curve) => curve.rows.push(row),
            None => group.curves.push(Curve { label, rows: vec![row] }),
        }
    }
    if groups.is_empty() {
        groups.push(Group { title: "unedited".into(), curves: vec![unedited()] });
    }
    groups
}

/// Draws the share found by length. `rate` is the number of the rate.
fn plot(body: &mut String, report: &AttackReport, group: &Group<'_>, rate: usize) {
    let title = Escaped(&group.title);
    let floor = HEIGHT - BOTTOM;
    let y = |share: f64| floor - (floor - TOP) * share;
    let logs = |length: u64| (length as f64).log2();
    let least = report.lengths.first().map_or(0.0, |&length| logs(length));
    let range = report.lengths.last().map_or(0.0, |&length| logs(length)) - least;
    let wide = WIDTH - LEFT - RIGHT;
    let x = |length: u64| {
        let share = if range > 0.0 { (logs(length) - least) / range } else { 0.5 };
        LEFT + 8.0 + (wide - 16.0) * share
    };
    put!(
        body,
        "<div><h3>{title}</h3>\n<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{title}: share found by \
         length\">\n"
    );
    for share in [0.0, 0.25, 0.5, 0.75, 1.0] {
        put!(
            body,
            "<line class=\"axis\" x1=\"{LEFT}\" y1=\"{0:.1}\" x2=\"{1:.1}\" y2=\"{0:.1}\"/><text x=\"{2:.1}\" y=\"{3:.1}\" \
             text-anchor=\"end\">{4:.0} %</text>\n",
            y(share),
            LEFT + wide,
            LEFT - 6.0,
            y(share) + 4.0,
            100.0 * share
        );
    }
    for &length in &report.lengths {
        put!(
            body,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{length}</text>\n",
            x(length),
            floor + 16.0
        );
    }
    put!(
        body,
        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">tokens before the edit</text>\n",
        LEFT + wide / 2.0,
        floor + 36.0
    );
    let mut labels = Vec::new();
    for (number, curve) in group.curves.iter().enumerate() {
        let points = curve.rows.iter().filter_map(|row| {
            let found = row.marked.found.get(rate)?;
            // Curves are shifted a little, so that bars do not cover each other.
            let shift = 3.0 * (number as f64 - (group.curves.len() - 1) as f64 / 2.0);
            Some((x(row.length) + shift, found.share?, found.interval?))
        });
        let points: Vec<_> = points.collect();
        let Some(&(_, last, _)) = points.last() else { continue };
        let mut path = String::new();
        for (i, &(x, share, _)) in points.iter().enumerate() {
            put!(path, "{}{x:.1} {:.1}", if i == 0 { 'M' } else { 'L' }, y(share));
        }
        let dashes = DASHES[number.min(DASHES.len() - 1)];
        put!(body, "<path class=\"curve c{}\" stroke-dasharray=\"{dashes}\" d=\"{path}\"/>\n", number.min(3));
        let mut bars = String::new();
        for &(x, _, [low, high]) in &points {
            put!(bars, "M{x:.1} {:.1}V{:.1}", y(low), y(high));
        }
        put!(body, "<path class=\"error c{}\" d=\"{bars}\"/>\n", number.min(3));
        for &(x, share, _) in &points {
            marker(body, number, x, y(share));
        }
        labels.push((y(last), number, &curve.label));
    }
    spread(&mut labels);
    for (y, number, label) in labels {
        let at = LEFT + wide + 14.0;
        marker(body, number, at, y);
        put!(
            body,
            "<text class=\"label\" x=\"{:.1}\" y=\"{:.1}\">{}</text>\n",
            at + 9.0,
            y + 4.0,
            Escaped(label)
        );
    }
    body.push_str("</svg>\n");
    human(body, group, rate);
    body.push_str("</div>\n");
}

/// Moves overlapping labels apart; they are sorted from the top down.
fn spread(labels: &mut [(f64, usize, &String)]) {
    labels.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    for i in 1..labels.len() {
        labels[i].0 = labels[i].0.max(labels[i - 1].0 + LINE);
    }
    // Labels below the floor move up again.
    let mut most = HEIGHT - BOTTOM;
    for label in labels.iter_mut().rev() {
        label.0 = label.0.min(most);
        most = label.0 - LINE;
    }
}

/// Draws a mark whose shape tells the curve.
fn marker(body: &mut String, number: usize, x: f64, y: f64) {
    let class = format!("point c{}", number.min(3));
    match number {
        0 => put!(body, "<circle class=\"{class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.5\"/>\n"),
        1 => put!(
            body,
            "<rect class=\"{class}\" x=\"{:.1}\" y=\"{:.1}\" width=\"7\" height=\"7\"/>\n",
            x - 3.5,
            y - 3.5
        ),
        2 => put!(body, "<path class=\"{class}\" d=\"M{x:.1} {:.1}l4.5 8h-9z\"/>\n", y - 5.0),
        3 => put!(body, "<path class=\"{class}\" d=\"M{x:.1} {:.1}l5 5l-5 5l-5 -5z\"/>\n", y - 5.0),
        4 => put!(body, "<path class=\"{class}\" d=\"M{x:.1} {:.1}l4.5 -8h-9z\"/>\n", y + 5.0),
        _ => {
            put!(
                body,
                "<path class=\"curve {class}\" d=\"M{:.1} {:.1}l8 8m0 -8l-8 8\"/>\n",
                x - 4.0,
                y - 4.0
            );
        }
    }
}

/// Writes how many edited human texts are taken for marked, over all rates and lengths of the edit.
fn human(body: &mut String, group: &Group<'_>, rate: usize) {
    let edited = group.curves.iter().skip(usize::from(group.curves.len() > 1));
    let (mut taken, mut judged) = (0, 0);
    for row in edited.flat_map(|curve| &curve.rows) {
        taken += row.human.found.get(rate).map_or(0, |found| found.texts);
        judged += row.human.texts;
    }
    if judged > 0 {
        put!(
            body,
            "<p class=\"small\">Human texts taken for marked: {taken} of {judged} ({}).</p>\n",
            percent(taken as f64 / judged as f64)
        );
    }
}

fn table(body: &mut String, report: &AttackReport, side: impl Fn(&AttackRow) -> &Summary) {
    body.push_str(
        "<div class=\"wide\"><table>\n<tr><th>edit</th><th class=\"n\">tokens</th><th class=\"n\">texts</th>\
         <th class=\"n\">clusters</th><th class=\"n\">errors</th><th class=\"n\">words kept</th><th class=\"n\">median p</th>",
    );
    for fpr in &report.fprs {
        put!(body, "<th class=\"n\">at {fpr:?}</th>");
    }
    body.push_str("</tr>\n");
    for row in &report.rows {
        let summary = side(row);
        if summary.texts + summary.errors == 0 {
            continue;
        }
        let kept = summary.words_kept.map_or_else(|| "–".into(), percent);
        let p = |log10| PValue { log10, kind: report.p_kind }.to_string();
        put!(
            body,
            "<tr><td>{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td>\
             <td class=\"n\">{kept}</td><td class=\"n\">{}</td>",
            Escaped(&row.label()),
            row.length,
            summary.texts,
            summary.clusters,
            summary.errors,
            summary.median_log10_p.map_or_else(|| "–".into(), p)
        );
        for found in &summary.found {
            put!(body, "<td class=\"n\">{}</td>", share(found));
        }
        body.push_str("</tr>\n");
    }
    body.push_str("</table></div>\n");
}

fn share(found: &Found) -> String {
    match (found.share, found.interval) {
        (Some(share), Some([low, high])) => {
            format!("{} ({} – {})", percent(share), percent(low), percent(high))
        }
        _ => "–".into(),
    }
}

fn meaning(body: &mut String) {
    body.push_str(
        "<h2>What this means, and what it does not</h2>\n\
         <p>An edit here is made without looking at the detector. Who may ask the detector again and again can do better, and \
         the p-values of such a text say nothing. A share is about these texts, this model and these settings: texts in \
         which the model had little choice are lost sooner.</p>\n\
         <p>Words kept is the share of the words of the unedited text that a reader still finds in the edited one, in any \
         order. It is not a measure of meaning: a synonym counts as lost, and shuffled words count as kept.</p>\n\
         <p>Human texts are edited in the same way. The share of them that is taken for marked should be at most the rate, \
         apart from chance: their p-values hold after any edit that does not look at the key.</p>\n",
    );
}
