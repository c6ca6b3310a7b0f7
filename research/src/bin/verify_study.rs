//! The power study of the exact likelihood ratio, for `research/results.md`.
//!
//! `cargo run --release -p wmgen-research --bin verify_study -- MODEL MASTER.bin CORPUS.jsonl MODE TEXTS TOKENS OUT.jsonl [RANDOM_KEYS]`
//!
//! CORPUS is what `marked_corpus` writes. MODE is `ids` (token ids, prompt known), `text` (the text cut into tokens again,
//! prompt withheld), or an edit of that text's words and its percentage, such as `delete-10`, `replace-20`, `insert-30`;
//! `replace-20+prompt` gives the prompt with the edited text.
//! The first TEXTS texts are read, the first TOKENS tokens of each; texts that OUT already has in this mode are skipped. A row has what
//! the key says of each token at each temperature of the grid, from which `verify_table` computes the
//! statistics. With RANDOM_KEYS it has the rank among that many keys too, at the text's own temperature, after each number
//! of tokens in [`LENGTHS`] that the text reaches.

use std::collections::HashSet;
use std::error::Error;
use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Write};
use std::ops::ControlFlow;

use rand::SeedableRng;
use rand_chacha::ChaCha12Rng;
use serde::{Deserialize, Serialize};
use wmdetect::model_ratio::{NextTokens, RunningRatio, TokenRatios};
use wmdetect::scheme::{ContextStream, Key};
use wmdetect::text::Tokenizer;
use wmgen::model::{Gemma, LoadOptions};
use wmgen::sample::Sampling;
use wmgen::text::stop_ids;
use wmgen::verify::{Reader, TEMPERATURES};
use wmgen_research::edits::{Edit, seed};
use wmgen_research::read_marked;

/// Tokens after which the rank is noted.
const LENGTHS: [usize; 6] = [10, 25, 50, 100, 200, 400];

#[derive(Serialize)]
struct Row<'a> {
    id: &'a str,
    key_label: &'a str,
    temperature: f64,
    mode: &'a str,
    /// Of the whole text.
    tokens: usize,
    temperatures: [f64; TEMPERATURES.len()],
    /// For each token read whether it counts.
    scored: Vec<bool>,
    /// For each token read whether the text-only p-value counts it.
    scored_by_text: Vec<bool>,
    /// How many tokens before it decide the values of each token that counts.
    context_lens: Vec<usize>,
    /// ln of each token's text-only ratio, 0 where it does not count.
    ln_text: Vec<f64>,
    /// For each temperature ln LR of each token, 0 where it does not count.
    ln_ratios: Vec<Vec<f64>>,
    /// For each temperature −ln p of each token, none where it is no candidate.
    surprisals: Vec<Vec<Option<f64>>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    rank_p: Vec<f64>,
}

