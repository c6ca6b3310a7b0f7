//! How often does a draft model guess the token that is drawn, and how often could it?
//!
//! `cargo run --release -p wmgen-research --bin acceptance_study -- TARGET DRAFT PROMPTS.jsonl PROMPTS TOKENS`
//!
//! TARGET and DRAFT are files of models with the same tokenizer, or `default`. The target writes TOKENS tokens after each of the first
//! prompts (field `prompt`), at three temperatures, with a mark and without, and the draft model reads along. At each position
//! both make the distribution that they would draw from. Under the seed's noise of one position they then draw the same token with a
//! probability that is computed, not simulated:
//!
//! - `ceiling`: 1 − total variation, more than any rule can give, for the distributions after the mark; `before` is that before the mark;
//! - `race`: Σ 1 / Σ max(p(s) / p(t), q(s) / q(t)) over tokens t and s, for the race of exponential times that `wmgen` draws by;
//! - `inverse`: the overlap of the tokens' intervals, for the inverse of the cumulative distribution, most likely tokens first.
//!
//! Means over all positions, ± two standard errors of the mean over prompts.

use std::collections::HashMap;
use std::error::Error;
use std::fs;
use std::io::{Write, stdout};

use serde::Deserialize;
use wmdetect::scheme::{Distribution, Key, Preset, Watermark};
use wmdetect::text::Tokenizer;
use wmgen::default_model;
use wmgen::model::{Cache, Gemma, LoadOptions};
use wmgen::sample::{Draw, History, Mark, Sampler, Sampling};
use wmgen::text::{plain_prompt, stop_ids};

/// Tokens of a prompt, `<bos>` included.
const PROMPT_TOKENS: usize = 24;
/// What is reported, in the order of the columns.
const NAMES: [&str; 4] = ["before", "ceiling", "race", "inverse"];

#[derive(Deserialize)]
struct Prompt {
    prompt: String,
}

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [target, draft, prompts, count, tokens] = &args[..] else {
        return Err("expected TARGET DRAFT PROMPTS.jsonl PROMPTS TOKENS".into());
    };
    let tokens: usize = tokens.parse()?;
    let tokenizer =
        if target == "default" { Tokenizer::of_default_model() } else { Tokenizer::open(target)? };
    let [target, draft] = [target, draft].map(|path| match path.as_str() {
        "default" => default_model::load(LoadOptions::default()),
        path => Gemma::load(path, LoadOptions::default()),
    });
    let (target, draft) = (target?, draft?);
    let prompts: Vec<Vec<u32>> = fs::read_to_string(prompts)?
        .lines()
        .take(count.parse()?)
        .map(|line| -> Result<Vec<u32>, Box<dyn Error>> {
            let Prompt { prompt } = serde_json::from_str(line)?;
            let mut ids = plain_prompt(&tokenizer, &prompt)?;
            ids.truncate(PROMPT_TOKENS);
            Ok(ids)
        })
        .collect::<Result<_, _>>()?;
    let stop = stop_ids(&tokenizer);
    writeln!(stdout(), "temperature mark {}", NAMES.join(" "))?;
    for temperature in [0.5, 0.7, 1.0] {
        for marked in [false, true] {
            let sampling = Sampling { temperature, seed: 21, ..Sampling::default() };
            let mut of_prompts = Vec::new();
            for (number, prompt) in prompts.iter().enumerate() {
                let mark = marked.then(|| Key::generate(Preset::default())).transpose()?;
                let mark = mark.map(|key| Watermark::new(key.prf()));
                let number = number as u64;
                let mark = Mark::start(mark.as_ref(), prompt, sampling.seed, number);
                let draw = Draw::new(sampling.seed, number);
                of_prompts.extend(write([&target, &draft], prompt, sampling, mark, draw, tokens, &stop)?);
            }
            let cells: Vec<String> = (0..NAMES.len())
                .map(|column| {
                    let values: Vec<f64> = of_prompts.iter().map(|means| means[column]).collect();
                    let n = values.len() as f64;
                    let mean = values.iter().sum::<f64>() / n;
                    let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (n - 1.0);
                    format!("{mean:.3}±{:.3}", 2.0 * (variance / n).sqrt())
                })
                .collect();
            let mark = if marked { "marked" } else { "none" };
            writeln!(stdout(), "{temperature} {mark} {}", cells.join(" "))?;
        }
    }
    Ok(())
}

