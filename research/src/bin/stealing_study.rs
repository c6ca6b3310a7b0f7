//! What does somebody learn who collects N answers of one key, and can they forge the mark or take it away?
//!
//! `cargo run --release -p wmgen-research --bin stealing_study -- MODEL PROMPTS.jsonl TEMPERATURE TOKENS N,N,… RULE…`
//!
//! MODEL is a path, or `default` for the model that ships with the program. Rules are those of `wmgen_research::rules`.
//!
//! The observer knows the rule, the model and the prompts, all but the key. For each context and token they
//! count how often the token was drawn after the context, n, and how often the model alone would have drawn it, e. The
//! score of the token is ln((n + 1) / (e + 1)), at most [`CLIP`] in size. Under a key with channels there are three
//! observers: "all" learns from all answers; "clusters" sorts the answers into R clusters by what they prefer
//! (k-means on directions) and learns from the tightest; "told" is told the channels and learns from the answers of the
//! most frequent one, which no real observer is.
//!
//! Forging: answers to new prompts, drawn from the model's p(x) · exp(λ · score). Removing: in new marked answers
//! a fifth of the tokens, those with the highest scores, give way to the token with the best ln p − [`LAMBDA`] · score; "blind"
//! replaces random tokens by draws from the model. Both are judged by the detector, which tries all channels.

use std::collections::HashMap;
use std::error::Error;
use std::io::Write;

use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha12Rng;
use serde::Deserialize;
use wmdetect::text::Tokenizer;
use wmgen::logits::Logits;
use wmgen::model::{Gemma, LoadOptions};
use wmgen::sample::{History, Sampler, Sampling};
use wmgen::text::{plain_prompt, stop_ids};
use wmgen_research::clusters::{Sparse, clusters};
use wmgen_research::rules::{ChannelKey, Context, Follower, Rule, log10_p, tournament};

/// Tokens of a prompt, `<bos>` included.
const PROMPT_TOKENS: usize = 24;
/// Texts that share each pass over the weights; as many are forged, and as many have their marks removed.
const BATCH: usize = 64;
/// The largest score.
const CLIP: f64 = 2.5;
/// The weight of the score against ln p.
const LAMBDA: f64 = 3.0;
/// The share of tokens that a remover exchanges.
const EXCHANGED: f64 = 0.2;
/// Less likely candidates are not counted.
const LEAST: f64 = 1e-3;

#[derive(Deserialize)]
struct Prompt {
    text: String,
}

/// The model, and what it writes after.
struct World {
    model: Gemma,
    prompts: Vec<Vec<u32>>,
    stops: Vec<u32>,
    sampling: Sampling,
    tokens: usize,
}

/// The candidates of a position: tokens and probabilities.
type Candidates = (Vec<u32>, Vec<f64>);

/// An answer as an observer sees it: for each context and candidate, by number, the model's probability and whether it was drawn.
struct Answer {
    channel: u16,
    ids: Vec<u32>,
    seen: Vec<(u32, f32, bool)>,
}

/// A forged answer, and its −ln p less the entropy of the draws, in nats a token.
type Forged = (Vec<u32>, f64);

/// Numbers for pairs of context and token.
#[derive(Default)]
struct Numbers(HashMap<(Context, u32), u32>);

impl Numbers {
    fn of(&mut self, context: Context, token: u32) -> u32 {
        let next = self.0.len() as u32;
        *self.0.entry((context, token)).or_insert(next)
    }
}

/// The scores that an observer has learned.
struct Learned<'a> {
    numbers: &'a Numbers,
    scores: Vec<f32>,
}

