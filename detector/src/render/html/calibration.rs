//! The page of `wmdetect calibrate --html`.

use super::{Escaped, fact, page, put, warnings};
use crate::report::{Bucket, CalibrationReport, Rate};
use crate::statistics::{PKind, PValue};

/// Width of both plots, in their own units.
const WIDTH: f64 = 800.0;

/// Largest number of shared passages that the page lists.
const SHOWN: usize = 25;

/// Returns the page of a calibration.
pub fn calibration(report: &CalibrationReport) -> String {
    let mut body = String::new();
    answer(&mut body, report);
    warnings(&mut body, &report.warnings);
    facts(&mut body, report);
    body.push_str("<h2>The key among random keys</h2>\n");
    histogram(&mut body, report);
    body.push_str(
        "<p class=\"small\">How many of the texts each random key flags, and how many the deployed key does. Texts that \
         share passages are flagged together, so these numbers scatter more than a count of independent texts \
         would.</p>\n",
    );
    if !report.buckets.is_empty() {
        body.push_str("<h2>False positive rate by length</h2>\n");
        lengths(&mut body, report);
        table(&mut body, report);
    }
    shared(&mut body, report);
    meaning(&mut body, report);
    page(&format!("Calibration of key {}", report.key_id), &body)
}

fn percent(share: f64) -> String {
    let percent = 100.0 * share;
    if percent > 0.0 && percent < 0.095 { format!("{percent:.3} %") } else { format!("{percent:.2} %") }
}

fn answer(body: &mut String, report: &CalibrationReport) {
    let (class, sentence) = if report.worse_than_chance {
        (
            "bad",
            format!(
                "This key is worse than chance allows on these texts: it flags {} of {}, and {} of {} random keys flag \
                 as many.",
                report.flagged, report.documents, report.keys_at_least, report.random_keys
            ),
        )
    } else {
        (
            "watermarked",
            format!(
                "An ordinary key on these texts: it flags {} of {}, and {} of {} random keys flag as many or more.",
                report.flagged, report.documents, report.keys_at_least, report.random_keys
            ),
        )
    };
    put!(body, "<p class=\"verdict {class}\">{}</p>\n", Escaped(&sentence));
}

fn facts(body: &mut String, report: &CalibrationReport) {
    let rate = &report.rate;
    body.push_str("<table class=\"facts\">\n");
    fact(body, "rank p", &format!("{:.3}; a key is refused at 0.001", report.rank_p));
    fact(body, "rate of this key", &percent(rate.key));
    fact(
        body,
        "rate over random keys",
        &format!(
            "{} on average (95 % interval over keys {} to {}); {} expected, {} asked for",
            percent(rate.mean),
            percent(rate.mean_interval[0]),
            percent(rate.mean_interval[1]),
            percent(rate.expected),
            percent(report.fpr),
        ),
    );
    fact(
        body,
        "single random keys",
        &format!("{} to {}, the middle 95 %", percent(rate.keys_range[0]), percent(rate.keys_range[1])),
    );
    let mut texts = format!(
        "{}, with {} tokens, of which {} count",
        report.documents, report.tokens, report.scored_tokens
    );
    if report.ignored_tokens > 0 {
        put!(texts, " and {} are ignored as known boilerplate", report.ignored_tokens);
    }
    if report.failed > 0 {
        put!(texts, "; {} more could not be read", report.failed);
    }
    fact(body, "texts", &texts);
    fact(body, "detector", &format!("{}, {}", report.detector.name().replace('_', " "), report.scheme));
    if let Some(tokenizer) = &report.tokenizer {
        fact(body, "tokenizer", tokenizer);
    }
    fact(body, "random keys", &format!("{}, from seed {}", report.random_keys, report.seed));
    body.push_str("</table>\n");
}

/// Returns a round step so that about `wanted` of them reach `top`.
fn step(top: f64, wanted: f64) -> f64 {
    let raw = (top / wanted).max(f64::MIN_POSITIVE);
    let power = 10f64.powf(raw.log10().floor());
    let digit = [1.0, 2.0, 5.0, 10.0].into_iter().find(|digit| digit * power >= raw * (1.0 - 1e-9));
    digit.unwrap_or(10.0) * power
}

