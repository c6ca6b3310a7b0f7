//! The Gumbel statistic: a sum of exponentials, for the schemes that draw by uniform numbers.
//!
//! A token whose number is u adds −ln(1 − u); with two keys, the mean of both weighted by their shares. The score is
//! the sum divided by the number of tokens.
//!
//! Null law: a uniform number gives an exponential of mean 1, so the sum of n is Gamma(n) and p is its upper tail
//! ([`gamma`](null::gamma), [`two_gammas`](null::two_gammas)). u is the lower edge of a cell of equally likely numbers,
//! and the sum is rounded down. So the sum is at most a sum of exponentials, and p errs upwards.
//!
//! Source: Aaronson, "Watermarking of large language models" (2022); Fernandez et al., "Three bricks to consolidate
//! watermarks for large language models" (2023), for the Gamma law.

use super::marked;
use super::method::Method;
use super::null::{self, TableNull};
use super::power::Test;
use super::sample::{Sample, Selected, UnsupportedEvidence};
use super::scored::Scored;
use super::statistic::Statistic;
use crate::scheme::{EvidenceKind, GBits, Uniforms};

/// A nat in the unit of the sums. The unit is 2^−25 nats, so that the greatest value of a token fits an `i32`.
const NAT: f64 = (1_u32 << 25) as f64;

/// A nat in the unit of the search for required lengths, whose tables are shorter.
const COARSE: f64 = 16.0;

/// The Gumbel statistic for keys whose numbers are read alike.
#[derive(Clone, Copy, Debug)]
pub struct Gumbel {
    law: Uniforms,
}

impl Gumbel {
    /// Makes the statistic for numbers that are read in this way.
    pub fn new(law: Uniforms) -> Self {
        Self { law }
    }

    fn numbers(self, sample: Sample<'_>) -> Result<Selected<'_, GBits>, UnsupportedEvidence> {
        sample.of_kind(self.method(), EvidenceKind::Uniform(self.law))
    }

    fn value(self, g: GBits) -> i32 {
        (self.law.exponential(g) * NAT) as i32
    }

    fn ln_tail_of(self, tokens: u64, nats: f64) -> f64 {
        match self.law.second_share {
            None => null::gamma(tokens, nats),
            Some(share) => null::two_gammas(tokens, share, nats),
        }
    }

    /// Returns the law of a token's value in a marked text, in the coarse unit.
    fn marked(self) -> TableNull {
        let last = (self.law.steps as f64).ln();
        // P(value ≤ t) if the number is the greatest of 1 / collision uniform numbers.
        let drawn = |weight: f64| {
            let below = |t: f64| -> f64 {
                marked::mixture(|collision| (-(-t / weight).exp_m1()).powf(1.0 / collision))
            };
            table(below, weight * last)
        };
        let other = |weight: f64| table(|t| -(-t / weight).exp_m1(), weight * last);
        let mass = match self.law.second_share {
            None => drawn(1.0),
            Some(second) => {
                let by = |own: f64, rest: f64| convolve(&drawn(own), &other(rest));
                let (first_draws, second_draws) = (by(1.0 - second, second), by(second, 1.0 - second));
                let mix = |(a, b): (&f64, &f64)| (1.0 - second) * a + second * b;
                first_draws.iter().zip(&second_draws).map(mix).collect()
            }
        };
        TableNull::new(0, &mass).expect("masses are differences of a distribution function")
    }
}

/// Returns the masses of a law on the coarse grid, from its distribution function. Each point has the mass that is
/// nearest to it; the last point has all mass above `last`.
fn table(below: impl Fn(f64) -> f64, last: f64) -> Vec<f64> {
    let points = (last * COARSE) as usize + 1;
    let edge = |i: usize| if i == points { 1.0 } else { below((i as f64 - 0.5) / COARSE) };
    let mut low = 0.0;
    (1..=points)
        .map(|i| {
            let high = edge(i).max(low);
            (high - std::mem::replace(&mut low, high)).max(0.0)
        })
        .collect()
}

fn convolve(a: &[f64], b: &[f64]) -> Vec<f64> {
    let mut sum = vec![0.0; a.len() + b.len()];
    for (i, x) in a.iter().enumerate() {
        for (sum, y) in sum[i..].iter_mut().zip(b) {
            *sum += x * y;
        }
    }
    sum
}

impl Statistic for Gumbel {
    fn method(&self) -> Method {
        Method::Gumbel
    }

    fn values(&self, sample: Sample<'_>) -> Result<Vec<i32>, UnsupportedEvidence> {
        Ok(self.numbers(sample)?.map(|g| self.value(g)).collect())
    }

