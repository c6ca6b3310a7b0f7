//! How many edited marked texts does the weighted mean find, by temperature, length, edit and number of channels?
//!
//! `cargo run --release -p wmgen-research --bin edit_study -- TOKENIZER MASTER.bin MODES MARKED.jsonl…`
//!
//! MARKED is what `marked_corpus` wrote. MODES are separated by commas: `text`, or an edit and its percentage such as
//! `replace-20`. Of each text the first n tokens are decoded, edited, cut into tokens again and scored without the prompt.
//! Each text was marked under another key, in one channel, and its p is that of this channel times R: what a key of R channels
//! would give, less the chance hits of the other channels. So one corpus serves all R.
//!
//! Intervals are Wilson's, 95 %, over texts.

use std::error::Error;
use std::io::Write;

use rand::SeedableRng;
use rand_chacha::ChaCha12Rng;
use wmdetect::scheme::{Key, Prf, TextGValues};
use wmdetect::statistics::{Llr, Profile, Sample, Statistic, WeightedMean};
use wmdetect::text::Tokenizer;
use wmgen_research::edits::{Edit, seed};
use wmgen_research::read_marked;

const LENGTHS: [usize; 6] = [10, 25, 50, 100, 200, 400];
const LEVELS: [f64; 3] = [1e-2, 1e-3, 1e-6];
const CHANNELS: [f64; 5] = [1.0, 4.0, 16.0, 64.0, 1024.0];

/// log₁₀ p of one text.
struct Scored {
    tokens: u64,
    weighted_mean: f64,
    llr: f64,
}

struct Judge {
    tokenizer: Tokenizer,
    weighted_mean: WeightedMean,
    llr: Llr,
}

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [tokenizer, master, modes, files @ ..] = &args[..] else {
        return Err("expected TOKENIZER MASTER.bin MODES MARKED.jsonl…".into());
    };
    let master = Key::read(master)?;
    let depth = master.scheme().depth();
    let judge = Judge {
        tokenizer: Tokenizer::open(tokenizer)?,
        weighted_mean: WeightedMean::new(depth),
        llr: Llr::new(Profile::pooled().for_depth(depth)),
    };
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "| T | tokens | edit | texts | scored | R = 1: 1 % | 0.1 % | 1e-6 | R = 4: 0.1 % | R = 16: 1 % | 0.1 % | 1e-6 | \
         R = 64: 0.1 % | R = 1024: 0.1 % | llr, R = 16: 0.1 % |"
    )?;
    writeln!(out, "|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|")?;
    for file in files {
        let rows = read_marked(file)?;
        let words: Vec<&str> = rows.iter().flat_map(|row| row.text.split_whitespace()).collect();
        for mode in modes.split(',') {
            let edit: Option<Edit> = if mode == "text" { None } else { Some(mode.parse()?) };
            for length in LENGTHS {
                let mut scored = Vec::new();
                for row in rows.iter().filter(|row| row.tokens.len() >= length) {
                    let prf = master.derive(&row.key_label)?.prf().in_channel(row.channel.unwrap_or(0));
                    let text = judge.tokenizer.decode(&row.tokens[..length]);
                    let text = match edit {
                        None => text,
                        Some(edit) => {
                            let mode = format!("{mode} {length}");
                            let mut rng = ChaCha12Rng::seed_from_u64(seed(&row.key_label, &mode));
                            edit.apply(&text, &words, &mut rng)
                        }
                    };
                    scored.push(judge.score(&prf, &text)?);
                }
                let Some(row) = rows.first().filter(|_| !scored.is_empty()) else { continue };
                let mean = scored.iter().map(|text| text.tokens as f64).sum::<f64>() / scored.len() as f64;
                write!(out, "| {} | {length} | {mode} | {} | {mean:.1} |", row.temperature, scored.len())?;
                let mut cell = |of: &dyn Fn(&Scored) -> f64, channels: f64, level: f64| {
                    let found = scored.iter().filter(|text| of(text) <= (level / channels).log10()).count();
                    let (low, high) = wmgen_research::wilson(found, scored.len());
                    write!(out, " {:.3} ({low:.2}–{high:.2}) |", found as f64 / scored.len() as f64)
                };
                let [weighted_mean, llr]: [&dyn Fn(&Scored) -> f64; 2] =
                    [&|text| text.weighted_mean, &|text| text.llr];
                for channels in CHANNELS {
                    let levels =
                        if channels == 1.0 || channels == 16.0 { &LEVELS[..] } else { &LEVELS[1..2] };
                    for &level in levels {
                        cell(weighted_mean, channels, level)?;
                    }
                }
                cell(llr, 16.0, LEVELS[1])?;
                writeln!(out)?;
                out.flush()?;
            }
        }
    }
    Ok(())
}

impl Judge {
    fn score(&self, prf: &Prf, text: &str) -> Result<Scored, Box<dyn Error>> {
        let ids = self.tokenizer.encode(text)?.ids;
        let values = TextGValues::new(prf, &[], &ids);
        let sample = Sample::scored(&values);
        let log10 = |statistic: &dyn Statistic| -> Result<f64, Box<dyn Error>> {
            Ok(statistic.evaluate(sample)?.p.map_or(0.0, |p| p.log10))
        };
        Ok(Scored {
            tokens: sample.tokens().tokens(),
            weighted_mean: log10(&self.weighted_mean)?,
            llr: log10(&self.llr)?,
        })
    }
}
