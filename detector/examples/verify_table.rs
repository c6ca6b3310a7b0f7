//! The table of the exact likelihood ratio, from the rows that `wmgen`'s example `verify_study` wrote.
//!
//! `cargo run --release -p wmdetect --example verify_table -- ROWS.jsonl…`
//!
//! For each file, temperature of the verifier and number of tokens: the share of texts with p at most 1 %, 0.1 % and
//! 1e-6, with Wilson's 95 % intervals over texts. `own` is the temperature that the text was written at.

mod support;

use std::collections::BTreeMap;
use std::error::Error;
use std::io::Write;

use serde::Deserialize;

const LEVELS: [f64; 3] = [1e-2, 1e-3, 1e-6];

#[derive(Deserialize)]
struct Row {
    temperature: f64,
    mode: String,
    lengths: Vec<usize>,
    scored: Vec<usize>,
    log10_p: BTreeMap<String, Vec<f64>>,
    /// None for −∞.
    log10_product: Vec<Option<f64>>,
    #[serde(default)]
    rank_p: Vec<f64>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "| T | input | verified at | tokens | scored | texts | 1 % | 0.1 % | 1e-6 | median log10 p |"
    )?;
    writeln!(out, "|---|---|---|---|---|---|---|---|---|---|")?;
    for file in std::env::args().skip(1) {
        let rows: Vec<Row> =
            std::fs::read_to_string(file)?.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
        let Some(first) = rows.first() else { continue };
        let own = first.temperature.to_string();
        // For each verifier and length the log10 p and the scored tokens of every text.
        let mut cells: BTreeMap<(String, usize), Vec<(f64, usize)>> = BTreeMap::new();
        for row in &rows {
            let mut add = |name: String, values: &[f64]| {
                for ((&length, &value), &scored) in row.lengths.iter().zip(values).zip(&row.scored) {
                    cells.entry((name.clone(), length)).or_default().push((value, scored));
                }
            };
            for (name, values) in &row.log10_p {
                add(if *name == own { format!("{name} (own)") } else { name.clone() }, values);
            }
            let product: Vec<f64> =
                row.log10_product.iter().map(|log10| -log10.unwrap_or(0.0).max(0.0)).collect();
            add("own, plain product at its end".into(), &product);
            let rank: Vec<f64> = row.rank_p.iter().map(|p| p.log10()).collect();
            add("own, rank among random keys".into(), &rank);
        }
        for ((name, length), mut p) in cells {
            p.sort_by(|a, b| a.0.total_cmp(&b.0));
            let scored = p.iter().map(|p| p.1).sum::<usize>() as f64 / p.len() as f64;
            write!(out, "| {own} | {} | {name} | {length} | {scored:.1} | {} |", first.mode, p.len())?;
            for level in LEVELS {
                let found = p.iter().filter(|p| p.0 <= level.log10() + 1e-12).count();
                let (low, high) = support::wilson(found, p.len());
                write!(out, " {:.3} ({low:.3}–{high:.3}) |", found as f64 / p.len() as f64)?;
            }
            writeln!(out, " {:.2} |", p[p.len() / 2].0)?;
        }
    }
    Ok(())
}
