//! How often does the exact likelihood ratio accuse a text that no key has marked? For `research/results.md`.
//!
//! `cargo run --release -p wmgen-research --bin ratio_null -- MODEL DOCS.jsonl DOCUMENTS TOKENS KEYS [PRESET]`
//!
//! Of each of DOCUMENTS texts (field `text`, spread over the file) the first TOKENS tokens are read once with the model, at
//! temperature 1 and top-k 100; then KEYS fresh keys judge them by the mixture that `wmgen verify` uses without a prompt. Ville's inequality
//! promises P(max E ≥ 1/a) ≤ a for each a.
//! PRESET is that of `wmgen keygen`; without it keys are 32 raw bytes. Of a key with R channels each is tried, and 1/E
//! is multiplied by R, as `wmgen verify` does without a receipt.

use std::error::Error;
use std::io::Write;
use std::ops::ControlFlow;

use serde::Deserialize;
use sha2::{Digest, Sha256};
use wmdetect::model_ratio::{NextTokens, RunningRatio};
use wmdetect::scheme::{Distribution, Key, Preset, Secret};
use wmdetect::text::Tokenizer;
use wmgen::model::{Gemma, LoadOptions};
use wmgen::sample::Sampling;
use wmgen::verify::Reader;

const LEVELS: [f64; 4] = [1e-1, 1e-2, 1e-3, 1e-4];

#[derive(Deserialize)]
struct Doc {
    text: String,
}

/// Keys that reach each level on one text.
fn judge(
    preset: Option<Preset>,
    doc: usize,
    keys: usize,
    ids: &[u32],
    next: &[Distribution],
) -> [u64; LEVELS.len()] {
    let mut reached = [0; LEVELS.len()];
    for key in 0..keys {
        let secret = Sha256::new().chain_update(doc.to_le_bytes()).chain_update(key.to_le_bytes()).finalize();
        let key = match preset {
            None => Key::from_bytes(&secret, "a fresh key"),
            Some(preset) => Key::new(preset.scheme(), Secret::new(secret.to_vec().into())),
        };
        let key = key.expect("32 bytes are a key");
        let channels = key.scheme().channels();
        let ln_sup = |channel| {
            let mut ratio = RunningRatio::new(&key.prf().in_channel(channel), &[], 1);
            for (&id, next) in ids.iter().zip(next) {
                ratio.push(id, std::slice::from_ref(next));
            }
            ratio.ln_sup()
        };
        let ln_sup = (0..channels).map(ln_sup).fold(f64::NEG_INFINITY, f64::max) - f64::from(channels).ln();
        for (reached, level) in reached.iter_mut().zip(LEVELS) {
            *reached += u64::from(-ln_sup <= level.ln());
        }
    }
    reached
}

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [model, docs, documents, tokens, keys, preset @ ..] = &args[..] else {
        return Err("expected MODEL DOCS.jsonl DOCUMENTS TOKENS KEYS [PRESET]".into());
    };
    let preset: Option<Preset> = preset.first().map(|preset| preset.parse()).transpose()?;
    let (documents, tokens, keys): (usize, usize, usize) =
        (documents.parse()?, tokens.parse()?, keys.parse()?);
    let tokenizer = Tokenizer::open(model)?;
    let model = Gemma::load(model, LoadOptions::default())?;
    let lines = std::fs::read_to_string(docs)?;
    let lines: Vec<&str> = lines.lines().collect();
    let sampling = Sampling { temperature: 1.0, ..Sampling::default() };
    let mut reader = Reader::new(&model, tokenizer.bos(), vec![sampling])?;

    let mut texts = Vec::new();
    for line in lines.iter().step_by((lines.len() / documents.max(1)).max(1)).take(documents) {
        let mut ids = tokenizer.encode(&serde_json::from_str::<Doc>(line)?.text)?.ids;
        ids.truncate(tokens);
        let mut next = Vec::new();
        reader.for_each(&[], &ids, &mut |_, distributions| {
            next.extend_from_slice(distributions);
            ControlFlow::Continue(())
        })?;
        texts.push((ids, next));
    }

    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let mut total = [0; LEVELS.len()];
    std::thread::scope(|scope| {
        let texts = &texts;
        let part = |thread: usize| {
            let mut sum = [0; LEVELS.len()];
            for doc in (thread..texts.len()).step_by(threads) {
                for (sum, reached) in
                    sum.iter_mut().zip(judge(preset, doc, keys, &texts[doc].0, &texts[doc].1))
                {
                    *sum += reached;
                }
            }
            sum
        };
        let handles: Vec<_> = (0..threads).map(|thread| scope.spawn(move || part(thread))).collect();
        for handle in handles {
            let sum = handle.join().expect("no panic while judging");
            for (total, sum) in total.iter_mut().zip(sum) {
                *total += sum;
            }
        }
    });

    let trials = (texts.len() * keys) as f64;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{} texts of at most {tokens} tokens, {keys} keys each, {trials} trials\n", texts.len())?;
    writeln!(out, "| a | P(max E ≥ 1/a) | trials that reach it |\n|---|---|---|")?;
    for (level, reached) in LEVELS.iter().zip(total) {
        writeln!(out, "| {level} | {:.6} | {reached} |", reached as f64 / trials)?;
    }
    Ok(())
}
