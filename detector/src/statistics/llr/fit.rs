//! Fits [`EntropyClasses`] to the g-bits of marked tokens by expectation and maximisation (Dempster, Laird, Rubin 1977).
//!
//! Given the classes' weights and ψ, a token belongs to class k with probability in proportion to
//! π_k Π_l (1 + s_l ψ_kl/2). Given those probabilities, π_k is their mean, and 1/2 + ψ_kl/4 is the share of ones at
//! layer l among class k's tokens. Each round raises the likelihood.
//!
//! The shares of a class are made to fall with l by pooling neighbours that do not: for shares, isotonic regression is
//! the constrained maximum. They must fall because a tournament's layer raises E Σ p², by the factor 1 + Var(g − G) of
//! each p². So ψ falls in any class of distributions. Shares are pulled to ψ = 1/2 with the weight of two tokens, which
//! matters only for tiny classes.

use super::classes::{ClassesError, EntropyClasses, MAX_CLASSES, MAX_DEPTH};
use crate::scheme::GBits;

/// Largest number of rounds.
const ROUNDS: usize = 400;

/// The fit stops once a round gains less than this, in nats a token.
const ENOUGH: f64 = 1e-7;

/// Weight of the prior in tokens.
const PRIOR: f64 = 2.0;

/// A text in four is held out when the number of classes is chosen.
const HELD_OUT: usize = 4;

/// Fits `classes` classes over the first `depth` layers (30 at most).
///
/// # Errors
/// Returns an error if `depth` is 0, or if `classes` is 0 or too large.
pub fn fit<'a, T>(tokens: T, depth: usize, classes: usize) -> Result<EntropyClasses, ClassesError>
where
    T: IntoIterator<Item = &'a GBits>,
    T::IntoIter: Clone,
{
    let tokens = tokens.into_iter();
    let depth = depth.min(MAX_DEPTH);
    if !(1..=MAX_CLASSES).contains(&classes) {
        return Err(ClassesError::Classes { weights: classes, rows: classes });
    }
    // From little to much entropy, which falls with the layers.
    let mut shares = vec![1.0 / classes as f64; classes];
    let mut psi: Vec<Vec<f64>> = (0..classes)
        .map(|k| {
            let start = (k as f64 + 0.5) / classes as f64;
            (0..depth).map(|l| start * (1.0 - l as f64 / (2 * depth) as f64)).collect()
        })
        .collect();
    let mut mixture = EntropyClasses::from_real(&shares, &psi)?;
    let mut previous = f64::NEG_INFINITY;
    for _ in 0..ROUNDS {
        let mut members = [0.0; MAX_CLASSES];
        let mut ones = vec![[0.0; MAX_CLASSES]; depth];
        let (mut count, mut gain) = (0_u64, 0.0);
        for &g in tokens.clone() {
            let mut joint = mixture.joint(g);
            let total: f64 = joint.iter().sum();
            count += 1;
            gain += total.ln();
            for x in &mut joint {
                *x /= total;
            }
            members.iter_mut().zip(&joint).for_each(|(sum, x)| *sum += x);
            for (l, ones) in ones.iter_mut().enumerate() {
                let bit = g.layer(l) as f64;
                ones.iter_mut().zip(&joint).for_each(|(sum, x)| *sum += bit * x);
            }
        }
        let gain = gain / count.max(1) as f64;
        if gain - previous < ENOUGH {
            break;
        }
        previous = gain;
        // A class whose share rounded to 0 is gone, so the mixture says how many there are.
        shares.truncate(mixture.count());
        psi.truncate(mixture.count());
        for (k, (share, row)) in shares.iter_mut().zip(&mut psi).enumerate() {
            *share = members[k] + 1e-9;
            for (psi, ones) in row.iter_mut().zip(&ones) {
                let mean = (ones[k] + 0.625 * PRIOR) / (members[k] + PRIOR);
                *psi = 4.0 * mean - 2.0;
            }
            make_falling(row);
        }
        mixture = EntropyClasses::from_real(&shares, &psi)?;
    }
    Ok(mixture)
}

/// Replaces `values` by the nearest falling sequence in least squares (pool adjacent violators; Ayer et al. 1955).
fn make_falling(values: &mut [f64]) {
    // (sum, length) of each run of equal values.
    let mut runs: Vec<(f64, usize)> = Vec::with_capacity(values.len());
    for &value in &*values {
        let mut run = (value, 1);
        while let Some(&(sum, length)) = runs.last()
            && sum / length as f64 <= run.0 / run.1 as f64
        {
            run = (run.0 + sum, run.1 + length);
            runs.pop();
        }
        runs.push(run);
    }
    let levels = runs.iter().flat_map(|&(sum, length)| std::iter::repeat_n(sum / length as f64, length));
    values.iter_mut().zip(levels).for_each(|(value, level)| *value = level);
}

