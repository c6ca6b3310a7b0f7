//! Reports in plain lines, for people. `input` is where the text came from.

mod attack;

use std::fmt::Write as _;

pub use super::words::changed;
use super::words::{false_alarms, needed, passages};
use crate::counted::counted;
use crate::one_line::{OneLine, is_obeyed};
use crate::report::{
    Attribution, CalibrationReport, Changes, GValues, KeyReport, Report, SegmentsReport, Warning, WarningCode,
};
use crate::statistics::{Method, PKind, PValue};
use crate::verdict::Verdict;
pub use attack::attack;

// Writing to a string cannot fail, so the result of `write!` is dropped throughout.

/// Returns the report on a text in a few lines: the verdict first.
pub fn score(input: &str, report: &Report) -> String {
    let mut text = format!("{}: {}", OneLine(input), report.verdict);
    if let Some(log10) = report.log10_p {
        let _ = write!(text, " (p = {})", PValue { log10, kind: report.p_kind });
    }
    if let Some(strength) = report.strength() {
        let _ = write!(text, ": {strength}\n  {}", false_alarms(report.fpr));
    }
    if !report.spans.is_empty() {
        let _ = write!(text, "\n  marked passages: {}", passages(&report.spans, report.p_kind));
    }
    let _ = write!(text, "\n  {} of {} scored", report.scored_tokens, counted(report.tokens, "token"));
    if let Some(ignored @ 1..) = report.ignored_tokens {
        let _ = write!(text, ", {ignored} left out as boilerplate");
    }
    if let Some(score) = report.score {
        let _ = match report.detector {
            Method::Mean => write!(text, ", mean {score:.4} (0.5 without the mark)"),
            Method::WeightedMean => write!(text, ", weighted mean {score:.4} (0.5 without the mark)"),
            Method::Llr => write!(text, ", log likelihood ratio {score:.2} (below 0 without the mark)"),
            Method::Bayesian => {
                let posterior = report.scores.bayesian.unwrap_or_default();
                write!(
                    text,
                    ", log likelihood ratio {score:.2} (below 0 without the mark), posterior {posterior:.6}"
                )
            }
            Method::Gumbel => write!(text, ", mean exponential {score:.4} (1 without the mark)"),
            Method::GreenList => write!(text, ", z of the green tokens {score:.2} (0 without the mark)"),
        };
    }
    if let Some(needed) = needed(report) {
        let _ = write!(text, "\n  {needed}");
    }
    let _ = write!(text, "\n  key {}, {}", report.key_id, report.scheme);
    if let Some(channel) = report.channel {
        let _ = write!(text, ", channel {channel}");
        if let Some(tried) = report.channels_tried {
            let _ = write!(text, " (the best of {tried})");
        }
    }
    if let Some(keys) = report.keys_tried {
        let _ = write!(text, ", the best of {keys}");
    }
    if let Some(tokenizer) = &report.tokenizer {
        let _ = write!(text, "; tokenizer {}", OneLine(tokenizer));
    }
    changes(&mut text, report.normalisation, report.forms_tried);
    end(&mut text, &report.warnings);
    text
}

/// Returns the marked passages of a text, one line each.
pub fn segments(input: &str, report: &SegmentsReport) -> String {
    let passages = match report.segments.len() {
        0 => "no marked passage".to_owned(),
        1 => "1 marked passage".to_owned(),
        n => format!("{n} marked passages"),
    };
    let mut text = format!("{}: {passages}", OneLine(input));
    for span in &report.segments {
        if let Some([start, end]) = span.bytes {
            let _ =
                write!(text, "\n  bytes {start} to {end}, tokens {} to {}", span.tokens[0], span.tokens[1]);
        } else {
            let _ = write!(text, "\n  tokens {} to {}", span.tokens[0], span.tokens[1]);
        }
        let p = PValue { log10: span.log10_p, kind: report.p_kind };
        let _ = write!(text, ": p = {p}, key {}, profile {}", span.key_id, OneLine(&span.profile));
        if span.scored_tokens == 0 {
            text.push_str(", repeats another passage");
        }
    }
    let _ = write!(text, "\n  {} of {} scored", report.scored_tokens, counted(report.tokens, "token"));
    changes(&mut text, report.normalisation, report.forms_tried);
    end(&mut text, &report.warnings);
    text
}

/// Returns the keys that marked a text, one line each.
pub fn attribution(input: &str, report: &Attribution) -> String {
    let mut text = format!("{}: ", OneLine(input));
    text.push_str(match (&report.keys[..], report.verdict) {
        ([], Verdict::TooShort) => "none of the keys, but too short to tell",
        ([], _) => "none of the keys",
        ([_], _) => "marked with one of the keys",
        _ => "marked with several of the keys",
    });
    for key in &report.keys {
        line(&mut text, "", key);
    }
    if let Some(key) = &report.runner_up {
        line(&mut text, "runner-up: ", key);
    }
    let (keys, tokens) = (counted(report.keys_tried, "key"), counted(report.tokens, "token"));
    let _ = write!(text, "\n  {keys} tried, {tokens}");
    changes(&mut text, report.normalisation, report.forms_tried);
    end(&mut text, &report.warnings);
    text
}

