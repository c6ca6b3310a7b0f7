//! Upper tails of the null distributions, as natural logarithms: they go far below the smallest `f64`.
//!
//! [`binomial`] sums its series from the exact first term; [`Lattice`] inverts the characteristic function of an
//! exponentially tilted integer sum. Both are exact up to rounding (around 1e-12 of p), and what they neglect they
//! add as a bound, so that truncation can only make p larger. (For p above 1/2 they return one minus the other
//! tail, where the same holds of that tail.)

mod inversion;
mod table;

use std::f64::consts::{LN_2, PI, TAU};
use std::ops::Range;
use std::sync::OnceLock;

use inversion::Inversion;
pub use table::TableNull;

/// ln P(X ≥ x) for X ~ Binomial(coins, 1/2); −∞ for x > coins.
///
/// The first term P(X = x) comes from Loader's saddle-point form ("Fast and accurate computation of binomial
/// probabilities", 2000), which has no cancellation; the ratio of neighbouring terms, (coins − k)/(k + 1), falls, so
/// a geometric series bounds the rest.
pub fn binomial(coins: u64, x: u64) -> f64 {
    if x == 0 {
        return 0.0;
    }
    if x > coins {
        return f64::NEG_INFINITY;
    }
    if x <= coins / 2 {
        return (-binomial(coins, coins - x + 1).exp()).ln_1p();
    }
    let mut sum = 1.0;
    let mut term = 1.0;
    for k in x..coins {
        let ratio = (coins - k) as f64 / (k + 1) as f64;
        term *= ratio;
        sum += term;
        let rest = term * ratio / (1.0 - ratio);
        if rest < 1e-17 * sum {
            sum += rest;
            break;
        }
    }
    (ln_binomial_mass(coins, x) + sum.ln()).min(0.0)
}

/// ln P(X = x) for 0 < x ≤ coins.
fn ln_binomial_mass(coins: u64, x: u64) -> f64 {
    if x == coins {
        return -(coins as f64) * LN_2;
    }
    let (n, k, rest) = (coins as f64, x as f64, (coins - x) as f64);
    stirling_error(coins) - stirling_error(x) - stirling_error(coins - x) - deviance(k, n / 2.0)
        + 0.5 * (n / (TAU * k * rest)).ln()
        - deviance(rest, n / 2.0)
}

/// ln n! − ((n + 1/2) ln n − n + ln √(2π)), n ≥ 1.
fn stirling_error(n: u64) -> f64 {
    let x = n as f64;
    if n < 16 {
        let factorial: f64 = (1..=n).map(|i| i as f64).product();
        return factorial.ln() - (x + 0.5) * x.ln() + x - 0.5 * TAU.ln();
    }
    let y = 1.0 / (x * x);
    (1.0 / 12.0 - y * (1.0 / 360.0 - y * (1.0 / 1260.0 - y * (1.0 / 1680.0 - y / 1188.0)))) / x
}

/// x ln(x/mean) + mean − x, by a series in (x − mean)/(x + mean) where that would cancel.
fn deviance(x: f64, mean: f64) -> f64 {
    let v = (x - mean) / (x + mean);
    if v.abs() > 0.1 {
        return x * (x / mean).ln() + mean - x;
    }
    // ln(x/mean) = 2 (v + v³/3 + v⁵/5 + …); the term in v leaves (x − mean) v.
    let mut power = 2.0 * x * v;
    let mut sum = (x - mean) * v;
    for j in 1..30 {
        power *= v * v;
        let next = sum + power / f64::from(2 * j + 1);
        if next == sum {
            break;
        }
        sum = next;
    }
    sum
}

/// The null law of W = Σ over n tokens of Σ_l a_l g_l, with positive integer weights a_l and fair bits g_l.
///
/// With the tilt θ > 0, A(j) = e^{θj} P(W ≥ j) is summable over the integers and its Fourier transform is
/// M(θ) φ(ω) / (1 − e^{−θ−iω}), where M is the moment generating function and φ the characteristic function of the
/// tilted law. Inverting it with N equally spaced nodes gives Σ_j A(w + jN): P(W ≥ w) and further terms that are
/// all ≥ 0, so p is overstated, never understated. θ is the saddle point (tilted mean = w), where the nodes'
/// values hardly cancel, but no less than 3/σ: N grows as 1/θ, and there the values cancel to a hundredth at most. N is
/// such that the further terms are around 1e-15 of p.
#[derive(Clone, Debug)]
pub struct Lattice {
    weights: Vec<u32>,
    /// Σ a_l.
    total: u64,
    /// Largest a_l.
    largest: f64,
    /// Width of the cells that `spread` divides π / max(a) ≤ ω ≤ π into.
    cell: f64,
    /// For each cell a lower bound of Σ_l sin²(a_l ω/2) in it. Away from 0 the sum has further valleys, for depth
    /// 30 down to 0.69 near ω = 8π/9 (where |φ| = 0.70^n): they cannot be left out for n below some hundreds.
    spread: Vec<f64>,
    /// The cells with the least bounds, in ascending order of them: for many tokens there is no need to look at others.
    narrow: Vec<u32>,
    /// For each n of [`LISTED`] the inversion that serves all w up to three σ or so above the mean, once one is asked for.
    lists: Vec<OnceLock<Box<Inversion>>>,
}

