//! Is the p-value of `wmgen radioactive` valid on a corpus that was marked with the very key, for a student that never saw a
//! mark?
//!
//! `cargo run --release -p wmgen-research --bin radioactive_null -- [KEYS]`
//!
//! A teacher writes a corpus of short documents under each of KEYS keys. Its next token depends on the last two and on what has
//! followed the last one before in the document, so it repeats itself. The student knows the teacher's distribution, with
//! noise, and repeats what it has read even more. It never saw a mark. A table has, for each rule of counting, the share of
//! keys with p at most 0.05, 0.01 and 0.001, and the p-value of Kolmogorov and Smirnov for the uniformity of all.
//!
//! | rule | counts |
//! |---|---|
//! | `all` | every position with a whole context |
//! | `pair` | context and choice once in the corpus |
//! | `ours` | what `wmgen radioactive` counts |
//! | `ours, N` | the same, the first N pairs |
//! | `ours, other key` | the same under a key that marked nothing |

use std::collections::{BTreeMap, HashSet};
use std::error::Error;
use std::io::Write;

use rayon::prelude::*;
use wmdetect::calibration::random_key;
use wmdetect::scheme::{
    ContextTracker, DistinctNgrams, Distribution, Key, PositionKind, Scheme, Watermark, synthid,
};
use wmdetect::split_mix::{mix, next, unit};
use wmdetect::statistics::{Decider, Sample, Scored, Statistic};
use wmgen::radioactive::{Document, Independence, Pairs, judge, uniformity};

/// Tokens of the vocabulary. Token 0 ends a document.
const VOCAB: u32 = 48;
/// Documents of a corpus.
const DOCUMENTS: usize = 24;
/// Tokens of a document, at most.
const LENGTH: usize = 80;
/// The first so many pairs, for the rule of a number that was chosen before.
const FIRST: usize = 150;

/// A number of about normal distribution that follows from its arguments.
fn noise(seed: u64, a: u32, b: u32, token: u32) -> f64 {
    let mut state = mix(seed ^ mix(u64::from(a) << 40 ^ u64::from(b) << 20 ^ u64::from(token)));
    (0..4).map(|_| unit(&mut state) - 0.5).sum::<f64>() * 3_f64.sqrt()
}

/// A table of logits by the last two tokens and the next one.
struct Logits(Vec<f64>);

impl Logits {
    /// The teacher's with `other` = 0, and more or less like them with more.
    fn new(other: f64) -> Self {
        let of = |before: u32, last: u32, token: u32| {
            let shared = 0.8 * noise(1, VOCAB, VOCAB, token) + 1.2 * noise(2, VOCAB, last, token);
            let all = shared + 1.2 * noise(3, before, last, token) + other * noise(4, before, last, token);
            if token == 0 { all - 1.5 } else { all }
        };
        let pairs = (0..=VOCAB).flat_map(|before| (0..=VOCAB).map(move |last| (before, last)));
        Self(pairs.flat_map(|(before, last)| (0..VOCAB).map(move |token| of(before, last, token))).collect())
    }

    /// Those after a text. What has followed the last token before is likelier by `repeat`.
    fn after(&self, text: &[u32], repeat: f64) -> Vec<f64> {
        let [before, last] = [2, 1].map(|back| text.len().checked_sub(back).map_or(VOCAB, |at| text[at]));
        let start = ((before * (VOCAB + 1) + last) * VOCAB) as usize;
        let mut logits = self.0[start..start + VOCAB as usize].to_vec();
        for pair in text.windows(2).filter(|pair| pair[0] == last) {
            logits[pair[1] as usize] += repeat;
        }
        logits
    }
}

/// A text of the teacher, marked with a key.
fn write(
    teacher: &Logits,
    watermark: &Watermark,
    state: &mut u64,
) -> Result<Vec<u32>, Box<dyn Error + Send + Sync>> {
    let mut marking = watermark.start(&[], next(state));
    let mut text = Vec::new();
    while text.len() < LENGTH {
        let logits = teacher.after(&text, 0.7);
        let total: f64 = logits.iter().map(|logit| logit.exp()).sum();
        let probabilities = logits.iter().map(|logit| logit.exp() / total).collect();
        let mut candidates = Distribution::from_probabilities((0..VOCAB).collect(), probabilities)?;
        marking.apply(&mut candidates);
        let token = candidates.draw(unit(state));
        marking.push(token);
        if token == 0 && text.len() >= 10 {
            break;
        }
        text.push(token);
    }
    Ok(text)
}

/// The innocent student's first choices.
fn choices(student: &Logits, text: &[u32]) -> Vec<u32> {
    let choice = |at: usize| {
        let logits = student.after(&text[..at], 1.5);
        let best = (0..VOCAB).max_by(|a, b| logits[*a as usize].total_cmp(&logits[*b as usize]));
        best.unwrap_or_default()
    };
    (0..text.len()).map(choice).collect()
}

