//! How long a text must be for its silence to mean something.
//!
//! n*(a) is the least number of effective tokens from which on a marked text is found at level a with probability 0.9.
//! The statistic says what "a marked text" is. The two means take the law of the built-in profile
//! [`REFERENCE`](super::llr::REFERENCE) with independent tokens. The others take the law of their own profile or
//! weights. Null law and marked law are both exact, so n* is exact for that model of a marked text.

pub(super) mod table;

use super::null::TableNull;

/// The probability with which a marked text of n* tokens is found.
pub const POWER: f64 = 0.9;

/// The longest text that is tried. A statistic that does not find the mark in it does not find the mark at all.
const LONGEST: u64 = 1 << 20;

/// A statistic that sums one integer a token, under both hypotheses.
pub(crate) struct Test<'a> {
    /// ln P(sum of n tokens ≥ s | null).
    pub null: &'a dyn Fn(u64, i64) -> f64,
    /// Law of one token's integer in marked text, on the same range as the null law.
    pub marked: &'a TableNull,
}

impl Test<'_> {
    /// Returns n* at level `alpha`; `u64::MAX` if no length is enough.
    pub(crate) fn required_tokens(&self, alpha: f64) -> u64 {
        self.required_tokens_near(alpha, 1)
    }

    /// Returns what [`required_tokens`](Self::required_tokens) returns, but tries `guess` tokens first. A guess of
    /// `u64::MAX` says that no length is enough.
    pub(crate) fn required_tokens_near(&self, alpha: f64, guess: u64) -> u64 {
        // The exact tails of the longest texts would take minutes.
        if alpha <= 0.0 || guess == u64::MAX {
            return u64::MAX;
        }
        let ln_alpha = alpha.ln();
        let (mut short, mut enough) = (0, guess.clamp(1, LONGEST));
        while !self.found(enough, ln_alpha) {
            (short, enough) = (enough, 2 * enough);
            if enough > LONGEST {
                return u64::MAX;
            }
        }
        if short == 0 {
            short = enough / 2;
            while short > 0 && self.found(short, ln_alpha) {
                (short, enough) = (short / 2, short);
            }
        }
        while enough - short > 1 {
            let middle = short + (enough - short) / 2;
            if self.found(middle, ln_alpha) {
                enough = middle;
            } else {
                short = middle;
            }
        }
        // The power is not quite monotone, since the level that a lattice can reach jumps with n.
        let mut good = 0;
        let mut n = enough;
        while good < 3 {
            n += 1;
            if self.found(n, ln_alpha) {
                good += 1;
            } else {
                (enough, good) = (n + 1, 0);
            }
        }
        enough
    }

    /// Returns whether a marked text of `n` tokens is found with probability [`POWER`] or more.
    fn found(&self, n: u64, ln_alpha: f64) -> bool {
        let count = n as i64;
        // The least sum that reaches the level; one above the top if none does.
        let (mut low, mut high) = (count * self.marked.first() - 1, count * self.marked.last() + 1);
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            if (self.null)(n, middle) <= ln_alpha {
                high = middle;
            } else {
                low = middle;
            }
        }
        self.marked.tail(n, high) >= POWER.ln()
    }
}

#[cfg(test)]
mod tests {
    use super::super::null;
    use super::*;

    /// One fair coin against one that always shows 1: n* = ⌈log₂ 1/a⌉.
    #[test]
    fn a_coin_that_always_falls_on_one_side() {
        let marked = TableNull::new(0, &[1e-30, 1.0]).unwrap();
        let test = Test { null: &|n, x| null::binomial(n, x.max(0) as u64), marked: &marked };
        assert_eq!(test.required_tokens(1e-3), 10);
        assert_eq!(test.required_tokens_near(1e-3, 500), 10);
        assert_eq!([test.required_tokens(0.0), test.required_tokens_near(1e-3, u64::MAX)], [u64::MAX; 2]);
        let fair = TableNull::new(0, &[1.0, 1.0]).unwrap();
        assert_eq!(Test { marked: &fair, ..test }.required_tokens(1e-3), u64::MAX);
    }
}
