//! The weighted mean: the share of ones, with weights that fall linearly from 10 at the first layer to 1 at the
//! last, since early layers carry more of the mark.
//!
//! Score = Σ_t Σ_l w_l g_l(t) / (n · Σ_l w_l). With m layers w_l ∝ a_l = 10 (m − 1) − 9 l over their common divisor
//! (m = 30: 290, 281, …, 29; m = 1: 1), so W = Σ a_l g_l is an integer and P(W ≥ w) under the null can be computed
//! exactly ([`Lattice`]).
//!
//! Source: Dathathri et al., Nature 634 (2024), Methods, "Weighted mean score"; equals `weighted_mean_score` of
//! `synthid-text` with its default weights.

use super::null::Lattice;
use super::{LayerCounts, PKind, PValue};

/// Largest depth whose g-bits fit a [`GBits`](crate::scheme::gvalues::GBits).
const MAX_DEPTH: usize = 64;

/// The weighted mean detector for one depth.
#[derive(Clone, Debug)]
pub struct WeightedMean {
    null: Lattice,
}

impl WeightedMean {
    /// For `depth` layers, 1 to 64; a depth outside is brought to the nearest of them.
    pub fn new(depth: usize) -> Self {
        Self { null: Lattice::new(&weights(depth.clamp(1, MAX_DEPTH))) }
    }

    /// The null law of W.
    pub fn null(&self) -> &Lattice {
        &self.null
    }

    /// The weighted share of ones, in [0, 1]; `None` if nothing is scored.
    pub fn score(&self, counts: &LayerCounts) -> Option<f64> {
        self.score_of_sum(counts.tokens(), self.sum(counts))
    }

    /// The share that the sum W over n = `tokens` tokens is of the largest possible one; `None` for n = 0.
    pub fn score_of_sum(&self, tokens: u64, sum: u64) -> Option<f64> {
        (tokens > 0).then(|| sum as f64 / self.null.max(tokens) as f64)
    }

    /// P(a score at least this high | null); `None` if nothing is scored.
    pub fn p_value(&self, counts: &LayerCounts) -> Option<PValue> {
        self.p_of_sum(counts.tokens(), self.sum(counts))
    }

    /// P(W ≥ `sum` | null) for n = `tokens` tokens; `None` for n = 0. For one n it falls as the sum rises.
    pub fn p_of_sum(&self, tokens: u64, sum: u64) -> Option<PValue> {
        // No sum is above the largest, where the tail would be 0 and its logarithm not a number that JSON has.
        let sum = sum.min(self.null.max(tokens));
        (tokens > 0).then(|| PValue::from_ln(self.null.tail(tokens, sum), PKind::Exact))
    }

    /// W = Σ a_l · (ones of layer l).
    fn sum(&self, counts: &LayerCounts) -> u64 {
        debug_assert_eq!(self.null.weights().len(), counts.depth());
        self.null.weights().iter().zip(counts.ones()).map(|(&a, &ones)| u64::from(a) * ones).sum()
    }
}

/// The integers a_l, `depth` entries in falling order.
pub fn weights(depth: usize) -> Vec<u32> {
    if depth <= 1 {
        return vec![1; depth];
    }
    let steps = depth as u32 - 1;
    // Neighbours differ by 9, so the common divisor is that of 9 and 10 (m − 1).
    let divisor = [9, 3].into_iter().find(|d| steps.is_multiple_of(*d)).unwrap_or(1);
    (0..=steps).map(|l| (10 * steps - 9 * l) / divisor).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scheme::gvalues::GBits;

    #[test]
    fn weights_are_the_references_in_lowest_terms() {
        assert_eq!(weights(1), [1]);
        assert_eq!(weights(2), [10, 1]);
        assert_eq!(weights(4), [10, 7, 4, 1]);
        assert_eq!(weights(30)[..3], [290, 281, 272]);
        assert_eq!(weights(30).iter().sum::<u32>(), 4785);
        for depth in 2..=64 {
            let a = weights(depth);
            assert_eq!((a[0], a.len()), (10 * a[depth - 1], depth));
            let divisor = a.iter().copied().fold(0, |mut x, mut y| {
                while y > 0 {
                    (x, y) = (y, x % y);
                }
                x
            });
            assert_eq!(divisor, 1, "depth {depth}");
        }
    }

    #[test]
    fn nothing_scored_gives_nothing() {
        let none = LayerCounts::new(30, []);
        assert_eq!(WeightedMean::new(30).score(&none), None);
        assert_eq!(WeightedMean::new(30).p_value(&none), None);
    }

    #[test]
    fn small_case_by_hand() {
        let detector = WeightedMean::new(2);
        let counts = LayerCounts::new(2, [GBits(0b11), GBits(0b01)]);
        assert!((detector.score(&counts).unwrap() - 21.0 / 22.0).abs() < 1e-15);
        // W ≥ 21 in 22 (one way) or 21 (two ways) of 16.
        assert!((detector.p_value(&counts).unwrap().p() - 3.0 / 16.0).abs() < 1e-13);
    }
}
