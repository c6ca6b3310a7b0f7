//! The last stage: draws one token from a distribution.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha12Rng;
use wmdetect::scheme::Distribution;
use wmdetect::split_mix;

/// Draws tokens from a seed. It uses ChaCha12, so that a seed gives the same text on every platform and with every release.
///
/// A draw is a race: each candidate t arrives at the time −ln u(t) / p(t), and the first to arrive is the token. The probability
/// that t is first is p(t), because the times are exponential with rates p(t). The uniform number u(t) depends on the seed, the
/// position and t, but not on the other candidates. So two models that draw at the same position from similar distributions usually
/// draw the same token, nearly as often as possible. They agree at least (1 − d) / (1 + d) of the time, where d is the distance of
/// the distributions in total variation. Source: Daliri, Musco and Suresh, "Coupling without communication and drafter-invariant
/// speculative decoding", 2024. Drafts rely on this.
#[derive(Clone, Debug)]
pub struct Draw(ChaCha12Rng);

impl Draw {
    /// Starts the draws of sequence number `sequence` under `seed`. Different sequences are independent.
    pub fn new(seed: u64, sequence: u64) -> Self {
        let mut rng = ChaCha12Rng::seed_from_u64(seed);
        rng.set_stream(sequence);
        Self(rng)
    }

    /// Draws the token of the next position.
    pub fn token(&mut self, distribution: &Distribution) -> u32 {
        let position = self.0.random::<u64>();
        let (mut winner, mut first) = (distribution.tokens()[0], f64::INFINITY);
        for (&token, &p) in distribution.tokens().iter().zip(distribution.probabilities()) {
            let u = uniform(position, token);
            // −ln u is at least 1 − u, which excludes most late arrivals without a logarithm.
            if p > 0.0 && 1.0 - u < first * p {
                let time = -u.ln() / p;
                if time < first {
                    (winner, first) = (token, time);
                }
            }
        }
        winner
    }
}

/// Returns a number above 0 and below 1: the number of the token's id in SplitMix64's sequence with seed `position`.
fn uniform(position: u64, token: u32) -> f64 {
    let bits = split_mix::nth(position, token.into()) >> 11;
    (bits as f64 + 0.5) / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pearson's χ² over 200,000 draws of 7 tokens, with 6 degrees of freedom: it is above 27.9 for only one seed in ten thousand.
    #[test]
    fn tokens_have_their_probabilities() {
        let p = [0.4, 0.3, 0.15, 0.1, 0.04, 0.0099, 0.0001];
        let candidates =
            Distribution::from_probabilities(vec![90, 7, 3, 250_000, 11, 12, 13], p.to_vec()).unwrap();
        let draws = 200_000;
        let mut draw = Draw::new(5, 0);
        let mut counts = [0.0; 7];
        for _ in 0..draws {
            let token = draw.token(&candidates);
            counts[candidates.tokens().iter().position(|other| *other == token).unwrap()] += 1.0;
        }
        let expected = p.map(|p| p * f64::from(draws));
        let squares: f64 = counts.iter().zip(expected).map(|(n, m)| (n - m) * (n - m) / m).sum();
        assert!(squares < 27.9, "{squares}: {counts:?}");
    }

    #[test]
    fn what_cannot_be_drawn_is_not_and_the_order_plays_no_part() {
        let mut draws = [Draw::new(5, 3), Draw::new(5, 3)];
        let one = Distribution::from_probabilities(vec![1, 2, 3], vec![0.0, 0.5, 0.5]).unwrap();
        let other = Distribution::from_probabilities(vec![3, 2, 1], vec![0.5, 0.5, 0.0]).unwrap();
        for _ in 0..1000 {
            let token = draws[0].token(&one);
            assert!(token != 1);
            assert_eq!(token, draws[1].token(&other));
        }
    }

    /// Two distributions at distance 0.2 agree in at least 0.8 / 1.2 of the draws, and in at most 0.8. By the formula of the race,
    /// these agree in Σ 1 / Σ max(p(s) / p(t), q(s) / q(t)).
    #[test]
    fn similar_distributions_draw_the_same_token() {
        let (p, q) = ([0.5, 0.3, 0.2], [0.3, 0.3, 0.4]);
        let agreement: f64 = (0..3)
            .map(|t| 1.0 / (0..3).map(|s: usize| f64::max(p[s] / p[t], q[s] / q[t])).sum::<f64>())
            .sum();
        assert!((0.8 / 1.2..0.8).contains(&agreement));
        let [one, other] =
            [p, q].map(|p| Distribution::from_probabilities(vec![0, 1, 2], p.to_vec()).unwrap());
        let mut draws = [Draw::new(6, 0), Draw::new(6, 0)];
        let same = (0..100_000).filter(|_| draws[0].token(&one) == draws[1].token(&other)).count();
        // Five standard errors.
        let error = 5.0 * (agreement * (1.0 - agreement) / 1e5).sqrt();
        assert!((same as f64 / 1e5 - agreement).abs() < error, "{same} {agreement}");
    }
}
