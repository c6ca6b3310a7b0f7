//! Which tokens should key a position? Power of several rules after edits, on the same texts.
//!
//! `cargo run --release -p wmgen-research --bin rule_study -- MODEL PROMPTS.jsonl TEXTS TEMPERATURE MODES RULE…`
//!
//! A RULE is `secret`, `A-B/R`, `A-B:W/R`, `layered/R` or `counted/R` (`wmgen_research::rules`); R is not used here, as the
//! columns have it. MODES are separated by commas: `text` (100 tokens), an edit of it such as `replace-20`, or `middle`, the
//! tokens from 160 to 240 of a response.
//!
//! The texts are unmarked, and the g-values are drawn given the texts. Averaged over keys marked text has the model's own
//! distribution, and given the text the g-values of a marked position are fair coins of the candidates, tilted by how much they
//! raise the probability of the token that was drawn: layer after layer, coins are proposed and accepted with probability
//! (1 + g(x) − Σ p g) / 2. A token after a context that was marked keeps its values in the edited text; all others are
//! fair coins. So all rules meet the same texts and edits. p is the weighted mean's for the text's own channel, times
//! R.

use std::collections::HashMap;
use std::error::Error;
use std::io::Write;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha12Rng;
use serde::Deserialize;
use wmdetect::text::Tokenizer;
use wmgen::logits::Logits;
use wmgen::model::{Gemma, LoadOptions};
use wmgen::sample::{Draw, History, Sampler, Sampling};
use wmgen::text::{plain_prompt, stop_ids};
use wmgen_research::edits::{Edit, seed};
use wmgen_research::rules::{ChannelKey, Context, DEPTH, Evidence, Follower, Rule};

/// Tokens of a prompt, `<bos>` included.
const PROMPT_TOKENS: usize = 24;
/// Tokens of a response, those that are edited, and those in the middle.
const TOKENS: usize = 240;
const EDITED: usize = 100;
const MIDDLE: std::ops::Range<usize> = 160..240;
/// Texts that share each pass over the weights.
const BATCH: usize = 64;
const CHANNELS: [f64; 4] = [1.0, 4.0, 16.0, 64.0];

#[derive(Deserialize)]
struct Prompt {
    text: String,
}

/// An unmarked response with the candidates of each position.
struct Response {
    ids: Vec<u32>,
    candidates: Vec<Vec<(u32, f64)>>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [model, prompts, count, temperature, modes, rules @ ..] = &args[..] else {
        return Err("expected MODEL PROMPTS.jsonl TEXTS TEMPERATURE MODES RULE…".into());
    };
    let rules: Vec<Rule> = rules.iter().map(|rule| rule.parse()).collect::<Result<_, _>>()?;
    let tokenizer = Tokenizer::open(model)?;
    let model = Gemma::load(model, LoadOptions::default())?;
    let prompts: Vec<Prompt> = std::fs::read_to_string(prompts)?
        .lines()
        .take(count.parse()?)
        .map(serde_json::from_str)
        .collect::<Result<_, _>>()?;
    let sampling = Sampling { temperature: temperature.parse()?, seed: 18, ..Sampling::default() };
    let mut responses = Vec::new();
    for (batch, prompts) in prompts.chunks(BATCH).enumerate() {
        responses.extend(respond(&model, &tokenizer, prompts, (batch * BATCH) as u64, sampling)?);
    }
    let texts: Vec<String> = responses.iter().map(|response| tokenizer.decode(&response.ids)).collect();
    let words: Vec<&str> = texts.iter().flat_map(|text| text.split_whitespace()).collect();