impl<'a> Learned<'a> {
    fn from<'b>(numbers: &'a Numbers, answers: impl Iterator<Item = &'b Answer>) -> Self {
        let (mut drawn, mut expected) = (vec![0_f32; numbers.0.len()], vec![0_f32; numbers.0.len()]);
        for (number, p, chosen) in answers.flat_map(|answer| &answer.seen) {
            expected[*number as usize] += p;
            drawn[*number as usize] += f32::from(u8::from(*chosen));
        }
        let score = |(n, e): (&f32, &f32)| ((n + 1.0) / (e + 1.0)).ln().clamp(-CLIP as f32, CLIP as f32);
        Self { numbers, scores: drawn.iter().zip(&expected).map(score).collect() }
    }

    /// The score of a token after the contexts of a position.
    fn score(&self, contexts: &[Option<Context>], token: u32) -> f64 {
        let known = |context: &Context| self.numbers.0.get(&(*context, token));
        let all = contexts.iter().flatten().filter_map(known);
        all.map(|&number| f64::from(self.scores[number as usize])).sum::<f64>() / contexts.len() as f64
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [model, prompts, temperature, tokens, counts, rules @ ..] = &args[..] else {
        return Err("expected MODEL PROMPTS.jsonl TEMPERATURE TOKENS N,N,… RULE…".into());
    };
    let counts: Vec<usize> = counts.split(',').map(str::parse).collect::<Result<_, _>>()?;
    let (tokenizer, model) = if model == "default" {
        (Tokenizer::of_default_model(), wmgen::default_model::load(LoadOptions::default())?)
    } else {
        (Tokenizer::open(model)?, Gemma::load(model, LoadOptions::default())?)
    };
    let mut all = Vec::new();
    for line in std::fs::read_to_string(prompts)?.lines() {
        let mut prompt = plain_prompt(&tokenizer, &serde_json::from_str::<Prompt>(line)?.text)?;
        prompt.truncate(PROMPT_TOKENS);
        all.push(prompt);
    }
    let world = World {
        model,
        prompts: all,
        stops: stop_ids(&tokenizer).clone(),
        sampling: Sampling { temperature: temperature.parse()?, ..Sampling::default() },
        tokens: tokens.parse()?,
    };
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "| rule | answers | observer | learned from | of one channel | forged: 1 % | 0.1 % | median log10 p | \
         nats a token | marks left: 0.1 % | median log10 p |"
    )?;
    writeln!(out, "|---|---|---|---|---|---|---|---|---|---|---|")?;
    for name in rules {
        let rule: Rule = name.parse()?;
        let most = *counts.iter().max().ok_or("expected a number of answers, found none")?;
        let mut numbers = Numbers::default();
        let mut answers = Vec::new();
        while answers.len() < most + BATCH {
            answers.extend(world.collect(rule, answers.len(), Some(&mut numbers))?);
        }
        let held_out = &answers[most..most + BATCH];
        let mut row = |start: String, forged: &[Forged], left: &[Vec<u32>]| {
            let judge = |ids: &[u32]| log10_p(rule, "stolen", ids);
            let mut of: Vec<f64> = forged.iter().map(|(ids, _)| judge(ids)).collect();
            let share = |of: &[f64], level: f64| {
                of.iter().filter(|&&p| p <= level).count() as f64 / of.len().max(1) as f64
            };
            of.sort_by(f64::total_cmp);
            let nats = forged.iter().map(|forged| forged.1).sum::<f64>() / forged.len().max(1) as f64;
            write!(out, "{start}")?;
            if forged.is_empty() {
                write!(out, " – | – | – | – |")?;
            } else {
                let (one, thousandth) = (share(&of, -2.0), share(&of, -3.0));
                write!(out, " {one:.2} | {thousandth:.2} | {:.1} | {nats:+.2} |", of[of.len() / 2])?;
            }
            let mut of: Vec<f64> = left.iter().map(|ids| judge(ids)).collect();
            of.sort_by(f64::total_cmp);
            writeln!(out, " {:.2} | {:.1} |", share(&of, -3.0), of[of.len() / 2])?;
            out.flush()
        };
        let whole: Vec<Vec<u32>> = held_out.iter().map(|answer| answer.ids.clone()).collect();
        row(format!("| {name} | 0 | nothing exchanged | 0 | – |"), &[], &whole)?;
        let nothing = Learned { numbers: &Numbers::default(), scores: vec![] };
        let forged = world.forge(rule, most + BATCH, &nothing)?;
        row(format!("| {name} | 0 | blind | 0 | – |"), &forged, &world.remove(rule, most, held_out, None)?)?;
        for &count in &counts {
            let collected = &answers[..count];
            let mut observers = vec![("all", (0..count).collect::<Vec<usize>>())];
            if rule.channels > 1 {
                let vectors = directions(collected, numbers.0.len());
                observers.push(("clusters", clusters(&vectors, numbers.0.len(), usize::from(rule.channels))));
                let channel = most_frequent(collected.iter().map(|answer| answer.channel));
                let told = (0..count).filter(|&i| collected[i].channel == channel).collect();
                observers.push(("told", told));
            }
            for (observer, chosen) in observers {
                let channel = most_frequent(chosen.iter().map(|&i| collected[i].channel));
                let same = chosen.iter().filter(|&&i| collected[i].channel == channel).count();
                let learned = Learned::from(&numbers, chosen.iter().map(|&i| &collected[i]));
                let start = format!(
                    "| {name} | {count} | {observer} | {} | {:.2} |",
                    chosen.len(),
                    same as f64 / chosen.len().max(1) as f64
                );
                let forged = world.forge(rule, most + BATCH, &learned)?;
                row(start, &forged, &world.remove(rule, most, held_out, Some(&learned))?)?;
            }
        }
    }
    Ok(())
}

