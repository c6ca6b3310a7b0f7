//! `wmdetect train`.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use wmdetect::atomic_file;
use wmdetect::report::{SCHEMA_VERSION, TrainReport};
use wmdetect::scheme::gvalues::GBits;
use wmdetect::scheme::{Key, TextGValues};
use wmdetect::statistics::llr::Source;
use wmdetect::statistics::llr::fit::{choose, evidence, fit};
use wmdetect::statistics::{Llr, Profile, Statistic as _};
use wmdetect::text::Tokenizer;

use super::args::{TrainArgs, Trainable};
use super::{open_profile, open_tokenizer, print, print_json, read_key, train_bayesian};

/// Most classes that are tried.
const MOST_CLASSES: usize = 6;

/// The false positive rates whose required lengths are reported.
pub(super) const RATES: [f64; 3] = [1e-2, 1e-3, 1e-6];

/// One line of the marked texts.
#[derive(Deserialize)]
struct Row {
    text: Option<String>,
    tokens: Option<Vec<u32>>,
    key_label: Option<String>,
    #[serde(default)]
    prompt_tokens: Vec<u32>,
}

pub(super) fn run(args: &TrainArgs) -> Result<ExitCode> {
    match args.detector {
        Trainable::Llr => llr(args),
        Trainable::Bayesian => train_bayesian::run(args),
    }
}

fn llr(args: &TrainArgs) -> Result<ExitCode> {
    if !args.force && args.output.exists() {
        bail!(
            "{} exists; expected a new file; name another, or pass --force to replace it",
            args.output.display()
        );
    }
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
    write(&args.output, &profile.to_json(), args.force)?;
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
    if args.json {
        print_json(&report)?;
    } else {
        print(for_people(&report).as_bytes())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The marked texts.
pub(super) struct Texts {
    /// The key's layers.
    pub depth: usize,
    /// Of each text the g-bits of its scored tokens.
    pub g: Vec<Vec<GBits>>,
    /// Public ids of the keys that marked them.
    pub key_ids: BTreeSet<String>,
}

pub(super) fn read_texts(args: &TrainArgs) -> Result<Texts> {
    let key = read_key(args.key.as_ref())?;
    let tokenizer = if args.tokens { None } else { open_tokenizer(args.tokenizer.as_ref()).map(Some)? };
    let (mut texts, mut key_ids) = (Vec::new(), BTreeSet::new());
    for path in &args.files {
        let file = File::open(path)
            .with_context(|| format!("cannot read {}; expected a file of JSON lines", path.display()))?;
        for (index, line) in BufReader::new(file).lines().enumerate() {
            let place = || format!("{}:{}", path.display(), index + 1);
            let line = line.with_context(place)?;
            if line.trim().is_empty() {
                continue;
            }
            let row: Row = serde_json::from_str(&line)
                .with_context(|| format!("{}: expected a JSON object with a text", place()))?;
            let (g, key_id) = g_bits(&key, tokenizer.as_ref(), row).with_context(place)?;
            texts.push(g);
            key_ids.insert(key_id);
        }
    }
    Ok(Texts { depth: key.scheme().depth(), g: texts, key_ids })
}

/// The g-bits of a text's scored tokens, and the id of the key that marked it.
fn g_bits(key: &Key, tokenizer: Option<&Tokenizer>, row: Row) -> Result<(Vec<GBits>, String)> {
    let ids = match (tokenizer, row.tokens, row.text) {
        (None, Some(ids), _) => ids,
        (Some(tokenizer), _, Some(text)) => tokenizer.encode(&text)?.ids,
        (None, None, _) => {
            bail!("no field \"tokens\"; expected an array of token ids, since --tokens was given")
        }
        (Some(_), _, None) => bail!("no field \"text\"; expected a string, or token ids and --tokens"),
    };
    let derived = row.key_label.map(|label| key.derive(&label)).transpose()?;
    let key = derived.as_ref().unwrap_or(key);
    let values = TextGValues::new(&key.prf(), &row.prompt_tokens, &ids);
    Ok((values.scored().collect(), key.id()))
}

fn write(path: &Path, content: &str, replace: bool) -> Result<()> {
    let options = atomic_file::Options::new().create_new(!replace);
    options.write(path, content.as_bytes()).with_context(|| format!("cannot write {}", path.display()))
}

fn for_people(report: &TrainReport) -> String {
    let mut text = format!(
        "{}: {} classes over {} layers from {} tokens of {} texts, {:.3} nats of evidence a token",
        report.output, report.classes, report.depth, report.tokens, report.texts, report.evidence
    );
    // Writing to a string cannot fail.
    for (rate, required) in RATES.iter().zip(&report.required_tokens) {
        let _ = match required {
            Some(tokens) => write!(
                text,
                "\n  at a false positive rate of {rate}, 9 of 10 texts of {tokens} tokens are found"
            ),
            None => write!(
                text,
                "\n  at a false positive rate of {rate}, no length is enough: do these texts carry the key's mark?"
            ),
        };
    }
    text.push('\n');
    text
}
