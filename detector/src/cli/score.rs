//! `wmdetect score`.

use std::process::ExitCode;

use anyhow::{Context, Result};
use wmdetect::atomic_file;
use wmdetect::detect::{Detector, StreamOptions};
use wmdetect::render::html::{self, Scored};
use wmdetect::render::{people, terminal};
use wmdetect::report::{ErrorRow, Explanation, SCHEMA_VERSION};
use wmdetect::verdict::Verdict;

use super::args::{ColorChoice, ScoreArgs};
use super::inputs::{Content, Source};
use super::{
    decider, for_input, parallel, print, print_error, print_json, read_key, read_keyring, verdict_code,
};

pub(super) fn run(args: &ScoreArgs) -> Result<ExitCode> {
    let detector = match &args.keyring {
        Some(dir) => Detector::for_keyring(read_keyring(dir)?),
        None => Detector::for_tokens(read_key(args.key.as_ref())?),
    };
    let detector =
        detector.decider(decider(args.detector, args.profile.as_deref(), args.bayesian.as_deref())?);
    let detector = for_input(detector.fpr(args.fpr)?, &args.input, args.ignore.as_ref())?;

    let colours = match args.color {
        ColorChoice::Always => true,
        ColorChoice::Never => false,
        ColorChoice::Auto => terminal::colours_are_welcome(),
    };
    let mut scored_texts = Vec::new();
    let (mut failed, mut found) = (false, false);
    let shown = args.view || args.html.is_some();
    parallel::judge_each(
        &args.input,
        |_, content| scored(&detector, content, shown),
        |name, scored| match scored {
            Ok(mut scored) => {
                let Scored::Text { bytes, explanation } = &mut scored else { return Ok(()) };
                explanation.report.input = name.into();
                let report = &explanation.report;
                found |= report.verdict == Verdict::Watermarked;
                if args.json {
                    print_json(report)?;
                } else {
                    print(people::score(report).as_bytes())?;
                }
                if args.view && !explanation.tokens.is_empty() {
                    print(terminal::view(bytes.as_deref(), explanation, colours).as_bytes())?;
                }
                if args.html.is_some() {
                    scored_texts.push(scored);
                }
                Ok(())
            }
            Err(error) => {
                failed = true;
                if args.html.is_some() {
                    let row =
                        ErrorRow { schema_version: SCHEMA_VERSION, input: name.into(), error: error.clone() };
                    scored_texts.push(Scored::Failed(row));
                }
                print_error(name, error, args.json)
            }
        },
    )?;
    if let Some(path) = &args.html {
        atomic_file::write(path, html::score(&scored_texts).as_bytes())
            .with_context(|| format!("cannot write the page {}", path.display()))?;
    }
    Ok(verdict_code(failed, args.exit_code && !found))
}

/// The report of one input, with its tokens if they are to be `shown`. What is too long to be held in memory has none.
fn scored(detector: &Detector, content: Result<Source<'_>, String>, shown: bool) -> Result<Scored, String> {
    let of = |report| Explanation { report, tokens: Vec::new() };
    let (bytes, explanation) = match content? {
        Source::Content(Content::Text(bytes)) if shown => {
            let explanation = detector.explain_bytes(&bytes).map_err(|error| error.to_string())?;
            (Some(bytes), explanation)
        }
        Source::Content(Content::Text(bytes)) => {
            (None, of(detector.score_bytes(&bytes).map_err(|error| error.to_string())?))
        }
        Source::Content(Content::Tokens(ids)) if shown => (None, detector.explain_tokens(&ids)),
        Source::Content(Content::Tokens(ids)) => (None, of(detector.score_tokens(&ids))),
        Source::Long(input) => {
            let report = detector.score_reader(input, StreamOptions::default());
            (None, of(report.map_err(|error| error.to_string())?))
        }
    };
    Ok(Scored::Text { bytes, explanation: Box::new(explanation) })
}
