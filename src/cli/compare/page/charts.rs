//! Charts and tables of all examples.

use std::fmt::Write as _;

use wmdetect::render::html::parts::Escaped;
use wmdetect::report::Explanation;
use wmgen::compare::rationales::Group;
use wmgen::compare::report::CompareReport;
use wmgen::compare::summary::{Rated, Wins};
use wmgen::compare::{Response, THRESHOLD};

use super::table::percent;

/// Size of a chart, in SVG units.
const WIDTH: f64 = 360.0;
const HEIGHT: f64 = 150.0;
/// Height of the room for labels under a chart.
const UNDER: f64 = 34.0;

/// Number of bins. Each is half a point wide, around the verdicts' scores, as in LLM Comparator,
/// from A's side to B's.
const BINS: usize = 7;

/// Draws how many examples have which score.
pub(super) fn scores(body: &mut String, all: &[Rated]) {
    let scores: Vec<f64> = all.iter().filter_map(Rated::score).collect();
    if scores.is_empty() {
        return;
    }
    let mut bins = [0_usize; BINS];
    for score in &scores {
        bins[bin(*score)] += 1;
    }
    let most = bins.iter().max().copied().unwrap_or(1).max(1);
    let label = |at: usize| format!("{:+.1}", 1.5 - 0.5 * at as f64).replace("+0.0", "0").replace('-', "−");
    let told: Vec<String> =
        bins.iter().enumerate().map(|(at, count)| format!("{}: {count}", label(at))).collect();
    let _ = writeln!(
        body,
        "<figure>\n<figcaption>Scores</figcaption>\n<svg viewBox=\"0 0 {WIDTH} {}\" role=\"img\" aria-label=\"Examples by score. {}\">",
        HEIGHT + UNDER,
        told.join(", ")
    );
    let width = WIDTH / BINS as f64;
    for (at, count) in bins.iter().enumerate() {
        let height = (HEIGHT - 16.0) * *count as f64 / most as f64;
        let (x, y) = (at as f64 * width, HEIGHT - height);
        let side = match at {
            0..3 => "a",
            3 => "tie",
            _ => "b",
        };
        let middle = x + width / 2.0;
        let _ = write!(
            body,
            "<rect class=\"fill {side}\" x=\"{:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{height:.1}\"/>\
             <text x=\"{middle:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{count}</text>\
             <text x=\"{middle:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
            x + 3.0,
            width - 6.0,
            y - 4.0,
            HEIGHT + 14.0,
            label(at)
        );
    }
    let _ = writeln!(
        body,
        "<line class=\"axis\" x1=\"0\" x2=\"{WIDTH}\" y1=\"{HEIGHT}\" y2=\"{HEIGHT}\"/>\
         <text x=\"0\" y=\"{y}\">A is better</text><text x=\"{WIDTH}\" y=\"{y}\" text-anchor=\"end\">B is better</text>\n</svg>\n</figure>",
        y = HEIGHT + 30.0
    );
}

/// Returns the bin of a score. The edges of the middle bin are where wins begin.
fn bin(score: f64) -> usize {
    let away = ((score.abs() - THRESHOLD - 1e-9) / 0.5).floor() as i64 + 1;
    let away = away.clamp(0, 3) as usize;
    if score > 0.0 { 3 - away } else { 3 + away }
}

/// Draws the p-values of A's and B's responses.
pub(super) fn marks(body: &mut String, marks: &[[Explanation; 2]]) {
    let Some(fpr) = marks.first().map(|marks| marks[0].report.fpr) else { return };
    let p = |side: usize| marks.iter().filter_map(move |marks| marks[side].report.log10_p);
    let least = p(0).chain(p(1)).fold(fpr.log10() - 1.0, f64::min);
    dots(
        body,
        &Dots {
            title: "Evidence of the mark",
            told: "p-value of each response on a logarithmic scale",
            low: least,
            high: 0.0,
            level: Some((fpr.log10(), format!("p = {fpr:?}"))),
            ends: [format!("p = 1e{least:.0}"), "p = 1".into()],
            values: [p(0).collect(), p(1).collect()],
        },
    );
}

