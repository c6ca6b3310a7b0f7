//! `wmdetect train`.

use std::process::ExitCode;

use anyhow::{Result, bail};
use schemars::JsonSchema;
use serde::Serialize;
use wmdetect::Cache;
use wmdetect::counted::counted;
use wmdetect::report::SCHEMA_VERSION;
use wmdetect::shell::OneLine;
use wmdetect::shell::outputs::Kind;
use wmdetect::statistics::llr::Source;
use wmdetect::statistics::llr::fit::{choose, evidence, fit};
use wmdetect::statistics::{Llr, Profile, Statistic as _};

use super::args::{TrainArgs, Trainable};
use super::detector::open_profile;
use super::marked_texts::{RATES, Texts, lengths_for_people, outputs, read_texts, warn_of_little};
use super::{print, print_json, train_bayesian};

/// Largest number of classes that is tried.
const MOST_CLASSES: usize = 6;

/// The report of `wmdetect train`.
#[derive(Serialize, JsonSchema)]
pub(super) struct TrainReport {
    /// [`SCHEMA_VERSION`].
    schema_version: u32,
    /// Name of the detector that was fitted.
    detector: String,
    /// The file that was written.
    output: String,
    /// Texts read.
    texts: u64,
    /// Their scored tokens.
    tokens: u64,
    /// Number of layers that the detector uses.
    depth: u32,
    /// Number of entropy classes.
    classes: u32,
    /// Mean of the log likelihood ratio over the tokens, in nats.
    evidence: f64,
    /// The same mean on held-out texts, for 1, 2, … classes; empty if the number of classes was given.
    held_out_evidence: Vec<f64>,
    /// Number of scored tokens from which on a marked text is found with probability 0.9, at the false positive rates
    /// 1e-2, 1e-3 and 1e-6; null if no length is enough.
    required_tokens: Vec<Option<u64>>,
}

pub(super) fn run(args: &TrainArgs) -> Result<ExitCode> {
    match args.detector {
        Trainable::Llr => llr(args),
        Trainable::Bayesian => train_bayesian::run(args),
    }
}

fn llr(args: &TrainArgs) -> Result<ExitCode> {
    let out = outputs(args).open(&args.output, Kind::PROFILE)?;
    let reference = args.reference.as_deref().map(open_profile).transpose()?;
    let Texts { depth, g: texts, .. } = read_texts(args)?;
    let tokens: usize = texts.iter().map(Vec::len).sum();
    if tokens == 0 {
        bail!("the texts have no scored token; expected marked texts of more tokens than the key's context");
    }
    let (mixture, held_out) = match args.classes {
        Some(classes) => (fit(texts.iter().flatten(), depth, classes.into())?, Vec::new()),
        None => choose(&texts, depth, MOST_CLASSES).map(|choice| (choice.classes, choice.held_out))?,
    };
    let source =
        Source { description: args.description.clone(), texts: texts.len() as u64, tokens: tokens as u64 };
    let evidence = evidence(&mixture, texts.iter().flatten());
    let reference = reference.as_ref().map(|profile| (profile.name(), profile.classes()));
    let profile = Profile::new(&args.name, source, mixture, reference);
    out.finish(profile.to_json().as_bytes())?;
    if let Some(cache) = Cache::of_user() {
        profile.remember(&cache);
    }
    let llr = Llr::new(profile.clone());

    let report = TrainReport {
        schema_version: SCHEMA_VERSION,
        detector: "llr".into(),
        output: args.output.display().to_string(),
        texts: texts.len() as u64,
        tokens: tokens as u64,
        depth: profile.depth() as u32,
        classes: profile.classes().count() as u32,
        evidence,
        held_out_evidence: held_out,
        required_tokens: RATES
            .iter()
            .map(|&rate| Some(llr.required_tokens(rate)).filter(|&n| n < u64::MAX))
            .collect(),
    };
    warn_of_little(evidence);
    if args.json {
        print_json(&report)?;
    } else {
        print(for_people(&report).as_bytes())?;
    }
    Ok(ExitCode::SUCCESS)
}

fn for_people(report: &TrainReport) -> String {
    let mut text = format!(
        "{}: {} over {} from {} of {}, {:.3} nats of evidence a token",
        OneLine(&report.output),
        counted(report.classes.into(), "class"),
        counted(report.depth.into(), "layer"),
        counted(report.tokens, "token"),
        counted(report.texts, "text"),
        report.evidence
    );
    text.push_str(&lengths_for_people(&report.required_tokens));
    text.push('\n');
    text
}
