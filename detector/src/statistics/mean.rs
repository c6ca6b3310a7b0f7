//! The mean: the share of ones among all g-bits of the scored tokens.
//!
//! Score = Σ_t Σ_l g_l(t) / (m · n) for n tokens and m layers. Null law: the number of ones is Binomial(m · n, 1/2),
//! so the p-value is exactly that distribution's upper tail.
//!
//! Source: Dathathri et al., Nature 634 (2024), Methods, "Mean score"; equals `mean_score` of `synthid-text`.

use super::llr::Profile;
use super::method::Method;
use super::null;
use super::power::{Test, table};
use super::sample::{Sample, Selected, UnsupportedEvidence};
use super::scored::Scored;
use super::statistic::Statistic;
use crate::scheme::GBits;

/// The mean for keys of one depth.
#[derive(Clone, Copy, Debug)]
pub struct Mean {
    depth: usize,
}

impl Mean {
    /// Makes the statistic for `depth` layers, 1 to 64.
    pub fn new(depth: usize) -> Self {
        Self { depth }
    }

    fn coins(self, tokens: u64) -> u64 {
        tokens * self.depth as u64
    }

    fn g_bits(self, sample: Sample<'_>) -> Result<Selected<'_, GBits>, UnsupportedEvidence> {
        sample.g_bits(self.method(), &(self.depth..=self.depth))
    }

    /// Returns a token's number of ones.
    fn ones(self, g: GBits) -> i32 {
        let layers = u64::MAX.checked_shr(64 - self.depth as u32).unwrap_or(0);
        (g.0 & layers).count_ones() as i32
    }

    /// Computes [`Statistic::required_tokens`] without the table.
    pub(super) fn search(self, alpha: f64) -> u64 {
        let marked = Profile::reference().classes().weighted_ones(&vec![1; self.depth]);
        Test { null: &|n, ones| self.ln_tail(Scored::full(n), ones), marked: &marked }.required_tokens(alpha)
    }
}

impl Statistic for Mean {
    fn method(&self) -> Method {
        Method::Mean
    }

    fn values(&self, sample: Sample<'_>) -> Result<Vec<i32>, UnsupportedEvidence> {
        Ok(self.g_bits(sample)?.map(|g| self.ones(g)).collect())
    }

    fn sum(&self, sample: Sample<'_>) -> Result<i64, UnsupportedEvidence> {
        Ok(self.g_bits(sample)?.map(|g| i64::from(self.ones(g))).sum())
    }

    fn smallest_sum(&self, _: Scored) -> i64 {
        0
    }

    fn largest_sum(&self, scored: Scored) -> i64 {
        self.coins(scored.full) as i64
    }

    fn ln_tail(&self, scored: Scored, sum: i64) -> f64 {
        null::binomial(self.coins(scored.full), sum.max(0) as u64)
    }

    fn score(&self, scored: Scored, sum: i64) -> Option<f64> {
        (scored.full > 0).then(|| sum as f64 / self.coins(scored.full) as f64)
    }

    fn required_tokens(&self, alpha: f64) -> u64 {
        table::look_up(&table::MEAN, alpha, self.depth).unwrap_or_else(|| self.search(alpha))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_scored_gives_nothing() {
        let none = Mean::new(30).evaluate(Sample::layers(30, &[])).unwrap();
        assert_eq!((none.score, none.p), (None, None));
    }

    #[test]
    fn small_case_by_hand() {
        let g = [GBits(0b1111), GBits(0b101)];
        let found = Mean::new(3).evaluate(Sample::layers(3, &g)).unwrap();
        assert_eq!((found.scored, found.sum, found.score), (Scored::full(2), 5, Some(5.0 / 6.0)));
        assert!((found.p.unwrap().p() - 7.0 / 64.0).abs() < 1e-15);
        let all = Mean::new(64).sum(Sample::layers(64, &[GBits(u64::MAX)])).unwrap();
        assert_eq!(all, 64);
    }
}
