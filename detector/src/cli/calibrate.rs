//! `wmdetect calibrate`.

use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use wmdetect::calibration::{Corpus, Options, calibrate_while};
use wmdetect::ignore::{IGNORE_VERSION, IgnoreFile, IgnorePassage};
use wmdetect::render::{html, people};
use wmdetect::report::CalibrationReport;
use wmdetect::shell::outputs::{Kind, Output, Outputs};
use wmdetect::shell::{Batch, INTERRUPTED, InputError, ProgressLine, Source, about, say, stop_when_asked};
use wmdetect::text::Tokenizer;

use super::args::CalibrateArgs;
use super::parallel::judge_each;
use super::{print, print_error, print_json};

/// Largest number of shared passages that the report lists.
const LISTED: usize = 50;

/// Time after which the total time is estimated, and reported if it is long.
const ESTIMATED: Duration = Duration::from_secs(2);
const LONG: Duration = Duration::from_secs(10);

pub(super) fn run(args: &CalibrateArgs) -> Result<ExitCode> {
    let key = args.detector.keys.read()?;
    let (prf, key_id) = (key.prf(), key.id());
    // Checks the rate, the ignore file, and the tokenizer against the key.
    let detector = args.detector.detector_for(key, |builder| builder.fpr(args.fpr))?;
    let tokenizer = detector.tokenizer();
    let mut outputs = Outputs::new(args.force).reads(args.detector.paths()).reads(args.method.paths());
    let ignore_file =
        args.write_ignore.as_deref().map(|path| outputs.open(path, Kind::IGNORE_FILE)).transpose()?;
    let page_file = args.html.as_deref().map(|path| outputs.open(path, Kind::PAGE)).transpose()?;

    let mut corpus = Corpus::new(prf.scheme().ngram_len());
    let mut batch = Batch::new("reading");
    let tokens = |_: &str, source: Result<Source<'_>, InputError>| -> Result<Vec<Vec<u32>>, InputError> {
        Ok(detector.token_forms(source.and_then(Source::in_memory)?.input())?)
    };
    judge_each(&args.detector.input, tokens, |name, tokens| match tokens {
        Ok(forms) => {
            corpus.push_forms(&prf, &forms, detector.ignore_list());
            batch.found("read");
            Ok(())
        }
        Err(error) => {
            // The report is one object, so there are no rows of errors.
            print_error(&mut batch, name, &error, false)
        }
    })?;
    let failed = batch.failures();
    batch.finish(None, true);
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
        decider: args.method.decider()?,
        fpr: args.fpr,
        keys: args.keys,
        seed,
        least_documents: args.shared,
        passages: if args.write_ignore.is_some() { usize::MAX } else { LISTED },
    };
    let stop = stop_when_asked()?;
    let watch = Mutex::new(Watch::new(corpus.len() as u64, args.keys));
    let calibration = calibrate_while(&corpus, &prf, &options, |done| {
        watch.lock().unwrap_or_else(PoisonError::into_inner).tell(done);
        !stop.load(Ordering::Relaxed)
    })?;
    drop(watch);
    let interrupted = calibration.documents < calibration.documents_given;
    if interrupted && calibration.documents == 0 {
        say("interrupted before a text was through: there is nothing to report");
        return Ok(ExitCode::from(INTERRUPTED));
    }
    let mut report = CalibrationReport::new(calibration, prf.scheme().name(), &key_id);
    report.failed = failed;
    report.tokenizer = tokenizer.map(|tokenizer| tokenizer.name().to_owned());
    if let Some(tokenizer) = tokenizer {
        for passage in &mut report.shared.passages {
            passage.text = Some(tokenizer.decode(&passage.tokens));
        }
    }
    if let Some(file) = ignore_file.filter(|_| !interrupted) {
        write_ignore(file, &report, prf.scheme().ngram_len(), tokenizer.map(AsRef::as_ref))?;
    }
    report.shared.passages.truncate(LISTED);
    if let Some(file) = page_file {
        file.finish(html::calibration(&report).as_bytes())?;
    }
    if args.json {
        print_json(&report)?;
    } else {
        print(people::calibration(&report).as_bytes())?;
    }
    if interrupted {
        let ignore = if args.write_ignore.is_some() { ", and the ignore file is not written" } else { "" };
        say(&format!(
            "interrupted: the report is of the first {} of {} texts{ignore}",
            report.documents,
            corpus.len()
        ));
        return Ok(ExitCode::from(INTERRUPTED));
    }
    Ok(ExitCode::from(match (report.worse_than_chance, failed > 0) {
        (true, _) => 3,
        (false, true) => 1,
        (false, false) => 0,
    }))
}

/// Shows the progress: once the estimated time, and on a terminal a line all the time.
struct Watch {
    line: ProgressLine,
    begun: Instant,
    estimated: bool,
    texts: u64,
    keys: u64,
}

impl Watch {
    fn new(texts: u64, keys: u64) -> Self {
        let begun = Instant::now();
        Self { line: ProgressLine::new("calibrating", "texts"), begun, estimated: false, texts, keys }
    }

    fn tell(&mut self, done: u64) {
        let spent = self.begun.elapsed();
        if done == 0 || spent < ESTIMATED {
            return;
        }
        if !self.estimated {
            self.estimated = true;
            let all = spent.mul_f64(self.texts as f64 / done as f64);
            if all >= LONG {
                say(&format!(
                    "note: {} texts under {} random keys take {}; Ctrl-C ends with a report of the texts so far",
                    self.texts,
                    self.keys,
                    about(all)
                ));
            }
        }
        self.line.show(done, self.texts);
    }
}

/// Returns a seed from the system's randomness, through a secret that is used for nothing else. It has 32 bits, so that
/// every reader of JSON keeps them.
fn system_seed() -> Result<u64> {
    let secret = wmdetect::scheme::Secret::generate()?;
    Ok(secret.expose().iter().take(4).fold(0, |seed, &byte| seed << 8 | u64::from(byte)))
}

fn write_ignore(
    out: Output,
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
    Ok(out.finish(&json)?)
}
