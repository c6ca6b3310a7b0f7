//! False positive rates over documents, and over keys.

use serde::{Deserialize, Serialize};

/// Starts of the buckets of scored tokens.
const BUCKETS: [u64; 7] = [0, 25, 50, 100, 200, 400, 800];

/// Half the width of a normal 95 % interval, in standard errors.
const Z95: f64 = 1.959_963_984_540_054;

/// A false positive rate: that of the deployed key on this corpus, and the rate over random keys.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Rate {
    /// Share of the documents that the deployed key flags.
    pub key: f64,
    /// Mean over the random keys.
    pub mean: f64,
    /// Ends of the 95 % interval of that mean; the unit is the key.
    pub mean_interval: [f64; 2],
    /// The middle 95 % of single random keys.
    pub keys_range: [f64; 2],
    /// Expected mean by the null distribution: at most `fpr`, and less if documents are so short that few scores are
    /// possible. For documents of several forms it is an upper bound of the mean.
    pub expected: f64,
}

/// Documents of similar length.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Bucket {
    /// Fewest scored tokens.
    pub from: u64,
    /// Most scored tokens; null in the last bucket.
    pub to: Option<u64>,
    /// Number of documents.
    pub documents: u64,
    /// Those that the deployed key flags.
    pub flagged: u64,
    /// Their rate.
    pub rate: Rate,
}

/// Number of flagged documents in each bucket.
pub(super) type Counts = [u64; BUCKETS.len()];

/// Returns the bucket of a document of `n` scored tokens.
pub(super) fn bucket(n: u64) -> usize {
    BUCKETS.iter().rposition(|&from| from <= n).unwrap_or(0)
}

/// Returns the rates by length from numbers of flagged documents. `documents` has the scored tokens of each, and how
/// often a random key flags it.
pub(super) fn buckets(own: &Counts, random: &[Counts], documents: &[(u64, f64)]) -> Vec<Bucket> {
    (0..BUCKETS.len())
        .filter_map(|i| {
            let inside = || documents.iter().filter(|(n, _)| bucket(*n) == i);
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

/// Returns the rates from numbers of flagged documents; `expected` is the number that the null law expects.
pub(super) fn rate(own: u64, random: &[u64], documents: u64, expected: f64) -> Rate {
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
