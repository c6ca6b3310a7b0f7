//! The weighted mean: the share of ones, with weights that fall linearly from 10 at the first layer to 1 at the last.
//! Early layers carry more of the mark.
//!
//! Score = Σ_t Σ_l w_l g_l(t) / (n · Σ_l w_l). With m layers w_l ∝ a_l = 10 (m − 1) − 9 l over their common divisor
//! (m = 30: 290, 281, …, 29; m = 1: 1). So W = Σ a_l g_l is an integer and P(W ≥ w) under the null can be computed
//! exactly ([`WeightedNull`]).
//!
//! A token counts by its [`Share`]: Σ_l a_l g_l is multiplied by 3, 2 or 1, and the largest sum accordingly. So sums
//! are in thirds of a token.
//!
//! Source: Dathathri et al., Nature 634 (2024), Methods, "Weighted mean score"; equals `weighted_mean_score` of
//! `synthid-text` with its default weights.

use super::llr::Profile;
use super::mean::Mean;
use super::method::Method;
use super::null::WeightedNull;
use super::power::{Test, table};
use super::sample::{Sample, UnsupportedEvidence};
use super::scored::Scored;
use super::statistic::Statistic;
use crate::scheme::{GBits, MAX_DEPTH, Share};

/// What each g-value of 1 adds to a token's entry in addition to its weight; no token's weighted sum is as large.
const ONE: u64 = 1 << 32;

/// The weighted mean for keys of one depth.
#[derive(Clone, Debug)]
pub struct WeightedMean {
    null: WeightedNull,
    /// `tables[i][b]` = Σ of [`ONE`] + a_l over the layers l = 8 i + j for which bit j of b is set.
    tables: Vec<[u64; 256]>,
}

impl WeightedMean {
    /// Makes the statistic for `depth` layers, 1 to 64; a depth outside is clamped to that range. Takes half a
    /// millisecond at depth 30: make one and keep it.
    pub fn new(depth: usize) -> Self {
        let weights = weights(depth.clamp(1, MAX_DEPTH));
        let table = |chunk: &[u32]| {
            let ones = |byte: usize| chunk.iter().enumerate().filter(move |(bit, _)| byte >> bit & 1 == 1);
            std::array::from_fn(|byte| ones(byte).map(|(_, &a)| ONE + u64::from(a)).sum())
        };
        Self { null: WeightedNull::new(&weights), tables: weights.chunks(8).map(table).collect() }
    }

    fn depth(&self) -> usize {
        self.null.weights().len()
    }

    /// Returns the sum, by the tokens' shares, and the sum of the [`Mean`], in one pass. The reference's two scores
    /// need both.
    ///
    /// # Errors
    /// Returns an error if the values are not g-bits of its depth.
    pub fn sum_and_ones(&self, sample: Sample<'_>) -> Result<(i64, i64), UnsupportedEvidence> {
        let (mut sum, mut ones) = (0, 0);
        sample.for_each_share(self.method(), self.depth(), |g, share| {
            let both = self.of(g);
            sum += i64::from(share.thirds()) * (both % ONE) as i64;
            ones += if share >= Share::TwoThirds { (both / ONE) as i64 } else { 0 };
        })?;
        Ok((sum, ones))
    }

    /// Returns Σ a_l g_l + [`ONE`] Σ g_l of one token; bits at the depth and above do not count.
    fn of(&self, g: GBits) -> u64 {
        let bytes = g.0.to_le_bytes();
        self.tables.iter().zip(bytes).map(|(table, byte)| table[usize::from(byte)]).sum()
    }

    /// Computes [`Statistic::required_tokens`] without the table.
    pub(super) fn search(&self, alpha: f64) -> u64 {
        let marked = Profile::reference().classes().weighted_ones(self.null.weights());
        // The exact tail of a few tokens takes long, since their sum is far from normal. So the search starts near n*.
        let guess = Mean::new(self.depth()).required_tokens(alpha);
        Test { null: &|n, w| self.null.tail(n, w.max(0) as u64), marked: &marked }
            .required_tokens_near(alpha, guess)
    }
}

impl Statistic for WeightedMean {
    fn method(&self) -> Method {
        Method::WeightedMean
    }

    fn counts(&self, text: Scored) -> Scored {
        text
    }

    fn at_share(&self, sum: i64, share: Share) -> i64 {
        sum / 3 * i64::from(share.thirds())
    }

    fn values(&self, sample: Sample<'_>) -> Result<Vec<i32>, UnsupportedEvidence> {
        let mut values = Vec::new();
        let add = |g, _| values.push(3 * (self.of(g) % ONE) as i32);
        sample.for_each_share(self.method(), self.depth(), add)?;
        Ok(values)
    }

    fn sum(&self, sample: Sample<'_>) -> Result<i64, UnsupportedEvidence> {
        Ok(self.sum_and_ones(sample)?.0)
    }

    fn smallest_sum(&self, _: Scored) -> i64 {
        0
    }

    fn largest_sum(&self, scored: Scored) -> i64 {
        self.null.max(scored.thirds()) as i64
    }

    fn ln_tail(&self, scored: Scored, sum: i64) -> f64 {
        self.null.tail_of_shares(scored, sum.max(0) as u64)
    }

    /// Returns the sum as a share of the largest possible one.
    fn score(&self, scored: Scored, sum: i64) -> Option<f64> {
        (scored.tokens() > 0).then(|| sum as f64 / self.largest_sum(scored) as f64)
    }

    fn required_tokens(&self, alpha: f64) -> u64 {
        table::look_up(&table::WEIGHTED_MEAN, alpha, self.depth()).unwrap_or_else(|| self.search(alpha))
    }
}

/// Returns the integers a_l, `depth` entries in falling order.
pub(super) fn weights(depth: usize) -> Vec<u32> {
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
        let none = WeightedMean::new(30).evaluate(Sample::layers(30, &[])).unwrap();
        assert_eq!((none.score, none.p), (None, None));
    }

    #[test]
    fn small_case_by_hand() {
        let g = [GBits(0b11), GBits(0b01)];
        let found = WeightedMean::new(2).evaluate(Sample::layers(2, &g)).unwrap();
        assert!((found.score.unwrap() - 21.0 / 22.0).abs() < 1e-15);
        // W ≥ 21 in 22 (one way) or 21 (two ways) of 16.
        assert!((found.p.unwrap().p() - 3.0 / 16.0).abs() < 1e-13);
    }

    #[test]
    fn the_tables_have_the_weighted_sum_and_the_ones_of_the_layers() {
        for depth in [1, 7, 8, 30, 33, 64] {
            let (mean, weights) = (WeightedMean::new(depth), weights(depth));
            for g in [0, 1, 0x8000_0000_0000_0001, 0x0123_4567_89ab_cdef, u64::MAX] {
                let one = |l: usize| (g >> l & 1) as i64;
                let expected: i64 = weights.iter().enumerate().map(|(l, &a)| i64::from(a) * one(l)).sum();
                let (g, ones) = ([GBits(g); 3], (0..depth).map(one).sum::<i64>());
                let sample = Sample::layers(depth, &g);
                assert_eq!(mean.values(sample).unwrap(), [3 * expected as i32; 3], "depth {depth}, {g:x?}");
                assert_eq!(mean.sum(sample).unwrap(), 9 * expected);
                assert_eq!(mean.sum_and_ones(sample).unwrap(), (9 * expected, 3 * ones));
                assert_eq!(Mean::new(depth).sum(sample).unwrap(), 3 * ones);
            }
        }
    }
}