fn most_frequent(channels: impl Iterator<Item = u16>) -> u16 {
    let mut counts = HashMap::<u16, usize>::new();
    channels.for_each(|channel| *counts.entry(channel).or_default() += 1);
    counts.into_iter().max_by_key(|&(channel, count)| (count, channel)).map_or(0, |(channel, _)| channel)
}

/// What each answer prefers: drawn less expected, over the standard deviation among all answers. A pair of context and token
/// that has come up in one answer alone says nothing and is left out.
fn directions(answers: &[Answer], numbers: usize) -> Vec<Sparse> {
    let (mut variance, mut count) = (vec![0_f32; numbers], vec![0_u32; numbers]);
    for (number, p, _) in answers.iter().flat_map(|answer| &answer.seen) {
        variance[*number as usize] += p * (1.0 - p);
        count[*number as usize] += 1;
    }
    let entry = |&(number, p, chosen): &(u32, f32, bool)| {
        let deviation = variance[number as usize].sqrt();
        (count[number as usize] > 1 && deviation > 0.0)
            .then(|| (number, (f32::from(u8::from(chosen)) - p) / deviation))
    };
    answers.iter().map(|answer| answer.seen.iter().filter_map(entry).collect()).collect()
}

impl World {
    /// Writes [`BATCH`] answers to the prompts from number `first` on. `choose` gets the number of the answer, and the candidates of
    /// its next position, and returns a token.
    fn write(
        &self,
        first: usize,
        mut choose: impl FnMut(usize, Candidates) -> u32,
    ) -> Result<Vec<Vec<u32>>, Box<dyn Error>> {
        let prompts: Vec<&[u32]> =
            (first..first + BATCH).map(|i| &self.prompts[i % self.prompts.len()][..]).collect();
        let banned = self.stops.iter().copied().collect();
        let (mut sampler, history) = (Sampler::default(), History::default());
        let mut ids: Vec<Vec<u32>> = vec![vec![]; BATCH];
        let mut cache = self.model.new_cache(BATCH);
        let mut logits = self.model.forward(&prompts, &mut cache)?;
        for step in 0..self.tokens {
            for (row, logits) in logits.to_vec2::<f32>()?.iter().enumerate() {
                let distribution = sampler.distribution(
                    &self.sampling,
                    Logits::capped(logits).without(&banned),
                    &history,
                )?;
                let candidates = (distribution.tokens().to_vec(), distribution.probabilities().to_vec());
                ids[row].push(choose(row, candidates));
            }
            if step + 1 < self.tokens {
                let last: Vec<&[u32]> = ids.iter().map(|ids| &ids[step..]).collect();
                logits = self.model.forward(&last, &mut cache)?;
            }
        }
        Ok(ids)
    }

    /// Writes marked answers.
    fn collect(
        &self,
        rule: Rule,
        first: usize,
        mut numbers: Option<&mut Numbers>,
    ) -> Result<Vec<Answer>, Box<dyn Error>> {
        let mut rng = ChaCha12Rng::seed_from_u64(first as u64);
        let channels: Vec<u16> = (0..BATCH).map(|_| rng.random_range(0..rule.channels)).collect();
        let keys: Vec<ChannelKey> =
            channels.iter().map(|&channel| ChannelKey::new("stolen", channel)).collect();
        let mut followers = vec![Follower::new(rule); BATCH];
        let mut seen: Vec<Vec<(u32, f32, bool)>> = vec![vec![]; BATCH];
        let ids = self.write(first, |row, (tokens, p)| {
            let contexts = followers[row].contexts();
            let bits: Vec<Vec<u32>> = contexts
                .iter()
                .map(|context| {
                    context.map_or(vec![], |context| {
                        tokens.iter().map(|&token| keys[row].bits(&context, token)).collect()
                    })
                })
                .collect();
            let mut marked = p.clone();
            tournament(&mut marked, &bits);
            let drawn = draw(&marked, &mut rng);
            if let Some(numbers) = &mut numbers {
                for context in contexts.into_iter().flatten() {
                    let likely = p.iter().enumerate().filter(|&(i, &p)| p >= LEAST || i == drawn);
                    seen[row]
                        .extend(likely.map(|(i, &p)| (numbers.of(context, tokens[i]), p as f32, i == drawn)));
                }
            }
            followers[row].push(tokens[drawn]);
            tokens[drawn]
        })?;
        let answers = ids.into_iter().zip(channels).zip(seen);
        Ok(answers.map(|((ids, channel), seen)| Answer { channel, ids, seen }).collect())
    }