    let mut out = std::io::stdout().lock();
    writeln!(out, "| T | edit | rule | texts | positions | R = 1: 0.1 % | R = 4 | R = 16 | R = 64 |")?;
    writeln!(out, "|---|---|---|---|---|---|---|---|---|")?;
    for mode in modes.split(',') {
        for (rule, name) in rules.iter().zip(&args[5..]) {
            let (mut found, mut positions) = ([0; CHANNELS.len()], 0.0);
            for (number, response) in responses.iter().enumerate() {
                let range = if mode == "middle" { MIDDLE } else { 0..EDITED };
                let label = format!("{number} {mode}");
                let mut rng = ChaCha12Rng::seed_from_u64(seed(&label, name));
                let marked = marked(*rule, &response.ids[..range.end], &response.candidates, &mut rng);
                let mut text = tokenizer.decode(&response.ids[range]);
                if !matches!(mode, "text" | "middle") {
                    let edit: Edit = mode.parse()?;
                    text = edit.apply(&text, &words, &mut ChaCha12Rng::seed_from_u64(seed(&label, mode)));
                }
                let ids = tokenizer.encode(&text)?.ids;
                let others = ChannelKey::new(&label, 0);
                let evidence = Evidence::of(*rule, &ids, |context, token| {
                    marked.get(&(*context, token)).copied().unwrap_or_else(|| others.bits(context, token))
                });
                positions += evidence.positions();
                let log10_p = evidence.log10_p();
                for (found, channels) in found.iter_mut().zip(CHANNELS) {
                    *found += usize::from(log10_p <= -3.0 - channels.log10());
                }
            }
            let n = responses.len();
            write!(out, "| {temperature} | {mode} | {name} | {n} | {:.1} |", positions / n as f64)?;
            for found in found {
                let (low, high) = wmgen_research::wilson(found, n);
                write!(out, " {:.3} ({low:.2}–{high:.2}) |", found as f64 / n as f64)?;
            }
            writeln!(out)?;
            out.flush()?;
        }
    }
    Ok(())
}

/// Draws the g-values that the key gave the drawn tokens, layer by layer as the tournament goes.
fn marked(
    rule: Rule,
    ids: &[u32],
    candidates: &[Vec<(u32, f64)>],
    rng: &mut impl Rng,
) -> HashMap<(Context, u32), u32> {
    let mut follower = Follower::new(rule);
    let mut marked = HashMap::new();
    for (&id, candidates) in ids.iter().zip(candidates) {
        let contexts = follower.contexts();
        follower.push(id);
        let mut p: Vec<f64> = candidates.iter().map(|candidate| candidate.1).collect();
        let drawn = candidates.iter().position(|candidate| candidate.0 == id).unwrap_or(0);
        for layer in 0..DEPTH {
            let Some(context) = contexts[layer % contexts.len()] else { continue };
            let (g, expected) = loop {
                let g: Vec<bool> = p.iter().map(|_| rng.random()).collect();
                let expected: f64 = p.iter().zip(&g).map(|(p, &g)| if g { *p } else { 0.0 }).sum();
                if rng.random_bool(((1.0 + f64::from(g[drawn]) - expected) / 2.0).clamp(0.0, 1.0)) {
                    break (g, expected);
                }
            };
            *marked.entry((context, id)).or_default() |= u32::from(g[drawn]) << layer;
            p.iter_mut().zip(g).for_each(|(p, g)| *p *= 1.0 + f64::from(g) - expected);
        }
    }
    marked
}

/// Unmarked responses to prompts, the first of which has the number `first`.
fn respond(
    model: &Gemma,
    tokenizer: &Tokenizer,
    prompts: &[Prompt],
    first: u64,
    sampling: Sampling,
) -> Result<Vec<Response>, Box<dyn Error>> {
    let mut ids = Vec::new();
    for prompt in prompts {
        let mut prompt = plain_prompt(tokenizer, &prompt.text)?;
        prompt.truncate(PROMPT_TOKENS);
        ids.push(prompt);
    }
    let mut sampler = Sampler::default();
    let banned = stop_ids(tokenizer).iter().copied().collect();
    let history = History::default();
    let mut draws: Vec<Draw> =
        (first..).take(prompts.len()).map(|number| Draw::new(sampling.seed, number)).collect();
    let mut responses: Vec<Response> =
        prompts.iter().map(|_| Response { ids: vec![], candidates: vec![] }).collect();
    let mut cache = model.new_cache(ids.len());
    let mut logits = model.forward(&ids, &mut cache)?;
    for step in 0..TOKENS {
        for ((response, draw), logits) in responses.iter_mut().zip(&mut draws).zip(logits.to_vec2::<f32>()?) {
            let distribution =
                sampler.distribution(&sampling, Logits::capped(&logits).without(&banned), &history)?;
            response.ids.push(draw.token(distribution));
            let pairs =
                distribution.tokens().iter().copied().zip(distribution.probabilities().iter().copied());
            response.candidates.push(pairs.collect());
        }
        if step + 1 < TOKENS {
            let last: Vec<&[u32]> = responses.iter().map(|response| &response.ids[step..]).collect();
            logits = model.forward(&last, &mut cache)?;
        }
    }
    Ok(responses)
}
