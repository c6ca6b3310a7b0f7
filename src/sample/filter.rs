//! The stages before the mark. Each takes logits and returns logits.

use rayon::prelude::*;

use super::rank::by_rank;
use crate::kernels::loops::{divide_logits, largest_logit, smallest_logit};

/// Returns the logit of a token that occurred before, made less likely by `penalty` (Keskar et al. 2019, as in
/// `transformers`). A positive logit is divided by the penalty, a negative one multiplied.
pub fn penalised(logit: f32, penalty: f32) -> f32 {
    if logit > 0.0 { logit / penalty } else { logit * penalty }
}

/// Returns the logit of a token that occurred `count` times in the response, at least once. It is reduced by `presence`,
/// and by `frequency` for each time, as in OpenAI's API.
pub fn penalised_by_count(logit: f32, count: u32, frequency: f64, presence: f64) -> f32 {
    (f64::from(logit) - frequency * f64::from(count) - presence) as f32
}

/// Returns a logit at `temperature` > 0.
fn at_temperature(logit: f32, temperature: f64) -> f32 {
    (f64::from(logit) / temperature) as f32
}

/// Divides the logits by `temperature` > 0.
pub fn temperature(candidates: &mut [(u32, f32)], temperature: f64) {
    divide_logits(candidates, temperature);
}

/// Returns the weight of a logit; the largest logit, `max`, has weight 1.
fn weight(logit: f32, max: f32) -> f64 {
    (f64::from(logit) - f64::from(max)).exp()
}

/// Returns how many candidates, most likely first, it takes for the weights to sum to `enough`. It is at least one.
/// Returns `None` if all of them are not enough.
fn first_to_reach(enough: f64, candidates: impl Iterator<Item = f64>) -> Option<usize> {
    let mut sum = 0.0;
    let mut keep = 0;
    for weight in candidates {
        if sum >= enough {
            return Some(keep.max(1));
        }
        sum += weight;
        keep += 1;
    }
    (sum >= enough).then_some(keep.max(1))
}

/// Keeps the fewest most likely candidates whose probabilities sum to at least `p`, and at least one. The most likely
/// comes first.
pub fn top_p(candidates: &mut Vec<(u32, f32)>, p: f64) {
    if p >= 1.0 {
        return;
    }
    let Some(&(_, max)) = candidates.first() else { return };
    let weights = candidates.iter().map(|entry| weight(entry.1, max));
    let total: f64 = weights.clone().sum();
    let keep = first_to_reach(p * total, weights).unwrap_or(candidates.len());
    candidates.truncate(keep);
}

/// Applies [`temperature`] and [`top_p`] to candidates in any order; afterwards the most likely comes first. Candidates
/// that are dropped are not sorted. `sums` is a buffer.
pub fn top_p_of_all(candidates: &mut Vec<(u32, f32)>, t: f64, p: f64, sums: &mut Vec<f64>) {
    /// Number of candidates in a partial sum. It is fixed, so that the total does not depend on the number of threads.
    const CHUNK: usize = 8192;
    /// Number of candidates that are sorted at first: more than most nuclei hold.
    const FIRST: usize = 1024;
    let max = largest_logit(candidates);
    let weight = |entry: &(u32, f32)| weight(at_temperature(entry.1, t), at_temperature(max, t));
    candidates.par_chunks(CHUNK).map(|chunk| chunk.iter().map(weight).sum()).collect_into_vec(sums);
    let enough = p * sums.iter().sum::<f64>();
    let mut sorted = FIRST;
    let keep = loop {
        if sorted >= candidates.len() {
            candidates.sort_unstable_by(by_rank);
            break first_to_reach(enough, candidates.iter().map(weight)).unwrap_or(candidates.len());
        }
        candidates.select_nth_unstable_by(sorted - 1, by_rank);
        candidates[..sorted].sort_unstable_by(by_rank);
        if let Some(keep) = first_to_reach(enough, candidates[..sorted].iter().map(weight)) {
            break keep;
        }
        sorted *= 16;
    };
    candidates.truncate(keep);
    temperature(candidates, t);
}