    /// Writes answers that shall look marked.
    fn forge(&self, rule: Rule, first: usize, learned: &Learned<'_>) -> Result<Vec<Forged>, Box<dyn Error>> {
        let mut rng = ChaCha12Rng::seed_from_u64(1);
        let mut followers = vec![Follower::new(rule); BATCH];
        let mut nats = vec![0.0; BATCH];
        let ids = self.write(first, |row, (tokens, p)| {
            let contexts = followers[row].contexts();
            let mut forged: Vec<f64> = tokens
                .iter()
                .zip(&p)
                .map(|(&token, p)| p * (LAMBDA * learned.score(&contexts, token)).exp())
                .collect();
            let sum: f64 = forged.iter().sum();
            for p in &mut forged {
                *p /= sum;
            }
            let drawn = draw(&forged, &mut rng);
            let entropy: f64 = p.iter().filter(|&&p| p > 0.0).map(|p| -p * p.ln()).sum();
            nats[row] += (-p[drawn].ln() - entropy) / self.tokens as f64;
            followers[row].push(tokens[drawn]);
            tokens[drawn]
        })?;
        Ok(ids.into_iter().zip(nats).collect())
    }

    /// Writes the answers once more with a fifth of their tokens exchanged.
    fn remove(
        &self,
        rule: Rule,
        first: usize,
        answers: &[Answer],
        learned: Option<&Learned<'_>>,
    ) -> Result<Vec<Vec<u32>>, Box<dyn Error>> {
        let mut rng = ChaCha12Rng::seed_from_u64(2);
        let exchanged: Vec<Vec<bool>> =
            answers.iter().map(|answer| worst(rule, &answer.ids, learned, &mut rng)).collect();
        let mut followers = vec![Follower::new(rule); BATCH];
        let mut steps = vec![0; BATCH];
        self.write(first, |row, (tokens, mut p)| {
            let step = steps[row];
            steps[row] += 1;
            let old = answers[row].ids[step];
            let contexts = followers[row].contexts();
            let mut new = old;
            if exchanged[row][step] {
                p.iter_mut().zip(&tokens).filter(|(_, token)| **token == old).for_each(|(p, _)| *p = 0.0);
                let best = |learned: &Learned<'_>| {
                    let value = |i: usize| p[i].ln() - LAMBDA * learned.score(&contexts, tokens[i]);
                    (0..tokens.len()).max_by(|&a, &b| value(a).total_cmp(&value(b)))
                };
                if p.iter().any(|&p| p > 0.0) {
                    new = tokens[learned.and_then(best).unwrap_or_else(|| draw(&p, &mut rng))];
                }
            }
            followers[row].push(new);
            new
        })
    }
}

/// Which tokens to exchange: those with the highest scores, or random ones.
fn worst(rule: Rule, ids: &[u32], learned: Option<&Learned<'_>>, rng: &mut impl Rng) -> Vec<bool> {
    let mut follower = Follower::new(rule);
    let mut order: Vec<(usize, f64)> = ids
        .iter()
        .enumerate()
        .map(|(at, &id)| {
            let contexts = follower.contexts();
            follower.push(id);
            (at, learned.map_or(0.0, |learned| learned.score(&contexts, id)))
        })
        .collect();
    order.shuffle(rng);
    order.sort_by(|a, b| b.1.total_cmp(&a.1));
    let mut chosen = vec![false; ids.len()];
    let count = (EXCHANGED * ids.len() as f64).round() as usize;
    order[..count].iter().for_each(|&(at, _)| chosen[at] = true);
    chosen
}

/// The index of a candidate, drawn from probabilities with any sum.
fn draw(p: &[f64], rng: &mut impl Rng) -> usize {
    let mut u = rng.random::<f64>() * p.iter().sum::<f64>();
    let reached = |p: &f64| {
        u -= p;
        u < 0.0
    };
    p.iter().position(reached).unwrap_or_else(|| p.iter().rposition(|&p| p > 0.0).unwrap_or(0))
}
