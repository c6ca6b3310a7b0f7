//! A p-value and what it promises.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::scheme::Promise;

/// What a p-value promises under the null hypothesis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum PKind {
    /// The probability itself of a score at least this high, apart from rounding errors around 1e-12 of it. One key of
    /// our schemes with one channel has such a p for a text of one form.
    Exact,
    /// An upper bound of that probability: P(p ≤ a) ≤ a, possibly much less. Keyrings, keys of several channels, texts of
    /// several forms and marked passages have such a p, since it is corrected for what was tried.
    Conservative,
    /// Computed as if the scheme's values were independent, which its hash does not guarantee. `synthid-hf` and
    /// `synthid-deepmind` have such a p; [`Scheme::promise`](crate::scheme::Scheme::promise) says it of each scheme.
    Approximate,
}

/// Returns what an exact p-value of a statistic is worth under a scheme that promises this.
impl From<Promise> for PKind {
    fn from(promise: Promise) -> Self {
        match promise {
            Promise::Exact => Self::Exact,
            Promise::Conservative => Self::Conservative,
            Promise::Approximate { .. } => Self::Approximate,
        }
    }
}

/// A p-value, kept as its logarithm since it goes far below the smallest `f64`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PValue {
    /// log₁₀ p, finite and ≤ 0.
    pub log10: f64,
    /// What it promises.
    pub kind: PKind,
}

impl PValue {
    /// p = 1: no evidence at all.
    pub const ONE: Self = Self { log10: 0.0, kind: PKind::Exact };

    /// Makes a p-value from ln p, as [`null`](super::null) gives it.
    pub(crate) fn from_ln(ln: f64, kind: PKind) -> Self {
        // `+ 0.0` turns -0.0 into 0.0, which would be printed with its sign.
        Self { log10: (ln * std::f64::consts::LOG10_E).min(0.0) + 0.0, kind }
    }

    /// Returns p itself, never below the smallest normal `f64`: a p-value of 0 would be wrong, a larger one is safe.
    pub fn p(self) -> f64 {
        10f64.powf(self.log10).max(f64::MIN_POSITIVE)
    }

    /// Returns the p-value of the best of `tries` p-values: min(1, tries · p) (Bonferroni).
    pub fn corrected(self, tries: usize) -> Self {
        Self { log10: (self.log10 + (tries.max(1) as f64).log10()).min(0.0) + 0.0, kind: self.kind }
    }

    /// Returns whether p ≤ `level`.
    pub fn reaches(self, level: f64) -> bool {
        self.log10 <= level.log10()
    }
}

/// Writes `3.1e-12`, also if p is below the smallest `f64`. It is rounded up, so that the text never understates p.
impl fmt::Display for PValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.log10 > -3.0 {
            let thousands = (self.p() * 1000.0 * (1.0 - 1e-12)).ceil() / 1000.0;
            return write!(f, "{}", thousands.clamp(0.001, 1.0));
        }
        let mut exponent = self.log10.floor();
        let mut tenths = (10f64.powf(self.log10 - exponent + 1.0) * (1.0 - 1e-9)).ceil() as u32;
        if tenths >= 100 {
            exponent += 1.0;
            tenths = 10;
        }
        write!(f, "{}.{}e{exponent}", tenths / 10, tenths % 10)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p_values_print_rounded_up() {
        let p = |log10| PValue { log10, kind: PKind::Exact };
        for (log10, text) in [
            (0.0, "1"),
            (0.5f64.log10(), "0.5"),
            (0.0123f64.log10(), "0.013"),
            (-3.0, "1.0e-3"),
            (3.14e-12f64.log10(), "3.2e-12"),
            (9.99e-12f64.log10(), "1.0e-11"),
            (-1537.07, "8.6e-1538"),
        ] {
            assert_eq!(p(log10).to_string(), text);
        }
        assert!(p(-1537.0).p() > 0.0);
    }

    #[test]
    fn correction_for_several_tries_stops_at_one() {
        let p = PValue { log10: -3.0, kind: PKind::Exact };
        assert_eq!(p.corrected(1), p);
        assert!((p.corrected(100).p() - 0.1).abs() < 1e-15);
        assert_eq!(p.corrected(10_000).log10, 0.0);
        assert!(p.reaches(1e-3) && !p.corrected(2).reaches(1e-3));
    }
}
