//! How many tokens of a text count, and how much.

use std::ops::AddAssign;

use crate::scheme::Share;

/// The number of tokens of each share.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Scored {
    /// Tokens that count wholly.
    pub full: u64,
    /// Tokens that count two thirds.
    pub two_thirds: u64,
    /// Tokens that count a third.
    pub third: u64,
}

impl Scored {
    /// Returns `tokens` that count wholly.
    pub fn full(tokens: u64) -> Self {
        Self { full: tokens, ..Self::default() }
    }

    /// Returns the tokens of these shares.
    pub fn of(shares: impl IntoIterator<Item = Share>) -> Self {
        let mut counts = [0; 4];
        shares.into_iter().for_each(|share| counts[usize::from(share.thirds())] += 1);
        let [_, third, two_thirds, full] = counts;
        Self { full, two_thirds, third }
    }

    /// Returns how many tokens count at all.
    pub fn tokens(self) -> u64 {
        self.full + self.two_thirds + self.third
    }

    /// Returns how many tokens that count wholly carry as much evidence: Σ share², rounded down. The evidence of a
    /// token of share s is expected to be s times a whole token's, and the variance of its part of the sum is s² times
    /// as large.
    pub fn whole(self) -> u64 {
        (9 * self.full + 4 * self.two_thirds + self.third) / 9
    }

    /// Returns 3 Σ share: the total of one unit a token, in thirds.
    pub fn thirds(self) -> u64 {
        3 * self.full + 2 * self.two_thirds + self.third
    }

    /// Returns each share's thirds and tokens, the largest share first.
    pub(super) fn parts(self) -> [(u64, u64); 3] {
        [(3, self.full), (2, self.two_thirds), (1, self.third)]
    }
}

impl AddAssign for Scored {
    fn add_assign(&mut self, other: Self) {
        self.full += other.full;
        self.two_thirds += other.two_thirds;
        self.third += other.third;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_counted() {
        use Share::{Full, Nothing, Third, TwoThirds};
        let scored = Scored::of([Full, Nothing, Third, Full, TwoThirds, Third, TwoThirds]);
        assert_eq!(scored, Scored { full: 2, two_thirds: 2, third: 2 });
        assert_eq!((scored.tokens(), scored.thirds(), scored.whole()), (6, 12, 3));
        assert_eq!(Scored::full(5).whole(), 5);
    }
}
