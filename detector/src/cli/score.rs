//! `wmdetect score`.

use std::io::{self, Read};
use std::process::ExitCode;

use anyhow::Result;
use schemars::JsonSchema;
use serde::Serialize;
use sha2::{Digest, Sha256};
use wmdetect::render::html::{self, Scored};
use wmdetect::render::{people, terminal};
use wmdetect::report::{Explanation, Failure, Report, Row};
use wmdetect::shell::outputs::{Kind, Outputs};
use wmdetect::shell::{self, Batch, Content, InputError, Source};
use wmdetect::signed::{SigningKey, Statement};
use wmdetect::text::normalise::Normaliser;
use wmdetect::timestamp::Timestamp;
use wmdetect::{Detector, Input, Verdict};

use super::args::{ColorChoice, ScoreArgs};
use super::{message, parallel, print, print_error, print_json, trials, verdict_code};

/// A report, with its signature if one was asked for.
#[derive(Serialize, JsonSchema)]
pub(super) struct Signed<'r> {
    #[serde(flatten)]
    report: &'r Report,
    #[serde(skip_serializing_if = "Option::is_none")]
    signature: Option<String>,
}

/// The result of one text.
struct Judged {
    /// The text, if it is to be shown.
    bytes: Option<Vec<u8>>,
    explanation: Explanation,
    signature: Option<String>,
}

pub(super) fn run(args: &ScoreArgs) -> Result<ExitCode> {
    let decider = args.method.decider()?;
    let detector = args
        .detector
        .detector(|builder| builder.method(decider).fpr(args.fpr))?
        .with_channel(args.channel.channel)?;
    let signing = args.sign.as_deref().map(shell::read_signing_key).transpose()?;
    let colours = match args.color {
        ColorChoice::Always => true,
        ColorChoice::Never => false,
        ColorChoice::Auto => terminal::colours_are_welcome(),
    };
    let mut outputs =
        Outputs::new(args.force).reads(args.detector.paths()).reads(args.method.paths()).reads(&args.sign);
    let page_file = args.html.as_deref().map(|path| outputs.open(path, Kind::PAGE)).transpose()?;
    let mut page = Vec::new();
    let (mut batch, mut found) = (Batch::new("scoring"), false);
    let shown = args.view || args.html.is_some();
    let input = &args.detector.input;
    // With many texts, each would cost as much as several.
    let alone = input.files.len() == 1 && !input.jsonl && !input.tokens;
    let trials_from = alone.then(|| input.text.normaliser());
    parallel::judge_each(
        input,
        |_, source| scored(&detector, source?, shown, trials_from, signing.as_ref()),
        |name, scored| match scored {
            Ok(Judged { bytes, explanation, signature }) => {
                let report = &explanation.report;
                let verdict = report.verdict;
                found |= verdict == Verdict::Watermarked;
                if args.json {
                    print_json(&Row::new(name, Signed { report, signature }))?;
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

/// Returns the report of one input, with its bytes and its tokens if they are to be `shown`. A text that is too long
/// for memory has neither. With `trials_from`, the normalisation in use, a text in which nothing was found is tried
/// with other normalisations.
fn scored(
    detector: &Detector,
    source: Source<'_>,
    shown: bool,
    trials_from: Option<Normaliser>,
    signing: Option<&SigningKey>,
) -> Result<Judged, InputError> {
    let sign = |report: &Report, sha256: [u8; 32]| {
        Some(signing?.sign(&Statement::of(report, sha256, Timestamp::now())))
    };
    let content = match source {
        Source::Content(content) => content,
        Source::Long(reader) => {
            let mut reader = Hashed { reader, hash: Sha256::new() };
            let explanation: Explanation = detector.score(Input::reader(&mut reader))?.into();
            let signature = sign(&explanation.report, reader.hash.finalize().into());
            return Ok(Judged { bytes: None, explanation, signature });
        }
    };
    let mut explanation =
        if shown { detector.explain(content.input())? } else { detector.score(content.input())?.into() };
    let Content::Text(bytes) = content else {
        return Ok(Judged { bytes: None, explanation, signature: None });
    };
    let report = &mut explanation.report;
    let suggestion = trials_from.and_then(|given| trials::suggestion(detector, given, report, &bytes));
    report.warnings.extend(suggestion);
    let signature = sign(report, Sha256::digest(&bytes).into());
    Ok(Judged { bytes: shown.then_some(bytes), explanation, signature })
}

/// A reader that hashes what it reads.
struct Hashed<R> {
    reader: R,
    hash: Sha256,
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = self.reader.read(buffer)?;
        self.hash.update(&buffer[..len]);
        Ok(len)
    }
}
