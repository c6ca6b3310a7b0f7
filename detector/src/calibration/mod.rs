//! Calibration on texts that are known to be unmarked: is the deployed key an ordinary one on this corpus?
//!
//! The p-value of one document is exact for any text. Over a corpus the picture is another: documents that share
//! passages share g-bits, so the number X of documents that one key flags scatters far more than a binomial number,
//! and no interval around X / documents says anything about the next corpus. What can be said exactly is the rank of
//! X among X_1 … X_R of R random keys on the same corpus,
//!
//! p = (1 + #{r : X_r ≥ X}) / (R + 1),
//!
//! since under the null hypothesis the deployed key is one more random key (Monte Carlo test, Dwass 1957; Phipson
//! and Smyth 2010). Rates over keys have the key as their unit.
//!
//! What costs time is hashing, so texts are cut, masked and made distinct once ([`Corpus`]), each key hashes each
//! n-gram once, and a document is flagged by comparing its integer score with the least one that reaches the level
//! for its length, which the null distribution gives once a length.

mod corpus;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};

use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

pub use corpus::{Corpus, Passage};

use crate::report::{Bucket, CalibrationReport, Rate, SCHEMA_VERSION, Shared, SharedPassage};
use crate::scheme::{GBits, Key, KeyError, Prf, Scheme, Secret};
use crate::statistics::null::{self, Lattice};
use crate::statistics::weighted_mean::weights;
use crate::statistics::{Bayesian, Method, PKind, PValue, Profile};

/// Random keys that a verdict needs.
pub const LEAST_KEYS: u64 = 999;

/// Rank p at or below which the deployed key is worse than chance allows. With [`LEAST_KEYS`] keys it is the least
/// that there can be: the deployed key flags more documents than every random one.
pub const WORSE_THAN_CHANCE: f64 = 0.001;

/// Buckets of scored tokens start here.
const BUCKETS: [u64; 7] = [0, 25, 50, 100, 200, 400, 800];

/// Half the width of a normal 95 % interval, in standard errors.
const Z95: f64 = 1.959_963_984_540_054;

/// What to calibrate.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The statistic that decides.
    pub detector: Method,
    /// The level, between 0 and 1.
    pub fpr: f64,
    /// R, at least 1.
    pub keys: u64,
    /// What the random keys are drawn from.
    pub seed: u64,
    /// From how many documents on an n-gram is listed as shared; `None` takes one document in a hundred, but at least
    /// three.
    pub least_documents: Option<u64>,
    /// How many shared passages the report lists.
    pub passages: usize,
}

/// The least number of documents that makes an n-gram a shared one, if nobody said.
pub fn default_least_documents(documents: usize) -> u64 {
    (documents as u64).div_ceil(100).max(3)
}

