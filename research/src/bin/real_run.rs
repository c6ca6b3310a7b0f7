//! The figures of `docs/guide/real-models.md`: are all marked texts found from their text alone, are unmarked ones uniform
//! under random keys, and how many tokens survive decoding and encoding?
//!
//! `cargo run --release -p wmgen-research --bin real_run -- TOKENIZER k.bin marked.jsonl unmarked.jsonl`, where the last two are what
//! `wmgen generate --json` printed.

use std::error::Error;
use std::io::Write;

use serde::Deserialize;
use wmdetect::scheme::{Key, TextGValues};
use wmdetect::statistics::{Sample, Statistic as _, WeightedMean};
use wmdetect::text::Tokenizer;
use wmgen::radioactive::uniformity;

/// Random keys that each unmarked text is scored with.
const KEYS: usize = 500;

#[derive(Deserialize)]
struct Report {
    text: String,
    tokens: Vec<u32>,
}

fn read(path: &str) -> Result<Vec<Report>, Box<dyn Error>> {
    Ok(std::fs::read_to_string(path)?.lines().map(serde_json::from_str).collect::<Result<_, _>>()?)
}

fn log10_p(detector: &WeightedMean, key: &Key, ids: &[u32]) -> f64 {
    let values = TextGValues::new(&key.prf(), &[], ids);
    let found = detector.evaluate(Sample::scored(&values)).expect("a detector of the key's depth");
    found.p.map_or(0.0, |p| p.log10)
}

/// Length of the longest common subsequence.
fn common(a: &[u32], b: &[u32]) -> usize {
    let mut row = vec![0; b.len() + 1];
    for x in a {
        let mut diagonal = 0;
        for (j, y) in b.iter().enumerate() {
            let above = row[j + 1];
            row[j + 1] = if x == y { diagonal + 1 } else { above.max(row[j]) };
            diagonal = above;
        }
    }
    row[b.len()]
}

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [tokenizer, key, marked, unmarked] = &args[..] else {
        return Err("expected four arguments: TOKENIZER k.bin marked.jsonl unmarked.jsonl".into());
    };
    let (tokenizer, key) = (Tokenizer::open(tokenizer)?, Key::read(key)?);
    let detector = WeightedMean::new(key.scheme().depth());
    let mut out = std::io::stdout().lock();

    let (mut kept, mut written, mut identical) = (0, 0, 0);
    let mut found = Vec::new();
    let marked = read(marked)?;
    for report in &marked {
        let ids = tokenizer.encode(&report.text)?.ids;
        kept += common(&report.tokens, &ids);
        written += report.tokens.len();
        identical += usize::from(report.tokens == ids);
        found.push(log10_p(&detector, &key, &ids));
    }
    found.sort_by(f64::total_cmp);
    writeln!(
        out,
        "marked: {} texts, log10 p from {:.1} to {:.1}, median {:.1}; {kept} of {written} tokens survive decoding and \
         encoding, {identical} texts unchanged",
        found.len(),
        found[0],
        found[found.len() - 1],
        found[found.len() / 2]
    )?;

    let keys = (0..KEYS).map(|_| Key::generate(key.scheme().clone())).collect::<Result<Vec<_>, _>>()?;
    let mut all = Vec::new();
    let mut worst = 1.0f64;
    let unmarked = read(unmarked)?;
    for report in &unmarked {
        let ids = tokenizer.encode(&report.text)?.ids;
        let mut p: Vec<f64> = keys.iter().map(|key| 10f64.powf(log10_p(&detector, key, &ids))).collect();
        p.sort_by(f64::total_cmp);
        worst = worst.min(uniformity(&p).1);
        all.extend(p);
    }
    let below = |level: f64| all.iter().filter(|&&p| p <= level).count();
    let (at_1, at_01) = (below(1e-2), below(1e-3));
    writeln!(
        out,
        "unmarked: {} texts, {KEYS} random keys each; smallest Kolmogorov-Smirnov p of a text {worst:.4} (reject below {:.4} \
         at 1 % in all); of {} p-values {at_1} are at most 0.01 and {at_01} at most 0.001",
        unmarked.len(),
        0.01 / unmarked.len() as f64,
        all.len(),
    )?;
    Ok(())
}
