//! Candidates of a draw and their probabilities.

use super::exponential::exponentials;

/// Candidate tokens and their probabilities, which sum to 1. Logits have another constructor.
#[derive(Clone, Debug, PartialEq)]
pub struct Distribution {
    tokens: Vec<u32>,
    probabilities: Vec<f64>,
}

/// Why numbers are not a distribution.
#[derive(Clone, Copy, PartialEq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DistributionError {
    /// Nothing to draw from.
    #[error("a distribution needs at least one candidate, found none")]
    Empty,
    /// Lists of different lengths.
    #[error(
        "a distribution needs as many probabilities as tokens, found {probabilities} for {tokens} tokens"
    )]
    Length {
        /// Number of tokens.
        tokens: usize,
        /// Number of probabilities.
        probabilities: usize,
    },
    /// NaN, infinite or negative.
    #[error(
        "candidate {token} has the weight {found}; expected finite numbers (and no negative probability)"
    )]
    Value {
        /// The candidate.
        token: u32,
        /// Its weight.
        found: f64,
    },
    /// All probabilities are 0.
    #[error("all candidates have probability 0; expected a positive sum")]
    NoMass,
}

impl Distribution {
    /// Makes a distribution from probabilities, which need not sum to 1.
    ///
    /// # Errors
    /// Returns an error if the lists differ in length or are empty, if a number is negative or not finite, or if all are 0.
    pub fn from_probabilities(tokens: Vec<u32>, probabilities: Vec<f64>) -> Result<Self, DistributionError> {
        check_lengths(&tokens, probabilities.len())?;
        for (&token, &p) in tokens.iter().zip(&probabilities) {
            if !p.is_finite() || p < 0.0 {
                return Err(DistributionError::Value { token, found: p });
            }
        }
        let mut distribution = Self { tokens, probabilities };
        if distribution.probabilities.iter().sum::<f64>() <= 0.0 {
            return Err(DistributionError::NoMass);
        }
        distribution.normalise();
        Ok(distribution)
    }

    /// Makes a distribution from logits by softmax, in f64. A logit of −∞ excludes its token.
    ///
    /// # Errors
    /// Returns an error if the lists differ in length or are empty, or if a logit is NaN or +∞, or all are −∞.
    pub fn from_logits(tokens: Vec<u32>, logits: &[f32]) -> Result<Self, DistributionError> {
        check_lengths(&tokens, logits.len())?;
        check_logits(tokens.iter().copied().zip(logits.iter().copied()))?;
        let mut distribution = Self { tokens, probabilities: Vec::new() };
        distribution.softmax(logits.iter().copied());
        Ok(distribution)
    }

    /// Becomes what [`from_logits`](Self::from_logits) makes of these tokens and logits, without new memory. It is
    /// unchanged after an error.
    ///
    /// # Errors
    /// Returns an error if there are no entries, if a logit is NaN or +∞, or if all are −∞.
    pub fn set_logits(&mut self, entries: &[(u32, f32)]) -> Result<(), DistributionError> {
        if entries.is_empty() {
            return Err(DistributionError::Empty);
        }
        check_logits(entries.iter().copied())?;
        self.tokens.clear();
        self.tokens.extend(entries.iter().map(|entry| entry.0));
        self.softmax(entries.iter().map(|entry| entry.1));
        Ok(())
    }

    fn softmax(&mut self, logits: impl Iterator<Item = f32>) {
        self.probabilities.clear();
        self.probabilities.extend(logits.map(f64::from));
        let max = largest(&self.probabilities);
        exponentials(&mut self.probabilities, max);
        self.normalise();
    }

    /// Returns the candidates.
    pub fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// Returns their probabilities, in the same order. They sum to 1.
    pub fn probabilities(&self) -> &[f64] {
        &self.probabilities
    }

    /// Draws one token by `u` in [0, 1): the inverse of the cumulative distribution in candidate order.
    pub fn draw(&self, u: f64) -> u32 {
        let mut rest = u;
        let mut last = self.tokens[0];
        for (&token, &p) in self.tokens.iter().zip(&self.probabilities) {
            if p > 0.0 {
                if rest < p {
                    return token;
                }
                rest -= p;
                last = token;
            }
        }
        last // u so close to 1 that rounding used up all mass
    }

    /// Lets `change` give the candidates other weights, and makes these sum to 1 again.
    pub(crate) fn reweigh(&mut self, change: impl FnOnce(&[u32], &mut [f64])) {
        change(&self.tokens, &mut self.probabilities);
        self.normalise();
    }

