//! `wmdetect calibrate`.

use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use wmdetect::atomic_file;
use wmdetect::calibration::{Corpus, Options, calibrate};
use wmdetect::detect::Detector;
use wmdetect::ignore::{IGNORE_VERSION, IgnoreFile, IgnorePassage};
use wmdetect::report::CalibrationReport;
use wmdetect::report::html;
use wmdetect::text::Tokenizer;

use super::args::CalibrateArgs;
use super::inputs::{self, Content};
use super::{decider, ignoring, print, print_error, print_json, read_key};

/// Shared passages that the report lists.
const LISTED: usize = 50;

pub(super) fn run(args: &CalibrateArgs) -> Result<ExitCode> {
    let key = read_key(args.key.as_ref())?;
    let (prf, key_id) = (key.prf(), key.id());
    // Checks the rate, and later the tokenizer against the key.
    let mut detector = Detector::for_tokens(key).fpr(args.fpr)?;
    let tokenizer = args.input.open_tokenizer()?.map(std::sync::Arc::new);
    if let Some(tokenizer) = &tokenizer {
        detector = detector
            .with_tokenizer(std::sync::Arc::clone(tokenizer))?
            .normaliser(args.input.text.normaliser());
    }
    if let Some(path) = &args.ignore {
        detector = ignoring(detector, path)?;
    }

    let mut corpus = Corpus::new(prf.scheme().ngram_len());
    let mut failed = 0;
    inputs::for_each(&args.input, |name, content| {
        let ids = match content {
            Ok(Content::Text(bytes)) => detector.tokens_of_bytes(&bytes).map_err(|error| error.to_string()),
            Ok(Content::Tokens(ids)) => Ok(ids),
            Err(error) => Err(error),
        };
        match ids {
            Ok(ids) => {
                corpus.push(&prf, &ids, detector.ignored());
                Ok(())
            }
            Err(error) => {
                failed += 1;
                // The report is one object; rows of errors would not belong to it.
                print_error(name, error, false)
            }
        }
    })?;
    if corpus.is_empty() {
        bail!(
            "no document to calibrate on; expected unmarked texts, one a file or, with --jsonl, one a line"
        );
    }

    let seed = match args.seed {
        Some(seed) => seed,
        None => system_seed()?,
    };
    let options = Options {
        decider: decider(args.detector, args.profile.as_deref(), args.bayesian.as_deref())?,
        fpr: args.fpr,
        keys: args.keys,
        seed,
        least_documents: args.shared,
        passages: if args.write_ignore.is_some() { usize::MAX } else { LISTED },
    };
    let calibration = calibrate(&corpus, &prf, &options)?;
    let mut report = CalibrationReport::new(calibration, prf.scheme().name(), &key_id);
    report.failed = failed;
    report.tokenizer = tokenizer.as_ref().map(|tokenizer| tokenizer.name().to_owned());
    if let Some(tokenizer) = &tokenizer {
        for passage in &mut report.shared.passages {
            passage.text = Some(tokenizer.decode(&passage.tokens));
        }
    }
    if let Some(path) = &args.write_ignore {
        write_ignore(path, &report, prf.scheme().ngram_len(), tokenizer.as_deref())?;
    }
    report.shared.passages.truncate(LISTED);
    if let Some(path) = &args.html {
        atomic_file::write(path, html::calibration(&report).as_bytes())
            .with_context(|| format!("cannot write the page {}", path.display()))?;
    }
    if args.json {
        print_json(&report)?;
    } else {
        print(for_people(&report).as_bytes())?;
    }
    Ok(ExitCode::from(match (report.worse_than_chance, failed > 0) {
        (true, _) => 3,
        (false, true) => 1,
        (false, false) => 0,
    }))
}

/// From the system's randomness, by way of a secret that is used for nothing else. 32 bits, so that every reader of
/// JSON keeps them.
fn system_seed() -> Result<u64> {
    let secret = wmdetect::scheme::Secret::generate()?;
    Ok(secret.expose().iter().take(4).fold(0, |seed, &byte| seed << 8 | u64::from(byte)))
}

fn write_ignore(
    path: &Path,
    report: &CalibrationReport,
    ngram_len: usize,
    tokenizer: Option<&Tokenizer>,
) -> Result<()> {
    let passage = |passage: &wmdetect::report::SharedPassage| IgnorePassage {
        tokens: Some(passage.tokens.clone()),
        text: passage.text.clone(),
        documents: Some(passage.documents),
    };
    let file = IgnoreFile {
        schema_version: IGNORE_VERSION,
        ngram_len: ngram_len as u32,
        tokenizer: tokenizer.map(|tokenizer| tokenizer.fingerprint().to_string()),
        passages: report.shared.passages.iter().map(passage).collect(),
    };
    let mut json = serde_json::to_vec_pretty(&file)?;
    json.push(b'\n');
    atomic_file::write(path, &json)
        .with_context(|| format!("cannot write the ignore file {}", path.display()))
}

/// The report in a few lines: the answer first.
fn for_people(report: &CalibrationReport) -> String {
    let answer =
        if report.worse_than_chance { "worse than chance allows" } else { "an ordinary key on these texts" };
    let rate = &report.rate;
    let percent = |share: f64| format!("{:.2} %", 100.0 * share);
    let mut text = format!(
        "key {}: {answer} (rank p = {:.3} among {} random keys)\n  {} of {} texts flagged: {}; random keys {} on \
         average ({} to {}), the middle 95 % of them {} to {}; {} expected",
        report.key_id,
        report.rank_p,
        report.random_keys,
        report.flagged,
        report.documents,
        percent(rate.key),
        percent(rate.mean),
        percent(rate.mean_interval[0]),
        percent(rate.mean_interval[1]),
        percent(rate.keys_range[0]),
        percent(rate.keys_range[1]),
        percent(rate.expected),
    );
    // Writing to a string cannot fail.
    for bucket in &report.buckets {
        let to = bucket.to.map_or_else(|| "and more".into(), |to| format!("to {to}"));
        let _ = write!(
            text,
            "\n  {} {to} scored tokens: {} of {} texts flagged; random keys {} on average",
            bucket.from,
            bucket.flagged,
            bucket.documents,
            percent(bucket.rate.mean),
        );
    }
    let shared = &report.shared;
    let _ = write!(
        text,
        "\n  {} n-grams stand in {} texts or more and fill {} of the scored positions",
        shared.ngrams,
        shared.least_documents,
        percent(shared.scored_share),
    );
    for passage in shared.passages.iter().take(5) {
        let shown = passage.text.as_ref().map_or_else(|| format!("{:?}", passage.tokens), |text| short(text));
        let _ = write!(
            text,
            "\n    in {} texts, p alone {}: {shown}",
            passage.documents,
            wmdetect::statistics::PValue { log10: passage.log10_p, kind: wmdetect::statistics::PKind::Exact },
        );
    }
    for warning in &report.warnings {
        let _ = write!(text, "\n  warning: {warning}");
    }
    text.push('\n');
    text
}

/// The start of a passage on one line, without what a terminal would obey.
fn short(text: &str) -> String {
    const SHOWN: usize = 60;
    let line: String = text.chars().take(SHOWN).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().count() > SHOWN { format!("{line:?}…") } else { format!("{line:?}") }
}