/// What tells a row that is already there.
#[derive(Deserialize)]
struct Done {
    key_label: String,
    mode: String,
}

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [model, master, corpus, mode, texts, tokens, out, random @ ..] = &args[..] else {
        return Err("expected MODEL MASTER.bin CORPUS.jsonl MODE TEXTS TOKENS OUT.jsonl [RANDOM_KEYS]".into());
    };
    let random_keys: usize = random.first().map_or(Ok(0), |keys| keys.parse())?;
    let edit = Input::parse(mode)?;
    let limit: usize = tokens.parse()?;
    let master = Key::read(master)?;
    let tokenizer = Tokenizer::open(model)?;
    let model = Gemma::load(model, LoadOptions { unrounded: true, ..LoadOptions::default() })?;
    let number = texts.parse()?;
    let mut texts = read_marked(corpus)?;
    texts.truncate(number);
    let words: Vec<&str> = texts.iter().flat_map(|text| text.text.split_whitespace()).collect();

    let mut out = OpenOptions::new().create(true).append(true).read(true).open(out)?;
    let mut done = HashSet::new();
    for line in BufReader::new(&out).lines() {
        // A last line that was cut off is written again.
        if let Ok(row) = serde_json::from_str::<Done>(&line?)
            && row.mode == *mode
        {
            done.insert(row.key_label);
        }
    }
    let settings: Vec<Sampling> =
        TEMPERATURES.iter().map(|&temperature| Sampling { temperature, ..Sampling::default() }).collect();
    let mut reader = Reader::new(&model, tokenizer.bos(), settings)?.never(stop_ids(&tokenizer));

    for text in texts.iter().filter(|text| !done.contains(&text.key_label)) {
        let prf = master.derive(&text.key_label)?.prf().in_channel(text.channel.unwrap_or(0));
        let (prompt, mut ids) = match &edit {
            Input::Ids => (&text.prompt_tokens[..], text.tokens.clone()),
            Input::Text => (&[][..], tokenizer.encode(&text.text)?.ids),
            Input::Edited { edit, prompt } => {
                let edited = edit.apply(
                    &text.text,
                    &words,
                    &mut ChaCha12Rng::seed_from_u64(seed(&text.key_label, mode)),
                );
                let prompt = if *prompt { &text.prompt_tokens[..] } else { &[] };
                (prompt, tokenizer.encode(&edited)?.ids)
            }
        };
        let all_tokens = ids.len();
        ids.truncate(limit);
        let own =
            TEMPERATURES.iter().position(|&t| t == text.temperature).ok_or("temperature not in the grid")?;
        let mut running = RunningRatio::new(&prf, prompt, TEMPERATURES.len());
        let mut ranked = (random_keys > 0)
            .then(|| RunningRatio::new(&prf, prompt, 1).with_monte_carlo(random_keys, prompt, &ids));
        let mut rank_p = Vec::new();
        reader.for_each(prompt, &ids, &mut |t, next| {
            running.push(ids[t], next);
            if let Some(ranked) = &mut ranked {
                ranked.push(ids[t], &next[own..=own]);
                if LENGTHS.contains(&(t + 1)) {
                    rank_p.extend(ranked.monte_carlo().map(|rank| rank.p));
                }
            }
            ControlFlow::Continue(())
        })?;
        let evidence = running.finish();
        let piece = ContextStream::new(prf.scheme().context_rule(), &[]).push(&ids);
        let mut scored_by_text = vec![false; piece.first.min(ids.len())];
        scored_by_text.extend(piece.shares.iter().map(|share| share.thirds() >= 2));
        let ratio = |setting: usize| {
            let of_token = move |ratios: &TokenRatios| ratios.model[setting].ln_ratio;
            evidence.tokens.iter().map(|token| token.as_ref().map_or(0.0, of_token)).collect()
        };
        let finite = |surprisals: &Vec<f64>| surprisals.iter().map(|&x| x.is_finite().then_some(x)).collect();
        let row = Row {
            id: &text.id,
            key_label: &text.key_label,
            temperature: text.temperature,
            mode,
            tokens: all_tokens,
            temperatures: TEMPERATURES,
            scored_by_text,
            scored: evidence.tokens.iter().map(Option::is_some).collect(),
            context_lens: evidence
                .tokens
                .iter()
                .map(|token| token.as_ref().map_or(0, |token| token.context_len))
                .collect(),
            ln_text: evidence
                .tokens
                .iter()
                .map(|token| token.as_ref().map_or(0.0, |token| token.text.ln()))
                .collect(),
            ln_ratios: (0..TEMPERATURES.len()).map(ratio).collect(),
            surprisals: evidence.surprisals.iter().map(finite).collect(),
            rank_p,
        };
        writeln!(out, "{}", serde_json::to_string(&row)?)?;
    }
    Ok(())
}

/// What the verifier is given.
enum Input {
    Ids,
    Text,
    Edited { edit: Edit, prompt: bool },
}

impl Input {
    fn parse(mode: &str) -> Result<Self, String> {
        Ok(match mode {
            "ids" => Self::Ids,
            "text" => Self::Text,
            edit => match edit.strip_suffix("+prompt") {
                Some(edit) => Self::Edited { edit: edit.parse()?, prompt: true },
                None => Self::Edited { edit: edit.parse()?, prompt: false },
            },
        })
    }
}