/// Cells that [`Lattice`] keeps in order.
const NARROW: usize = 512;

/// The least θσ.
const LEAST_TILT: f64 = 3.0;

/// Numbers of tokens for which nodes are kept. Fewer have thousands of nodes; more take longer to hash than to invert.
const LISTED: Range<u64> = 16..2049;

impl Lattice {
    /// For positive weights. Takes half a millisecond at depth 30: make one and keep it.
    pub fn new(weights: &[u32]) -> Self {
        let total: u64 = weights.iter().map(|&a| u64::from(a)).sum();
        let largest = f64::from(weights.iter().copied().max().unwrap_or(1));
        // The curvature of Σ sin²(a ω/2) is at most Σ a²/2; over half a cell it may make this much.
        let slack = 0.05;
        let quarter = weights.iter().map(|&a| f64::from(a) * f64::from(a)).sum::<f64>() / 4.0;
        let range = PI - PI / largest;
        let cells = (range * (quarter / slack).sqrt() / 2.0).ceil();
        let cell = if cells > 0.0 { range / cells } else { 0.0 };
        let spread = spread(weights, PI / largest, cell, cells as usize, slack);
        let mut narrow: Vec<u32> = (0..spread.len() as u32).collect();
        let by_bound = |a: &u32, b: &u32| spread[*a as usize].total_cmp(&spread[*b as usize]);
        if narrow.len() > NARROW {
            narrow.select_nth_unstable_by(NARROW - 1, by_bound);
            narrow.truncate(NARROW);
        }
        narrow.sort_unstable_by(by_bound);
        let lists = LISTED.map(|_| OnceLock::new()).collect();
        Self { weights: weights.to_vec(), total, largest, cell, spread, narrow, lists }
    }

    /// The weights a_l.
    pub fn weights(&self) -> &[u32] {
        &self.weights
    }

    /// The largest value that W can take for n tokens, n Σ a_l.
    pub fn max(&self, n: u64) -> u64 {
        n * self.total
    }

    /// ln P(W ≥ w) for n tokens; −∞ for w above [`Lattice::max`].
    pub fn tail(&self, n: u64, w: u64) -> f64 {
        let top = self.max(n);
        if w == 0 {
            0.0
        } else if w > top {
            f64::NEG_INFINITY
        } else if w == top {
            -(n as f64) * self.weights.len() as f64 * LN_2
        } else if w <= top / 2 {
            // W and top − W have the same law.
            (-self.tail(n, top - w + 1).exp()).ln_1p()
        } else {
            self.upper(n, w)
        }
    }

    /// [`Lattice::tail`] for top/2 < w < top.
    fn upper(&self, n: u64, w: u64) -> f64 {
        if let Some(list) = n.checked_sub(LISTED.start).and_then(|i| self.lists.get(i as usize)) {
            let list = list.get_or_init(|| {
                let theta = self.least_tilt(n);
                // The tilted mean, rounded down, and no less than the middle.
                let limit = (self.tilted_mean(theta) * n as f64) as u64;
                Box::new(Inversion::new(
                    self,
                    n,
                    limit.clamp(self.max(n) / 2 + 1, self.max(n) - 1),
                    theta,
                    true,
                ))
            });
            if w <= list.limit() {
                return list.ln_tail(w);
            }
        }
        Inversion::new(self, n, w, self.tilt(n, w), false).ln_tail(w)
    }

    /// Where the first cell begins.
    fn start(&self) -> f64 {
        PI / self.largest
    }

    /// The cells whose bound is below `enough`, in ascending order.
    fn cells_below(&self, enough: f64) -> impl Iterator<Item = Range<f64>> {
        let below = |i: usize| self.spread[i] < enough;
        let count = self.narrow.partition_point(|&i| below(i as usize));
        let cells: Vec<usize> = if count == self.narrow.len() {
            (0..self.spread.len()).filter(|&i| below(i)).collect()
        } else {
            let mut cells: Vec<usize> = self.narrow[..count].iter().map(|&i| i as usize).collect();
            cells.sort_unstable();
            cells
        };
        let edge = |i: usize| {
            // Rounding must not leave out the last node.
            if i == self.spread.len() { 2.0 * PI } else { self.start() + i as f64 * self.cell }
        };
        cells.into_iter().map(move |i| edge(i)..edge(i + 1))
    }

