//! How many marked texts does each text-only detector find, by temperature and length?
//!
//! `cargo run --release -p wmgen-research --bin power_study -- TOKENIZER MASTER.bin MARKED.jsonl…`
//!
//! MARKED is what `marked_corpus` wrote: one text a prompt, each under a key of its own. Of each
//! text the first n tokens are decoded, encoded again and scored without the prompt, as a detector in the field would;
//! the column "ids" has the same from the true ids. A text is found at rate a if its p-value is at most a; intervals are
//! Wilson's, 95 %, over texts (a prompt has one text a cell, so texts are the clusters).

use std::error::Error;
use std::io::Write;

use wmdetect::scheme::{Key, KeyError, TextGValues};
use wmdetect::statistics::{Bayesian, Llr, Mean, Profile, Sample, Statistic, WeightedMean};
use wmdetect::text::Tokenizer;
use wmgen_research::read_marked;

const LENGTHS: [usize; 6] = [10, 25, 50, 100, 200, 400];
const LEVELS: [f64; 3] = [1e-2, 1e-3, 1e-6];

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [tokenizer, master, texts @ ..] = &args[..] else {
        return Err("expected TOKENIZER MASTER.bin MARKED.jsonl…".into());
    };
    let (tokenizer, master) = (Tokenizer::open(tokenizer)?, Key::read(master)?);
    let depth = master.scheme().depth();
    let mut names = vec!["mean".to_owned(), "weighted mean".into(), "bayesian".into()];
    let mut statistics: Vec<Box<dyn Statistic>> = vec![
        Box::new(Mean::new(depth)),
        Box::new(WeightedMean::new(depth)),
        Box::new(Bayesian::builtin().for_depth(depth)),
    ];
    for profile in Profile::builtin() {
        names.push(format!("llr ({})", profile.name()));
        statistics.push(Box::new(Llr::new(profile.for_depth(depth))));
    }

    let log10_p = |values: &TextGValues| -> Vec<f64> {
        let log10_p = |statistic: &dyn Statistic| {
            let found = statistic.evaluate(Sample::scored(values)).expect("statistics of the key's depth");
            found.p.map_or(0.0, |p| p.log10)
        };
        statistics.iter().map(|statistic| log10_p(&**statistic)).collect()
    };

    let mut out = std::io::stdout().lock();
    let mut paired = Vec::new();
    writeln!(
        out,
        "| T | tokens | detector | 1 % | 0.1 % | 1e-6 | ids: 1 % | 0.1 % | 1e-6 | median log10 p |"
    )?;
    writeln!(out, "|---|---|---|---|---|---|---|---|---|---|")?;
    for file in texts {
        let rows = read_marked(file)?;
        let prfs = rows
            .iter()
            .map(|row| {
                let key = master.derive(&row.key_label)?;
                Ok::<_, KeyError>(key.prf().in_channel(row.channel.unwrap_or(0)))
            })
            .collect::<Result<Vec<_>, _>>()?;
        for length in LENGTHS {
            // For each detector the log10 p of every text, from the text and from the ids.
            let (mut text_p, mut ids_p) = (vec![Vec::new(); names.len()], vec![Vec::new(); names.len()]);
            for (row, prf) in rows.iter().zip(&prfs).filter(|(row, _)| row.tokens.len() >= length) {
                let ids = &row.tokens[..length];
                let again = tokenizer.encode(&tokenizer.decode(ids))?.ids;
                for (ids, p) in [(&again[..], &mut text_p), (ids, &mut ids_p)] {
                    let values = TextGValues::new(prf, &[], ids);
                    for (all, p) in p.iter_mut().zip(log10_p(&values)) {
                        all.push(p);
                    }
                }
            }
            for level in LEVELS {
                let found = |name: &str| -> Vec<bool> {
                    let index = names.iter().position(|n| n == name).expect("one of the names");
                    text_p[index].iter().map(|&p| p <= level.log10()).collect()
                };
                let llr = found("llr (pooled)");
                let others = ["mean", "weighted mean", "bayesian"].map(|name| (name, found(name)));
                let count = |found: &[bool]| found.iter().filter(|found| **found).count();
                let (name, best) = others.iter().max_by_key(|other| count(&other.1)).expect("three of them");
                // The difference of two shares over the same texts, with its standard error.
                let differences: Vec<f64> = llr
                    .iter()
                    .zip(best)
                    .map(|(&a, &b)| f64::from(u8::from(a)) - f64::from(u8::from(b)))
                    .collect();
                let n = differences.len() as f64;
                let mean = differences.iter().sum::<f64>() / n;
                let error =
                    (differences.iter().map(|d| (d - mean).powi(2)).sum::<f64>() / (n * (n - 1.0))).sqrt();
                let temperature = rows.first().map_or(f64::NAN, |row| row.temperature);
                paired.push(format!(
                    "| {temperature} | {length} | {level} | {name} | {mean:+.3} ± {error:.3} |"
                ));
            }
            let found = |p: &[f64], level: f64| p.iter().filter(|&&p| p <= level.log10()).count();
            for (name, (text, ids)) in names.iter().zip(text_p.iter().zip(&ids_p)) {
                let temperature = rows.first().map_or(f64::NAN, |row| row.temperature);
                write!(out, "| {temperature} | {length} | {name} |")?;
                for level in LEVELS {
                    let (low, high) = wmgen_research::wilson(found(text, level), text.len());
                    let share = found(text, level) as f64 / text.len() as f64;
                    write!(out, " {share:.3} ({low:.3}–{high:.3}) |")?;
                }
                for level in LEVELS {
                    write!(out, " {:.3} |", found(ids, level) as f64 / ids.len() as f64)?;
                }
                let mut sorted = text.clone();
                sorted.sort_by(f64::total_cmp);
                writeln!(out, " {:.2} |", sorted[sorted.len() / 2])?;
            }
            out.flush()?;
        }
    }
    writeln!(out, "\nllr (pooled) less the best other detector, paired, ± one standard error:\n")?;
    writeln!(out, "| T | tokens | level | best other | difference |\n|---|---|---|---|---|")?;
    for row in paired {
        writeln!(out, "{row}")?;
    }
    Ok(())
}
