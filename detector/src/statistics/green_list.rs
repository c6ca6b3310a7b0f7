//! The green list statistic: how many tokens are on the green lists of their positions.
//!
//! The score is the usual z = (W − n γ) / √(n γ (1 − γ)) for W green tokens among n. p is the tail of Binomial(n, γ),
//! not that of a normal law, and it errs upwards.
//!
//! Null law of W: tokens of different lists are independent. Different tokens of one list are drawn without
//! replacement, so their greens are hypergeometric. A hypergeometric number is distributed as a sum of independent bits
//! of other rates (Vatutin and Mikhailov 1982), hence so is W. For such a sum of mean n γ the binomial tail is the
//! larger one from n γ + 1 on (Hoeffding 1956). Below that p is 1. γ may be a bound of the rate.
//!
//! Source: Kirchenbauer et al., "A watermark for large language models" (2023), for the score.

use super::marked;
use super::method::Method;
use super::null::{self, TableNull};
use super::power::Test;
use super::sample::{Sample, Selected, UnsupportedEvidence};
use super::scored::Scored;
use super::statistic::Statistic;
use crate::scheme::{EvidenceKind, GBits};

/// The green list statistic for keys of one rate.
#[derive(Clone, Copy, Debug)]
pub struct GreenList {
    rate: f64,
}

impl GreenList {
    /// Makes the statistic for lists that hold a token with a probability of at most `rate`, above 0 and below 1.
    pub fn new(rate: f64) -> Self {
        Self { rate }
    }

    fn greens(self, sample: Sample<'_>) -> Result<Selected<'_, GBits>, UnsupportedEvidence> {
        sample.of_kind(self.method(), EvidenceKind::Green { rate: self.rate })
    }
}

impl Statistic for GreenList {
    fn method(&self) -> Method {
        Method::GreenList
    }

    fn values(&self, sample: Sample<'_>) -> Result<Vec<i32>, UnsupportedEvidence> {
        Ok(self.greens(sample)?.map(|g| g.0 as i32).collect())
    }

    fn sum(&self, sample: Sample<'_>) -> Result<i64, UnsupportedEvidence> {
        Ok(self.greens(sample)?.map(|g| g.0 as i64).sum())
    }

    fn smallest_sum(&self, _: Scored) -> i64 {
        0
    }

    fn largest_sum(&self, scored: Scored) -> i64 {
        scored.full as i64
    }

    fn ln_tail(&self, scored: Scored, sum: i64) -> f64 {
        let sum = sum.max(0) as u64;
        if (sum as f64) < scored.full as f64 * self.rate + 1.0 {
            return 0.0;
        }
        null::binomial_at(scored.full, self.rate, sum)
    }

    /// Returns z, which is 0 on average without the mark.
    fn score(&self, scored: Scored, sum: i64) -> Option<f64> {
        let n = scored.full as f64;
        (scored.full > 0).then(|| (sum as f64 - n * self.rate) / (n * self.rate * (1.0 - self.rate)).sqrt())
    }

    fn required_tokens(&self, alpha: f64) -> u64 {
        let green = marked::mixture(|collision| marked::green_rate(self.rate, collision));
        let marked = TableNull::new(0, &[1.0 - green, green]).expect("a rate between 0 and 1");
        Test { null: &|n, sum| self.ln_tail(Scored::full(n), sum), marked: &marked }.required_tokens(alpha)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_case_by_hand() {
        let g: Vec<GBits> = [1, 1, 0, 1].map(GBits).to_vec();
        let kind = EvidenceKind::Green { rate: 0.25 };
        let found = GreenList::new(0.25).evaluate(Sample::bits(kind, &g)).unwrap();
        assert_eq!((found.scored, found.sum), (Scored::full(4), 3));
        assert!((found.score.unwrap() - 2.0 / 0.75_f64.sqrt()).abs() < 1e-12);
        // 4 · (1/4)³ · 3/4 + (1/4)⁴.
        assert!((found.p.unwrap().p() - 13.0 / 256.0).abs() < 1e-12);
        let other = Sample::bits(EvidenceKind::Green { rate: 0.5 }, &g);
        let error = GreenList::new(0.25).sum(other).unwrap_err();
        assert_eq!(
            error.to_string(),
            "green_list expects green bits at rate 0.25, found green bits at rate 0.5"
        );
    }

    /// There the binomial tail is not a bound of all such laws.
    #[test]
    fn p_is_one_up_to_the_mean_and_one_more() {
        let p = |sum| GreenList::new(0.25).ln_tail(Scored::full(8), sum);
        assert_eq!((p(0), p(2)), (0.0, 0.0));
        assert!(p(3) < -0.3);
    }

    #[test]
    fn a_lower_level_needs_more_tokens() {
        let tokens = [1e-2, 1e-3, 1e-6].map(|alpha| GreenList::new(0.25).required_tokens(alpha));
        assert!(tokens[0] < tokens[1] && tokens[1] < tokens[2] && tokens[2] < 2000, "{tokens:?}");
    }
}