/// p of every position, or of every pair once, as a test without our rule has it.
fn naive(key: &Key, statistic: &dyn Statistic, texts: &[(Vec<u32>, Vec<u32>)], once: bool) -> Option<f64> {
    let mut ngrams = Vec::new();
    let mut seen = HashSet::new();
    for (text, choices) in texts {
        let mut tracker = ContextTracker::new(key.scheme().context_rule(), &[]);
        for (token, choice) in text.iter().zip(choices) {
            let kind = tracker.next_position();
            if kind != PositionKind::IncompleteContext && (kind == PositionKind::Marked || !once) {
                let context = tracker.context();
                // Under the rule of the shortest contexts a repeated one may be empty.
                let ngram = [context, &[*choice]].concat();
                if ngram.len() > 1 && (!once || seen.insert(ngram.clone())) {
                    ngrams.push(ngram);
                }
            }
            tracker.push(*token);
        }
    }
    let (mut values, mut sum) = (0, 0);
    for prf in key.prf().channels() {
        let of = |ngram: &Vec<u32>| prf.context(&ngram[..ngram.len() - 1]).g_bits(ngram[ngram.len() - 1]);
        let g: Vec<_> = ngrams.iter().map(of).collect();
        values += g.len() as u64;
        sum += statistic.sum(Sample::layers(prf.scheme().depth(), &g)).ok()?;
    }
    Some(statistic.p_value(Scored::full(values), sum)?.p())
}

/// p of our rule.
fn ours(
    key: &Key,
    statistic: &dyn Statistic,
    texts: &[(Vec<u32>, Vec<u32>)],
    most: Option<usize>,
) -> Option<(f64, usize)> {
    let mut pairs = Pairs::new(key.scheme().context_rule(), Independence::Unknown, most);
    for (text, choices) in texts {
        let ids = [&[VOCAB], &text[..]].concat();
        let said = (0..ids.len()).map(|at| at > 0).collect();
        pairs.add(&Document { ids, said }, choices);
    }
    let chosen: DistinctNgrams<'_> = pairs.chosen();
    Some((judge(key, statistic, &chosen).ok()?.p?.p(), pairs.len()))
}

fn main() -> Result<(), Box<dyn Error>> {
    let keys: u64 = std::env::args().nth(1).map_or(Ok(4_000), |keys| keys.parse())?;
    let v2 = |channels| synthid::Sha256V2 { channels, ..Default::default() };
    let schemes: [(&str, Scheme); 4] = [
        ("synthid-sha256, ngram_len 3", synthid::Sha256 { ngram_len: 3, ..Default::default() }.into()),
        ("synthid-sha256-v2, 1 channel", v2(1).into()),
        ("synthid-sha256-v2, 4 channels", v2(4).into()),
        (
            "synthid-sha256-v2, contexts of 2 to 4, 1 channel",
            synthid::Sha256V2 { shortest_context: 2, ..v2(1) }.into(),
        ),
    ];
    let (teacher, student) = (Logits::new(0.0), Logits::new(0.7));
    let mut out = std::io::stdout().lock();
    writeln!(out, "scheme\trule\tkeys\tpairs\tp<=0.05\tp<=0.01\tp<=0.001\tuniform")?;
    for (name, scheme) in schemes {
        let statistic = Decider::default().statistic(scheme.evidence_kind())?;
        let study = |number: u64| -> Option<BTreeMap<&'static str, (f64, usize)>> {
            let key = random_key(&scheme, 7, number).ok()?;
            let other = random_key(&scheme, 8, number).ok()?;
            let (watermark, mut state) = (Watermark::new(key.prf()), mix(number ^ 0x5eed));
            let texts: Vec<_> = (0..DOCUMENTS)
                .map(|_| {
                    write(&teacher, &watermark, &mut state).ok().map(|text| (choices(&student, &text), text))
                })
                .map(|pair| pair.map(|(choices, text)| (text, choices)))
                .collect::<Option<_>>()?;
            Some(BTreeMap::from([
                ("1 all", (naive(&key, &*statistic, &texts, false)?, 0)),
                ("2 pair", (naive(&key, &*statistic, &texts, true)?, 0)),
                ("3 ours", ours(&key, &*statistic, &texts, None)?),
                ("4 ours, N", ours(&key, &*statistic, &texts, Some(FIRST))?),
                ("5 ours, other key", ours(&other, &*statistic, &texts, None)?),
            ]))
        };
        let found: Vec<_> = (0..keys).into_par_iter().map(study).collect::<Option<_>>().ok_or("no p")?;
        for rule in found.first().into_iter().flat_map(BTreeMap::keys) {
            let mut p: Vec<f64> = found.iter().map(|found| found[rule].0).collect();
            p.sort_by(f64::total_cmp);
            let share = |level: f64| p.iter().filter(|p| **p <= level).count() as f64 / keys as f64;
            let pairs = found.iter().map(|found| found[rule].1).sum::<usize>() as f64 / keys as f64;
            let [a, b, c] = [0.05, 0.01, 0.001].map(share);
            let uniform = uniformity(&p).1;
            writeln!(
                out,
                "{name}\t{}\t{keys}\t{pairs:.1}\t{a:.4}\t{b:.4}\t{c:.4}\t{uniform:.2e}",
                &rule[2..]
            )?;
        }
    }
    Ok(())
}
