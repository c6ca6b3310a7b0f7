//! The tail of a sum of weighted fair coins.

use statrs::distribution::{Continuous, ContinuousCDF, Normal};

/// Returns log₁₀ P(W ≥ w) for W = Σ a · B(n, ½) over the pairs (a, n) of `coins`, by the saddlepoint approximation of
/// Lugannani and Rice (1980).
pub fn log10_tail(coins: &[(f64, f64)], w: f64) -> f64 {
    let sum = |of: &dyn Fn(f64) -> f64| coins.iter().map(|&(a, n)| n * of(a)).sum::<f64>();
    let mean = sum(&|a| a / 2.0);
    if w <= mean {
        return 0.0;
    }
    if w >= 2.0 * mean - 1e-9 {
        return -coins.iter().map(|&(_, n)| n).sum::<f64>() * 2_f64.log10();
    }
    let slope = |theta: f64| sum(&|a| a / (1.0 + (-theta * a).exp()));
    let (mut low, mut high) = (0.0, 1.0);
    while slope(high) < w {
        high *= 2.0;
    }
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        if slope(middle) < w { low = middle } else { high = middle }
    }
    let theta = f64::midpoint(low, high);
    let cumulant = sum(&|a| f64::midpoint(1.0, (theta * a).exp()).ln());
    let variance = sum(&|a| {
        let q = 1.0 / (1.0 + (-theta * a).exp());
        a * a * q * (1.0 - q)
    });
    let r = (2.0 * (theta * w - cumulant)).max(1e-12).sqrt();
    let u = theta * variance.sqrt();
    let normal = Normal::standard();
    (normal.sf(r) + normal.pdf(r) * (1.0 / u - 1.0 / r)).clamp(1e-300, 1.0).log10()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_the_binomial() {
        // P(B(100, ½) ≥ 70) = 3.925e-5; half a unit less is the continuity correction.
        let log10_p = log10_tail(&[(1.0, 100.0)], 69.5);
        assert!((log10_p - 3.925e-5_f64.log10()).abs() < 0.02, "{log10_p}");
        assert_eq!(log10_tail(&[(2.0, 10.0)], 10.0), 0.0);
        assert!((log10_tail(&[(2.0, 10.0)], 20.0) + 10.0 * 2_f64.log10()).abs() < 1e-12);
    }
}