    fn sum(&self, sample: Sample<'_>) -> Result<i64, UnsupportedEvidence> {
        Ok(self.numbers(sample)?.map(|g| i64::from(self.value(g))).sum())
    }

    fn smallest_sum(&self, _: Scored) -> i64 {
        0
    }

    fn largest_sum(&self, scored: Scored) -> i64 {
        scored.full as i64 * ((self.law.steps as f64).ln() * NAT).ceil() as i64
    }

    fn ln_tail(&self, scored: Scored, sum: i64) -> f64 {
        if sum > self.largest_sum(scored) {
            return f64::NEG_INFINITY;
        }
        self.ln_tail_of(scored.full, sum as f64 / NAT)
    }

    /// Returns the mean of the tokens' values: 1 on average without the mark.
    fn score(&self, scored: Scored, sum: i64) -> Option<f64> {
        (scored.full > 0).then(|| sum as f64 / NAT / scored.full as f64)
    }

    fn required_tokens(&self, alpha: f64) -> u64 {
        let null = |n, sum: i64| self.ln_tail_of(n, sum as f64 / COARSE);
        Test { null: &null, marked: &self.marked() }.required_tokens(alpha)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SINGLE: Uniforms = Uniforms { steps: 1 << 24, second_share: None };
    const DUAL: Uniforms = Uniforms { steps: 1 << 24, second_share: Some(0.25) };

    fn evaluate(law: Uniforms, g: &[GBits]) -> super::super::Evaluated {
        Gumbel::new(law).evaluate(Sample::bits(EvidenceKind::Uniform(law), g)).unwrap()
    }

    #[test]
    fn small_cases_by_hand() {
        // u = 1/2 and 3/4: ln 2 and ln 4.
        let [half, three] = [1_u64 << 23, 3 << 22];
        let found = evaluate(SINGLE, &[GBits(half), GBits(three)]);
        let sum = 3.0 * 2.0_f64.ln();
        assert!((found.score.unwrap() - sum / 2.0).abs() < 1e-7);
        let p = found.p.unwrap().p();
        let exact = (1.0 + sum) / 8.0;
        assert!(p >= exact && p < exact * (1.0 + 1e-6), "{p} {exact}");
        // Two keys: 3/4 of the first's and 1/4 of the second's.
        let found = evaluate(DUAL, &[GBits(half | three << 32)]);
        assert!((found.score.unwrap() - 1.25 * 2.0_f64.ln()).abs() < 1e-7);
        let none = evaluate(SINGLE, &[]);
        assert_eq!((none.score, none.p), (None, None));
    }

    #[test]
    fn the_greatest_sum_is_finite() {
        for law in [SINGLE, DUAL, Uniforms { steps: 1 << 53, second_share: None }] {
            let top = law.steps - 1;
            let g = if law.second_share.is_some() { top | top << 32 } else { top };
            let log10 = evaluate(law, &[GBits(g); 100]).p.unwrap().log10;
            assert!(log10.is_finite() && log10 < -500.0, "{log10}");
        }
    }

    /// For uniform numbers drawn at random, p ≤ a in a share a of the cases.
    #[test]
    fn p_is_uniform_under_the_null_hypothesis() {
        let mut state = 5;
        for law in [SINGLE, DUAL] {
            let mut below = [0; 2];
            for _ in 0..20_000 {
                let mut number = || crate::split_mix::next(&mut state) >> 40;
                let g: Vec<GBits> = (0..12).map(|_| GBits(number() | number() << 32)).collect();
                let g: Vec<GBits> =
                    g.iter().map(|g| if law == SINGLE { GBits(g.0 & 0xff_ffff) } else { *g }).collect();
                let p = evaluate(law, &g).p.unwrap().p();
                below[0] += usize::from(p <= 0.1);
                below[1] += usize::from(p <= 0.01);
            }
            // Four standard deviations.
            assert!(below[0].abs_diff(2000) < 170 && below[1].abs_diff(200) < 57, "{law:?} {below:?}");
        }
    }

    #[test]
    fn a_lower_level_and_a_second_key_need_more_tokens() {
        let tokens = |law, alpha| Gumbel::new(law).required_tokens(alpha);
        let (single, stricter, dual) = (tokens(SINGLE, 1e-3), tokens(SINGLE, 1e-6), tokens(DUAL, 1e-3));
        assert!(
            10 < single && single < stricter && single < dual && stricter < 1000,
            "{single} {stricter} {dual}"
        );
    }
}
