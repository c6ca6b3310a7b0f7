//! The binomial law, of fair coins and of others.

use std::f64::consts::{LN_2, TAU};

/// Returns ln P(X ≥ x) for X ~ Binomial(coins, 1/2); −∞ for x > coins.
///
/// The first term P(X = x) comes from Loader's saddle-point form ("Fast and accurate computation of binomial
/// probabilities", 2000), which has no cancellation. The ratio of neighbouring terms, (coins − k)/(k + 1), falls, so a
/// geometric series bounds the rest.
pub(crate) fn binomial(coins: u64, x: u64) -> f64 {
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

/// Returns ln P(X ≥ x) for X ~ Binomial(n, rate) with a rate above 0 and below 1; −∞ for x > n. It is computed as in
/// [`binomial`], and 1e-11 is added so that rounding errors cannot understate it.
pub(crate) fn binomial_at(n: u64, rate: f64, x: u64) -> f64 {
    if x == 0 {
        return 0.0;
    }
    if x > n {
        return f64::NEG_INFINITY;
    }
    if x as f64 <= n as f64 * rate {
        return (-binomial_at(n, 1.0 - rate, n - x + 1).exp()).ln_1p();
    }
    let odds = rate / (1.0 - rate);
    let mut sum = 1.0;
    let mut term = 1.0;
    for k in x..n {
        let ratio = (n - k) as f64 / (k + 1) as f64 * odds;
        term *= ratio;
        sum += term;
        let rest = term * ratio / (1.0 - ratio);
        if rest < 1e-17 * sum {
            sum += rest;
            break;
        }
    }
    (ln_mass_at(n, rate, x) + sum.ln() + 1e-11).min(0.0)
}

/// Returns ln P(X = x) for 0 < x ≤ n.
fn ln_mass_at(n: u64, rate: f64, x: u64) -> f64 {
    if x == n {
        return n as f64 * rate.ln();
    }
    let (count, k, rest) = (n as f64, x as f64, (n - x) as f64);
    stirling_error(n) - stirling_error(x) - stirling_error(n - x) - deviance(k, count * rate)
        + 0.5 * (count / (TAU * k * rest)).ln()
        - deviance(rest, count * (1.0 - rate))
}

/// Returns ln P(X = x) for 0 < x ≤ coins.
fn ln_binomial_mass(coins: u64, x: u64) -> f64 {
    if x == coins {
        return -(coins as f64) * LN_2;
    }
    let (n, k, rest) = (coins as f64, x as f64, (coins - x) as f64);
    stirling_error(coins) - stirling_error(x) - stirling_error(coins - x) - deviance(k, n / 2.0)
        + 0.5 * (n / (TAU * k * rest)).ln()
        - deviance(rest, n / 2.0)
}

/// Returns ln n! − ((n + 1/2) ln n − n + ln √(2π)), n ≥ 1.
pub(super) fn stirling_error(n: u64) -> f64 {
    let x = n as f64;
    if n < 16 {
        let factorial: f64 = (1..=n).map(|i| i as f64).product();
        return factorial.ln() - (x + 0.5) * x.ln() + x - 0.5 * TAU.ln();
    }
    let y = 1.0 / (x * x);
    (1.0 / 12.0 - y * (1.0 / 360.0 - y * (1.0 / 1260.0 - y * (1.0 / 1680.0 - y / 1188.0)))) / x
}

/// Returns x ln(x/mean) + mean − x, by a series in (x − mean)/(x + mean) where the formula would cancel.
pub(super) fn deviance(x: f64, mean: f64) -> f64 {
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
