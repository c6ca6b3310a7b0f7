//! Which of many keys marked a text, if any.
//!
//! If a text does not depend on a key, its p-value for that key is valid whatever the other keys are, since their keyed
//! functions are independent. With K keys that could have been tried, each p is corrected to min(1, K · p)
//! (Bonferroni). Then the probability that any key which did not mark the text is named at level `fpr` is at most
//! `fpr`, even if other keys did mark it. K counts every key that could have been named, not only those that were tried
//! on a text.
//!
//! For one number of scored tokens the p-value of a statistic falls as its sum rises. So K keys cost K sums, one sort,
//! and the exact tails of only the few keys at the top.

use super::p_value::PValue;
use super::scored::Scored;
use super::statistic::Statistic;

/// The sums of keys that share a statistic and a number of scored tokens.
#[derive(Clone, Debug)]
pub(crate) struct KeySums<'a> {
    /// What is summed.
    pub statistic: &'a dyn Statistic,
    /// Scored tokens.
    pub scored: Scored,
    /// For each key its largest sum over the scored tokens.
    pub sums: Vec<KeySum>,
}

/// The largest of the sums of one key's channels.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KeySum {
    /// The key's number.
    pub key: usize,
    /// Which of the channels that were tried.
    pub channel: usize,
    /// Its sum.
    pub sum: i64,
}

/// A key and its evidence in the text.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct KeyEvidence {
    /// The key's number.
    pub key: usize,
    /// Which of the channels that were tried.
    pub channel: usize,
    /// Scored tokens under its scheme.
    pub tokens: u64,
    /// The statistic's score.
    pub score: f64,
    /// p as if this key alone had been tried.
    pub alone: PValue,
    /// p for all keys that could have been tried.
    pub corrected: PValue,
}

/// The keys that pass, and the first that does not.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Attributed {
    /// Keys with corrected p ≤ fpr, least p first; empty if no key marked the text.
    pub found: Vec<KeyEvidence>,
    /// The key with the least p among the others: how close chance came.
    pub runner_up: Option<KeyEvidence>,
}

/// Returns the keys whose p-value, corrected for `tries` keys, is at most `fpr`. Groups without scored tokens name no
/// key.
pub(crate) fn attribute(groups: Vec<KeySums<'_>>, tries: usize, fpr: f64) -> Attributed {
    let mut result = Attributed::default();
    for mut group in groups {
        // Equal sums are in order of number, so that the answer does not depend on the sort.
        group.sums.sort_unstable_by_key(|&KeySum { key, sum, .. }| (std::cmp::Reverse(sum), key));
        let mut last = None;
        for &KeySum { key, channel, sum } in &group.sums {
            let known = last.filter(|&(known, _)| known == sum).map(|(_, p)| p);
            let Some(alone) = known.or_else(|| group.statistic.p_value(group.scored, sum)) else { break };
            last = Some((sum, alone));
            let score = group.statistic.score(group.scored, sum).unwrap_or(0.0);
            let corrected = alone.corrected(tries);
            let evidence =
                KeyEvidence { key, channel, tokens: group.scored.tokens(), score, alone, corrected };
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
    use super::super::weighted_mean::WeightedMean;
    use super::*;

    /// Two depths at once: every key is judged only by its own null law.
    #[test]
    fn keys_that_pass_and_the_runner_up() {
        let (deep, flat) = (WeightedMean::new(30), WeightedMean::new(1));
        let sums = |sums: &[(usize, i64)]| {
            // In thirds.
            sums.iter().map(|&(key, sum)| KeySum { key, channel: 0, sum: 3 * sum }).collect::<Vec<_>>()
        };
        let groups = |top| {
            vec![
                KeySums {
                    statistic: &deep,
                    scored: Scored::full(100),
                    sums: sums(&[(0, 239_250), (1, 300_000), (2, 250_000), (3, top)]),
                },
                KeySums { statistic: &flat, scored: Scored::full(40), sums: sums(&[(4, 40), (5, 20)]) },
                KeySums { statistic: &flat, scored: Scored::full(0), sums: sums(&[(6, 0)]) },
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
