use super::super::scored::Scored;
use super::super::weighted_mean::weights;
use std::f64::consts::LN_2;

use super::*;

#[derive(serde::Deserialize)]
struct Fixture {
    weighted: Vec<(usize, u64, u64, f64)>,
    mean: Vec<(u64, u64, f64)>,
}

/// Returns the results of tests/oracle/null_tails.py: exact integer counts, and 60-digit arithmetic.
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
                assert!((found / expected - 1.0).abs() < 1e-9, "{coins} coins, {x}: {found} for {expected}");
            }
        }
    }
}

#[test]
fn weighted_tail_equals_reference() {
    for (depth, n, w, ln) in fixture().weighted {
        assert_ln_close(WeightedNull::new(&weights(depth)).tail(n, w), ln, (depth, n, w));
    }
}

/// Equal weights make W binomial: two methods, one law, at every value.
#[test]
fn both_methods_agree_on_equal_weights() {
    for n in [1, 3, 50] {
        let null = WeightedNull::new(&[1; 30]);
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
        let null = WeightedNull::new(&a);
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
    let null = WeightedNull::new(&weights(30));
    for n in [1, 100, 100_000] {
        assert_eq!(null.tail(n, 0), 0.0);
        assert_eq!(null.tail(n, null.max(n)), -(n as f64) * 30.0 * LN_2);
        assert_eq!(null.tail(n, null.max(n) + 1), f64::NEG_INFINITY);
        // One below the top: still only the top itself reaches it.
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
        let null = WeightedNull::new(&weights);
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

/// Compares the law of tokens that count by shares with the sums of all bits, counted one by one. All terms are
/// positive, so nothing cancels.
#[test]
fn shares_have_the_law_of_their_bits() {
    for (depth, scored) in [
        (1, [4, 3, 2]),
        (2, [1, 1, 0]),
        (2, [3, 2, 4]),
        (5, [0, 7, 1]),
        (30, [1, 0, 1]),
        (30, [3, 2, 2]),
        (30, [0, 1, 9]),
        (30, [20, 1, 1]),
    ] {
        let weights = weights(depth);
        let null = WeightedNull::new(&weights);
        let scored = Scored { full: scored[0], two_thirds: scored[1], third: scored[2] };
        let top = null.max(scored.thirds()) as usize;
        let mut law = vec![0.0; top + 1];
        law[0] = 1.0;
        let mut reach = 0;
        for (thirds, tokens) in scored.parts() {
            for _ in 0..tokens {
                for &weight in &weights {
                    let step = thirds as usize * weight as usize;
                    reach += step;
                    for w in (0..=reach).rev() {
                        let moved = if w >= step { law[w - step] } else { 0.0 };
                        law[w] = 0.5 * (law[w] + moved);
                    }
                }
            }
        }
        // tails[i] = P(W ≥ top − i).
        let tails: Vec<f64> = law
            .iter()
            .rev()
            .scan(0.0, |tail, p| {
                *tail += p;
                Some(*tail)
            })
            .collect();
        let every = (top / 400).max(1);
        for w in (0..=top).filter(|w| w % every == 0 || *w + 3 > top) {
            let (found, expected) = (null.tail_of_shares(scored, w as u64), tails[top - w].ln());
            assert!((found - expected).abs() < 2e-11, "{depth} {scored:?} {w}: {found} and {expected}");
        }
        assert_eq!(null.tail_of_shares(scored, top as u64 + 1), f64::NEG_INFINITY);
    }
}

/// Whole tokens alone have the law that they have without shares, and so do tokens of one other share.
#[test]
fn one_share_has_the_law_of_whole_tokens() {
    let null = WeightedNull::new(&weights(30));
    for w in [1, 40_000, 50_001, 60_000, 95_700] {
        let of = |scored, w| null.tail_of_shares(scored, w).to_bits();
        let expected = null.tail(20, w).to_bits();
        assert_eq!(of(Scored::full(20), 3 * w), expected);
        assert_eq!(of(Scored::full(20), 3 * w - 2), expected);
        assert_eq!(of(Scored { two_thirds: 20, ..Scored::default() }, 2 * w - 1), expected);
        assert_eq!(of(Scored { third: 20, ..Scored::default() }, w), expected);
    }
}

/// SciPy 1.17: `binom.logsf(x − 1, n, rate)`; and fair coins as their own function has them.
#[test]
fn binomial_tails_at_any_rate() {
    let close = |found: f64, expected: f64| {
        assert!((found - expected).abs() < 1e-9 * expected.abs().max(1.0), "{found} {expected}");
    };
    close(super::binomial_at(200, 0.25, 50), -0.640_320_112_576_258_3);
    close(super::binomial_at(200, 0.25, 90), -21.147_755_303_428_745);
    close(super::binomial_at(200, 0.25, 200), -277.258_872_223_978_13);
    close(super::binomial_at(200, 0.25, 10), -7.105_427_357_601_027e-15);
    close(super::binomial_at(5000, 0.25, 1700), -104.266_862_404_655_63);
    close(super::binomial_at(30, 0.5, 29), -17.360_428_212_313_213);
    for x in 0..=40 {
        let (found, expected) = (super::binomial_at(40, 0.5, x), super::binomial(40, x));
        assert!((found - expected).abs() < 1e-10, "{x}: {found} {expected}");
    }
}
