//! Are the p-values valid? Unmarked texts under a fresh key for each (text, repetition), in cells by kind and length.
//!
//! `cargo run --release -p wmgen-research --bin validity_study -- TOKENIZER DOCS.jsonl TRIALS [CHANNELS | SCHEME]`
//!
//! DOCS has rows `{"lang": …, "text": …}`; `en` is English, `code` is code, anything else another language. Form letters,
//! tables and loops are made here. Each cell runs TRIALS (text, key) pairs; a text gives as many as are needed, each
//! with a key of its own. The randomised test of level a rejects with probability exactly a under the null hypothesis,
//! so rejections are Binomial(TRIALS, a): a cell is flagged if its two-sided p is below 0.001 / number of cells
//! (`docs/concepts/statistics.md`, "The null hypothesis").
//!
//! With CHANNELS the keys are of `synthid-sha256-v2` with so many channels R, the others of `synthid-sha256`. Each channel is
//! tested at level a / R, as p = R · min p does, and a text is rejected if any is: with probability 1 − (1 − a / R)^R.
//! Without CHANNELS the compatible schemes are looked at as well.
//!
//! With SCHEME, the name of another engine's mark, the keys are of that with its usual parameters and the statistic is its usual one.
//! Its p errs upwards, so a cell is flagged only if there are too many rejections, by the one-sided p. TOKENIZER may be `default`,
//! the default model's.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::Arc;

use serde::Deserialize;
use sha2::{Digest, Sha256};
use wmdetect::scheme::{
    ContextStream, Evidence, EvidenceStream, Key, SamplingTable, Scheme, Secret, gumbel, kgw, synthid,
};
use wmdetect::statistics::{Bayesian, Decider, Llr, Mean, Profile, Sample, Scored, Statistic, WeightedMean};
use wmdetect::text::Tokenizer;

const DEPTH: usize = 30;
const LEVELS: [f64; 4] = [1e-1, 1e-2, 1e-3, 1e-4];
const LENGTHS: [usize; 5] = [25, 50, 100, 200, 400];
/// The Bayesian detector, which takes ten times as long as the others together, is left out of longer texts.
const BAYESIAN_UP_TO: usize = 100;
const KINDS: [&str; 5] = ["English", "other languages", "code", "templated", "repetitive"];
/// Texts of a kind at most; repetitions make up the rest.
const TEXTS: usize = 1000;

#[derive(Deserialize)]
struct Doc {
    lang: String,
    text: String,
}

/// Deterministic random numbers, so that the study can be repeated: SHA-256 of a counter.
struct Random {
    seed: u64,
    counter: u64,
}

impl Random {
    fn new(seed: u64) -> Self {
        Self { seed, counter: 0 }
    }

    fn bytes(&mut self) -> [u8; 32] {
        self.counter += 1;
        Sha256::new()
            .chain_update(self.seed.to_le_bytes())
            .chain_update(self.counter.to_le_bytes())
            .finalize()
            .into()
    }

    fn below(&mut self, n: usize) -> usize {
        let bytes = self.bytes();
        (u64::from_le_bytes(bytes[..8].try_into().expect("8 of 32 bytes")) % n as u64) as usize
    }

    fn unit(&mut self) -> f64 {
        self.below(1 << 53) as f64 / (1_u64 << 53) as f64
    }
}

