//! How long a text must be for its silence to mean something.
//!
//! n*(a) is the least number of scored tokens from which on a marked text is found at level a with probability 0.9. "A
//! marked text" is the law of the built-in profile [`REFERENCE`], tokens being independent; `llr` takes the marked law
//! of its profile. Null and marked law are both exact, so n* is, for that model of a marked text.

mod table;

use super::llr::{EntropyClasses, PSI_UNITS, Profile, REFERENCE, WEIGHT_UNITS};
use super::null::{self, Lattice, TableNull};
use super::weighted_mean::weights;

/// The probability with which a marked text of n* tokens is found.
pub const POWER: f64 = 0.9;

/// Longer texts are not looked at; a statistic that does not find the mark in them does not find it at all.
const LONGEST: u64 = 1 << 20;

/// A statistic that sums one integer a token, under both hypotheses.
pub struct Test<'a> {
    /// ln P(sum of n tokens ≥ s | null).
    pub null: &'a dyn Fn(u64, i64) -> f64,
    /// Law of one token's integer in marked text, on the same range as under the null.
    pub marked: &'a TableNull,
}

impl Test<'_> {
    /// n* at level `alpha`; `u64::MAX` if no length is enough.
    pub fn required_tokens(&self, alpha: f64) -> u64 {
        self.required_tokens_near(alpha, 1)
    }

    /// As [`required_tokens`](Self::required_tokens), looking first at `guess` tokens.
    pub fn required_tokens_near(&self, alpha: f64, guess: u64) -> u64 {
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

    /// Whether a marked text of `n` tokens is found with probability [`POWER`] or more.
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

/// n* of the mean at level `alpha` for keys of `depth` layers.
pub fn mean(alpha: f64, depth: usize) -> u64 {
    table::look_up(&table::MEAN, alpha, depth).unwrap_or_else(|| search_mean(alpha, depth))
}

fn search_mean(alpha: f64, depth: usize) -> u64 {
    let marked = linear_law(&vec![1; depth]);
    Test { null: &|n, x| null::binomial(n * depth as u64, x.max(0) as u64), marked: &marked }
        .required_tokens(alpha)
}

/// n* of the weighted mean with this null law.
pub fn weighted_mean(alpha: f64, lattice: &Lattice) -> u64 {
    let depth = lattice.weights().len();
    table::look_up(&table::WEIGHTED_MEAN, alpha, depth)
        .filter(|_| lattice.weights() == weights(depth))
        .unwrap_or_else(|| search_weighted_mean(alpha, lattice))
}

fn search_weighted_mean(alpha: f64, lattice: &Lattice) -> u64 {
    let marked = linear_law(lattice.weights());
    // The exact tail of a few tokens takes long, since their sum is far from normal: start where n* will be.
    let guess = mean(alpha, lattice.weights().len());
    Test { null: &|n, w| lattice.tail(n, w.max(0) as u64), marked: &marked }
        .required_tokens_near(alpha, guess)
}

/// n* of the likelihood ratio.
pub fn llr(alpha: f64, profile: &Profile) -> u64 {
    Test { null: &|n, s| profile.null().tail(n, s), marked: profile.marked() }.required_tokens(alpha)
}

/// The law of Σ a_l g_l of one token of the reference's marked text, a_l positive; layers that the reference does not
/// have are fair bits.
fn linear_law(weights: &[u32]) -> TableNull {
    let top: u32 = weights.iter().sum();
    let mut law = vec![0.0; top as usize + 1];
    let reference = Profile::named(REFERENCE).expect("the reference is one of the built-in profiles");
    let mixture: &EntropyClasses = reference.mixture();
    for (&share, psi) in mixture.weights().iter().zip(mixture.psi()) {
        let mut class = vec![0.0; law.len()];
        class[0] = f64::from(share) / f64::from(WEIGHT_UNITS);
        let mut reached = 0;
        for (l, &a) in weights.iter().enumerate() {
            let one = 0.5 + psi.get(l).map_or(0.0, |&x| f64::from(x) / f64::from(4 * u32::from(PSI_UNITS)));
            reached += a as usize;
            for w in (0..=reached).rev() {
                let before = if w >= a as usize { class[w - a as usize] } else { 0.0 };
                class[w] = (1.0 - one) * class[w] + one * before;
            }
        }
        law.iter_mut().zip(class).for_each(|(sum, p)| *sum += p);
    }
    TableNull::new(0, &law).expect("a law of positive probabilities")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_at_the_usual_levels() {
        let lattice = Lattice::new(&weights(30));
        let table: Vec<[u64; 3]> = [1e-2, 1e-3, 1e-6]
            .into_iter()
            .map(|alpha| [mean(alpha, 30), weighted_mean(alpha, &lattice), llr(alpha, Profile::pooled())])
            .collect();
        assert_eq!(table, [[69, 54, 54], [99, 79, 78], [186, 150, 148]]);
    }

    /// Recomputes some entries of the table. They change with the profile [`REFERENCE`]; the table is printed by
    /// `cargo test -p wmdetect --lib power::tests::print_table -- --ignored --nocapture`.
    #[test]
    fn the_table_is_what_the_search_finds() {
        for (alpha, depth) in [(1e-3, 30), (1e-2, 30), (5e-2, 12), (1e-6, 20), (1e-4, 3), (1e-5, 1)] {
            let lattice = Lattice::new(&weights(depth));
            assert_eq!(mean(alpha, depth), search_mean(alpha, depth), "{alpha} {depth}");
            assert_eq!(
                weighted_mean(alpha, &lattice),
                search_weighted_mean(alpha, &lattice),
                "{alpha} {depth}"
            );
        }
        // Not in the table.
        assert_eq!(table::look_up(&table::MEAN, 0.002, 30), None);
        assert_eq!(table::look_up(&table::MEAN, 0.001, 33), None);
        assert_eq!(table::look_up(&table::MEAN, 0.001, 0), None);
    }

    #[test]
    #[ignore = "prints table.rs; takes a minute"]
    #[allow(clippy::print_stdout, reason = "the table is what it is for")]
    fn print_table() {
        for depth in 1..=table::DEPTHS {
            let lattice = Lattice::new(&weights(depth));
            let row = |search: &dyn Fn(f64) -> u64| table::LEVELS.map(search);
            println!(
                "{depth} {:?} {:?}",
                row(&|alpha| search_mean(alpha, depth)),
                row(&|alpha| search_weighted_mean(alpha, &lattice))
            );
        }
    }

    /// One fair coin against one that always shows 1: n* = ⌈log₂ 1/a⌉.
    #[test]
    fn a_coin_that_always_falls_on_one_side() {
        let marked = TableNull::new(0, &[1e-30, 1.0]).unwrap();
        let test = Test { null: &|n, x| null::binomial(n, x.max(0) as u64), marked: &marked };
        assert_eq!(test.required_tokens(1e-3), 10);
        let fair = TableNull::new(0, &[1.0, 1.0]).unwrap();
        assert_eq!(Test { marked: &fair, ..test }.required_tokens(1e-3), u64::MAX);
    }
}