/// Ranks the key of `prf`, whose public id is `key_id`, among random keys on `corpus`. The fields of the report that
/// only a caller knows stay empty: `tokenizer`, `failed` and the passages' texts.
///
/// # Errors
/// None for a key that could be made: random keys have its parameters.
pub fn calibrate(
    corpus: &Corpus,
    prf: &Prf,
    key_id: &str,
    options: &Options,
) -> Result<CalibrationReport, KeyError> {
    let scheme = prf.scheme();
    let statistic = Additive::new(options.detector, scheme.depth());
    let thresholds = Thresholds::new(&statistic, corpus, options.fpr);
    let groups = Groups::new(corpus);

    let own = groups.count(&statistic.flags(corpus, prf, &thresholds));
    let random = random_keys(corpus, scheme, &statistic, &thresholds, &groups, options)?;

    let total = |counts: &[u64]| counts.iter().sum::<u64>();
    let flagged = total(&own);
    let random_flagged: Vec<u64> = random.iter().map(|counts| total(counts)).collect();
    let keys_at_least = random_flagged.iter().filter(|&&x| x >= flagged).count() as u64;
    let rank_p = (1 + keys_at_least) as f64 / (options.keys + 1) as f64;

    let expected: Vec<f64> = corpus.lengths().map(|n| thresholds.size(n)).collect();
    let rate = rate(flagged, &random_flagged, corpus.len() as u64, expected.iter().sum());
    let buckets = groups.buckets(&own, &random, &expected);
    let shared = shared(corpus, &statistic, prf, options);

    let mut warnings = Vec::new();
    if scheme.is_compat() {
        warnings.push(format!(
            "the g-values of {} are not independent under the null hypothesis, so the rates over keys may lie above \
             the level; the rank is exact all the same",
            scheme.name()
        ));
    }
    if options.keys < LEAST_KEYS {
        warnings.push(format!(
            "{} random keys are too few to call a key worse than chance; {LEAST_KEYS} are needed",
            options.keys
        ));
    }
    if (corpus.len() as f64) * options.fpr < 1.0 {
        warnings.push(format!(
            "{} documents are few for a rate of {}: most keys flag none of them",
            corpus.len(),
            options.fpr
        ));
    }
    Ok(CalibrationReport {
        schema_version: SCHEMA_VERSION,
        scheme: scheme.name().into(),
        key_id: key_id.into(),
        tokenizer: None,
        detector: options.detector,
        fpr: options.fpr,
        documents: corpus.len() as u64,
        failed: 0,
        tokens: corpus.tokens(),
        scored_tokens: corpus.scored_tokens(),
        ignored_tokens: corpus.ignored_tokens(),
        random_keys: options.keys,
        seed: options.seed,
        flagged,
        random_flagged,
        keys_at_least,
        rank_p,
        worse_than_chance: rank_p <= WORSE_THAN_CHANCE && options.keys >= LEAST_KEYS,
        rate,
        buckets,
        shared,
        warnings,
    })
}

/// A score that is a sum over positions of an integer that the g-bits decide.
struct Additive {
    null: Null,
    /// `tables[i][byte]`: what the eight g-bits from layer 8 i on add.
    tables: Vec<[u32; 256]>,
}

enum Null {
    Mean {
        depth: u64,
    },
    WeightedMean(Lattice),
    /// The lattice scores, counted from the least of them so that none is negative.
    Llr(Box<Profile>),
    /// Likewise.
    Bayesian(Box<Bayesian>),
}

impl Additive {
    fn new(kind: Method, depth: usize) -> Self {
        let (null, weights) = match kind {
            Method::Mean => (Null::Mean { depth: depth as u64 }, vec![1; depth]),
            Method::WeightedMean => {
                let weights = weights(depth);
                (Null::WeightedMean(Lattice::new(&weights)), weights)
            }
            Method::Llr => (Null::Llr(Box::new(Profile::pooled().for_depth(depth))), Vec::new()),
            Method::Bayesian => (Null::Bayesian(Box::new(Bayesian::builtin().for_depth(depth))), Vec::new()),
        };
        let table = |weights: &[u32]| {
            std::array::from_fn(|byte| {
                weights.iter().enumerate().filter(|(l, _)| byte >> l & 1 == 1).map(|(_, a)| a).sum()
            })
        };
        Self { null, tables: weights.chunks(8).map(table).collect() }
    }

    /// What one position adds.
    fn value(&self, g: GBits) -> u32 {
        let lattice = match &self.null {
            Null::Llr(profile) => i64::from(profile.score(g)) - profile.null().first(),
            Null::Bayesian(detector) => i64::from(detector.token_score(g)) - detector.null().first(),
            Null::Mean { .. } | Null::WeightedMean(_) => return self.sum_of_weights(g),
        };
        lattice as u32
    }

    fn sum_of_weights(&self, g: GBits) -> u32 {
        self.tables.iter().enumerate().map(|(i, table)| table[(g.0 >> (8 * i) & 255) as usize]).sum()
    }

    /// The largest score of n positions.
    fn max(&self, n: u64) -> u64 {
        match &self.null {
            Null::Mean { depth } => depth * n,
            Null::WeightedMean(lattice) => lattice.max(n),
            Null::Llr(profile) => n * (profile.null().last() - profile.null().first()) as u64,
            Null::Bayesian(detector) => n * (detector.null().last() - detector.null().first()) as u64,
        }
    }

