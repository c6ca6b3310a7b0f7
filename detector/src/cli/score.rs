//! `wmdetect score`.

use std::fmt::Write as _;
use std::process::ExitCode;

use anyhow::Result;
use wmdetect::detect::{Detector, StreamOptions};
use wmdetect::report::Report;
use wmdetect::statistics::{DetectorKind, PValue};
use wmdetect::verdict::Verdict;

use super::args::ScoreArgs;
use super::inputs::{self, Content, Source};
use super::{ignoring, open_profile, print, print_error, print_json, read_key, read_keyring};

pub(super) fn run(args: &ScoreArgs) -> Result<ExitCode> {
    let detector = match &args.keyring {
        Some(dir) => Detector::for_keyring(read_keyring(dir)?),
        None => Detector::for_tokens(read_key(args.key.as_ref())?),
    };
    let detector = match &args.profile {
        Some(profile) => detector.profile(&open_profile(profile)?),
        None => detector.detector(args.detector),
    };
    let mut detector = detector.fpr(args.fpr)?;
    if let Some(tokenizer) = args.input.open_tokenizer()? {
        detector = detector.with_tokenizer(tokenizer)?.normaliser(args.input.text.normaliser());
    }
    if let Some(path) = &args.ignore {
        detector = ignoring(detector, path)?;
    }

    let (mut failed, mut found) = (false, false);
    inputs::for_each_source(&args.input, |name, content| {
        let report = match content {
            Ok(Source::Content(Content::Text(bytes))) => {
                detector.score_bytes(&bytes).map_err(|error| error.to_string())
            }
            Ok(Source::Content(Content::Tokens(ids))) => Ok(detector.score_tokens(&ids)),
            Ok(Source::Long(input)) => {
                detector.score_reader(input, StreamOptions::default()).map_err(|error| error.to_string())
            }
            Err(error) => Err(error),
        };
        match report {
            Ok(report) => {
                let report = Report { input: name.into(), ..report };
                found |= report.verdict == Verdict::Watermarked;
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

/// A report in a few lines: the verdict first.
fn for_people(report: &Report) -> String {
    let verdict = match report.verdict {
        Verdict::Watermarked => "watermarked",
        Verdict::NotDetected => "not detected",
        Verdict::TooShort => "too short to tell",
    };
    let mut text = format!("{}: {verdict}", report.input);
    // Writing to a string cannot fail.
    if let Some(log10) = report.log10_p {
        let _ = write!(text, " (p = {})", PValue { log10, kind: report.p_kind });
    }
    let _ = write!(text, "\n  {} of {} tokens scored", report.scored_tokens, report.tokens);
    if let Some(score) = report.score {
        let _ = match report.detector {
            DetectorKind::Mean => write!(text, ", mean {score:.4} (0.5 without the mark)"),
            DetectorKind::WeightedMean => write!(text, ", weighted mean {score:.4} (0.5 without the mark)"),
            DetectorKind::Llr => write!(text, ", log likelihood ratio {score:.2} (below 0 without the mark)"),
        };
    }
    let _ = write!(text, "\n  key {}, {}", report.key_id, report.scheme);
    if let Some(keys) = report.keys_tried {
        let _ = write!(text, ", the best of {keys}");
    }
    if let Some(tokenizer) = &report.tokenizer {
        let _ = write!(text, "; tokenizer {tokenizer}");
    }
    for warning in &report.warnings {
        let _ = write!(text, "\n  warning: {warning}");
    }
    text.push('\n');
    text
}
