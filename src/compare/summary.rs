//! Win rates with intervals, and measures of a judge's biases.
//!
//! The unit is the prompt: repeats of an example, and examples with the same prompt, are not independent. An example's score is the
//! mean of its ratings. Its share of a win is 1, ½ or 0, and a win rate is the mean of the shares.
//!
//! The interval is that of Korn and Graubard (1998) for proportions of clustered samples. It is Clopper and Pearson's with the
//! number of examples replaced by p (1 − p) / v, where v is the variance of the mean over clusters. It is corrected for the
//! clusters' degrees of freedom. The number never exceeds that of the examples, so that ties do not make the interval narrow.

use std::collections::BTreeMap;

use serde::Serialize;
use statrs::distribution::{Beta, ContinuousCDF, StudentsT};
use wmdetect::split_mix;

use super::verdict::mean_score;
use super::{Example, Rating, Winner};

/// Maximum number of clusters for which all sums of signs are tried; with more, [`DRAWS`] of them are sampled.
const EXACT: usize = 16;
const DRAWS: u32 = 99_999;

/// An example with its ratings.
#[derive(Clone, Debug)]
pub struct Rated {
    /// The example.
    pub example: Example,
    /// Its ratings.
    pub ratings: Vec<Rating>,
}

impl Rated {
    /// Returns the mean score, or `None` without ratings.
    pub fn score(&self) -> Option<f64> {
        mean_score(&self.ratings)
    }

    /// Returns the winner, or `None` without ratings.
    pub fn winner(&self) -> Option<Winner> {
        self.score().map(Winner::of)
    }
}

/// Wins among some examples.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Wins {
    /// Number of examples.
    pub examples: usize,
    /// Number of examples with a rating.
    pub rated: usize,
    /// Number of examples that A won.
    pub a: usize,
    /// Number of ties.
    pub ties: usize,
    /// Number of examples that B won.
    pub b: usize,
    /// A's wins and half of the ties, over the rated examples; null if there are none.
    pub win_rate: Option<f64>,
    /// 95 % interval of the win rate; null for fewer than two prompts.
    pub interval: Option<[f64; 2]>,
    /// Mean of the scores; null if there are none.
    pub mean_score: Option<f64>,
}

/// A share with its interval.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Share {
    /// Number of which this is a share.
    pub of: usize,
    /// The share; null if that number is 0.
    pub share: Option<f64>,
    /// 95 % interval; null for fewer than two prompts.
    pub interval: Option<[f64; 2]>,
}

/// Whether the order of the responses decides.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Position {
    /// Share of ratings for the response that the judge read first, among ratings that prefer a response. An unbiased judge has ½,
    /// whichever model is better. Both orders have the same weight.
    pub first: Share,
    /// Share of examples where neither order contradicts the other, among examples rated in both orders.
    pub consistent: Share,
}

/// Returns the wins among examples.
pub fn wins<'r>(all: impl IntoIterator<Item = &'r Rated>) -> Wins {
    let all: Vec<&Rated> = all.into_iter().collect();
    let rated: Vec<(usize, f64, Winner)> = all
        .iter()
        .filter_map(|rated| Some((rated.example.cluster, rated.score()?, rated.winner()?)))
        .collect();
    let count = |winner| rated.iter().filter(|(_, _, other)| *other == winner).count();
    let shares: Vec<(usize, f64)> =
        rated.iter().map(|(cluster, _, winner)| (*cluster, winner.share())).collect();
    let scores: f64 = rated.iter().map(|(_, score, _)| score).sum();
    Wins {
        examples: all.len(),
        rated: rated.len(),
        a: count(Winner::A),
        ties: count(Winner::Tie),
        b: count(Winner::B),
        win_rate: mean(&shares),
        interval: interval(&shares),
        mean_score: (!rated.is_empty()).then(|| scores / rated.len() as f64),
    }
}