/// A form letter, a list of the same phrases or a price list.
fn templated(random: &mut Random) -> String {
    let mut pick = |words: &[&'static str]| words[random.below(words.len())];
    let name = pick(&["Miller", "Kowalski", "Rossi", "Singh", "García", "Okafor", "Nguyen", "Larsen"]);
    let month = pick(&["January", "March", "May", "June", "August", "October"]);
    let product = pick(&["electric kettle", "winter jacket", "desk lamp", "train ticket", "garden hose"]);
    let (order, price) = (10_000 + random.below(90_000), 10 + random.below(900));
    let mut text = format!(
        "Dear customer {name},\n\nthank you for your order number {order} of {month} 2026. We are sorry to tell you that \
         the {product} is not in stock at the moment. Your payment of {price}.00 EUR will be returned to your account \
         within ten working days. If you have any questions about your order, please do not hesitate to contact our \
         customer service by telephone or by e-mail. Please always quote your order number {order}.\n\nYours \
         sincerely,\nCustomer Service\n\nOrder number: {order}\nProduct: {product}\nPrice: {price}.00 EUR\n\n"
    );
    for row in 0..60 {
        let _ =
            writeln!(text, "| {} | {product} | {}.00 EUR | in stock |", order + row, 10 + random.below(90));
    }
    text
}

/// Text that repeats itself with small changes or none.
fn repetitive(random: &mut Random) -> String {
    let phrase = ["ha ha ha ", "I will not talk in class. ", "0, 1, 1, 2, ", "la la la la, ", "yes yes no "]
        [random.below(5)];
    let mut text = String::new();
    for i in 0..400 {
        match random.below(4) {
            0 => {
                let _ = write!(text, "line {i}: ");
            }
            1 => {
                let _ = write!(text, "{} ", random.below(10));
            }
            _ => text.push_str(phrase),
        }
    }
    text
}

/// The token ids of a kind's texts.
fn texts(kind: &str, docs: &[Doc], tokenizer: &Tokenizer) -> Result<Vec<Vec<u32>>, Box<dyn Error>> {
    let mut random = Random::new(KINDS.iter().position(|k| *k == kind).unwrap_or(0) as u64);
    let made: Vec<String> = match kind {
        "templated" => (0..TEXTS).map(|_| templated(&mut random)).collect(),
        "repetitive" => (0..TEXTS).map(|_| repetitive(&mut random)).collect(),
        _ => {
            let of_kind = |doc: &&Doc| match doc.lang.as_str() {
                "en" => kind == "English",
                "code" => kind == "code",
                _ => kind == "other languages",
            };
            let all: Vec<&Doc> = docs.iter().filter(of_kind).collect();
            let step = (all.len() / TEXTS).max(1);
            all.iter().step_by(step).take(TEXTS).map(|doc| doc.text.clone()).collect()
        }
    };
    Ok(made.iter().map(|text| tokenizer.encode(text).map(|encoded| encoded.ids)).collect::<Result<_, _>>()?)
}

/// The randomised test of level `level`: the sum at and above which it always rejects, and the probability with
/// which it rejects the sum just below.
fn test(statistic: &dyn Statistic, n: Scored, level: f64) -> (i64, f64) {
    let tail = |sum| statistic.ln_tail(n, sum).exp();
    let (mut low, mut high) = (statistic.smallest_sum(n), statistic.largest_sum(n) + 1);
    // The least sum whose tail is at most the level.
    while low < high {
        let middle = low + (high - low) / 2;
        if tail(middle) <= level { high = middle } else { low = middle + 1 }
    }
    let (at, below) = (tail(low), tail(low - 1));
    // Sums between lattice points have no mass: then the tail just below equals the one at it.
    (low, if below > at { (level - at) / (below - at) } else { 0.0 })
}

/// One cell: texts of one kind and length.
fn cell(
    ids: &[Vec<u32>],
    trials: usize,
    seed: u64,
    statistics: &[(&str, Arc<dyn Statistic>)],
    key: &(dyn Fn(&mut Random) -> Key + Sync),
) -> Vec<[u64; LEVELS.len()]> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let repetitions = trials.div_ceil(ids.len());
    let parts: Vec<Vec<[u64; LEVELS.len()]>> = std::thread::scope(|scope| {
        let handles: Vec<_> = (0..threads)
            .map(|thread| {
                scope.spawn(move || {
                    let mut rejected = vec![[0; LEVELS.len()]; statistics.len()];
                    let mut tests: BTreeMap<(usize, Scored, usize), (i64, f64)> = BTreeMap::new();
                    for trial in (thread..trials).step_by(threads) {
                        let mut random = Random::new(seed << 32 | trial as u64);
                        let prf = key(&mut random).prf();
                        let piece = ContextStream::new(prf.scheme().context_rule(), &[])
                            .push(&ids[trial / repetitions]);
                        let mut any = vec![[false; LEVELS.len()]; statistics.len()];
                        for prf in prf.channels() {
                            let evidence = EvidenceStream::new(&prf).push(&piece);
                            let sample = match &evidence {
                                Evidence::Layers(values) => Sample::scored(values),
                                other => Sample::new(other, other.scored_mask()),
                            };
                            let u = random.unit();
                            let channels = f64::from(prf.scheme().channels());
                            for (s, (_, statistic)) in statistics.iter().enumerate() {
                                let scored = statistic.counts(sample.tokens());
                                let value = statistic.sum(sample).expect("keys of the statistics' depth");
                                for (l, &level) in LEVELS.iter().enumerate() {
                                    let (always, share) = *tests
                                        .entry((s, scored, l))
                                        .or_insert_with(|| test(&**statistic, scored, level / channels));
                                    any[s][l] |= value >= always || (value == always - 1 && u < share);
                                }
                            }
                        }
                        for (rejected, any) in rejected.iter_mut().zip(any) {
                            rejected.iter_mut().zip(any).for_each(|(count, any)| *count += u64::from(any));
                        }
                    }
                    rejected
                })
            })
            .collect();
        handles.into_iter().map(|handle| handle.join().expect("no panic in a cell")).collect()
    });
    let mut sum = vec![[0; LEVELS.len()]; statistics.len()];
    for part in parts {
        for (total, part) in sum.iter_mut().zip(part) {
            for (total, part) in total.iter_mut().zip(part) {
                *total += part;
            }
        }
    }
    sum
}