/// Writes a response by the first model while the second reads along, and returns the means over its positions; none where there is
/// no position.
fn write(
    models: [&Gemma; 2],
    prompt: &[u32],
    sampling: Sampling,
    mut mark: Mark,
    mut draw: Draw,
    tokens: usize,
    stop: &[u32],
) -> Result<Option<[f64; 4]>, Box<dyn Error>> {
    let mut history = History::new([&sampling], prompt);
    let mut caches: [Cache; 2] = models.map(|model| model.new_cache(1));
    let mut next = prompt.to_vec();
    let (mut sums, mut positions) = ([0.0; 4], 0);
    let mut sampler = Sampler::default();
    while positions < tokens {
        let mut before = Vec::new();
        for (model, cache) in models.iter().zip(&mut caches) {
            let logits = if next.len() > 1 {
                model.forward_raw(&[&next], cache)?
            } else {
                model.step(&next, &mut [cache])?
            };
            before.push(logits.read(|rows| -> Result<Distribution, Box<dyn Error>> {
                Ok(sampler.distribution(&sampling, rows.row(0), &history)?.clone())
            })?);
        }
        let mut after = before.clone();
        for distribution in &mut after {
            mark.apply(distribution);
        }
        let pair = |of: &[Distribution]| Pair::new(&of[0], &of[1]);
        let of_both = pair(&after);
        let values =
            [pair(&before).overlap(), of_both.overlap(), of_both.race(), inverse(&after[0], &after[1])];
        sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
        positions += 1;
        let id = draw.token(&after[0]);
        if stop.contains(&id) {
            break;
        }
        mark.push(id);
        history.push(id);
        next = vec![id];
    }
    Ok((positions > 0).then(|| sums.map(|sum| sum / positions as f64)))
}

/// The probabilities of each token that either model may draw.
struct Pair(Vec<[f64; 2]>);

impl Pair {
    fn new(p: &Distribution, q: &Distribution) -> Self {
        let mut tokens: HashMap<u32, [f64; 2]> = HashMap::new();
        for (which, distribution) in [p, q].into_iter().enumerate() {
            for (token, p) in distribution.tokens().iter().zip(distribution.probabilities()) {
                tokens.entry(*token).or_default()[which] = *p;
            }
        }
        Self(tokens.into_values().filter(|[p, q]| *p > 0.0 || *q > 0.0).collect())
    }

    /// 1 − total variation.
    fn overlap(&self) -> f64 {
        self.0.iter().map(|[p, q]| p.min(*q)).sum()
    }

    fn race(&self) -> f64 {
        let both = self.0.iter().filter(|[p, q]| *p > 0.0 && *q > 0.0);
        both.map(|[p, q]| 1.0 / self.0.iter().map(|[a, b]| (a / p).max(b / q)).sum::<f64>()).sum()
    }
}

/// The share of u in [0, 1) for which both draw the same token, most likely tokens first.
fn inverse(p: &Distribution, q: &Distribution) -> f64 {
    let [p, q] = [p, q].map(|distribution| {
        let mut end = 0.0;
        let intervals = distribution.tokens().iter().zip(distribution.probabilities()).map(|(token, p)| {
            end += p;
            (*token, (end - p, end))
        });
        intervals.collect::<HashMap<u32, (f64, f64)>>()
    });
    let shared = p.iter().filter_map(|(token, (from, to))| {
        let (other_from, other_to) = q.get(token)?;
        Some((to.min(*other_to) - from.max(*other_from)).max(0.0))
    });
    shared.sum()
}
