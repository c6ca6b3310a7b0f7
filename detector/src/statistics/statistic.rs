//! The trait behind everything that judges a text: scoring, calibration, attribution, and the length that a verdict
//! needs.

use std::fmt::Debug;

use super::method::Method;
use super::p_value::{PKind, PValue};
use super::sample::{Sample, UnsupportedEvidence};
use super::scored::Scored;
use crate::scheme::Share;

/// One integer for each scored token, their sum, and the exact law of the sum under the null hypothesis.
///
/// Sums of the parts of a text add up. For the same [`Scored`] tokens the p-value falls as the sum rises. A statistic
/// may let tokens count by their [`Share`]. The others count tokens of two thirds and more wholly, and no others.
/// [`counts`](Self::counts) says which, and the methods that take [`Scored`] tokens take what it returns.
pub trait Statistic: Debug + Send + Sync {
    /// Returns the method that this statistic is.
    fn method(&self) -> Method;

    /// Returns how the tokens of a text count in this statistic.
    fn counts(&self, text: Scored) -> Scored {
        Scored::full(text.full + text.two_thirds)
    }

    /// Returns what becomes of the sum of tokens that count wholly if they count with this share.
    fn at_share(&self, sum: i64, share: Share) -> i64 {
        if share >= Share::TwoThirds { sum } else { 0 }
    }

    /// Returns the integer of each token that counts, in order, as if it counted wholly.
    ///
    /// # Errors
    /// Returns an error if the values are of a kind that it cannot sum.
    fn values(&self, sample: Sample<'_>) -> Result<Vec<i32>, UnsupportedEvidence>;

    /// Returns the sum of these integers by the tokens' shares.
    ///
    /// # Errors
    /// Returns an error if the values are of a kind that it cannot sum.
    fn sum(&self, sample: Sample<'_>) -> Result<i64, UnsupportedEvidence>;

    /// Returns the least sum that these tokens can have.
    fn smallest_sum(&self, scored: Scored) -> i64;

    /// Returns the largest sum that these tokens can have.
    fn largest_sum(&self, scored: Scored) -> i64;

    /// Returns ln P(the sum of these tokens is `sum` or more | null); −∞ above the largest sum.
    fn ln_tail(&self, scored: Scored, sum: i64) -> f64;

    /// Returns the sum in the unit that people read: a share of ones, or nats. `None` without tokens.
    fn score(&self, scored: Scored, sum: i64) -> Option<f64>;

    /// Returns the number of tokens from which on a marked text is found at level `alpha` with probability
    /// [`POWER`](super::power::POWER); `u64::MAX` if no length is enough. Takes some milliseconds: keep the result.
    fn required_tokens(&self, alpha: f64) -> u64;

    /// Returns P(a score at least this high | null); `None` without tokens.
    fn p_value(&self, scored: Scored, sum: i64) -> Option<PValue> {
        // No sum is above the largest, where the tail would be 0 and its logarithm not a number that JSON has.
        let sum = sum.min(self.largest_sum(scored));
        (scored.tokens() > 0).then(|| PValue::from_ln(self.ln_tail(scored, sum), PKind::Exact))
    }

    /// Returns sum, score and p-value of a whole text.
    ///
    /// # Errors
    /// Returns an error if the values are of a kind that it cannot sum.
    fn evaluate(&self, sample: Sample<'_>) -> Result<Evaluated, UnsupportedEvidence> {
        let (scored, sum) = (self.counts(sample.tokens()), self.sum(sample)?);
        Ok(Evaluated { scored, sum, score: self.score(scored, sum), p: self.p_value(scored, sum) })
    }

    /// Returns the statistic as a [`Posterior`], if it has a prior.
    fn posterior(&self) -> Option<&dyn Posterior> {
        None
    }

    /// Returns the public ids of the keys whose texts the statistic was fitted to. Under these keys its p-value is not
    /// exact for texts that share passages with the training texts.
    fn fitted_keys(&self) -> &[String] {
        &[]
    }
}

/// What a [`Statistic`] says of one text.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Evaluated {
    /// Tokens that count.
    pub scored: Scored,
    /// Sum of their integers, by their shares.
    pub sum: i64,
    /// [`Statistic::score`].
    pub score: Option<f64>,
    /// [`Statistic::p_value`].
    pub p: Option<PValue>,
}

/// A posterior probability of the mark, from the likelihood ratio without the rounding of the sum.
pub trait Posterior {
    /// Returns Σ ln of the tokens' likelihood ratios; those of the parts of a text add up.
    ///
    /// # Errors
    /// Returns an error if the values are of a kind that it cannot sum.
    fn ln_ratio(&self, sample: Sample<'_>) -> Result<f64, UnsupportedEvidence>;

    /// Returns P(marked | a text with this Σ ln ratio), 0 to 1.
    fn probability(&self, ln_ratio: f64) -> f64;
}
