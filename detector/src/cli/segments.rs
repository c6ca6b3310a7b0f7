//! `wmdetect segments`.

use std::process::ExitCode;

use anyhow::Result;
use wmdetect::render::people;
use wmdetect::report::SegmentsReport;

use super::args::SegmentsArgs;
use super::print_each;

pub(super) fn run(args: &SegmentsArgs) -> Result<ExitCode> {
    let detector = args.detector.detector(|builder| builder.fpr(args.fpr))?;
    let found = |report: &SegmentsReport| !report.segments.is_empty();
    let judge = |input: wmdetect::Input<'_>| detector.segments(input);
    print_each(&args.detector.input, args.json, args.exit_code, judge, found, people::segments)
}