fn line(text: &mut String, role: &str, key: &KeyReport) {
    let p = |log10| PValue { log10, kind: key.p_kind };
    let name = key.name.as_ref().map(|name| format!(" ({})", OneLine(name))).unwrap_or_default();
    let _ = write!(
        text,
        "\n  {role}key {}{name}: p = {} for all keys, {} for this one alone; {} {:.4} over {} tokens",
        key.key_id,
        p(key.log10_p),
        p(key.log10_p_alone),
        match key.detector {
            Method::Gumbel => "mean exponential",
            Method::GreenList => "z of the green tokens",
            _ => "weighted mean",
        },
        key.score,
        key.scored_tokens
    );
}

/// Returns a calibration in a few lines: the answer first.
pub fn calibration(report: &CalibrationReport) -> String {
    let answer = match (report.worse_than_chance, report.scored_tokens) {
        (true, _) => "worse than chance allows, or the texts carry its mark",
        (false, 0) => "no token of these texts could be scored, so nothing is known of the key",
        (false, _) => "an ordinary key on these texts",
    };
    let rate = &report.rate;
    let percent = |share: f64| format!("{:.2} %", 100.0 * share);
    let mut text = format!(
        "key {}: {answer} (rank p = {:.3} among {})\n  {} of {} flagged: {}; random keys {} on \
         average ({} to {}), the middle 95 % of them {} to {}; {} expected",
        report.key_id,
        report.rank_p,
        counted(report.random_keys, "random key"),
        report.flagged,
        counted(report.documents, "text"),
        percent(rate.key),
        percent(rate.mean),
        percent(rate.mean_interval[0]),
        percent(rate.mean_interval[1]),
        percent(rate.keys_range[0]),
        percent(rate.keys_range[1]),
        percent(rate.expected),
    );
    for bucket in &report.buckets {
        let to = bucket.to.map_or_else(|| "and more".into(), |to| format!("to {to}"));
        let _ = write!(
            text,
            "\n  {} {to} scored tokens: {} of {} flagged; random keys {} on average",
            bucket.from,
            bucket.flagged,
            counted(bucket.documents, "text"),
            percent(bucket.rate.mean),
        );
    }
    let shared = &report.shared;
    let _ = write!(
        text,
        "\n  {} in {} texts or more; share of the scored positions: {}",
        counted(shared.ngrams, "n-gram"),
        shared.least_documents,
        percent(shared.scored_share),
    );
    for passage in shared.passages.iter().take(5) {
        let shown = passage.text.as_ref().map_or_else(|| format!("{:?}", passage.tokens), |text| short(text));
        let _ = write!(
            text,
            "\n    in {} texts, p alone {}: {shown}",
            passage.documents,
            PValue { log10: passage.log10_p, kind: PKind::Exact },
        );
    }
    end(&mut text, &report.warnings);
    text
}

/// Returns the start of a passage on one line, without characters that a terminal would obey.
fn short(text: &str) -> String {
    const SHOWN: usize = 60;
    let line: String = text.chars().take(SHOWN).map(|c| if is_obeyed(c) { ' ' } else { c }).collect();
    if text.chars().count() > SHOWN { format!("{line:?}…") } else { format!("{line:?}") }
}

/// Returns one line a position: its index, its mask, and its g-bits, its numbers or whether it is green.
pub fn g_values(values: &GValues) -> String {
    let first = values.first as usize;
    let mut text = String::new();
    for (i, mask) in values.mask.chars().enumerate() {
        let _ = write!(text, "{}\t{mask}", first + i);
        if let Some(g) = values.g_bits.as_ref().and_then(|g_bits| g_bits.get(i)) {
            let _ = write!(text, "\t{g}");
        }
        for u in [&values.uniforms, &values.second_uniforms].into_iter().flatten().filter_map(|u| u.get(i)) {
            let _ = write!(text, "\t{u:.10}");
        }
        if let Some(green) = values.green.as_ref().and_then(|green| green.chars().nth(i)) {
            let _ = write!(text, "\t{green}");
        }
        text.push('\n');
    }
    text
}

/// Writes what was changed in the text, if anything was.
fn changes(text: &mut String, changes: Option<Changes>, forms_tried: Option<u64>) {
    if let Some(changed) = changed(changes, forms_tried) {
        let _ = write!(text, "\n  changed before scoring: {changed}");
    }
}

/// Writes the warnings and hints, a line each.
fn end(text: &mut String, warnings: &[Warning]) {
    for warning in warnings {
        let kind = if warning.code == WarningCode::OtherNormalisation { "hint" } else { "warning" };
        let _ = write!(text, "\n  {kind}: {}", OneLine(&warning.message));
    }
    text.push('\n');
}
