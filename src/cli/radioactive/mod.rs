//! `wmgen radioactive`.
//!
//! | file | what |
//! |---|---|
//! | this | from arguments to a report |
//!  `choices` | the student's first choices, and their log |
//! | `table` | the report for people |

mod choices;
mod table;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use anyhow::{Context as _, Result, anyhow, bail};
use sha2::{Digest, Sha256};
use wmdetect::Keyring;
use wmdetect::hex;
use wmdetect::scheme::{ContextRule, Key, Promise};
use wmdetect::shell::outputs::{Kind, Outputs};
use wmdetect::shell::{Hinted, INTERRUPTED, ProgressLine, for_each_object, read_keyring, stop_when_asked};
use wmdetect::statistics::{Decider, PKind, PValue};
use wmdetect::text::Tokenizer;
use wmgen::eval::likelihood::Reader;
use wmgen::radioactive::report::{KeyReport, RadioactiveReport, Verdict};
use wmgen::radioactive::{Document, Independence, Pairs, control, judge};
use wmgen::respond::ModelInfo;

use super::args::RadioactiveArgs;
use super::model::{Loaded, Place};
use super::{keys, print, print_json, say};
use choices::Choices;

/// The documents of a run.
struct Corpus {
    /// The documents that are asked for.
    documents: Vec<Document>,
    /// Digest of all documents.
    digest: String,
}