/// Returns the mean of ln LR over tokens, in nats: how much evidence a token carries on average; 0 without tokens.
pub fn evidence<'a>(mixture: &EntropyClasses, tokens: impl IntoIterator<Item = &'a GBits>) -> f64 {
    let (count, sum) =
        tokens.into_iter().fold((0_u64, 0.0), |(n, sum), &g| (n + 1, sum + mixture.likelihood_ratio(g).ln()));
    sum / count.max(1) as f64
}

/// A fit and how its number of classes was chosen.
#[derive(Clone, Debug)]
pub struct Choice {
    /// Fitted on all texts.
    pub classes: EntropyClasses,
    /// For 1, 2, … classes, the evidence a token in nats on texts that were held out.
    pub held_out: Vec<f64>,
}

/// Chooses the number of classes, up to `most`, and fits that many to all texts. The chosen number does best on every
/// fourth text when fitted on the others. Another class must gain more than 1e-4 nats a token.
///
/// # Errors
/// Returns an error if `depth` is 0.
pub fn choose(texts: &[Vec<GBits>], depth: usize, most: usize) -> Result<Choice, ClassesError> {
    let pick = |held_out: bool| {
        texts
            .iter()
            .enumerate()
            .filter(move |(i, _)| (i % HELD_OUT == HELD_OUT - 1) == held_out)
            .flat_map(|(_, text)| text)
    };
    let mut held_out = Vec::new();
    let mut best = (1, f64::NEG_INFINITY);
    for classes in 1..=most.clamp(1, MAX_CLASSES) {
        let evidence = evidence(&fit(pick(false), depth, classes)?, pick(true));
        held_out.push(evidence);
        if evidence > best.1 + 1e-4 {
            best = (classes, evidence);
        }
    }
    Ok(Choice { classes: fit(texts.iter().flatten(), depth, best.0)?, held_out })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn falling_sequences() {
        for (given, expected) in [
            ([4.0, 3.0, 2.0, 1.0], [4.0, 3.0, 2.0, 1.0]),
            ([1.0, 2.0, 3.0, 4.0], [2.5; 4]),
            ([4.0, 1.0, 2.0, 0.0], [4.0, 1.5, 1.5, 0.0]),
        ] {
            let mut values = given;
            make_falling(&mut values);
            assert_eq!(values, expected);
        }
    }

    /// Two classes are recovered from bits drawn from them, and more do not help.
    #[test]
    fn recovers_what_made_the_bits() {
        let truth = EntropyClasses::from_real(
            &[0.7, 0.3],
            &[vec![0.05; 30], (0..30).map(|l| 0.95 - 0.02 * f64::from(l)).collect()],
        )
        .unwrap();
        let mut state = 7_u64;
        let mut uniform = || crate::split_mix::unit(&mut state);
        let texts: Vec<Vec<GBits>> = (0..80)
            .map(|_| {
                (0..200)
                    .map(|_| {
                        let row = &truth.psi()[usize::from(uniform() < 0.3)];
                        let one = |psi: u16| 0.5 + f64::from(psi) / 16384.0;
                        GBits((0..30).map(|l| u64::from(uniform() < one(row[l])) << l).sum())
                    })
                    .collect()
            })
            .collect();
        let held_out = choose(&texts, 30, 3).unwrap().held_out;
        assert!(held_out[1] - held_out[0] > 0.05 && (held_out[2] - held_out[1]).abs() < 1e-3, "{held_out:?}");
        let mixture = fit(texts.iter().flatten(), 30, 2).unwrap();
        assert!((f64::from(mixture.weights()[1]) / 65536.0 - 0.3).abs() < 0.02, "{:?}", mixture.weights());
        for (found, psi) in mixture.psi()[1].iter().zip(&truth.psi()[1]) {
            assert!(found.abs_diff(*psi) < 400, "{:?}", mixture.psi());
        }
        let all = || texts.iter().flatten();
        assert!((evidence(&mixture, all()) - evidence(&truth, all())).abs() < 5e-3);
    }

    #[test]
    fn no_token_is_no_panic() {
        assert_eq!(choose(&[], 30, 2).unwrap().classes.count(), 1);
        assert!(fit(&[], 0, 1).is_err() && fit(&[], 5, 0).is_err() && fit(&[], 5, 9).is_err());
    }
}
