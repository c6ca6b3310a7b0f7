//! `wmdetect attack`.
//!
//! | file | what |
//! |---|---|
//! | this | from arguments to a report |
//! | `edits` | the edits that are asked for |
//! | `texts` | reading texts, and cutting them |
//! | `judge` | editing and scoring |
//! | `program` | external programs |
//! | `checkpoint` | stored results |

mod checkpoint;
mod edits;
mod judge;
mod program;
mod texts;

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use wmdetect::attack::{Editor, Synonyms};
use wmdetect::hex;
use wmdetect::render::{html, people};
use wmdetect::report::{AttackReport, Warning, WarningCode};
use wmdetect::shell::outputs::{Kind, Outputs};
use wmdetect::shell::{self, Batch, Hinted, INTERRUPTED, say, stop_when_asked};
use wmdetect::statistics::Decider;
use wmdetect::{Detector, Input};

use super::args::AttackArgs;
use super::{print, print_json};
use checkpoint::Checkpoint;
use judge::Attack;
use texts::{Reading, Side, Texts};

pub(super) fn run(args: &AttackArgs) -> Result<ExitCode> {
    let input = &args.detector.input;
    if input.tokens {
        bail!(Hinted::new(
            "attack edits words and letters: expected texts, found --tokens",
            "leave --tokens out and name the field that holds the text with --field",
        ));
    }
    let edits = edits::of(args)?;
    let (mut lengths, mut fprs) = (args.length.clone(), args.fpr.clone());
    lengths.sort_unstable();
    lengths.dedup();
    fprs.sort_by(|a, b| b.total_cmp(a));
    fprs.dedup();
    let decider = args.method.decider()?;
    let detector = args.detector.detector(|builder| builder.method(decider.clone()))?;
    for &fpr in &fprs {
        detector.with_fpr(fpr)?;
    }
    let tokenizer = detector.tokenizer().context("the detector has no tokenizer")?;
    let table = args.synonyms.as_deref().map(shell::read_text).transpose()?;
    let synonyms = match (&table, &args.synonyms) {
        (Some(table), Some(path)) => Synonyms::parse(table).with_context(|| path.display().to_string())?,
        _ => Synonyms::default(),
    };
    let mut outputs = Outputs::new(args.force)
        .reads(args.detector.paths())
        .reads(args.method.paths())
        .reads(args.human.iter().chain(&args.synonyms));
    if let Some(path) = &args.checkpoint {
        outputs.check_resumed(path, Kind::CHECKPOINT)?;
    }
    let page_file = args.html.as_deref().map(|path| outputs.open(path, Kind::PAGE)).transpose()?;

    let mut batch = Batch::of("reading", ["text", "texts"]);
    let mut reading = Reading {
        side: Side::Marked,
        layout: input.layout(),
        tokenizer,
        normaliser: input.text.normaliser(),
        lengths: &lengths,
        whole: false,
    };
    if let Some(lines) = &mut reading.layout.lines {
        lines.group_field.clone_from(&args.cluster);
    }
    let marked = reading.read(&input.files, &mut batch)?;
    reading.side = Side::Human;
    reading.whole = true;
    if let (Some(lines), Some(field)) = (&mut reading.layout.lines, &args.human_field) {
        lines.field.clone_from(field);
    }
    let mut human = reading.read(&args.human, &mut batch)?;
    let failed = batch.failures();
    batch.finish(None, true);
    let editor = Editor::new(std::mem::take(&mut human.whole), synonyms);
    check(&marked, &editor, &lengths)?;

    let checkpoint = match &args.checkpoint {
        Some(path) => {
            let header = header(args, &detector, &decider, table.as_deref(), &marked, &human)?;
            Some(Checkpoint::open(path, &header)?)
        }
        None => None,
    };
    let attack = Attack {
        detector: &detector,
        editor,
        edits: &edits.edits,
        programs: &edits.programs,
        lengths: &lengths,
        seed: args.seed,
        checkpoint,
        stop: stop_when_asked()?,
    };
    let results = attack.run(&marked, &human)?;
    if results.judged == 0 && results.interrupted() {
        say("interrupted before a text was judged: there is nothing to report");
        return Ok(ExitCode::from(INTERRUPTED));
    }

    let mut report = AttackReport::new(&detector.score(Input::text(""))?);
    report.seed = args.seed;
    report.rows = results.rows(&edits.edits, &lengths, &fprs);
    report.cluster.clone_from(&args.cluster);
    report.texts = marked.all.len() as u64;
    report.human_texts = human.all.len() as u64;
    report.failed = failed;
    report.judged = results.judged;
    report.judged_of = results.interrupted().then_some(results.of);
    report.warnings.extend(remarks(&report, &marked, &lengths, &fprs));
    report.fprs = fprs;
    report.lengths = lengths;
    if let Some(file) = page_file {
        file.finish(html::attack(&report).as_bytes())?;
    }
    if args.json {
        print_json(&report)?;
    } else {
        print(people::attack(&report).as_bytes())?;
    }
    if results.interrupted() {
        let again = match &args.checkpoint {
            Some(_) => "; the same command goes on from the checkpoint",
            None => "; with --checkpoint FILE a run can go on where it was interrupted",
        };
        say(&format!("interrupted: the report is of {} of {} results{again}", results.judged, results.of));
        return Ok(ExitCode::from(INTERRUPTED));
    }
    Ok(ExitCode::from(u8::from(failed > 0 || results.errors > 0)))
}

