//! Many responses to each of some prompts, under one key a prompt: how much do they differ from each other, and is each of
//! them as good as unmarked text?
//!
//! `cargo run --release -p wmgen-research --bin response_study -- MODEL PROMPTS.jsonl PROMPTS RESPONSES TOKENS TEMPERATURE OUT.jsonl RULE…`
//!
//! RULE is `none`, `secret` (`synthid-sha256`), or `A-B/R`: contexts from A to B tokens and R channels
//! (`synthid-sha256-v2`), such as `1-4/16`. `layered/R` and `counted/R` are those of `wmgen_research::rules`. Rules and prompts that OUT has already are not written again. The table is of
//! all of OUT; intervals are ± two standard errors of the mean over prompts.
//!
//! "Quality" is the mean of −ln p(x) − H(p) over the tokens x that were drawn, in nats: p is the model's distribution before
//! the mark, H its entropy. It is 0 on average over keys if the mark leaves the distribution of each draw as it is, below 0
//! if likely tokens come too often, and above 0 if unlikely ones do.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::error::Error;
use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Write};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use wmdetect::scheme::{Distribution, Key, Preset, Scheme, Secret, Watermark, synthid};
use wmdetect::split_mix;
use wmdetect::text::Tokenizer;
use wmgen::logits::Logits;
use wmgen::model::{Gemma, LoadOptions};
use wmgen::sample::{Draw, History, Mark, Sampler, Sampling};
use wmgen::text::{plain_prompt, stop_ids};
use wmgen_research::rules::{ChannelKey, Follower, Rule, tournament};

/// Tokens of a prompt, `<bos>` included.
const PROMPT_TOKENS: usize = 24;

#[derive(Deserialize)]
struct Prompt {
    id: String,
    text: String,
}

#[derive(Serialize, Deserialize)]
struct Row {
    rule: String,
    prompt: String,
    channel: Option<u16>,
    tokens: Vec<u32>,
    /// Σ −ln p − H over the tokens, in nats.
    quality: f64,
}

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [model, prompts, count, responses, tokens, temperature, out, rules @ ..] = &args[..] else {
        return Err(
            "expected MODEL PROMPTS.jsonl PROMPTS RESPONSES TOKENS TEMPERATURE OUT.jsonl RULE…".into()
        );
    };
    let (responses, tokens): (usize, usize) = (responses.parse()?, tokens.parse()?);
    let sampling = Sampling { temperature: temperature.parse()?, seed: 18, ..Sampling::default() };
    let tokenizer = Tokenizer::open(model)?;
    let model = Gemma::load(model, LoadOptions::default())?;
    let prompts: Vec<Prompt> = std::fs::read_to_string(prompts)?
        .lines()
        .take(count.parse()?)
        .map(serde_json::from_str)
        .collect::<Result<_, _>>()?;
    let mut file = OpenOptions::new().create(true).append(true).read(true).open(out)?;
    let mut rows: Vec<Row> = BufReader::new(&file)
        .lines()
        .map(|line| Ok(serde_json::from_str(&line?)?))
        .collect::<Result<_, Box<dyn Error>>>()?;
    let done: HashSet<(String, String)> =
        rows.iter().map(|row| (row.rule.clone(), row.prompt.clone())).collect();
    for prompt in &prompts {
        for rule in rules.iter().filter(|rule| !done.contains(&((*rule).clone(), prompt.id.clone()))) {
            let marks = marks(rule, &prompt.id)?;
            let new = respond(&model, &tokenizer, prompt, &marks, responses, tokens, sampling)?;
            for Response { channel, tokens, quality } in new {
                let row = Row { rule: rule.clone(), prompt: prompt.id.clone(), channel, tokens, quality };
                writeln!(file, "{}", serde_json::to_string(&row)?)?;
                rows.push(row);
            }
        }
    }
    table(&rows)
}

/// How answers are marked: by the product, or by another rule under the key of this name.
enum Marks {
    Product(Option<Watermark>),
    Other(Rule, String),
}

