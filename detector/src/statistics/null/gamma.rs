//! The law of a sum of exponentials, and of a sum of exponentials of two scales.

use std::f64::consts::TAU;

use super::binomial::{deviance, stirling_error};

/// Margin that is added to ln p, so that rounding errors cannot understate it.
const MARGIN: f64 = 1e-11;

/// Size at which the terms of a sum are scaled down.
const LARGE: f64 = 1e140;

/// Returns ln P(X ≥ x) for the sum X of `n` independent exponentials of mean 1: ln Σ_{k<n} e^−x x^k / k!.
///
/// The sum begins with its largest term, which comes from Loader's saddle-point form ("Fast and accurate computation of
/// binomial probabilities", 2000). The ratios of neighbours fall on either side, so geometric series bound the omitted
/// terms, and the bounds are added.
pub(crate) fn gamma(n: u64, x: f64) -> f64 {
    if x <= 0.0 || n == 0 {
        return if x <= 0.0 { 0.0 } else { f64::NEG_INFINITY };
    }
    let largest = (n - 1).min(x as u64);
    let mut sum = 1.0;
    let mut term = 1.0;
    for k in (1..=largest).rev() {
        let ratio = k as f64 / x;
        term *= ratio;
        sum += term;
        // The ratio after this one is smaller.
        if term < 1e-18 * sum {
            sum += term * ratio / (1.0 - ratio);
            break;
        }
    }
    term = 1.0;
    for k in largest + 1..n {
        let ratio = x / k as f64;
        term *= ratio;
        sum += term;
        if term < 1e-18 * sum {
            sum += term * ratio / (1.0 - ratio);
            break;
        }
    }
    (ln_poisson(largest, x) + sum.ln() + MARGIN).min(0.0)
}

/// Returns ln P(a X + b Y ≥ x) for sums X and Y of `n` independent exponentials of mean 1 each. Here a = 1 − `share`
/// and b = `share`; each is 0 or at least 0.001.
///
/// With a > b, a sum of n exponentials of mean a is a sum of n + J exponentials of mean b. J has the negative binomial
/// law of n and r = b / a. So P = Σ_j C(n + j − 1, j) r^n (1 − r)^j Q(2 n + j, x / b), and all terms are above
/// 0.
pub(crate) fn two_gammas(n: u64, share: f64, x: f64) -> f64 {
    let (a, b) = (share.max(1.0 - share), share.min(1.0 - share));
    if b <= 0.0 {
        return gamma(n, x);
    }
    if a - b < 1e-12 {
        return gamma(2 * n, x / b);
    }
    if x <= 0.0 || n == 0 {
        return gamma(n, x);
    }
    let (r, y) = (b / a, x / b);
    let first = 2 * n;
    // Weight and tail are in units of e^ln_weight and e^ln_tail, their products in units of both.
    let (mut ln_weight, mut ln_tail) = (n as f64 * r.ln(), gamma(first, y));
    let (mut weight, mut tail) = (1.0_f64, 1.0_f64);
    let mut mass = (ln_poisson(first, y) - ln_tail).exp();
    let mut sum = 0.0;
    let mut j = 0_u64;
    loop {
        sum += weight * tail;
        let step = (n + j) as f64 / (j + 1) as f64 * (1.0 - r);
        let growth = 1.0 + mass / tail;
        weight *= step;
        tail += mass;
        mass *= y / (first + j + 1) as f64;
        j += 1;
        if tail > LARGE {
            (tail, mass, sum) = (tail / LARGE, mass / LARGE, sum / LARGE);
            ln_tail += LARGE.ln();
        }
        if weight > LARGE {
            (weight, sum) = (weight / LARGE, sum / LARGE);
            ln_weight += LARGE.ln();
        }
        // The weight may fall for long while the tail rises.
        if weight < 1.0 / LARGE {
            (weight, sum) = (weight * LARGE, sum * LARGE);
            ln_weight -= LARGE.ln();
        }
        // The ratios of the weights fall, and so do those of the tails.
        let ratio = step * growth;
        if ratio < 1.0 {
            let rest = weight * tail / (1.0 - ratio);
            if rest < 1e-16 * sum {
                sum += rest;
                break;
            }
        }
    }
    (ln_weight + ln_tail + sum.ln() + MARGIN).min(0.0)
}

/// Returns ln (e^−x x^k / k!).
fn ln_poisson(k: u64, x: f64) -> f64 {
    if k == 0 {
        return -x;
    }
    -stirling_error(k) - deviance(k as f64, x) - 0.5 * (TAU * k as f64).ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-9 * (1.0 + expected.abs() * 1e-3), "{found} {expected}");
    }

    /// By hand, and ln Q(n, x) of mpmath 1.3 with 50 digits.
    #[test]
    fn tails_of_one_scale() {
        assert_eq!(gamma(3, 0.0), 0.0);
        close(gamma(1, 700.0), -700.0);
        close(gamma(2, 3.0), (4.0 * (-3.0_f64).exp()).ln());
        close(gamma(30, 60.5), -12.153_695_092_676_2);
        close(gamma(1000, 1500.0), -98.220_568_183_364_6);
        close(gamma(1000, 900.0), -0.000_550_053_517_414_345);
        close(gamma(5, 900.0), -875.964_025_398_017);
        close(gamma(100_000, 120_000.0), -1_772.910_584_581_42);
    }

    #[test]
    fn tails_of_two_scales() {
        // Two exponentials of means a and b: (a e^(−x/a) − b e^(−x/b)) / (a − b).
        for share in [0.001_f64, 0.1, 0.3, 0.75, 0.999] {
            let (a, b) = (1.0 - share, share);
            for x in [0.01_f64, 0.5, 2.0, 20.0] {
                let expected = ((a * (-x / a).exp() - b * (-x / b).exp()) / (a - b)).ln();
                close(two_gammas(1, share, x), expected);
            }
        }
        close(two_gammas(40, 0.0, 60.0), gamma(40, 60.0));
        close(two_gammas(40, 1.0, 60.0), gamma(40, 60.0));
        close(two_gammas(40, 0.5, 60.0), gamma(80, 120.0));
        // Shares near these give nearly the same.
        assert!((two_gammas(40, 0.499_999, 60.0) - gamma(80, 120.0)).abs() < 1e-3);
        // mpmath 1.3 with 60 digits, summed far beyond the largest term.
        close(two_gammas(30, 0.1, 60.0), -13.638_528_528_106_5);
        close(two_gammas(300, 0.1, 400.0), -19.253_109_918_854_9);
        close(two_gammas(30, 0.2, 90.0), -40.415_381_732_772_5);
        close(two_gammas(300, 0.9, 900.0), -319.286_316_034_578);
        close(two_gammas(2, 0.01, 40.0), -36.660_850_214_958_1);
    }

    #[test]
    fn tails_fall_as_the_sum_rises() {
        for n in [1, 2, 30, 5000] {
            for share in [0.0, 0.1, 0.5] {
                let mut last = 0.0;
                for i in 1..60 {
                    let x = n as f64 * f64::from(i) * 0.15;
                    let tail = two_gammas(n, share, x);
                    assert!(tail <= last && tail.is_finite(), "{n} {share} {x}: {last} {tail}");
                    last = tail;
                }
            }
        }
    }
}