pub(super) fn run(args: &RadioactiveArgs) -> Result<ExitCode> {
    let keys = keys(args)?;
    let model = args.model();
    let tokenizer = model.open_tokenizer()?;
    for key in keys.keys() {
        keys::check_binding(key, &tokenizer)?;
    }
    if let Some(path) = &args.samples {
        let inputs = args.corpus.iter().chain(&args.key);
        Outputs::new(false).reads(inputs).reads(model.paths()).check_resumed(path, Kind::SAMPLES)?;
        choices::KIND.check(path)?;
    }
    let vocab = Place::of(model.model.as_deref())?.weights()?.config().vocab;
    let corpus = read(args, &tokenizer, vocab)?;
    let loaded = model.load(tokenizer)?;
    let header = choices::header(args, loaded.model.fingerprint(), &corpus.digest);
    let mut choices = Choices::open(args.samples.as_deref(), &header, &corpus.documents, vocab)?;
    if !choose(&loaded, &corpus.documents, &mut choices)? {
        let again = match &args.samples {
            Some(_) => "the same command goes on from the file of --samples",
            None => "with --samples FILE a run can go on where it was interrupted",
        };
        say(&format!("interrupted: the report was not written; {again}"));
        return Ok(ExitCode::from(INTERRUPTED));
    }
    let report = report(args, &loaded, &keys, &corpus.documents, &choices)?;
    for warning in &report.warnings {
        say(&format!("warning: {warning}"));
    }
    if args.json {
        print_json(&report)?;
    } else {
        print(table::of(&report).as_bytes())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Returns the keys to try.
fn keys(args: &RadioactiveArgs) -> Result<Keyring> {
    if let Some(dir) = &args.keyring {
        return Ok(read_keyring(dir)?);
    }
    let keys = args.key.iter().map(|path| keys::read(path)).collect::<Result<Vec<Key>>>()?;
    Ok(Keyring::new(keys)?)
}

/// Reads the corpus.
fn read(args: &RadioactiveArgs, tokenizer: &Tokenizer, vocab: usize) -> Result<Corpus> {
    let (mut documents, mut digest) = (Vec::new(), Sha256::new());
    for path in &args.corpus {
        for_each_object(path, |label, object| {
            let object = object.map_err(|error| anyhow!("{}: {error}", label.input))?;
            let document = Document::parse(object.as_written(), tokenizer, vocab);
            let document = document.with_context(|| label.input.clone())?;
            digest.update((document.ids.len() as u64).to_le_bytes());
            for (id, said) in document.ids.iter().zip(&document.said) {
                digest.update(id.to_le_bytes());
                digest.update([u8::from(*said)]);
            }
            documents.push(document);
            Ok(())
        })?;
    }
    if documents.is_empty() {
        let names: Vec<String> = args.corpus.iter().map(|path| path.display().to_string()).collect();
        bail!("{}: expected texts, one JSON object a line, found none", names.join(", "));
    }
    if let Some(limit) = args.limit {
        documents.truncate(usize::try_from(limit)?);
    }
    Ok(Corpus { documents, digest: hex::encode(&digest.finalize()) })
}

/// Asks the student for its first choices where they are not known. Returns whether all of them are
/// known afterwards.
fn choose(loaded: &Loaded, documents: &[Document], choices: &mut Choices) -> Result<bool> {
    let (reader, stop) = (Reader::new(&loaded.model), stop_when_asked()?);
    let mut line = ProgressLine::new("the student reads", "documents");
    for (number, document) in documents.iter().enumerate() {
        if choices.get(number).is_some() {
            continue;
        }
        if stop.load(Ordering::Relaxed) {
            return Ok(false);
        }
        let from = document.first_said();
        let found = reader.first_choices(&document.ids, from);
        let found = found.with_context(|| format!("document {}", number + 1))?;
        let said = found.into_iter().zip(&document.said[from..]).filter(|(_, said)| **said);
        choices.keep(number, said.map(|(choice, _)| choice).collect())?;
        line.show(number as u64 + 1, documents.len() as u64);
    }
    Ok(true)
}

/// Judges the choices under each key.
fn report(
    args: &RadioactiveArgs,
    loaded: &Loaded,
    keys: &Keyring,
    documents: &[Document],
    choices: &Choices,
) -> Result<RadioactiveReport> {
    let independence = if args.unmarked { Independence::Known } else { Independence::Unknown };
    let most = args.pairs.map(usize::try_from).transpose()?;
    let mut by_rule: BTreeMap<ContextRule, Pairs> = BTreeMap::new();
    let mut reports = Vec::with_capacity(keys.len());
    let mut warnings = Vec::new();
    for key in keys.keys() {
        let pairs = by_rule.entry(key.scheme().context_rule()).or_insert_with_key(|rule| {
            let mut pairs = Pairs::new(*rule, independence, most);
            for (number, document) in documents.iter().enumerate() {
                pairs.add(document, choices.get(number).unwrap_or_default());
            }
            pairs
        });
        let report = of_key(args, key, pairs)?;
        if args.unmarked && report.corpus_log10_p.is_some_and(|log10| log10 <= args.fpr.log10()) {
            let p = PValue { log10: report.corpus_log10_p.unwrap_or_default(), kind: PKind::Exact };
            bail!(Hinted::new(
                format!(
                    "--unmarked: expected a corpus without the mark of key {}, found it with p = {p}",
                    report.key_id
                ),
                "leave --unmarked out: then a context counts once, which is right for any corpus",
            ));
        }
        if let Promise::Approximate { reason } = key.scheme().promise() {
            warnings.push(format!("key {}: p is approximate: {reason}", report.key_id));
        }
        reports.push(report);
    }
    if most.is_some() && by_rule.values().any(|pairs| !pairs.is_full()) {
        warnings.push("the corpus has fewer pairs than --pairs, so p is approximate".into());
    } else if most.is_none() && !args.unmarked {
        warnings.push(
            "p takes the number of pairs as given, which the mark of a corpus can change a little: it is approximate; --pairs N, \
             chosen before the run, makes it exact, and so does --unmarked with a corpus that the key has not marked"
                .into(),
        );
    }
    let log10 = |report: &KeyReport| report.log10_p.unwrap_or(f64::INFINITY);
    let best = reports.iter().min_by(|a, b| log10(a).total_cmp(&log10(b)));
    let best = best.ok_or_else(|| anyhow!("expected a key, found none"))?;
    let log10_p = best.log10_p.map(|log10| (log10 + (keys.len() as f64).log10()).min(0.0));
    let found = log10_p.is_some_and(|log10| log10 <= args.fpr.log10());
    if best.pairs == 0 {
        warnings.push("no pair counts: the answers are too short, or their contexts repeat".into());
    }
    if found && let Some(warning) = keys.leak_warning(&best.key_id) {
        warnings.push(warning.message);
    }
    let info = ModelInfo::new(&loaded.model, &loaded.name, Arc::clone(&loaded.tokenizer));
    Ok(RadioactiveReport {
        schema_version: 1,
        student: info.receipt().clone(),
        documents: documents.len() as u64,
        positions: documents.iter().map(|document| document.answer_tokens() as u64).sum(),
        unmarked: args.unmarked,
        key_id: best.key_id.clone(),
        keys_tried: keys.len() as u64,
        p_value: log10_p.map(|log10| 10_f64.powf(log10)),
        log10_p,
        p_kind: match best.p_kind {
            PKind::Exact if keys.len() > 1 => PKind::Conservative,
            kind => kind,
        },
        fpr: args.fpr,
        verdict: if found { Verdict::Radioactive } else { Verdict::NotDetected },
        keys: reports,
        warnings,
    })
}

fn of_key(args: &RadioactiveArgs, key: &Key, pairs: &Pairs) -> Result<KeyReport> {
    let scheme = key.scheme();
    let statistic = Decider::default().statistic(scheme.evidence_kind())?;
    let chosen = pairs.chosen();
    let judged = judge(key, &*statistic, &chosen)?;
    let corpus = judge(key, &*statistic, &pairs.own())?;
    let counted_as_planned = args.unmarked || pairs.is_full();
    Ok(KeyReport {
        key_id: key.id(),
        scheme: scheme.name(),
        channels: scheme.channels(),
        pairs: judged.values / u64::from(scheme.channels()),
        agreeing: pairs.agreeing() as u64,
        excluded: pairs.excluded(),
        score: judged.score,
        p_value: judged.p.map(PValue::p),
        log10_p: judged.p.map(|p| p.log10),
        p_kind: if counted_as_planned && scheme.promise().is_exact() {
            PKind::Exact
        } else {
            PKind::Approximate
        },
        corpus_log10_p: corpus.p.map(|p| p.log10),
        control: args
            .control
            .and_then(|keys| control(scheme, &*statistic, &chosen, (keys, args.seed), args.fpr)),
    })
}