/// Draws the lengths of A's and B's responses.
pub(super) fn lengths(body: &mut String, all: &[Rated]) {
    let length =
        |side: usize| all.iter().map(move |rated| rated.example.responses[side].text.chars().count() as f64);
    let most = length(0).chain(length(1)).fold(1.0, f64::max);
    let mean = |side: usize| length(side).sum::<f64>() / all.len().max(1) as f64;
    let speed = |side: usize| -> Option<f64> {
        let speeds: Vec<f64> =
            all.iter().filter_map(|rated| rated.example.responses[side].tokens_per_s).collect();
        (!speeds.is_empty()).then(|| speeds.iter().sum::<f64>() / speeds.len() as f64)
    };
    let mut told = format!("Characters of each response; means A {:.0}, B {:.0}", mean(0), mean(1));
    if let (Some(a), Some(b)) = (speed(0), speed(1)) {
        let _ = write!(told, ". Tokens a second: A {a:.1}, B {b:.1}");
    }
    dots(
        body,
        &Dots {
            title: "Length",
            told: &told,
            low: 0.0,
            high: most,
            level: None,
            ends: ["0".into(), format!("{most} characters")],
            values: [length(0).collect(), length(1).collect()],
        },
    );
}

/// Two rows of dots.
struct Dots<'a> {
    title: &'a str,
    told: &'a str,
    low: f64,
    high: f64,
    level: Option<(f64, String)>,
    ends: [String; 2],
    values: [Vec<f64>; 2],
}

fn dots(body: &mut String, dots: &Dots<'_>) {
    let x = |value: f64| 24.0 + (WIDTH - 32.0) * (value - dots.low) / (dots.high - dots.low);
    let _ = writeln!(
        body,
        "<figure>\n<figcaption>{}</figcaption>\n<svg viewBox=\"0 0 {WIDTH} {}\" role=\"img\" aria-label=\"{}\">",
        dots.title,
        HEIGHT + UNDER,
        Escaped(dots.told)
    );
    if let Some((level, name)) = &dots.level {
        let at = x(*level);
        let anchor = if at > WIDTH / 2.0 { "end" } else { "start" };
        let _ = write!(
            body,
            "<line class=\"level\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"14\" y2=\"{HEIGHT}\"/>\
             <text x=\"{at:.1}\" y=\"10\" text-anchor=\"{anchor}\">{}</text>",
            Escaped(name)
        );
    }
    for (row, (values, side)) in dots.values.iter().zip(["a", "b"]).enumerate() {
        let top = 18.0 + row as f64 * 66.0;
        let _ = write!(
            body,
            "<text class=\"label\" x=\"2\" y=\"{:.1}\">{}</text>",
            top + 36.0,
            side.to_uppercase()
        );
        for (at, value) in values.iter().enumerate() {
            // Dots are spread vertically, so that equal values can be told apart.
            let y = top + 8.0 + (at * 37 % 50) as f64;
            let _ =
                write!(body, "<circle class=\"fill {side}\" cx=\"{:.1}\" cy=\"{y:.1}\" r=\"3\"/>", x(*value));
        }
    }
    let _ = writeln!(
        body,
        "<line class=\"axis\" x1=\"24\" x2=\"{WIDTH}\" y1=\"{HEIGHT}\" y2=\"{HEIGHT}\"/>\
         <text x=\"24\" y=\"{y}\">{}</text><text x=\"{WIDTH}\" y=\"{y}\" text-anchor=\"end\">{}</text>\n</svg>\n\
         <p class=\"small\">{}.</p>\n</figure>",
        Escaped(&dots.ends[0]),
        Escaped(&dots.ends[1]),
        Escaped(dots.told),
        y = HEIGHT + 14.0
    );
}

