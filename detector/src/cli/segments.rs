//! `wmdetect segments`.

use std::fmt::Write as _;
use std::process::ExitCode;

use anyhow::Result;
use wmdetect::detect::Detector;
use wmdetect::report::SegmentsReport;
use wmdetect::statistics::PValue;

use super::args::SegmentsArgs;
use super::inputs::Content;
use super::{for_input, print_each, read_key, read_keyring};

pub(super) fn run(args: &SegmentsArgs) -> Result<ExitCode> {
    let detector = match &args.keyring {
        Some(dir) => Detector::for_keyring(read_keyring(dir)?),
        None => Detector::for_tokens(read_key(args.key.as_ref())?),
    };
    let detector = for_input(detector.fpr(args.fpr)?, &args.input, args.ignore.as_ref())?;
    let judge = |name: &str, content| {
        let report = match content {
            Content::Text(bytes) => detector.segments_bytes(&bytes)?,
            Content::Tokens(ids) => detector.segments_of_tokens(&ids),
        };
        Ok(SegmentsReport { input: name.into(), ..report })
    };
    let found = |report: &SegmentsReport| !report.segments.is_empty();
    print_each(&args.input, args.json, args.exit_code, judge, found, for_people)
}

/// One line a passage.
fn for_people(report: &SegmentsReport) -> String {
    let passages = match report.segments.len() {
        0 => "no marked passage".to_owned(),
        1 => "1 marked passage".to_owned(),
        n => format!("{n} marked passages"),
    };
    let mut text = format!("{}: {passages}", report.input);
    for span in &report.segments {
        // Writing to a string cannot fail.
        if let Some([start, end]) = span.bytes {
            let _ =
                write!(text, "\n  bytes {start} to {end}, tokens {} to {}", span.tokens[0], span.tokens[1]);
        } else {
            let _ = write!(text, "\n  tokens {} to {}", span.tokens[0], span.tokens[1]);
        }
        let p = PValue { log10: span.log10_p, kind: report.p_kind };
        let _ = write!(text, ": p = {p}, key {}, profile {}", span.key_id, span.profile);
        if span.scored_tokens == 0 {
            text.push_str(", repeats another passage");
        }
    }
    let _ = write!(text, "\n  {} of {} tokens scored", report.scored_tokens, report.tokens);
    for warning in &report.warnings {
        let _ = write!(text, "\n  warning: {warning}");
    }
    text.push('\n');
    text
}
