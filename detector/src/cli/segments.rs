//! `wmdetect segments`.

use std::process::ExitCode;

use anyhow::Result;
use wmdetect::Detector;
use wmdetect::render::html::{self, Segmented};
use wmdetect::render::people;
use wmdetect::report::{Failure, Row, SegmentsReport};
use wmdetect::shell::outputs::{Kind, Outputs};
use wmdetect::shell::{Batch, Content, InputError, Source};

use super::args::SegmentsArgs;
use super::{message, parallel, print, print_error, print_json, verdict_code};

/// A longer text is not shown on a page.
const SHOWN: usize = 8 << 20;

pub(super) fn run(args: &SegmentsArgs) -> Result<ExitCode> {
    let detector =
        args.detector.detector(|builder| builder.fpr(args.fpr))?.with_channel(args.channel.channel)?;
    let mut outputs = Outputs::new(args.force).reads(args.detector.paths());
    let page_file = args.html.as_deref().map(|path| outputs.open(path, Kind::PAGE)).transpose()?;
    let shown = args.html.is_some();
    let mut page = Vec::new();
    let (mut batch, mut found) = (Batch::new("scoring"), false);
    parallel::judge_each(
        &args.detector.input,
        |_, source| segmented(&detector, source?, shown),
        |name, result| match result {
            Ok((bytes, report)) => {
                let any = !report.segments.is_empty();
                found |= any;
                if args.json {
                    print_json(&Row::new(name, &report))?;
                } else {
                    print(people::segments(name, &report).as_bytes())?;
                }
                if shown {
                    page.push(Segmented::Text { input: name.into(), bytes, report: Box::new(report) });
                }
                batch.found(if any { "with a finding" } else { "without" });
                Ok(())
            }
            Err(error) => {
                if shown {
                    page.push(Segmented::Failed(Row::new(name, Failure::new(message(&error)))));
                }
                print_error(&mut batch, name, &error, args.json)
            }
        },
    )?;
    if let Some(file) = page_file {
        file.finish(html::segments(&page).as_bytes())?;
    }
    let failed = batch.failures() > 0;
    batch.finish(Some(args.fpr), !args.json);
    Ok(verdict_code(failed, args.exit_code && !found))
}

/// Returns the passages of one input, with its bytes if they are to be `shown`.
fn segmented(
    detector: &Detector,
    source: Source<'_>,
    shown: bool,
) -> Result<(Option<Vec<u8>>, SegmentsReport), InputError> {
    let content = source.in_memory()?;
    let report = detector.segments(content.input())?;
    let bytes = match content {
        Content::Text(bytes) if shown && bytes.len() <= SHOWN => Some(bytes),
        _ => None,
    };
    Ok((bytes, report))
}
