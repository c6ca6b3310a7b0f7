//! `wmdetect segments`.

use std::fmt::Write as _;
use std::process::ExitCode;

use anyhow::Result;
use wmdetect::detect::Detector;
use wmdetect::report::SegmentsReport;
use wmdetect::statistics::PValue;

use super::args::SegmentsArgs;
use super::inputs::{self, Content};
use super::{ignoring, print, print_error, print_json, read_key, read_keyring};

pub(super) fn run(args: &SegmentsArgs) -> Result<ExitCode> {
    let detector = match &args.keyring {
        Some(dir) => Detector::for_keyring(read_keyring(dir)?),
        None => Detector::for_tokens(read_key(args.key.as_ref())?),
    };
    let mut detector = detector.fpr(args.fpr)?;
    if let Some(tokenizer) = args.input.open_tokenizer()? {
        detector = detector.with_tokenizer(tokenizer)?.normaliser(args.input.text.normaliser());
    }
    if let Some(path) = &args.ignore {
        detector = ignoring(detector, path)?;
    }
    let (mut failed, mut found) = (false, false);
    inputs::for_each(&args.input, |name, content| {
        let report = match content {
            Ok(Content::Text(bytes)) => detector.segments_bytes(&bytes).map_err(|error| error.to_string()),
            Ok(Content::Tokens(ids)) => Ok(detector.segments_of_tokens(&ids)),
            Err(error) => Err(error),
        };
        match report {
            Ok(report) => {
                let report = SegmentsReport { input: name.into(), ..report };
                found |= !report.segments.is_empty();
                if args.json { print_json(&report) } else { Ok(print(for_people(&report).as_bytes())?) }
            }
            Err(error) => {
                failed = true;
                print_error(name, error, args.json)
            }
        }
    })?;
    Ok(ExitCode::from(match (failed, args.exit_code && !found) {
        (true, _) => 1,
        (false, true) => 3,
        (false, false) => 0,
    }))
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
    }
    let _ = write!(text, "\n  {} of {} tokens scored", report.scored_tokens, report.tokens);
    for warning in &report.warnings {
        let _ = write!(text, "\n  warning: {warning}");
    }
    text.push('\n');
    text
}