    /// The mean of a token's Σ a_l g_l under the tilt `theta`.
    fn tilted_mean(&self, theta: f64) -> f64 {
        self.weights.iter().map(|&a| f64::from(a)).map(|a| a / (1.0 + (-theta * a).exp())).sum()
    }

    /// The θ below which the nodes would become too many.
    fn least_tilt(&self, n: u64) -> f64 {
        let squares: f64 = self.weights.iter().map(|&a| f64::from(a) * f64::from(a)).sum();
        LEAST_TILT / (0.5 * (n as f64 * squares).sqrt())
    }

    /// θ with tilted mean `w`, but no less than [`least_tilt`](Self::least_tilt).
    fn tilt(&self, n: u64, w: u64) -> f64 {
        let (missing, n_real) = ((self.max(n) - w) as f64, n as f64);
        let weights = self.weights.iter().map(|&a| f64::from(a));
        let least = self.least_tilt(n);
        let mut theta = least;
        // n Σ a / (1 + e^{θa}) falls and is convex, so Newton's steps from the left never pass the solution.
        for _ in 0..60 {
            let (mut short, mut slope) = (0.0, 0.0);
            for a in weights.clone() {
                let one = 1.0 / (1.0 + (theta * a).exp());
                short += a * one;
                slope += a * a * one * (1.0 - one);
            }
            let step = (n_real * short - missing) / (n_real * slope);
            // The solution lies to the left of where the search begins.
            if theta == least && step <= 0.0 {
                break;
            }
            theta += step;
            if step.abs() <= 1e-9 * theta.abs() || !theta.is_finite() {
                break;
            }
        }
        // Any θ > 0 gives the same p; far from the saddle point more digits cancel.
        if theta.is_finite() { theta.max(least) } else { least }
    }
}

/// A lower bound of Σ_l sin²(a_l ω/2) in each of `cells` cells from ω = `start` on: the value f = (m − Σ cos(a_l ω))/2 in
/// the middle, less |f'| times half a cell, less `slack` for the curvature.
fn spread(weights: &[u32], start: f64, cell: f64, cells: usize, slack: f64) -> Vec<f64> {
    let mut sums = vec![[0.0; 2]; cells];
    for a in weights.iter().map(|&a| f64::from(a)) {
        // One rotation a step instead of a sine and a cosine.
        let (sin, cos) = (a * cell).sin_cos();
        let (mut y, mut x) = (a * (start + cell / 2.0)).sin_cos();
        for [cosines, slope] in &mut sums {
            *cosines += x;
            *slope += a * y;
            (x, y) = (x * cos - y * sin, x * sin + y * cos);
        }
    }
    // Rounding is below 1e-9.
    let bound = |[cosines, slope]: [f64; 2]| {
        (weights.len() as f64 - cosines) / 2.0 - (slope / 2.0).abs() * cell / 2.0 - slack - 1e-9
    };
    sums.into_iter().map(bound).collect()
}

/// ln cosh x, exact to rounding for small and for large x.
fn ln_cosh(x: f64) -> f64 {
    if x < 1.0 {
        let sinh = x.sinh();
        0.5 * (sinh * sinh).ln_1p()
    } else {
        x + (-2.0 * x).exp().ln_1p() - LN_2
    }
}

#[cfg(test)]
mod tests {
    use super::super::weighted_mean::weights;
    use super::*;

    #[derive(serde::Deserialize)]
    struct Fixture {
        weighted: Vec<(usize, u64, u64, f64)>,
        mean: Vec<(u64, u64, f64)>,
    }

    /// From tests/oracle/null_tails.py: exact integer counts, and 60-digit arithmetic.
    fn fixture() -> Fixture {
        serde_json::from_str(include_str!("../../../tests/fixtures/null_tails.json")).unwrap()
    }

    #[track_caller]
    fn assert_ln_close(found: f64, expected: f64, what: impl std::fmt::Debug) {
        // Absolute where p is near 1, relative to ln p in the tail: both are errors of ln p.
        let error = (found - expected).abs();
        assert!(error <= 1e-10 * expected.abs().max(0.1), "{what:?}: ln p {found}, expected {expected}");
    }

    #[test]
    fn binomial_tail_equals_reference() {
        for (coins, x, ln) in fixture().mean {
            assert_ln_close(binomial(coins, x), ln, (coins, x));
        }
    }

    #[test]
    fn binomial_tail_equals_statrs() {
        use statrs::distribution::{Binomial, DiscreteCDF};
        for coins in [1u64, 30, 900, 6_000] {
            let law = Binomial::new(0.5, coins).unwrap();
            for x in (1..=coins).step_by((coins as usize / 25).max(1)) {
                let expected = law.sf(x - 1);
                // Deep in the tail statrs' incomplete beta function loses digits, which is why we have our own.
                if expected > 1e-100 {
                    let found = binomial(coins, x).exp();
                    assert!(
                        (found / expected - 1.0).abs() < 1e-9,
                        "{coins} coins, {x}: {found} for {expected}"
                    );
                }
            }
        }
    }

