//! How often guesses have been right.

use super::lookup::LONGEST;

/// What a guess weighs against those after it.
const KEPT: f64 = 0.95;
/// Guesses that the first estimate stands for.
const SUPPOSED: f64 = 4.0;

/// How often the guesses for one response have been right, by the length of their match.
#[derive(Clone, Debug)]
pub(in crate::engine) struct Odds([Class; LONGEST]);

#[derive(Clone, Copy, Debug)]
struct Class {
    right: f64,
    made: f64,
}

impl Odds {
    /// What is supposed of a response that has no guesses yet: the longer the match, the likelier.
    pub(in crate::engine) fn new() -> Self {
        Self(std::array::from_fn(|i| {
            let share = (i as f64 + 1.0) / (i as f64 + 2.5);
            Class { right: share * SUPPOSED, made: SUPPOSED }
        }))
    }

    /// Returns the probability that a guess is right if those before it were, after a match of `matched` tokens.
    pub(in crate::engine) fn of(&self, matched: usize) -> f64 {
        let Class { right, made } = self.0[matched.clamp(1, LONGEST) - 1];
        // Never certain, so that a longer draft is always worth less a token.
        (right / made).clamp(0.02, 0.98)
    }

    /// Learns that of `made` guesses the first `right` were right.
    pub(in crate::engine) fn learn(&mut self, matched: usize, made: usize, right: usize) {
        let class = &mut self.0[matched.clamp(1, LONGEST) - 1];
        // Guesses after a wrong one were not tried.
        let tried = made.min(right + 1);
        for guess in 0..tried {
            class.right = class.right * KEPT + f64::from(guess < right);
            class.made = class.made * KEPT + 1.0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odds_follow_what_was_seen() {
        let mut odds = Odds::new();
        assert!(odds.of(1) < odds.of(3) && odds.of(3) < odds.of(8));
        let before = odds.of(5);
        for _ in 0..200 {
            odds.learn(2, 4, 4);
            odds.learn(3, 4, 0);
        }
        assert!(odds.of(2) > 0.95 && odds.of(3) < 0.05, "{odds:?}");
        assert_eq!(odds.of(5), before);
        // Half of those that are tried.
        for _ in 0..400 {
            odds.learn(4, 9, 1);
        }
        assert!((odds.of(4) - 0.5).abs() < 0.05, "{odds:?}");
    }
}
