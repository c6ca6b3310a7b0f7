//! `wmdetect train --detector bayesian`.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Result, bail};
use schemars::JsonSchema;
use serde::Serialize;
use wmdetect::Cache;
use wmdetect::counted::counted;
use wmdetect::report::SCHEMA_VERSION;
use wmdetect::shell::{Hinted, OneLine};
use wmdetect::statistics::bayesian::{BayesianModel, FitOptions, Provenance, fit};
use wmdetect::statistics::{Bayesian, Statistic as _};

use super::args::TrainArgs;
use super::marked_texts::{RATES, Texts, lengths_for_people, outputs, read_texts, warn_of_little};
use super::{print, print_json, say};

/// Largest number of keys that are recorded in the detector.
const MOST_KEYS: usize = 16;

/// The report of `wmdetect train --detector bayesian`.
#[derive(Serialize, JsonSchema)]
pub(super) struct TrainBayesianReport {
    /// [`SCHEMA_VERSION`].
    schema_version: u32,
    /// `bayesian`.
    detector: String,
    /// The directory that was written.
    output: String,
    /// Texts read.
    texts: u64,
    /// Their scored tokens.
    tokens: u64,
    /// Number of texts that were held out to choose the weights.
    held_out_texts: u64,
    /// Number of layers that the detector uses.
    depth: u32,
    /// The weight of Σ delta² that was chosen.
    l2_weight: f64,
    /// The pass over the texts, from 1, that was chosen.
    epoch: u32,
    /// Cross-entropy of the posterior on held-out pieces and as many unmarked ones, in nats; chance gives 0.693.
    held_out_loss: f64,
    /// Mean of the log likelihood ratio over the tokens, in nats.
    evidence: f64,
    /// Number of scored tokens from which on a marked text is found with probability 0.9, at the false positive rates
    /// 1e-2, 1e-3 and 1e-6; null if no length is enough.
    required_tokens: Vec<Option<u64>>,
}

pub(super) fn run(args: &TrainArgs) -> Result<ExitCode> {
    let is_ours = |dir: &Path| BayesianModel::open(dir).is_ok();
    let replaces = outputs(args).check_directory(&args.output, "detector", is_ours)?;
    if replaces && !args.force {
        let holds = format!("{} holds a detector; expected a new directory", args.output.display());
        bail!(Hinted::new(holds, "--force replaces the detector"));
    }
    let Texts { depth, g: texts, key_ids } = read_texts(args)?;
    let (model, summary) = fit(depth, &texts, &FitOptions::default(), |_| ())?;
    let tokens: usize = texts.iter().map(Vec::len).sum();
    let evidence = texts.iter().flatten().map(|&g| model.ratio(g).ln()).sum::<f64>() / tokens as f64;
    // A key for only a few texts is a throw-away key, and a long list would not help.
    let key_ids = if key_ids.len() <= MOST_KEYS { key_ids.into_iter().collect() } else { Vec::new() };
    let provenance = Provenance { key_ids, marked_texts: texts.len() as u64 };
    say(&format!("fitted; counting all patterns of {} for exact p-values", counted(depth as u64, "layer")));
    let detector = Bayesian::new(model.with_provenance(provenance));
    detector.write(&args.output)?;
    if let Some(cache) = Cache::of_user() {
        detector.remember(&cache);
    }

    let report = TrainBayesianReport {
        schema_version: SCHEMA_VERSION,
        detector: "bayesian".into(),
        output: args.output.display().to_string(),
        texts: texts.len() as u64,
        tokens: tokens as u64,
        held_out_texts: summary.held_out as u64,
        depth: depth as u32,
        l2_weight: summary.l2_weight,
        epoch: summary.epoch as u32,
        held_out_loss: summary.loss,
        evidence,
        required_tokens: RATES
            .iter()
            .map(|&rate| Some(detector.required_tokens(rate)).filter(|&n| n < u64::MAX))
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

fn for_people(report: &TrainBayesianReport) -> String {
    let mut text = format!(
        "{}: {} from {} of {}, {:.3} nats of evidence a token",
        OneLine(&report.output),
        counted(report.depth.into(), "layer"),
        counted(report.tokens, "token"),
        counted(report.texts, "text"),
        report.evidence
    );
    text.push_str(&lengths_for_people(&report.required_tokens));
    text.push('\n');
    text
}