/// Draws the random keys' counts as bars, and the deployed key's as a line.
fn histogram(body: &mut String, report: &CalibrationReport) {
    const HEIGHT: f64 = 240.0;
    const LEFT: f64 = 44.0;
    const BOTTOM: f64 = 44.0;
    const TOP: f64 = 26.0;
    let most = report.random_flagged.iter().copied().max().unwrap_or(0).max(report.flagged);
    // At most 60 bars, each of the same number of counts.
    let wide = (most + 1).div_ceil(60);
    let bars = (most / wide + 1) as usize;
    let mut keys = vec![0_u64; bars];
    for &flagged in &report.random_flagged {
        keys[(flagged / wide) as usize] += 1;
    }
    let tallest = keys.iter().copied().max().unwrap_or(1).max(1) as f64;
    let slot = (WIDTH - LEFT - 10.0) / bars as f64;
    let floor = HEIGHT - BOTTOM;
    let height = |keys: f64| (floor - TOP) * keys / tallest;

    put!(
        body,
        "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"Numbers of flagged texts over random keys\">\n"
    );
    for (i, &count) in keys.iter().enumerate().filter(|(_, count)| **count > 0) {
        let high = height(count as f64);
        put!(
            body,
            "<rect class=\"bar\" x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{high:.1}\"/>\n",
            LEFT + slot * i as f64 + 0.05 * slot,
            floor - high,
            0.9 * slot,
        );
    }
    let ticks = step(tallest, 4.0).max(1.0);
    for i in 0..=(tallest / ticks) as u64 {
        let keys = ticks * i as f64;
        let y = floor - height(keys);
        put!(body, "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{keys}</text>\n", LEFT - 6.0, y + 4.0);
    }
    put!(
        body,
        "<line class=\"axis\" x1=\"{LEFT}\" y1=\"{floor}\" x2=\"{}\" y2=\"{floor}\"/>\n",
        WIDTH - 10.0
    );
    let every = step(bars as f64, 10.0).max(1.0) as usize;
    for i in (0..bars).step_by(every) {
        put!(
            body,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>\n",
            LEFT + slot * (i as f64 + 0.5),
            floor + 16.0,
            i as u64 * wide
        );
    }
    put!(
        body,
        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">texts that a key flags; upwards, number of random \
         keys</text>\n",
        f64::midpoint(LEFT, WIDTH),
        floor + 36.0
    );
    let x = LEFT + slot * ((report.flagged / wide) as f64 + 0.5);
    put!(
        body,
        "<line class=\"key\" stroke-width=\"2\" x1=\"{x:.1}\" y1=\"{:.1}\" x2=\"{x:.1}\" y2=\"{floor}\"/>\n",
        TOP - 6.0
    );
    let (anchor, shift) = if x > 0.75 * WIDTH { ("end", -6.0) } else { ("start", 6.0) };
    put!(
        body,
        "<text class=\"key\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\">this key: {}</text>\n</svg>\n",
        x + shift,
        TOP - 10.0,
        report.flagged
    );
}

fn bucket_name(bucket: &Bucket) -> String {
    match bucket.to {
        Some(to) => format!("{}–{to}", bucket.from),
        None => format!("{}+", bucket.from),
    }
}

/// Draws for each bucket the range of single keys, the mean over keys with its interval, and the deployed key.
fn lengths(body: &mut String, report: &CalibrationReport) {
    const HEIGHT: f64 = 260.0;
    const LEFT: f64 = 64.0;
    const BOTTOM: f64 = 44.0;
    const TOP: f64 = 16.0;
    let highest = |rate: &Rate| rate.keys_range[1].max(rate.key).max(rate.mean_interval[1]);
    let top = report.buckets.iter().map(|bucket| highest(&bucket.rate)).fold(1.2 * report.fpr, f64::max);
    let floor = HEIGHT - BOTTOM;
    let y = |rate: f64| floor - (floor - TOP) * rate / top;
    let slot = (WIDTH - LEFT - 10.0) / report.buckets.len() as f64;

    put!(
        body,
        "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"False positive rate by length\">\n"
    );
    let ticks = step(top, 4.0);
    for i in 0..=(top / ticks) as u64 {
        let rate = ticks * i as f64;
        put!(
            body,
            "<line class=\"axis\" x1=\"{LEFT}\" y1=\"{0:.1}\" x2=\"{1}\" y2=\"{0:.1}\"/><text x=\"{2:.1}\" y=\"{3:.1}\" \
             text-anchor=\"end\">{4}</text>\n",
            y(rate),
            WIDTH - 10.0,
            LEFT - 6.0,
            y(rate) + 4.0,
            if rate == 0.0 { "0 %".into() } else { percent(rate) }
        );
    }
    put!(
        body,
        "<line class=\"level\" x1=\"{LEFT}\" y1=\"{0:.1}\" x2=\"{1}\" y2=\"{0:.1}\"/>\n",
        y(report.fpr),
        WIDTH - 10.0
    );
    for (i, bucket) in report.buckets.iter().enumerate() {
        let rate = &bucket.rate;
        let middle = LEFT + slot * (i as f64 + 0.5);
        let half = (0.28 * slot).min(36.0);
        let band = y(rate.keys_range[0]) - y(rate.keys_range[1]);
        put!(
            body,
            "<rect class=\"range\" x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\"/>\n",
            middle - half,
            y(rate.keys_range[1]),
            2.0 * half,
            band.max(1.0)
        );
        let [low, high] = rate.mean_interval;
        put!(
            body,
            "<path class=\"mean\" d=\"M{0:.1} {2:.1}H{1:.1}M{3:.1} {4:.1}V{5:.1}\"/>\n",
            middle - 0.6 * half,
            middle + 0.6 * half,
            y(rate.mean),
            middle,
            y(low),
            y(high)
        );
        put!(body, "<circle class=\"key\" cx=\"{middle:.1}\" cy=\"{:.1}\" r=\"4\"/>\n", y(rate.key));
        put!(
            body,
            "<text x=\"{middle:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>\n",
            floor + 16.0,
            bucket_name(bucket)
        );
    }
    put!(
        body,
        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">scored tokens of the text</text>\n</svg>\n",
        f64::midpoint(LEFT, WIDTH),
        floor + 36.0
    );
    body.push_str(
        "<p class=\"small\">Dot: this key. Cross: mean over random keys with its 95 % interval, the unit being the key. \
         Band: the middle 95 % of single keys. Dashed: the rate that was asked for.</p>\n",
    );
}