/// Writes the wins by tag.
pub(super) fn wins(body: &mut String, report: &CompareReport) {
    if report.judge.is_none() && report.tags.is_empty() {
        return;
    }
    body.push_str(
        "<h2>By tag</h2>\n<div class=\"wide\"><table id=\"tags\">\n<thead><tr><th>tag</th><th class=\"n\">examples</th>\
         <th class=\"n\">A wins</th><th class=\"n\">ties</th><th class=\"n\">B wins</th><th class=\"n\">A’s win rate</th>\
         <th>95 % interval</th><th class=\"n\">mean score</th></tr></thead>\n<tbody>\n",
    );
    row(body, "all", None, &report.overall);
    for (at, tag) in report.tags.iter().enumerate() {
        row(body, &tag.tag, Some(at), &tag.wins);
    }
    body.push_str("</tbody></table></div>\n");
}

fn row(body: &mut String, name: &str, at: Option<usize>, wins: &Wins) {
    let data = at.map_or_else(String::new, |at| format!(" data-tag=\"{at}\""));
    let rate = wins.win_rate.map_or_else(|| "–".into(), percent);
    let score = wins.mean_score.map_or_else(|| "–".into(), |score| format!("{score:+.2}").replace('-', "−"));
    let _ = write!(
        body,
        "<tr><td{data}>{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td>\
         <td class=\"n\">{rate}</td><td class=\"interval\">",
        Escaped(name),
        wins.examples,
        wins.a,
        wins.ties,
        wins.b
    );
    if let (Some(rate), Some([low, high])) = (wins.win_rate, wins.interval) {
        let _ = write!(
            body,
            "<svg viewBox=\"0 0 100 14\" aria-hidden=\"true\"><line class=\"level\" x1=\"50\" x2=\"50\" y1=\"0\" y2=\"14\"/>\
             <line class=\"whisker\" x1=\"{:.1}\" x2=\"{:.1}\" y1=\"7\" y2=\"7\"/><circle class=\"mean-point\" cx=\"{:.1}\" cy=\"7\" r=\"3\"/></svg>\
             {} to {}",
            100.0 * low,
            100.0 * high,
            100.0 * rate,
            percent(low),
            percent(high)
        );
    }
    let _ = writeln!(body, "</td><td class=\"n\">{score}</td></tr>");
}

/// Writes the groups of reasons.
pub(super) fn reasons(body: &mut String, groups: &[Group]) {
    if groups.is_empty() {
        return;
    }
    body.push_str(
        "<h2>Reasons</h2>\n<p class=\"small\">Words that set the judge’s reasons apart, and how many examples were won with them. \
         A word may stand in a sentence that denies it.</p>\n<div class=\"wide\"><table id=\"reasons\">\n<thead><tr><th>word</th>\
         <th class=\"n\">won by A</th><th class=\"n\">won by B</th></tr></thead>\n<tbody>\n",
    );
    for (at, group) in groups.iter().enumerate() {
        let _ = writeln!(
            body,
            "<tr><td data-group=\"{at}\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td></tr>",
            Escaped(&group.title),
            group.a,
            group.b
        );
    }
    body.push_str("</tbody></table></div>\n");
}

/// Describes in words what is known of a response.
pub(super) fn response(response: &Response) -> String {
    let mut parts = vec![format!("{} characters", response.text.chars().count())];
    parts.extend(response.tokens.map(|tokens| format!("{tokens} tokens")));
    parts.extend(response.tokens_per_s.map(|speed| format!("{speed:.1} tokens a second")));
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::bin;

    /// The bin in the middle holds the ties.
    #[test]
    fn scores_are_counted_where_they_are_won() {
        for (score, expected) in [
            (1.5, 0),
            (1.25, 1),
            (0.75, 2),
            (0.26, 2),
            (0.25, 3),
            (0.0, 3),
            (-0.25, 3),
            (-0.26, 4),
            (-1.0, 5),
            (-1.26, 6),
            (-1.5, 6),
        ] {
            assert_eq!(bin(score), expected, "{score}");
        }
    }
}