/// The mark of a rule, under another key for each prompt.
fn marks(rule: &str, prompt: &str) -> Result<Marks, Box<dyn Error>> {
    let scheme: Scheme = match rule {
        "none" => return Ok(Marks::Product(None)),
        other if other.starts_with(['l', 'c']) => {
            return Ok(Marks::Other(other.parse()?, format!("response study {prompt}")));
        }
        "secret" => Preset::Secret.into(),
        rule => {
            let parts = rule.split_once('/').and_then(|(contexts, channels)| {
                let (shortest, longest) = contexts.split_once('-')?;
                Some((shortest.parse().ok()?, longest.parse().ok()?, channels.parse().ok()?))
            });
            let (shortest_context, longest_context, channels) =
                parts.ok_or_else(|| format!("expected none, secret or A-B/R, found {rule}"))?;
            synthid::Sha256V2 { shortest_context, longest_context, channels, ..Default::default() }.into()
        }
    };
    let secret = Sha256::digest(format!("response study {prompt}")).to_vec();
    Ok(Marks::Product(Some(Watermark::new(Key::new(scheme, Secret::new(secret.into()))?.prf()))))
}

/// The mark of one response.
enum Marker {
    Product(Mark),
    Other(ChannelKey, Follower),
}

impl Marks {
    fn channel(&self, prompt: &[u32], seed: u64, number: u64) -> Option<u16> {
        match self {
            Self::Product(watermark) => {
                let watermark = watermark.as_ref()?;
                watermark.channel(watermark.random(prompt, seed, number))
            }
            Self::Other(rule, _) => Some((split_mix::nth(seed, number) % u64::from(rule.channels)) as u16),
        }
    }

    fn start(&self, prompt: &[u32], seed: u64, number: u64) -> Marker {
        match self {
            Self::Product(watermark) => {
                Marker::Product(Mark::start(watermark.as_ref(), prompt, seed, number))
            }
            Self::Other(rule, label) => {
                let channel = self.channel(prompt, seed, number).unwrap_or_default();
                Marker::Other(ChannelKey::new(label, channel), Follower::new(*rule))
            }
        }
    }
}

impl Marker {
    fn apply(&mut self, candidates: &mut Distribution) {
        match self {
            Self::Product(mark) => {
                mark.apply(candidates);
            }
            Self::Other(key, follower) => {
                let tokens = candidates.tokens();
                let of = |context| tokens.iter().map(|&token| key.bits(&context, token)).collect();
                let bits: Vec<Vec<u32>> =
                    follower.contexts().into_iter().map(|context| context.map_or(vec![], of)).collect();
                let mut p = candidates.probabilities().to_vec();
                tournament(&mut p, &bits);
                // The tournament leaves a sum of 1, up to rounding.
                if let Ok(marked) = Distribution::from_probabilities(tokens.to_vec(), p) {
                    *candidates = marked;
                }
            }
        }
    }

    fn push(&mut self, token: u32) {
        match self {
            Self::Product(mark) => mark.push(token),
            Self::Other(_, follower) => {
                follower.push(token);
            }
        }
    }
}

/// One response.
struct Response {
    channel: Option<u16>,
    tokens: Vec<u32>,
    quality: f64,
}

/// The responses to a prompt under a mark, or without one.
fn respond(
    model: &Gemma,
    tokenizer: &Tokenizer,
    prompt: &Prompt,
    marks: &Marks,
    responses: usize,
    tokens: usize,
    sampling: Sampling,
) -> Result<Vec<Response>, Box<dyn Error>> {
    let stops = stop_ids(tokenizer);
    let mut ids = plain_prompt(tokenizer, &prompt.text)?;
    ids.truncate(PROMPT_TOKENS);
    let mut sampler = Sampler::default();
    let history = History::new([&sampling], &ids);
    let banned = stops.iter().copied().collect();
    let mut texts: Vec<_> = (0..responses as u64)
        .map(|number| {
            let seed = sampling.seed;
            let (mark, channel) = (marks.start(&ids, seed, number), marks.channel(&ids, seed, number));
            (mark, Draw::new(seed, number), channel, Vec::new(), 0.0)
        })
        .collect();
    let mut cache = model.new_cache(responses);
    let mut logits = model.forward(&vec![ids.clone(); responses], &mut cache)?;
    for step in 0..tokens {
        for ((mark, draw, _, ids, quality), logits) in texts.iter_mut().zip(logits.to_vec2::<f32>()?) {
            let candidates =
                sampler.distribution(&sampling, Logits::capped(&logits).without(&banned), &history)?;
            let before: HashMap<u32, f64> =
                candidates.tokens().iter().copied().zip(candidates.probabilities().iter().copied()).collect();
            mark.apply(candidates);
            let id = draw.token(candidates);
            mark.push(id);
            ids.push(id);
            *quality += -before[&id].ln() - sampler.entropy();
        }
        if step + 1 < tokens {
            let last: Vec<&[u32]> = texts.iter().map(|text| &text.3[step..]).collect();
            logits = model.forward(&last, &mut cache)?;
        }
    }
    let response = |(_, _, channel, tokens, quality)| Response { channel, tokens, quality };
    Ok(texts.into_iter().map(response).collect())
}