/// Checks that there is something to edit and to score.
fn check(marked: &Texts, editor: &Editor, lengths: &[u64]) -> Result<()> {
    if !editor.has_words() {
        bail!("--human: expected texts with words, found none");
    }
    if marked.all.is_empty() {
        bail!("no text to edit; expected marked texts, one a file or, with --jsonl, one a line");
    }
    if marked.parts() == 0 {
        let least = lengths.first().copied().unwrap_or_default();
        bail!(Hinted::new(
            format!("expected marked texts of at least {least} tokens, found only shorter ones"),
            "--length takes shorter lengths",
        ));
    }
    Ok(())
}

/// Returns everything that results depend on, for the checkpoint.
fn header(
    args: &AttackArgs,
    detector: &Detector,
    decider: &Decider,
    synonyms: Option<&str>,
    marked: &Texts,
    human: &Texts,
) -> Result<Map<String, Value>> {
    let sha256 = |bytes: &[u8]| hex::encode(&Sha256::digest(bytes));
    let file = |path: &Path| -> Result<String> {
        Ok(sha256(&std::fs::read(path).with_context(|| path.display().to_string())?))
    };
    let learnt = match decider {
        Decider::Llr(profile) => Some(sha256(profile.to_json().as_bytes())),
        Decider::Bayesian(bayesian) => Some(bayesian.model().fingerprint()),
        _ => None,
    };
    let keys: Vec<&str> = detector.key_ids().map(|(id, _)| id).collect();
    let tokenizer = detector.tokenizer().map(|tokenizer| tokenizer.fingerprint().to_string());
    let header = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "seed": args.seed,
        "key_ids": keys,
        "tokenizer": tokenizer,
        "detector": detector.method().name(),
        "detector_sha256": learnt,
        "normalisation": format!("{:?}", args.detector.input.text.normaliser()),
        "ignore_sha256": args.detector.ignore.as_deref().map(file).transpose()?,
        "synonyms_sha256": synonyms.map(|table| sha256(table.as_bytes())),
        "texts_sha256": marked.sha256(),
        "human_sha256": human.sha256(),
    });
    match header {
        Value::Object(header) => Ok(header),
        _ => bail!("the header of a checkpoint is an object"),
    }
}

/// Returns the warnings about the numbers of texts.
fn remarks(report: &AttackReport, marked: &Texts, lengths: &[u64], fprs: &[f64]) -> Vec<Warning> {
    let mut remarks = Vec::new();
    let missing: Vec<String> = lengths
        .iter()
        .enumerate()
        .filter(|(number, _)| marked.all.iter().all(|text| text.ends.len() <= *number))
        .map(|(_, length)| length.to_string())
        .collect();
    if !missing.is_empty() {
        let message =
            format!("no marked text has {} tokens, so nothing is said of that length", missing.join(" or "));
        remarks.push(Warning::new(WarningCode::FewDocuments, message));
    }
    let rare: Vec<String> = fprs
        .iter()
        .filter(|&&fpr| report.human_texts as f64 * fpr < 1.0)
        .map(|fpr| format!("{fpr:?}"))
        .collect();
    if !rare.is_empty() {
        let message = format!(
            "{} human texts are too few to check the rate {}: chance alone takes less than one of them for marked",
            report.human_texts,
            rare.join(" or ")
        );
        remarks.push(Warning::new(WarningCode::FewDocuments, message));
    }
    if let Some(of) = report.judged_of {
        let message = format!("it was interrupted: the report is of {} of {of} results", report.judged);
        remarks.push(Warning::new(WarningCode::Interrupted, message));
    }
    remarks
}
