//! Does the running e-value of the likelihood ratio keep its promise? For `research/results.md`.
//!
//! `cargo run --release -p wmgen-research --bin stream_study -- TOKENIZER DOCS.jsonl TOKENS KEYS`
//!
//! Of each document (field `text`) the first TOKENS tokens are read as a stream under KEYS fresh keys; after every scored
//! token the e-value is e^(h Σ S) of the built-in profile. Ville's inequality promises P(max E ≥ 1/a) ≤ a for each a and each
//! profile. Documents shorter than that are left out.

use std::error::Error;
use std::io::{BufRead, BufReader, Write};

use serde::Deserialize;
use sha2::{Digest, Sha256};
use wmdetect::scheme::{Key, TextGValues};
use wmdetect::statistics::Profile;
use wmdetect::text::Tokenizer;

const LEVELS: [f64; 4] = [1e-1, 1e-2, 1e-3, 1e-4];

#[derive(Deserialize)]
struct Doc {
    text: String,
}

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [tokenizer, docs, tokens, keys] = &args[..] else {
        return Err("expected four arguments: TOKENIZER DOCS.jsonl TOKENS KEYS".into());
    };
    let (tokens, keys): (usize, usize) = (tokens.parse()?, keys.parse()?);
    let tokenizer = Tokenizer::open(tokenizer)?;
    let profiles = Profile::builtin();
    let mut reached = vec![[0_u64; LEVELS.len()]; profiles.len()];
    let mut streams = 0_u64;
    for (index, line) in BufReader::new(std::fs::File::open(docs)?).lines().enumerate() {
        let ids = tokenizer.encode(&serde_json::from_str::<Doc>(&line?)?.text)?.ids;
        let Some(ids) = ids.get(..tokens) else { continue };
        for repetition in 0..keys {
            let secret = Sha256::new()
                .chain_update(index.to_le_bytes())
                .chain_update(repetition.to_le_bytes())
                .finalize();
            let key = Key::from_bytes(&secret, "a fresh key")?;
            let values = TextGValues::new(&key.prf(), &[], ids);
            for (profile, reached) in profiles.iter().zip(&mut reached) {
                let (mut ln_e, mut most) = (0.0, 0.0_f64);
                for g in values.scored() {
                    ln_e += profile.ln_lr(g);
                    most = most.max(ln_e);
                }
                for (reached, level) in reached.iter_mut().zip(LEVELS) {
                    *reached += u64::from(-most <= level.ln());
                }
            }
            streams += 1;
        }
    }
    let mut out = std::io::stdout().lock();
    writeln!(out, "{streams} streams of {tokens} tokens\n")?;
    writeln!(out, "| profile | 0.1 | 0.01 | 0.001 | 0.0001 |\n|---|---|---|---|---|")?;
    for (profile, reached) in profiles.iter().zip(&reached) {
        write!(out, "| {} |", profile.name())?;
        for &count in reached {
            write!(out, " {:.6} |", count as f64 / streams as f64)?;
        }
        writeln!(out)?;
    }
    Ok(())
}
