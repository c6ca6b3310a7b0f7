//! Estimates how often guesses are right.

use super::Guess;

/// Number of classes of guesses. The class is the length of a match, or how sure the draft model was.
pub(in crate::engine) const CLASSES: usize = 8;
/// Weight that earlier guesses keep with each further guess.
const KEPT: f64 = 0.95;
/// Number of guesses that the first estimate counts as.
const SUPPOSED: f64 = 4.0;
/// Assumed share of right guesses by the length of a match, from 1 token. They lie between those of texts that copy their prompts and those
/// of other texts: `research/scripts/match_odds.py`, and "Drafts" in `docs/reference/performance.md`.
const OF_MATCHES: [f64; CLASSES] = [0.1, 0.3, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85];

/// How often the guesses for one response were right, by class.
#[derive(Clone, Debug)]
pub(in crate::engine) struct Odds {
    classes: [Class; CLASSES],
    all: Class,
}

#[derive(Clone, Copy, Debug)]
struct Class {
    right: f64,
    made: f64,
}

impl Class {
    fn supposed(share: f64) -> Self {
        Self { right: share * SUPPOSED, made: SUPPOSED }
    }

    /// Returns the share of right guesses. It is never 0 or 1, so that in a longer draft each further guess
    /// is worth less.
    fn share(self) -> f64 {
        (self.right / self.made).clamp(0.02, 0.98)
    }

    fn learn(&mut self, is_right: bool) {
        self.right = self.right * KEPT + f64::from(is_right);
        self.made = self.made * KEPT + 1.0;
    }
}

impl Odds {
    /// Returns the odds assumed for a draft model that has not guessed yet: the surer it is, the likelier.
    pub(in crate::engine) fn of_model() -> Self {
        Self::supposed(std::array::from_fn(|class| (class as f64 + 1.0) / (class as f64 + 2.5)))
    }

    /// Returns the odds assumed for guesses from the prompt and the text: the longer the match, the likelier.
    pub(in crate::engine) fn of_matches() -> Self {
        Self::supposed(OF_MATCHES)
    }

    fn supposed(shares: [f64; CLASSES]) -> Self {
        Self { classes: shares.map(Class::supposed), all: Class::supposed(shares[CLASSES / 2]) }
    }

    /// Returns these odds as a first estimate, which gives way to observations.
    pub(in crate::engine) fn as_estimate(&self) -> Self {
        let estimate = |class: Class| Class::supposed(class.right / class.made);
        Self { classes: self.classes.map(estimate), all: estimate(self.all) }
    }

    /// Returns the probability that a guess of `class` is right if those before it were.
    pub(in crate::engine) fn of(&self, class: usize) -> f64 {
        self.classes[class - 1].share()
    }

    /// Returns the probability that a guess of unknown class is right if those before it were.
    pub(in crate::engine) fn of_any(&self) -> f64 {
        self.all.share()
    }

    /// Returns for each guess the probability that it and all guesses before it are right.
    pub(in crate::engine) fn chances<'a>(&'a self, guess: &'a Guess) -> impl Iterator<Item = f64> + 'a {
        guess.classes.iter().scan(1.0, |chance, class| {
            *chance *= self.of(*class);
            Some(*chance)
        })
    }

    /// Learns from the tokens that were drawn where these guesses are: as many as agree, and the first that does not. The token
    /// after the guesses that were tried is known, too, so guesses are judged even while none is tried.
    pub(in crate::engine) fn learn(&mut self, guess: &Guess, drawn: &[u32]) {
        for ((class, token), drawn) in guess.classes.iter().zip(&guess.tokens).zip(drawn) {
            let is_right = token == drawn;
            self.classes[*class - 1].learn(is_right);
            self.all.learn(is_right);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odds_follow_what_was_seen() {
        // All guesses are token 0, and none is tried.
        let of_class = |class, len| Guess { tokens: vec![0; len], tried: 0, classes: vec![class; len] };
        let mut odds = Odds::of_model();
        assert!(odds.of(1) < odds.of(3) && odds.of(3) < odds.of(8));
        let before = odds.of(5);
        for _ in 0..200 {
            odds.learn(&of_class(2, 4), &[0; 4]);
            odds.learn(&of_class(3, 4), &[1]);
        }
        assert!(odds.of(2) > 0.95 && odds.of(3) < 0.05, "{odds:?}");
        // Four right guesses to each wrong one.
        assert!((0.7..0.9).contains(&odds.of_any()), "{odds:?}");
        assert_eq!(odds.of(5), before);
        // Half of the guesses that were tried are right.
        for _ in 0..400 {
            odds.learn(&of_class(4, 9), &[0, 1]);
        }
        assert!((odds.of(4) - 0.5).abs() < 0.05, "{odds:?}");
        let mut estimate = odds.as_estimate();
        assert_eq!(estimate.of(3), odds.of(3));
        for _ in 0..20 {
            estimate.learn(&of_class(3, 1), &[0]);
        }
        assert!(estimate.of(3) > 0.7, "{estimate:?}");
        let guess = Guess { tokens: vec![0; 2], tried: 2, classes: vec![4, 2] };
        let chances: Vec<f64> = odds.chances(&guess).collect();
        assert_eq!(chances, [odds.of(4), odds.of(4) * odds.of(2)]);
    }
}