/// Keeps the candidates whose probability is at least `least` times that of the most likely one. Their order is kept.
pub fn min_p(candidates: &mut Vec<(u32, f32)>, least: f64) {
    if least <= 0.0 {
        return;
    }
    let max = f64::from(largest_logit(candidates));
    if !max.is_finite() {
        return;
    }
    let distance = least.ln();
    candidates.retain(|entry| f64::from(entry.1) - max >= distance);
}

/// Maximum total probability of the tokens that [`without_tail`] drops.
pub const OMITTED: f64 = 1e-9;

/// Drops the candidates with next to no probability, so that the mark need not be computed for them. These are the ones
/// whose probability is below [`OMITTED`] over the number of candidates. The order of the others is kept.
pub fn without_tail(candidates: &mut Vec<(u32, f32)>) {
    let max = largest_logit(candidates);
    // The largest weighs 1, so a weight below OMITTED / n implies a probability below it.
    let least = f64::from(max) - (candidates.len() as f64 / OMITTED).ln();
    if f64::from(smallest_logit(candidates)) < least {
        candidates.retain(|entry| f64::from(entry.1) >= least);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(candidates: &[(u32, f32)]) -> Vec<u32> {
        candidates.iter().map(|entry| entry.0).collect()
    }

    #[test]
    fn top_p_keeps_the_smallest_sufficient_set() {
        // Probabilities 0.5, 0.3, 0.2.
        let logits = [(0, 0.2f32.ln()), (1, 0.5f32.ln()), (2, 0.3f32.ln())];
        for (p, expected) in [(0.4, &[1][..]), (0.6, &[1, 2]), (0.9, &[1, 2, 0]), (1e-9, &[1])] {
            let mut all = logits.to_vec();
            top_p_of_all(&mut all, 1.0, p, &mut Vec::new());
            assert_eq!(tokens(&all), expected, "p = {p}");
            let mut sorted = vec![logits[1], logits[2], logits[0]];
            top_p(&mut sorted, p);
            assert_eq!(tokens(&sorted), expected, "p = {p}");
        }
    }

    #[test]
    fn min_p_is_a_share_of_the_largest_probability() {
        let logits: Vec<(u32, f32)> = (0..).zip([0.2f32, 0.5, 0.3].map(f32::ln)).collect();
        for (least, expected) in [(0.0, &[0, 1, 2][..]), (0.39, &[0, 1, 2]), (0.41, &[1, 2]), (1.0, &[1])] {
            let mut candidates = logits.clone();
            min_p(&mut candidates, least);
            assert_eq!(tokens(&candidates), expected, "{least}");
        }
        let mut impossible = vec![(0, f32::NEG_INFINITY), (1, 0.0)];
        min_p(&mut impossible, 1e-300);
        assert_eq!(tokens(&impossible), [1]);
    }

    #[test]
    fn the_tail_is_bounded() {
        let mut candidates: Vec<(u32, f32)> = (0..1000).map(|i| (i, -(i as f32) / 10.0)).collect();
        let total: f64 = candidates.iter().map(|entry| weight(entry.1, 0.0)).sum();
        without_tail(&mut candidates);
        let kept: f64 = candidates.iter().map(|entry| weight(entry.1, 0.0)).sum();
        assert!(candidates.len() < 300 && 1.0 - kept / total < OMITTED, "{}", candidates.len());
    }

    /// candle's penalty is correct; this one must agree with it.
    #[test]
    fn the_penalty_is_candles() {
        let logits = [1.5f32, -2.0, 0.0, 4.0];
        let tensor = candle_core::Tensor::new(logits.as_slice(), &candle_core::Device::Cpu).unwrap();
        let expected = candle_transformers::utils::apply_repeat_penalty(&tensor, 1.3, &[1, 3, 3, 0]).unwrap();
        let ours = [penalised(1.5, 1.3), penalised(-2.0, 1.3), 0.0, penalised(4.0, 1.3)];
        assert_eq!(ours.as_slice(), expected.to_vec1::<f32>().unwrap());
    }
}