fn table(body: &mut String, report: &CalibrationReport) {
    body.push_str(
        "<div class=\"wide\"><table>\n<tr><th>scored tokens</th><th class=\"n\">texts</th><th class=\"n\">flagged</th>\
         <th class=\"n\">this key</th><th class=\"n\">mean over keys</th><th class=\"n\">95 % interval</th>\
         <th class=\"n\">expected</th></tr>\n",
    );
    for bucket in &report.buckets {
        let rate = &bucket.rate;
        put!(
            body,
            "<tr><td>{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td>\
             <td class=\"n\">{} – {}</td><td class=\"n\">{}</td></tr>\n",
            bucket_name(bucket),
            bucket.documents,
            bucket.flagged,
            percent(rate.key),
            percent(rate.mean),
            percent(rate.mean_interval[0]),
            percent(rate.mean_interval[1]),
            percent(rate.expected)
        );
    }
    body.push_str("</table></div>\n");
}

fn shared(body: &mut String, report: &CalibrationReport) {
    let shared = &report.shared;
    body.push_str("<h2>What many texts share</h2>\n");
    if shared.passages.is_empty() {
        put!(body, "<p>No n-gram stands in {} texts or more.</p>\n", shared.least_documents);
        return;
    }
    put!(
        body,
        "<p>{} n-grams stand in {} texts or more; they fill {} of the scored positions. A passage that is unlucky under \
         the key (small p) lifts every text that carries it. Known boilerplate is better left out: \
         <code>--write-ignore FILE</code> writes this list, <code>--ignore FILE</code> leaves it out.</p>\n",
        shared.ngrams,
        shared.least_documents,
        percent(shared.scored_share)
    );
    body.push_str(
        "<div class=\"wide\"><table>\n<tr><th class=\"n\">texts</th><th class=\"n\">p alone</th><th>passage</th></tr>\n",
    );
    for passage in shared.passages.iter().take(SHOWN) {
        let text = passage.text.clone().unwrap_or_else(|| format!("{:?}", passage.tokens));
        // One line each: the page is for reading, and the JSON has the text as it is.
        let text = text.replace('\n', "↵");
        let p = PValue { log10: passage.log10_p, kind: PKind::Exact };
        put!(
            body,
            "<tr><td class=\"n\">{}</td><td class=\"n\">{p}</td><td class=\"passage\">{}</td></tr>\n",
            passage.documents,
            Escaped(&text)
        );
    }
    body.push_str("</table></div>\n");
    let more = shared.passages_found.saturating_sub(shared.passages.len().min(SHOWN) as u64);
    if more > 0 {
        put!(body, "<p class=\"small\">And {more} more.</p>\n");
    }
}

fn meaning(body: &mut String, report: &CalibrationReport) {
    put!(
        body,
        "<h2>What this means, and what it does not</h2>\n\
         <p>The texts were said to be unmarked; a marked one among them counts against the key. The rank is exact however \
         much the texts resemble each other: an ordinary key comes to p ≤ 0.001 once in a thousand calibrations. So repeat \
         a refusal with another seed and other texts before you retire a key, and do not repeat a pass until it fails.</p>\n\
         <p>The rate of this key is a fact about these texts, and not an estimate for others: they share passages, and \
         one key flags those or does not. The p-values of <code>wmdetect score</code> need no calibration; they hold for \
         any text at the rate that was asked for ({}).</p>\n",
        percent(report.fpr)
    );
}