/// What the responses to one prompt have in common.
struct Alike {
    /// Share of the most common first token.
    first: f64,
    /// Different responses.
    distinct: f64,
    /// Different n-grams as a share of all.
    distinct_2: f64,
    distinct_3: f64,
    /// Mean Jaccard coefficient of the 3-grams of two responses.
    jaccard_3: f64,
    /// Nats a token.
    quality: f64,
}

impl Alike {
    fn of(rows: &[&Row]) -> Self {
        let mut firsts = HashMap::<u32, usize>::new();
        for row in rows {
            *firsts.entry(row.tokens[0]).or_default() += 1;
        }
        let distinct = |n: usize| {
            let grams: HashSet<&[u32]> = rows.iter().flat_map(|row| row.tokens.windows(n)).collect();
            let all: usize = rows.iter().map(|row| row.tokens.windows(n).len()).sum();
            grams.len() as f64 / all as f64
        };
        let grams: Vec<HashSet<&[u32]>> = rows.iter().map(|row| row.tokens.windows(3).collect()).collect();
        let (mut jaccard, mut pairs) = (0.0, 0);
        for (i, one) in grams.iter().enumerate() {
            for other in &grams[..i] {
                let both = one.intersection(other).count();
                jaccard += both as f64 / (one.len() + other.len() - both) as f64;
                pairs += 1;
            }
        }
        let tokens: usize = rows.iter().map(|row| row.tokens.len()).sum();
        let texts: HashSet<&[u32]> = rows.iter().map(|row| &row.tokens[..]).collect();
        Self {
            first: *firsts.values().max().unwrap_or(&0) as f64 / rows.len() as f64,
            distinct: texts.len() as f64,
            distinct_2: distinct(2),
            distinct_3: distinct(3),
            jaccard_3: jaccard / f64::from(pairs.max(1)),
            quality: rows.iter().map(|row| row.quality).sum::<f64>() / tokens as f64,
        }
    }
}

fn table(rows: &[Row]) -> Result<(), Box<dyn Error>> {
    let mut of_rule: BTreeMap<&str, BTreeMap<&str, Vec<&Row>>> = BTreeMap::new();
    for row in rows {
        of_rule.entry(&row.rule).or_default().entry(&row.prompt).or_default().push(row);
    }
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "| rule | prompts | most common first token | different texts | distinct 2-grams | distinct 3-grams | \
         of unmarked | 3-gram Jaccard | quality, nats a token |"
    )?;
    writeln!(out, "|---|---|---|---|---|---|---|---|---|")?;
    let alike = |prompts: &BTreeMap<&str, Vec<&Row>>| -> BTreeMap<String, Alike> {
        prompts.iter().map(|(prompt, rows)| ((*prompt).to_owned(), Alike::of(rows))).collect()
    };
    let unmarked = of_rule.get("none").map(alike);
    for (rule, prompts) in &of_rule {
        let all = alike(prompts);
        let mean = |of: &dyn Fn(&Alike) -> f64| {
            let values: Vec<f64> = all.values().map(of).collect();
            let n = values.len() as f64;
            let mean = values.iter().sum::<f64>() / n;
            let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
            (mean, 2.0 * (squares / (n * (n - 1.0).max(1.0))).sqrt())
        };
        write!(
            out,
            "| {rule} | {} | {:.2} | {:.1} |",
            all.len(),
            mean(&|a| a.first).0,
            mean(&|a| a.distinct).0
        )?;
        write!(
            out,
            " {:.3} | {:.3} ± {:.3} |",
            mean(&|a| a.distinct_2).0,
            mean(&|a| a.distinct_3).0,
            mean(&|a| a.distinct_3).1
        )?;
        let ratios: Vec<f64> = all
            .iter()
            .filter_map(|(prompt, a)| Some(a.distinct_3 / unmarked.as_ref()?.get(prompt)?.distinct_3))
            .collect();
        write!(out, " {:.2} |", ratios.iter().sum::<f64>() / ratios.len().max(1) as f64)?;
        let quality = mean(&|a| a.quality);
        writeln!(out, " {:.4} | {:+.4} ± {:.4} |", mean(&|a| a.jaccard_3).0, quality.0, quality.1)?;
    }
    Ok(())
}