    /// ln P(score ≥ w | null), for n positions.
    fn tail(&self, n: u64, w: u64) -> f64 {
        match &self.null {
            Null::Mean { depth } => null::binomial(depth * n, w),
            Null::WeightedMean(lattice) => lattice.tail(n, w),
            Null::Llr(profile) => profile.null().tail(n, w as i64 + n as i64 * profile.null().first()),
            Null::Bayesian(detector) => {
                detector.null().tail(n, w as i64 + n as i64 * detector.null().first())
            }
        }
    }

    /// For each document whether this key flags it.
    fn flags(&self, corpus: &Corpus, prf: &Prf, thresholds: &Thresholds) -> Vec<bool> {
        let values: Vec<u32> = corpus.ngrams().map(|ngram| self.of_ngram(prf, ngram)).collect();
        let reaches = |scored: &[u32]| {
            let sum: u64 = scored.iter().map(|&index| u64::from(values[index as usize])).sum();
            thresholds.least(scored.len() as u64).is_some_and(|least| sum >= least)
        };
        corpus.scored().map(reaches).collect()
    }

    fn of_ngram(&self, prf: &Prf, ngram: &[u32]) -> u32 {
        let (context, token) = ngram.split_at(ngram.len() - 1);
        self.value(prf.context(context).g_bits(token[0]))
    }
}

/// For each length of the corpus the least score with p ≤ fpr.
struct Thresholds {
    /// n to (least score, P(score ≥ it | null)); `None` where no score reaches the level.
    by_length: BTreeMap<u64, Option<(u64, f64)>>,
}

impl Thresholds {
    fn new(statistic: &Additive, corpus: &Corpus, fpr: f64) -> Self {
        let lengths: std::collections::BTreeSet<u64> = corpus.lengths().collect();
        let least = |n: u64| {
            // The very comparison that makes a verdict.
            let reaches = |w| PValue::from_ln(statistic.tail(n, w), PKind::Exact).reaches(fpr);
            let (mut below, mut top) = (0, statistic.max(n));
            if n == 0 || !reaches(top) {
                return None;
            }
            while top - below > 1 {
                let middle = below + (top - below) / 2;
                if reaches(middle) {
                    top = middle;
                } else {
                    below = middle;
                }
            }
            Some((top, statistic.tail(n, top).exp()))
        };
        Self { by_length: lengths.into_iter().map(|n| (n, least(n))).collect() }
    }

    /// The least score of n positions that is flagged.
    fn least(&self, n: u64) -> Option<u64> {
        self.by_length.get(&n).copied().flatten().map(|(least, _)| least)
    }

    /// How often a random key flags a document of n positions.
    fn size(&self, n: u64) -> f64 {
        self.by_length.get(&n).copied().flatten().map_or(0.0, |(_, size)| size)
    }
}

/// Which bucket each document is in.
struct Groups(Vec<usize>);

impl Groups {
    fn new(corpus: &Corpus) -> Self {
        let bucket = |n| BUCKETS.iter().rposition(|&from| from <= n).unwrap_or(0);
        Self(corpus.lengths().map(bucket).collect())
    }

    /// Flagged documents a bucket.
    fn count(&self, flags: &[bool]) -> Vec<u64> {
        let mut counts = vec![0; BUCKETS.len()];
        for (&bucket, &flag) in self.0.iter().zip(flags) {
            counts[bucket] += u64::from(flag);
        }
        counts
    }

    fn buckets(&self, own: &[u64], random: &[Vec<u64>], expected: &[f64]) -> Vec<Bucket> {
        (0..BUCKETS.len())
            .filter_map(|i| {
                let inside = || self.0.iter().zip(expected).filter(|(bucket, _)| **bucket == i);
                let documents = inside().count() as u64;
                let random: Vec<u64> = random.iter().map(|counts| counts[i]).collect();
                let expected = inside().map(|(_, size)| size).sum();
                (documents > 0).then(|| Bucket {
                    from: BUCKETS[i],
                    to: BUCKETS.get(i + 1).map(|next| next - 1),
                    documents,
                    flagged: own[i],
                    rate: rate(own[i], &random, documents, expected),
                })
            })
            .collect()
    }
}

