//! Writes what each position of edited marked texts says, for the study of weights by predictability.
//!
//! `cargo run --release -p wmgen-research --bin weight_study -- TOKENIZER MASTER.bin TOKENS MODES MARKED.jsonl… > POSITIONS.jsonl`
//!
//! MARKED is what `marked_corpus` wrote. MODES are those of `edit_study`. Of each text the first TOKENS tokens are decoded,
//! edited, cut into tokens again and scored without the prompt, in the channel that they were marked in. A line is one edited
//! text: its tokens, and for each of them the share that its weighted sum of ones is of the largest one, or null where the rule
//! has no context. `scripts/weights.py` reads these lines.

use std::error::Error;
use std::io::Write;

use rand::SeedableRng;
use rand_chacha::ChaCha12Rng;
use serde::Serialize;
use wmdetect::scheme::{ContextLens, ContextStream, EvidenceStream, GBits, Key, Prf};
use wmdetect::statistics::{Sample, Scored, Statistic, WeightedMean};
use wmdetect::text::Tokenizer;
use wmgen_research::edits::{Edit, seed};
use wmgen_research::read_marked;

#[derive(Serialize)]
struct Positions<'a> {
    id: &'a str,
    mode: &'a str,
    temperature: f64,
    tokens: Vec<u32>,
    pieces: Vec<String>,
    shares: Vec<Option<f64>>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [tokenizer, master, length, modes, files @ ..] = &args[..] else {
        return Err("expected TOKENIZER MASTER.bin TOKENS MODES MARKED.jsonl…".into());
    };
    let (tokenizer, master) = (Tokenizer::open(tokenizer)?, Key::read(master)?);
    let length: usize = length.parse()?;
    let weighted_mean = WeightedMean::new(master.scheme().depth());
    let mut out = std::io::stdout().lock();
    for file in files {
        let rows = read_marked(file)?;
        let words: Vec<&str> = rows.iter().flat_map(|row| row.text.split_whitespace()).collect();
        for mode in modes.split(',') {
            let edit: Option<Edit> = if mode == "text" { None } else { Some(mode.parse()?) };
            for row in rows.iter().filter(|row| row.tokens.len() >= length) {
                let prf = master.derive(&row.key_label)?.prf().in_channel(row.channel.unwrap_or(0));
                let mut text = tokenizer.decode(&row.tokens[..length]);
                if let Some(edit) = edit {
                    let mut rng =
                        ChaCha12Rng::seed_from_u64(seed(&row.key_label, &format!("{mode} {length}")));
                    text = edit.apply(&text, &words, &mut rng);
                }
                let tokens = tokenizer.encode(&text)?.ids;
                let shares = shares(&prf, &weighted_mean, &tokens)?;
                let pieces = tokens.iter().map(|&id| tokenizer.decode(&[id])).collect();
                let line =
                    Positions { id: &row.id, mode, temperature: row.temperature, tokens, pieces, shares };
                serde_json::to_writer(&mut out, &line)?;
                writeln!(out)?;
            }
        }
    }
    Ok(())
}

/// For each token the share that its weighted sum is of the largest, where the rule has a context.
fn shares(prf: &Prf, statistic: &WeightedMean, tokens: &[u32]) -> Result<Vec<Option<f64>>, Box<dyn Error>> {
    let piece = ContextStream::new(prf.scheme().context_rule(), &[]).push(tokens);
    let values = EvidenceStream::new(prf).push(&piece).into_layers().ok_or("expected a tournament")?;
    let largest = statistic.largest_sum(Scored::full(1)) as f64;
    let share = |g: GBits| {
        Ok::<_, Box<dyn Error>>(statistic.sum(Sample::layers(values.depth, &[g]))? as f64 / largest)
    };
    let mut shares = vec![None; tokens.len()];
    for (i, &g) in values.g.iter().enumerate() {
        let marked = match &piece.context_lens {
            ContextLens::Same(_) => values.scored[i],
            ContextLens::Each(lens) => lens[i] > 0,
        };
        if marked {
            shares[values.first + i] = Some(share(g)?);
        }
    }
    Ok(shares)
}