/// Returns the wins of each tag, the most frequent tag first.
pub fn wins_by_tag(all: &[Rated]) -> Vec<(String, Wins)> {
    let mut tags: BTreeMap<&str, Vec<&Rated>> = BTreeMap::new();
    for rated in all {
        for tag in &rated.example.tags {
            tags.entry(tag).or_default().push(rated);
        }
    }
    let mut tags: Vec<(String, Wins)> =
        tags.into_iter().map(|(tag, of_tag)| (tag.to_owned(), wins(of_tag))).collect();
    tags.sort_by_key(|(_, wins)| std::cmp::Reverse(wins.examples));
    tags
}

/// Returns the p-value of the hypothesis that exchanging the models makes no difference. It is the share of all ways to exchange A
/// and B, prompt by prompt, in which the sum of the scores is at least as far from 0. Returns `None` without ratings.
///
/// For more than 16 prompts, it is estimated from 99,999 random ways, so it is at least 0.00001.
pub fn p_value(all: &[Rated], seed: u64) -> Option<f64> {
    let mut sums: BTreeMap<usize, f64> = BTreeMap::new();
    for rated in all {
        if let Some(score) = rated.score() {
            *sums.entry(rated.example.cluster).or_default() += score;
        }
    }
    if sums.is_empty() {
        return None;
    }
    // A sum of 0 is the same with either sign.
    let sums: Vec<f64> = sums.into_values().filter(|sum| *sum != 0.0).collect();
    let far = sums.iter().sum::<f64>().abs() - 1e-9;
    let signed = |bit: &mut dyn FnMut(usize) -> bool| -> f64 {
        sums.iter().enumerate().map(|(i, sum)| if bit(i) { *sum } else { -sum }).sum()
    };
    if sums.len() <= EXACT {
        let ways = 1_u32 << sums.len();
        let as_far = (0..ways).filter(|way| signed(&mut |i| way >> i & 1 == 1).abs() >= far).count();
        return Some(as_far as f64 / f64::from(ways));
    }
    let mut state = split_mix::mix(seed);
    let mut as_far = 1_u32;
    for _ in 0..DRAWS {
        let mut bits = 0;
        let mut bit = |i: usize| {
            if i.is_multiple_of(64) {
                bits = split_mix::next(&mut state);
            }
            bits >> (i % 64) & 1 == 1
        };
        as_far += u32::from(signed(&mut bit).abs() >= far);
    }
    Some(f64::from(as_far) / f64::from(DRAWS + 1))
}

/// Returns whether the order of the responses decides.
pub fn position(all: &[Rated]) -> Position {
    let (mut first, mut consistent) = (Vec::new(), Vec::new());
    // Both orders have the same weight, so ratings of a rarer order weigh more.
    let mut by_order: [Vec<(usize, f64)>; 2] = Default::default();
    for rated in all {
        let mut sums = [None, None];
        for rating in &rated.ratings {
            let Some(flipped) = rating.flipped else { continue };
            let sum: &mut f64 = sums[usize::from(flipped)].get_or_insert(0.0);
            *sum += rating.score;
            if rating.score != 0.0 {
                let is_first = (rating.score > 0.0) != flipped;
                by_order[usize::from(flipped)].push((rated.example.cluster, f64::from(u8::from(is_first))));
            }
        }
        if let [Some(unflipped), Some(flipped)] = sums {
            consistent.push((rated.example.cluster, f64::from(u8::from(unflipped * flipped >= 0.0))));
        }
    }
    let balanced = match (mean(&by_order[0]), mean(&by_order[1])) {
        (Some(unflipped), Some(flipped)) => Some(f64::midpoint(unflipped, flipped)),
        (unflipped, flipped) => unflipped.or(flipped),
    };
    first.extend(by_order.into_iter().flatten());
    let first_interval = balanced.and_then(|balanced| interval_around(&first, balanced));
    Position {
        first: Share { of: first.len(), share: balanced, interval: first_interval },
        consistent: share(&consistent),
    }
}

/// Returns the share of examples won by the longer response, among examples that have a winner and responses of different length.
/// Lengths are in characters. A high share need not be a bias: a longer response may be the better one.
pub fn longer_wins(all: &[Rated]) -> Share {
    let wins = all.iter().filter_map(|rated| {
        let [a, b] = rated.example.responses.each_ref().map(|response| response.text.chars().count());
        let longer = match rated.winner()? {
            Winner::A => a > b,
            Winner::B => b > a,
            Winner::Tie => return None,
        };
        (a != b).then(|| (rated.example.cluster, f64::from(u8::from(longer))))
    });
    share(&wins.collect::<Vec<_>>())
}