/// Rates from numbers of flagged documents; `expected` is the number that the null law expects.
fn rate(own: u64, random: &[u64], documents: u64, expected: f64) -> Rate {
    let documents = documents.max(1) as f64;
    let keys = random.len().max(1) as f64;
    let rates = || random.iter().map(|&x| x as f64 / documents);
    let mean = rates().sum::<f64>() / keys;
    let variance = rates().map(|rate| (rate - mean).powi(2)).sum::<f64>() / (keys - 1.0).max(1.0);
    let half = Z95 * (variance / keys).sqrt();
    let mut sorted = random.to_vec();
    sorted.sort_unstable();
    let quantile = |q: f64| {
        let rank = (q * keys).ceil().max(1.0) as usize - 1;
        sorted.get(rank.min(sorted.len().saturating_sub(1))).copied().unwrap_or(0) as f64 / documents
    };
    Rate {
        key: own as f64 / documents,
        mean,
        mean_interval: [(mean - half).max(0.0), (mean + half).min(1.0)],
        keys_range: [quantile(0.025), quantile(0.975)],
        expected: expected / documents,
    }
}

/// For each random key the flagged documents a bucket, in the keys' order.
fn random_keys(
    corpus: &Corpus,
    scheme: &Scheme,
    statistic: &Additive,
    thresholds: &Thresholds,
    groups: &Groups,
    options: &Options,
) -> Result<Vec<Vec<u64>>, KeyError> {
    let next = AtomicUsize::new(0);
    let work = || -> Result<Vec<(usize, Vec<u64>)>, KeyError> {
        let mut results = Vec::new();
        loop {
            let r = next.fetch_add(1, Ordering::Relaxed);
            if r as u64 >= options.keys {
                return Ok(results);
            }
            let prf = random_key(scheme, options.seed, r as u64)?.prf();
            results.push((r, groups.count(&statistic.flags(corpus, &prf, thresholds))));
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get);
    let mut results = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let mut results = Vec::new();
        for worker in workers {
            match worker.join() {
                Ok(part) => results.extend(part?),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        Ok::<_, KeyError>(results)
    })?;
    results.sort_unstable_by_key(|(r, _)| *r);
    Ok(results.into_iter().map(|(_, counts)| counts).collect())
}

/// Key number `r` of those that `seed` stands for: SHA-256 in counter mode. It marks nothing, so it may be known.
fn random_key(scheme: &Scheme, seed: u64, r: u64) -> Result<Key, KeyError> {
    let len = if scheme.is_compat() { 8 * scheme.depth() } else { 32 };
    let mut secret = Zeroizing::new(Vec::with_capacity(len + 32));
    for block in 0_u64.. {
        if secret.len() >= len {
            break;
        }
        let mut hash = Sha256::new_with_prefix(b"wmdetect/calibrate/random-key/");
        for number in [seed, r, block] {
            hash.update(number.to_le_bytes());
        }
        secret.extend_from_slice(&hash.finalize());
    }
    secret.truncate(len);
    Key::new(scheme.clone(), Secret::new(secret))
}

fn shared(corpus: &Corpus, statistic: &Additive, prf: &Prf, options: &Options) -> Shared {
    let least = options.least_documents.unwrap_or_else(|| default_least_documents(corpus.len()));
    let counts = corpus.document_counts();
    let common = || counts.iter().filter(|&&documents| documents >= least);
    let passages = corpus.shared_passages(least);
    let ngram_len = prf.scheme().ngram_len();
    let describe = |passage: &Passage| {
        let windows = passage.tokens.windows(ngram_len);
        let n = windows.len() as u64;
        let sum = windows.map(|ngram| u64::from(statistic.of_ngram(prf, ngram))).sum();
        SharedPassage {
            text: None,
            tokens: passage.tokens.clone(),
            documents: passage.documents,
            score: sum as f64 / statistic.max(n) as f64,
            log10_p: PValue::from_ln(statistic.tail(n, sum), PKind::Exact).log10,
        }
    };
    Shared {
        least_documents: least,
        ngrams: common().count() as u64,
        scored_share: common().sum::<u64>() as f64 / corpus.scored_tokens().max(1) as f64,
        passages_found: passages.len() as u64,
        passages: passages.iter().take(options.passages).map(describe).collect(),
    }
}