/// P(X ≥ `count`) for X ~ Binomial(`trials`, `level`).
fn one_sided(count: u64, trials: usize, level: f64) -> f64 {
    use statrs::distribution::{Binomial, DiscreteCDF};
    let law = Binomial::new(level, trials as u64).expect("a level in [0, 1]");
    if count == 0 { 1.0 } else { law.sf(count - 1) }
}

/// Another engine's scheme with its usual parameters, for a vocabulary of so many tokens.
fn engine(name: &str, vocab_size: u32) -> Option<Scheme> {
    let hf = |seeding_scheme, context_width| kgw::KgwHf {
        seeding_scheme,
        context_width,
        greenlist_ratio: 0.25.into(),
        vocab_size,
    };
    let lm = |prf, context_width| kgw::Kgw {
        prf,
        context_width,
        gamma: 0.25.into(),
        vocab_size,
        select_green_tokens: true,
    };
    Some(match name {
        "vllm-gumbel" => gumbel::VllmGumbel { context_width: 4 }.into(),
        "vllm-gumbel-dual" => gumbel::VllmGumbelDual { context_width: 4, alpha: 0.1.into() }.into(),
        "sglang-gumbel" => gumbel::SglangGumbel { context_window: 4 }.into(),
        "sglang-gumbel-dual" => {
            gumbel::SglangGumbelDual { context_window: 4, mixing_probability: 0.5.into() }.into()
        }
        "textseal" => gumbel::TextSeal { ngram: 1, mixing_alpha: None }.into(),
        "textseal-dual" => gumbel::TextSeal { ngram: 1, mixing_alpha: Some(0.5.into()) }.into(),
        "kgw-hf" => hf(kgw::Seeding::LeftHash, 1).into(),
        "kgw-hf-self" => hf(kgw::Seeding::SelfHash, 1).into(),
        "kgw" => lm(kgw::Prf::SelfHash, 4).into(),
        "kgw-minhash" => lm(kgw::Prf::MinHash, 4).into(),
        "kgw-tgi" => kgw::KgwTgi { gamma: 0.5.into(), vocab_size }.into(),
        _ => return None,
    })
}

/// Two-sided p of `count` ~ Binomial(`trials`, `level`): twice the smaller tail.
fn two_sided(count: u64, trials: usize, level: f64) -> f64 {
    use statrs::distribution::{Binomial, DiscreteCDF};
    let law = Binomial::new(level, trials as u64).expect("a level in [0, 1]");
    let lower = law.cdf(count);
    let upper = if count == 0 { 1.0 } else { law.sf(count - 1) };
    (2.0 * lower.min(upper)).min(1.0)
}

fn random_key(scheme: &Scheme, random: &mut Random) -> Key {
    let secret = random.bytes()[..scheme.secret_shape().len].to_vec();
    Key::new(scheme.clone(), Secret::new(secret.into())).expect("a key has at most 32 bytes")
}