fn share(values: &[(usize, f64)]) -> Share {
    Share { of: values.len(), share: mean(values), interval: interval(values) }
}

fn mean(values: &[(usize, f64)]) -> Option<f64> {
    let sum: f64 = values.iter().map(|(_, value)| value).sum();
    (!values.is_empty()).then(|| sum / values.len() as f64)
}

/// Returns the 95 % interval of the mean of values from 0 to 1, each with its cluster.
fn interval(values: &[(usize, f64)]) -> Option<[f64; 2]> {
    interval_around(values, mean(values)?)
}

/// Returns the interval around an estimate that is nearly the mean; otherwise like [`interval`].
fn interval_around(values: &[(usize, f64)], p: f64) -> Option<[f64; 2]> {
    let mut clusters: BTreeMap<usize, f64> = BTreeMap::new();
    for (cluster, value) in values {
        *clusters.entry(*cluster).or_default() += value - p;
    }
    let (n, m) = (values.len() as f64, clusters.len() as f64);
    if m < 2.0 {
        return None;
    }
    let squares: f64 = clusters.values().map(|sum| sum * sum).sum();
    let variance = m / (m - 1.0) * squares / (n * n);
    // Without variance, the clusters count as the examples.
    let effective = if variance > 0.0 { (p * (1.0 - p) / variance).min(n) } else { m };
    // The degrees of freedom are positive, so the distributions exist.
    let quantile = |degrees: f64| StudentsT::new(0.0, 1.0, degrees).ok().map(|t| t.inverse_cdf(0.975));
    let effective = effective * (quantile(n - 1.0)? / quantile(m - 1.0)?).powi(2);
    let successes = effective * p;
    let beta = |a: f64, b: f64, at: f64| Beta::new(a, b).ok().map(|beta| beta.inverse_cdf(at));
    let low = if p <= 0.0 { 0.0 } else { beta(successes, effective - successes + 1.0, 0.025)? };
    let high = if p >= 1.0 { 1.0 } else { beta(successes + 1.0, effective - successes, 0.975)? };
    Some([low, high])
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng, rngs::StdRng};

    use super::*;

    fn rated(cluster: usize, scores: &[f64]) -> Rated {
        let rating = |(i, score): (usize, &f64)| Rating {
            flipped: Some(i % 2 == 1),
            label: None,
            score: *score,
            rationale: String::new(),
        };
        Rated {
            example: Example { cluster, ..Example::default() },
            ratings: scores.iter().enumerate().map(rating).collect(),
        }
    }

    /// Clopper and Pearson's interval from scipy 1.17.1: `binomtest(7, 10).proportion_ci(method="exact")`, and for 10 of 10.
    #[test]
    fn of_independent_wins_the_interval_is_clopper_and_pearsons_or_wider() {
        let wins_of = |a: usize, n: usize| {
            let all: Vec<Rated> = (0..n).map(|i| rated(i, &[if i < a { 1.0 } else { -1.0 }])).collect();
            wins(&all)
        };
        let ten = wins_of(10, 10);
        assert_eq!((ten.a, ten.b, ten.win_rate), (10, 0, Some(1.0)));
        let [low, high] = ten.interval.unwrap();
        assert!((low - 0.691_502_892_181_239).abs() < 1e-9 && high == 1.0, "{low}");
        // The estimate of the variance has n − 1 where the binomial has n: 9 effective examples.
        let [low, high] = wins_of(7, 10).interval.unwrap();
        assert!(low < 0.347_547_150_833_464 && 0.32 < low, "{low}");
        assert!(high > 0.933_260_511_208_779_5 && high < 0.95, "{high}");
        assert_eq!(wins_of(1, 1).interval, None);
        assert_eq!(wins(&[rated(0, &[])]).win_rate, None);
        // Ties count as half, and do not make the interval narrow.
        let ties: Vec<Rated> = (0..10).map(|i| rated(i, &[0.5, -0.5])).collect();
        let ties = wins(&ties);
        assert_eq!((ties.ties, ties.win_rate), (10, Some(0.5)));
        assert!(ties.interval.unwrap()[0] < 0.2, "{ties:?}");
    }

    /// Tries prompts with four examples each that mostly agree. An interval that treated examples as independent would cover in 80 %
    /// of the cases.
    #[test]
    fn the_interval_covers_the_win_rate_of_clustered_examples() {
        let mut random = StdRng::seed_from_u64(3);
        for p in [0.5, 0.8, 0.95] {
            let (mut covered, repetitions) = (0, 1000);
            for _ in 0..repetitions {
                let mut all = Vec::new();
                for cluster in 0..25 {
                    let common = random.random::<f64>() < p;
                    for _ in 0..4 {
                        let wins =
                            if random.random::<f64>() < 0.7 { common } else { random.random::<f64>() < p };
                        all.push(rated(cluster, &[if wins { 1.0 } else { -1.0 }]));
                    }
                }
                let [low, high] = wins(&all).interval.unwrap();
                covered += usize::from(low <= p && p <= high);
            }
            let share = covered as f64 / f64::from(repetitions);
            assert!(share >= 0.94, "{p}: {share}");
        }
    }

    #[test]
    fn the_p_value_counts_exchanges_of_prompts() {
        // Three prompts, two of them with the same sign: in 2 of the 8 ways the sum is as far from 0 as 1 + 1 + 1.
        let all = [rated(0, &[1.0]), rated(1, &[1.0]), rated(2, &[1.0])];
        assert_eq!(p_value(&all, 1), Some(0.25));
        // One prompt with all examples says nothing.
        let one: Vec<Rated> = (0..30).map(|_| rated(0, &[1.5])).collect();
        assert_eq!(p_value(&one, 1), Some(1.0));
        assert_eq!(p_value(&[rated(0, &[])], 1), None);
        assert_eq!(p_value(&[rated(0, &[0.0])], 1), Some(1.0));
        // For more prompts it is estimated: all 20 on one side is 2 of 2^20 ways.
        let all: Vec<Rated> = (0..20).map(|i| rated(i, &[1.0])).collect();
        assert!(p_value(&all, 1).unwrap() < 5e-5);
        // Under the hypothesis, p is at most 0.05 in 5 % of the cases.
        let mut random = StdRng::seed_from_u64(5);
        let mut small = 0;
        for _ in 0..1000 {
            let all: Vec<Rated> =
                (0..12).map(|i| rated(i, &[0.5 * f64::from(random.random_range(-3_i8..=3))])).collect();
            small += usize::from(p_value(&all, 1).unwrap() <= 0.05);
        }
        assert!(small <= 75, "{small}"); // 50 and 3.6 standard deviations
    }

    #[test]
    fn a_judge_that_takes_the_first_response_is_seen_and_a_better_model_is_no_bias() {
        // The first response is always preferred: A unflipped, B flipped.
        let all: Vec<Rated> = (0..20).map(|i| rated(i, &[1.0, -1.0, 1.0, -1.0])).collect();
        let found = position(&all);
        assert_eq!((found.first.of, found.first.share, found.consistent.share), (80, Some(1.0), Some(0.0)));
        assert!(found.first.interval.unwrap()[0] > 0.8);
        // A is always preferred; one order was asked more often.
        let all: Vec<Rated> = (0..20).map(|i| rated(i, &[1.0, 1.0, 1.0])).collect();
        let found = position(&all);
        assert_eq!((found.first.share, found.consistent.share), (Some(0.5), Some(1.0)));
    }

    #[test]
    fn the_longer_response_is_counted_where_somebody_wins() {
        let of = |a: &str, b: &str, score: f64| {
            let mut rated = rated(a.len() + 7 * b.len(), &[score]);
            rated.example.responses[0].text = a.into();
            rated.example.responses[1].text = b.into();
            rated
        };
        let all = [
            of("long", "s", 1.0),
            of("s", "longer", 1.0),
            of("a", "bcd", -1.0),
            of("same", "same", 1.0),
            of("x", "yy", 0.0),
        ];
        let found = longer_wins(&all);
        assert_eq!((found.of, found.share), (3, Some(2.0 / 3.0)));
    }
}
