//! Judges with random keys in place of the key: shows which p a model gets that has learned from nothing.

use rayon::iter::{IntoParallelIterator as _, ParallelIterator as _};
use wmdetect::calibration::random_key;
use wmdetect::scheme::{DistinctNgrams, Scheme};
use wmdetect::statistics::Statistic;

use super::judge;
use super::report::Control;

/// Judges pairs under `keys` random keys of a scheme, at least two, derived from `seed`. Compares their p-values with uniform
/// numbers. Returns `None` if there are no pairs.
pub fn control(
    scheme: &Scheme,
    statistic: &dyn Statistic,
    pairs: &DistinctNgrams<'_>,
    (keys, seed): (u64, u64),
    fpr: f64,
) -> Option<Control> {
    let p = |number: u64| {
        let key = random_key(scheme, seed, number).ok()?;
        Some(judge(&key, statistic, pairs).ok()?.p?.p())
    };
    let mut p_values: Vec<f64> = (0..keys).into_par_iter().map(p).collect::<Option<_>>()?;
    p_values.sort_by(f64::total_cmp);
    let (distance, ks_p) = uniformity(&p_values);
    let at_most = p_values.iter().filter(|p| **p <= fpr).count() as u64;
    Some(Control { keys, seed, distance, ks_p, at_most_fpr: at_most, p_values })
}

/// Returns the largest distance between the distribution of `sorted`, ascending numbers in [0, 1], and the uniform
/// distribution, and its p-value. The p-value is Kolmogorov's asymptotic series with the correction of Stephens (1970).
pub fn uniformity(sorted: &[f64]) -> (f64, f64) {
    let n = sorted.len() as f64;
    let gap = |(i, p): (usize, &f64)| (p - i as f64 / n).max((i + 1) as f64 / n - p);
    let distance = sorted.iter().enumerate().map(gap).fold(0.0, f64::max);
    let x = (n.sqrt() + 0.12 + 0.11 / n.sqrt()) * distance;
    let series: f64 =
        (1..100).map(|k| (-1_f64).powi(k + 1) * (-2.0 * (f64::from(k) * x).powi(2)).exp()).sum();
    (distance, (2.0 * series).clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Kolmogorov's distribution has its 95 % point at 1.3581 and its 50 % point at 0.8276.
    #[test]
    fn uniformity_is_kolmogorovs() {
        let n = 10_000;
        let shifted = |by: f64| -> Vec<f64> {
            (0..n)
                .map(|i| ((f64::from(i) + 0.5) / f64::from(n) + by / f64::from(n).sqrt()).min(1.0))
                .collect()
        };
        for (point, p) in [(1.3581, 0.05), (0.8276, 0.5)] {
            let (distance, found) = uniformity(&shifted(point));
            assert!(
                (distance - point / 100.0).abs() < 1e-4 && (found - p).abs() < 0.01,
                "{distance} {found}"
            );
        }
    }
}