/// Thirty layer keys at random under a compat scheme.
fn compat_key(scheme: &Scheme, random: &mut Random) -> Key {
    let secret: Vec<u8> = (0..DEPTH).flat_map(|_| (random.below(1 << 31) as i64).to_le_bytes()).collect();
    Key::new(scheme.clone(), Secret::new(secret.into())).unwrap_or_else(|_| compat_key(scheme, random))
}

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (tokenizer, docs, trials, which) = match &args[..] {
        [tokenizer, docs, trials] => (tokenizer, docs, trials, None),
        [tokenizer, docs, trials, which] => (tokenizer, docs, trials, Some(which)),
        _ => return Err("expected TOKENIZER DOCS.jsonl TRIALS [CHANNELS | SCHEME]".into()),
    };
    // Of the default model, or of Gemma 2.
    let vocab_size = if tokenizer == "default" { 6144 } else { 256_000 };
    let other = which.and_then(|name| engine(name, vocab_size));
    let scheme = match (which, &other) {
        (_, Some(other)) => other.clone(),
        (None, None) => synthid::Sha256::default().into(),
        (Some(channels), None) => {
            synthid::Sha256V2 { channels: channels.parse()?, ..Default::default() }.into()
        }
    };
    let p_of = if other.is_some() { one_sided } else { two_sided };
    // What a level becomes over independent channels.
    let of_level = |level: f64| {
        let channels = f64::from(scheme.channels());
        -f64::exp_m1(channels * f64::ln_1p(-level / channels))
    };
    let trials: usize = trials.parse()?;
    let tokenizer =
        if tokenizer == "default" { Tokenizer::of_default_model() } else { Tokenizer::open(tokenizer)? };
    let docs: Vec<Doc> =
        std::fs::read_to_string(docs)?.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let tournaments: [(&str, Arc<dyn Statistic>); 4] = [
        ("mean", Arc::new(Mean::new(DEPTH))),
        ("weighted mean", Arc::new(WeightedMean::new(DEPTH))),
        ("llr", Arc::new(Llr::new(Profile::pooled().clone()))),
        ("Bayesian", Arc::new(Bayesian::builtin().clone())),
    ];
    let usual = Decider::Usual.statistic(scheme.evidence_kind())?;
    let statistics = match &other {
        Some(_) => vec![(usual.method().name(), Arc::clone(&usual))],
        None => tournaments.to_vec(),
    };
    let mut out = std::io::stdout().lock();
    let row_end =
        |out: &mut dyn std::io::Write, counts: &[u64], trials: usize, bar: f64| -> std::io::Result<bool> {
            let mut bad = false;
            for (&count, &level) in counts.iter().zip(&LEVELS) {
                let p = p_of(count, trials, of_level(level));
                bad |= p < bar;
                write!(out, " {:.6}{} |", count as f64 / trials as f64, if p < bar { " !" } else { "" })?;
            }
            writeln!(out)?;
            Ok(bad)
        };

    let cells = KINDS.len() * LENGTHS.len() * LEVELS.len();
    let bar = 0.001 / (cells * statistics.len()) as f64;
    writeln!(out, "{trials} trials a cell, flagged (!) below p = {bar:.2e}\n")?;
    writeln!(
        out,
        "| detector | kind | tokens | 0.1 | 0.01 | 0.001 | 0.0001 |\n|---|---|---|---|---|---|---|"
    )?;
    let mut totals = vec![([0; LEVELS.len()], 0, 1.0_f64); statistics.len()];
    let mut flagged = 0;
    let mut english = Vec::new();
    for (k, kind) in KINDS.iter().enumerate() {
        let ids = texts(kind, &docs, &tokenizer)?;
        for (l, &length) in LENGTHS.iter().enumerate() {
            let cut: Vec<Vec<u32>> =
                ids.iter().filter(|ids| ids.len() >= length).map(|ids| ids[..length].to_vec()).collect();
            if cut.is_empty() {
                continue;
            }
            let last = if length <= BAYESIAN_UP_TO { 4 } else { 3 };
            let statistics = &statistics[..last.min(statistics.len())];
            let counts = cell(&cut, trials, (k * LENGTHS.len() + l) as u64, statistics, &|random| {
                random_key(&scheme, random)
            });
            for (((name, _), counts), (total, n, worst)) in statistics.iter().zip(&counts).zip(&mut totals) {
                write!(out, "| {name} | {kind} | {length} |")?;
                flagged += usize::from(row_end(&mut out, counts, trials, bar)?);
                *n += trials;
                for ((total, &count), &level) in total.iter_mut().zip(counts).zip(&LEVELS) {
                    *total += count;
                    *worst = worst.min(p_of(count, trials, of_level(level)));
                }
            }
            out.flush()?;
            if *kind == "English" && length == 200 {
                english = cut;
            }
        }
    }
    writeln!(out, "\nAll cells: {flagged} flagged.\n")?;
    writeln!(
        out,
        "| detector | trials | 0.1 | 0.01 | 0.001 | 0.0001 | smallest p of a cell |\n|---|---|---|---|---|---|---|"
    )?;
    for ((name, _), (counts, n, worst)) in statistics.iter().zip(&totals) {
        write!(out, "| {name} | {n} |")?;
        for &count in counts {
            write!(out, " {:.6} |", count as f64 / *n as f64)?;
        }
        writeln!(out, " {worst:.2e} |")?;
    }

    if which.is_some() {
        return Ok(());
    }
    writeln!(out, "\nCompat schemes, English, 200 tokens, {trials} trials:\n")?;
    writeln!(out, "| scheme | detector | 0.1 | 0.01 | 0.001 | 0.0001 |\n|---|---|---|---|---|---|")?;
    let history = 1024;
    let table = SamplingTable::Seeded { size: 1 << 16, seed: 0 };
    for scheme in [
        Scheme::Hf(synthid::Hf { depth: DEPTH as u8, ngram_len: 5, context_history_size: history, table }),
        Scheme::DeepMind(synthid::DeepMind {
            depth: DEPTH as u8,
            ngram_len: 5,
            context_history_size: history,
        }),
    ] {
        let key = |random: &mut Random| compat_key(&scheme, random);
        let statistics = &statistics[..3];
        let counts = cell(&english, trials, 99, statistics, &key);
        for ((name, _), counts) in statistics.iter().zip(&counts) {
            write!(out, "| {} | {name} |", scheme.name())?;
            row_end(&mut out, counts, trials, 1e-6)?;
        }
    }
    Ok(())
}