    fn normalise(&mut self) {
        let total = sum(&self.probabilities);
        for p in &mut self.probabilities {
            *p /= total;
        }
    }
}

/// How many numbers are added or compared side by side. One after the other, each would wait for the one before.
pub(super) const SIDE_BY_SIDE: usize = 8;

/// Returns the sum, added as [`SIDE_BY_SIDE`] partial sums.
fn sum(xs: &[f64]) -> f64 {
    let mut sums = [0.0; SIDE_BY_SIDE];
    let (chunks, rest) = xs.as_chunks::<SIDE_BY_SIDE>();
    for chunk in chunks {
        for (sum, x) in sums.iter_mut().zip(chunk) {
            *sum += x;
        }
    }
    sums.iter().chain(rest).sum()
}

/// Returns the largest of numbers without NaN; −∞ of none.
fn largest(xs: &[f64]) -> f64 {
    let greater = |a: f64, b: f64| if b > a { b } else { a };
    let mut largest = [f64::NEG_INFINITY; SIDE_BY_SIDE];
    let (chunks, rest) = xs.as_chunks::<SIDE_BY_SIDE>();
    for chunk in chunks {
        for (largest, x) in largest.iter_mut().zip(chunk) {
            *largest = greater(*largest, *x);
        }
    }
    largest.iter().chain(rest).copied().fold(f64::NEG_INFINITY, greater)
}

fn check_logits(mut entries: impl Iterator<Item = (u32, f32)> + Clone) -> Result<(), DistributionError> {
    let (mut bad, mut positive) = (false, false);
    for (_, logit) in entries.clone() {
        bad |= logit.is_nan() || logit == f32::INFINITY;
        positive |= logit > f32::NEG_INFINITY;
    }
    if bad && let Some((token, logit)) = entries.find(|(_, logit)| logit.is_nan() || *logit == f32::INFINITY)
    {
        return Err(DistributionError::Value { token, found: logit.into() });
    }
    if positive { Ok(()) } else { Err(DistributionError::NoMass) }
}

fn check_lengths(tokens: &[u32], probabilities: usize) -> Result<(), DistributionError> {
    if tokens.len() != probabilities {
        return Err(DistributionError::Length { tokens: tokens.len(), probabilities });
    }
    if tokens.is_empty() { Err(DistributionError::Empty) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draw_inverts_the_cumulative_distribution() {
        let p = Distribution::from_probabilities(vec![7, 8, 9], vec![0.25, 0.0, 0.75]).unwrap();
        assert_eq!([0.0, 0.2499, 0.25, 0.9999, 1.0 - f64::EPSILON / 2.0].map(|u| p.draw(u)), [7, 7, 9, 9, 9]);
    }

    #[test]
    fn bad_numbers_are_errors() {
        let from_logits =
            |logits: &[f32]| Distribution::from_logits((0..logits.len() as u32).collect(), logits);
        assert!(matches!(from_logits(&[1.0, f32::NAN]), Err(DistributionError::Value { token: 1, .. })));
        assert_eq!(from_logits(&[]), Err(DistributionError::Empty));
        assert_eq!(from_logits(&[f32::NEG_INFINITY; 2]), Err(DistributionError::NoMass));
        let p = from_logits(&[0.0, f32::NEG_INFINITY]).unwrap();
        assert_eq!(p.probabilities(), [1.0, 0.0]);
        assert!(Distribution::from_probabilities(vec![1], vec![-1.0]).is_err());
    }

    #[test]
    fn kept_memory_gives_the_same_numbers() {
        let logits = [1.5f32, -2.0, f32::NEG_INFINITY, 4.0];
        let fresh = Distribution::from_logits(vec![4, 3, 2, 1], &logits).unwrap();
        let mut kept = Distribution::from_probabilities(vec![9; 7], vec![1.0; 7]).unwrap();
        let entries = [(4, 1.5f32), (3, -2.0), (2, f32::NEG_INFINITY), (1, 4.0)];
        kept.set_logits(&entries).unwrap();
        assert_eq!(kept, fresh);
        assert_eq!(kept.set_logits(&[]), Err(DistributionError::Empty));
        assert_eq!(kept.set_logits(&[(0, f32::NEG_INFINITY)]), Err(DistributionError::NoMass));
        assert!(kept.set_logits(&[(0, f32::NAN)]).is_err());
        assert_eq!(kept, fresh);
    }
}
