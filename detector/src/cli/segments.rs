//! `wmdetect segments`.

use std::process::ExitCode;

use anyhow::Result;
use wmdetect::detect::Detector;
use wmdetect::render::people;
use wmdetect::report::SegmentsReport;

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
    print_each(&args.input, args.json, args.exit_code, judge, found, people::segments)
}
