//! `wmdetect score`.

use std::process::ExitCode;

use anyhow::Result;
use wmdetect::render::html::{self, Scored};
use wmdetect::render::{people, terminal};
use wmdetect::report::{Explanation, Failure, Row};
use wmdetect::shell::outputs::{Kind, Outputs};
use wmdetect::shell::{Batch, Content, InputError, Source};
use wmdetect::text::normalise::Normaliser;
use wmdetect::{Detector, Input, Verdict};

use super::args::{ColorChoice, ScoreArgs};
use super::{message, parallel, print, print_error, print_json, trials, verdict_code};

pub(super) fn run(args: &ScoreArgs) -> Result<ExitCode> {
    let decider = args.method.decider()?;
    let detector = args.detector.detector(|builder| builder.method(decider).fpr(args.fpr))?;
    let colours = match args.color {
        ColorChoice::Always => true,
        ColorChoice::Never => false,
        ColorChoice::Auto => terminal::colours_are_welcome(),
    };
    let mut outputs = Outputs::new(args.force).reads(args.detector.paths()).reads(args.method.paths());
    let page_file = args.html.as_deref().map(|path| outputs.open(path, Kind::PAGE)).transpose()?;
    let mut page = Vec::new();
    let (mut batch, mut found) = (Batch::new("scoring"), false);
    let shown = args.view || args.html.is_some();
    let input = &args.detector.input;
    // Of many texts each would cost as much as several.
    let alone = input.files.len() == 1 && !input.jsonl && !input.tokens;
    let trials_from = alone.then(|| input.text.normaliser());
    parallel::judge_each(
        input,
        |_, source| scored(&detector, source?, shown, trials_from),
        |name, scored| match scored {
            Ok((bytes, explanation)) => {
                let report = &explanation.report;
                let verdict = report.verdict;
                found |= verdict == Verdict::Watermarked;
                if args.json {
                    print_json(&Row::new(name, report))?;
                } else {
                    let mut text = people::score(name, report);
                    if report.verdict != Verdict::Watermarked && !report.spans.is_empty() {
                        text.push_str("  hint: `wmdetect segments` is about passages; this verdict is about the whole text\n");
                    }
                    print(text.as_bytes())?;
                }
                if args.view && !explanation.tokens.is_empty() {
                    print(terminal::view(bytes.as_deref(), &explanation, colours).as_bytes())?;
                }
                if args.html.is_some() {
                    let explanation = Box::new(explanation);
                    page.push(Scored::Text { input: name.into(), bytes, explanation });
                }
                batch.found(verdict.name());
                Ok(())
            }
            Err(error) => {
                if args.html.is_some() {
                    page.push(Scored::Failed(Row::new(name, Failure::new(message(&error)))));
                }
                print_error(&mut batch, name, &error, args.json)
            }
        },
    )?;
    if let Some(file) = page_file {
        file.finish(html::score(&page).as_bytes())?;
    }
    let failed = batch.failures() > 0;
    batch.finish(Some(args.fpr), !args.json);
    Ok(verdict_code(failed, args.exit_code && !found))
}

/// The report of one input, with its bytes and its tokens if they are to be `shown`. What is too long to be held in
/// memory has neither. With `trials_from`, the normalisation in use, a text in which nothing was found is tried with others.
fn scored(
    detector: &Detector,
    source: Source<'_>,
    shown: bool,
    trials_from: Option<Normaliser>,
) -> Result<(Option<Vec<u8>>, Explanation), InputError> {
    let content = match source {
        Source::Content(content) => content,
        Source::Long(reader) => return Ok((None, detector.score(Input::reader(reader))?.into())),
    };
    let mut explanation =
        if shown { detector.explain(content.input())? } else { detector.score(content.input())?.into() };
    let Content::Text(bytes) = content else { return Ok((None, explanation)) };
    let report = &mut explanation.report;
    let suggestion = trials_from.and_then(|given| trials::suggestion(detector, given, report, &bytes));
    report.warnings.extend(suggestion);
    Ok((shown.then_some(bytes), explanation))
}
