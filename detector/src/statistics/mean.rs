//! The mean: the share of ones among all g-bits of the scored tokens.
//!
//! Score = Σ_t Σ_l g_l(t) / (m · n) for n tokens and m layers. Null law: the number of ones is Binomial(m · n, 1/2),
//! so the p-value is that distribution's upper tail, exactly.
//!
//! Source: Dathathri et al., Nature 634 (2024), Methods, "Mean score"; equals `mean_score` of `synthid-text`.

use super::null;
use super::{LayerCounts, PKind, PValue};

/// The mean detector.
#[derive(Clone, Copy, Debug)]
pub struct Mean;

impl Mean {
    /// The share of ones, in [0, 1]; `None` if nothing is scored.
    pub fn score(self, counts: &LayerCounts) -> Option<f64> {
        let coins = counts.tokens() * counts.depth() as u64;
        (coins > 0).then(|| ones(counts) as f64 / coins as f64)
    }

    /// P(a score at least this high | null); `None` if nothing is scored.
    pub fn p_value(self, counts: &LayerCounts) -> Option<PValue> {
        let coins = counts.tokens() * counts.depth() as u64;
        (coins > 0).then(|| PValue::from_ln(null::binomial(coins, ones(counts)), PKind::Exact))
    }
}

fn ones(counts: &LayerCounts) -> u64 {
    counts.ones().iter().sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scheme::gvalues::GBits;

    #[test]
    fn nothing_scored_gives_nothing() {
        let none = LayerCounts::new(30, []);
        assert_eq!(Mean.score(&none), None);
        assert_eq!(Mean.p_value(&none), None);
    }

    #[test]
    fn small_case_by_hand() {
        let counts = LayerCounts::new(3, [GBits(0b111), GBits(0b101)]);
        assert_eq!(Mean.score(&counts), Some(5.0 / 6.0));
        let p = Mean.p_value(&counts).unwrap();
        assert!((p.p() - 7.0 / 64.0).abs() < 1e-15);
    }
}
