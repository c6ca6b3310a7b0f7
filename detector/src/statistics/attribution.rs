//! Which of many keys marked a text, if any.
//!
//! A text that does not depend on a key gives a valid p-value for it, whatever the other keys are (their keyed functions
//! are independent). With K keys that could have been tried, min(1, K · p) of each is corrected: the probability that
//! any key which did not mark the text is named at level `fpr` is at most `fpr` (Bonferroni; it holds beside keys that
//! did mark it, too). K counts every key that could have been named, not those that a text was looked at with.
//!
//! The statistic is the [weighted mean](super::weighted_mean). For one number of scored tokens its p-value falls as the
//! weighted sum W rises, so K keys cost K sums, one sort, and exact tails of the few keys at the top only.

use super::weighted_mean::{WeightedMean, weights};
use super::{GBits, PValue};

/// The weighted sum Σ a_l g_l of one token's g-bits, eight layers a look-up.
#[derive(Clone, Debug)]
pub struct TokenSum {
    /// `tables[i][b]` = Σ of the weights of the layers 8 i + j for which bit j of b is set.
    tables: Vec<[u32; 256]>,
}

impl TokenSum {
    /// For `depth` layers, 1 to 64, with the weights of [`weights`].
    pub fn new(depth: usize) -> Self {
        let weights = weights(depth.clamp(1, 64));
        let table = |chunk: &[u32]| {
            std::array::from_fn(|byte| {
                chunk.iter().enumerate().filter(|(bit, _)| byte >> bit & 1 == 1).map(|(_, &a)| a).sum()
            })
        };
        Self { tables: weights.chunks(8).map(table).collect() }
    }

    /// Σ a_l g_l; bits at the depth and above count nothing.
    pub fn of(&self, g: GBits) -> u64 {
        let bytes = g.0.to_le_bytes();
        self.tables.iter().zip(bytes).map(|(table, byte)| u64::from(table[usize::from(byte)])).sum()
    }
}

/// The weighted sums of keys that share a depth and a number of scored tokens.
#[derive(Clone, Debug)]
pub struct KeySums<'a> {
    /// Null law of the depth.
    pub null: &'a WeightedMean,
    /// Scored tokens n.
    pub tokens: u64,
    /// A key's number and its W = Σ over the scored tokens of [`TokenSum::of`].
    pub sums: Vec<(usize, u64)>,
}

/// A key and what it makes of the text.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct KeyEvidence {
    /// The key's number.
    pub key: usize,
    /// Scored tokens under its scheme.
    pub tokens: u64,
    /// Weighted share of ones, in [0, 1].
    pub score: f64,
    /// p as if this key alone had been tried.
    pub alone: PValue,
    /// p for all keys that could have been tried.
    pub corrected: PValue,
}

/// The keys that pass, and the first that does not.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Attributed {
    /// Keys with corrected p ≤ fpr, least p first; empty means that none of them marked the text.
    pub found: Vec<KeyEvidence>,
    /// The key with the least p among the others: how close chance came.
    pub runner_up: Option<KeyEvidence>,
}

/// The keys whose p-value, corrected for `tries` keys, is at most `fpr`. Groups without scored tokens name nobody.
pub fn attribute(groups: Vec<KeySums<'_>>, tries: usize, fpr: f64) -> Attributed {
    let mut result = Attributed::default();
    for mut group in groups {
        // Equal sums in order of number, so that the answer does not depend on the sort.
        group.sums.sort_unstable_by_key(|&(key, sum)| (std::cmp::Reverse(sum), key));
        let mut last = None;
        for &(key, sum) in &group.sums {
            let known = last.filter(|&(known, _)| known == sum).map(|(_, p)| p);
            let Some(alone) = known.or_else(|| group.null.p_of_sum(group.tokens, sum)) else { break };
            last = Some((sum, alone));
            let score = group.null.score_of_sum(group.tokens, sum).unwrap_or(0.0);
            let corrected = alone.corrected(tries);
            let evidence = KeyEvidence { key, tokens: group.tokens, score, alone, corrected };
            if !corrected.reaches(fpr) {
                // The others of the group have no smaller p.
                if result.runner_up.is_none_or(|best| alone.log10 < best.alone.log10) {
                    result.runner_up = Some(evidence);
                }
                break;
            }
            result.found.push(evidence);
        }
    }
    result.found.sort_by(|a, b| a.alone.log10.total_cmp(&b.alone.log10));
    result
}

#[cfg(test)]
mod tests {
    use super::super::LayerCounts;
    use super::*;

    #[test]
    fn table_sum_is_the_weighted_sum() {
        for depth in [1, 7, 8, 30, 33, 64] {
            let (table, weights) = (TokenSum::new(depth), weights(depth));
            for g in [0, 1, 0x8000_0000_0000_0001, 0x0123_4567_89ab_cdef, u64::MAX] {
                let expected: u64 =
                    weights.iter().enumerate().map(|(l, &a)| u64::from(a) * (g >> l & 1)).sum();
                assert_eq!(table.of(GBits(g)), expected, "depth {depth}, {g:x}");
            }
        }
    }

    #[test]
    fn sums_have_the_detectors_p_value() {
        let null = WeightedMean::new(30);
        let g = [GBits(0x3fff_ffff), GBits(0x1234_5678), GBits(7)];
        let sum = g.iter().map(|&g| TokenSum::new(30).of(g)).sum();
        let counts = LayerCounts::new(30, g);
        assert_eq!(null.p_of_sum(3, sum), null.p_value(&counts));
        assert_eq!(null.score_of_sum(3, sum), null.score(&counts));
        assert_eq!(null.p_of_sum(0, 0), None);
    }

    /// Two depths at once: every key is judged by its own null, and only by it.
    #[test]
    fn keys_that_pass_and_the_runner_up() {
        let (deep, flat) = (WeightedMean::new(30), WeightedMean::new(1));
        let groups = |top| {
            vec![
                KeySums {
                    null: &deep,
                    tokens: 100,
                    sums: vec![(0, 239_250), (1, 300_000), (2, 250_000), (3, top)],
                },
                KeySums { null: &flat, tokens: 40, sums: vec![(4, 40), (5, 20)] },
                KeySums { null: &flat, tokens: 0, sums: vec![(6, 0)] },
            ]
        };
        let result = attribute(groups(300_000), 7, 1e-3);
        let keys: Vec<_> = result.found.iter().map(|found| found.key).collect();
        assert_eq!(keys, [1, 3, 4]);
        let runner_up = result.runner_up.unwrap();
        assert_eq!((runner_up.key, runner_up.tokens), (2, 100));
        assert!((result.found[2].alone.log10 + 40.0 * 2f64.log10()).abs() < 1e-9);
        let factor = result.found[2].corrected.log10 - result.found[2].alone.log10;
        assert!((factor - 7f64.log10()).abs() < 1e-12);
        // The level decides, and K counts.
        assert_eq!(attribute(groups(240_000), 7, 1e-13).found.len(), 1);
        assert_eq!(attribute(groups(240_000), usize::MAX, 1e-3).found.len(), 1);
    }
}