    #[test]
    fn weighted_tail_equals_reference() {
        for (depth, n, w, ln) in fixture().weighted {
            assert_ln_close(Lattice::new(&weights(depth)).tail(n, w), ln, (depth, n, w));
        }
    }

    /// Equal weights make W binomial: two methods, one law, at every value.
    #[test]
    fn both_methods_agree_on_equal_weights() {
        for n in [1, 3, 50] {
            let null = Lattice::new(&[1; 30]);
            for x in 0..=30 * n {
                assert_ln_close(null.tail(n, x), binomial(30 * n, x), (n, x));
            }
        }
    }

    /// All values of W for a few tokens against a plain convolution.
    #[test]
    fn weighted_tail_equals_convolution_and_is_monotone() {
        for (depth, n) in [(1, 9), (2, 4), (3, 3), (4, 6), (10, 2), (28, 1), (30, 1)] {
            let a = weights(depth);
            let null = Lattice::new(&a);
            let mut mass = vec![0.0; null.max(n) as usize + 1];
            mass[0] = 1.0;
            for a in (0..n).flat_map(|_| a.iter().map(|&a| a as usize)) {
                for w in (0..mass.len()).rev() {
                    mass[w] = 0.5 * (mass[w] + if w >= a { mass[w - a] } else { 0.0 });
                }
            }
            let (mut tail, mut previous) = (0.0, f64::NEG_INFINITY);
            for w in (0..mass.len()).rev().step_by(1 + mass.len() / 200) {
                tail = mass[w..].iter().rev().sum::<f64>().max(tail);
                let ln = null.tail(n, w as u64);
                assert_ln_close(ln, tail.ln(), (depth, n, w));
                assert!(ln >= previous - 1e-10, "{depth} {n} {w}");
                previous = ln;
            }
        }
    }

    #[test]
    fn ends_of_the_range() {
        let null = Lattice::new(&weights(30));
        for n in [1, 100, 100_000] {
            assert_eq!(null.tail(n, 0), 0.0);
            assert_eq!(null.tail(n, null.max(n)), -(n as f64) * 30.0 * LN_2);
            assert_eq!(null.tail(n, null.max(n) + 1), f64::NEG_INFINITY);
            // One short of the top: still only the top itself reaches it.
            let error = null.tail(n, null.max(n) - 1) / null.tail(n, null.max(n)) - 1.0;
            assert!(error.abs() < 1e-6, "{n}: {error}");
        }
        assert_eq!(binomial(7, 8), f64::NEG_INFINITY);
        assert_eq!(binomial(0, 0), 0.0);
    }

    /// u = P(W > w) + U P(W = w) is uniform when W is drawn from random bits.
    #[test]
    fn randomised_p_is_uniform() {
        const CELLS: usize = 50;

        let mut state = 20_261_126_u64;
        let mut next = || crate::split_mix::next(&mut state);
        for (depth, n, texts) in [(30, 60, 2000), (5, 40, 100_000)] {
            let weights = weights(depth);
            let null = Lattice::new(&weights);
            let mut known = std::collections::HashMap::new();
            let mut weighted_tail = |w| *known.entry(w).or_insert_with(|| null.tail(n, w).exp());
            let mut histograms = [[0_usize; CELLS]; 2];
            for _ in 0..texts {
                let (mut w, mut x) = (0, 0);
                for _ in 0..n {
                    let g = next();
                    let ones = weights.iter().enumerate().filter(|(l, _)| g >> l & 1 == 1);
                    ones.for_each(|(_, &a)| (w, x) = (w + u64::from(a), x + 1));
                }
                let coins = n * depth as u64;
                let tails = [
                    (weighted_tail(w), weighted_tail(w + 1)),
                    (binomial(coins, x).exp(), binomial(coins, x + 1).exp()),
                ];
                for (histogram, (at_least, above)) in histograms.iter_mut().zip(tails) {
                    let share = (next() >> 11) as f64 / (1_u64 << 53) as f64;
                    let u = above + share * (at_least - above);
                    histogram[((u * CELLS as f64) as usize).min(CELLS - 1)] += 1;
                }
            }
            for histogram in histograms {
                let expected = f64::from(texts) / CELLS as f64;
                let chi2: f64 = histogram.iter().map(|&k| (k as f64 - expected).powi(2) / expected).sum();
                // The upper 1e-6 point of chi-square with 49 degrees of freedom.
                assert!(chi2 < 110.0, "depth {depth}, n {n}: chi-square {chi2}");
            }
        }
    }
}
