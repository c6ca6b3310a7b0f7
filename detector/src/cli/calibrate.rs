//! `wmdetect calibrate`.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use wmdetect::atomic_file;
use wmdetect::calibration::{Corpus, Options, calibrate};
use wmdetect::detect::Detector;
use wmdetect::ignore::{IGNORE_VERSION, IgnoreFile, IgnorePassage};
use wmdetect::render::{html, people};
use wmdetect::report::CalibrationReport;
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
        print(people::calibration(&report).as_bytes())?;
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
