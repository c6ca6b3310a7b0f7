//! From a p-value to a verdict.
//!
//! `watermarked` if p ≤ fpr, at any length. Otherwise `too_short` if even a marked text of this many scored tokens
//! would be found with probability below 0.9, so that its absence says nothing; otherwise `not_detected`.
//!
//! "A marked text" needs an assumption about how much of the mark a token carries. Until detectors come with fitted
//! profiles it is one fixed reference ([`required_tokens`]).

use serde::{Deserialize, Serialize};

/// What a p-value means at the false positive rate that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// p ≤ fpr: unmarked text comes here with probability at most fpr.
    Watermarked,
    /// p > fpr, and a marked text this long would have been found with probability 0.9 or more.
    NotDetected,
    /// p > fpr, but the text is too short for that to mean anything.
    TooShort,
}

impl Verdict {
    /// `log10_p` is log₁₀ of the p-value, already corrected for the number of keys tried, or `None` if nothing was
    /// scored; `keys` is that number.
    pub fn new(log10_p: Option<f64>, scored_tokens: u64, depth: usize, fpr: f64, keys: usize) -> Self {
        match log10_p {
            Some(log10_p) if log10_p <= fpr.log10() => Self::Watermarked,
            _ if scored_tokens < required_tokens(fpr / keys.max(1) as f64, depth) => Self::TooShort,
            _ => Self::NotDetected,
        }
    }

    /// The name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Watermarked => "watermarked",
            Self::NotDetected => "not_detected",
            Self::TooShort => "too_short",
        }
    }
}

/// n*: the scored tokens at which a marked text is found with probability 0.9 at level `fpr`.
///
/// The reference is text sampled at temperature 0.5 and top-k 100 from Gemma 3 270M, marked at depth 30. Simulation
/// gives 40, 58 and 112 tokens at 10⁻², 10⁻³ and 10⁻⁶, which is 4 + 18 · (−log₁₀ fpr); the line is used at other
/// levels too. Text at a higher temperature needs fewer (9, 13 and 24 at temperature 1).
///
/// Fewer than 30 layers need 30 / depth times as many tokens, as if each layer carried the same evidence; the first
/// ones carry more, so this errs towards `too_short`. More than 30 layers count as 30.
pub fn required_tokens(fpr: f64, depth: usize) -> u64 {
    const REFERENCE_DEPTH: usize = 30;
    let at_reference = 4.0 - 18.0 * fpr.log10();
    let layers = depth.clamp(1, REFERENCE_DEPTH) as f64;
    // Rounding up must not turn 58.000000000000007 into 59.
    (at_reference * REFERENCE_DEPTH as f64 / layers - 1e-9).ceil() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn required_tokens_at_the_simulated_points() {
        for (fpr, tokens) in [(1e-2, 40), (1e-3, 58), (1e-6, 112)] {
            assert_eq!(required_tokens(fpr, 30), tokens);
        }
        assert_eq!(required_tokens(1e-3, 64), 58);
        assert_eq!(required_tokens(1e-3, 10), 174);
        assert!(required_tokens(0.999, 30) > 0);
    }

    #[test]
    fn verdicts() {
        use Verdict::{NotDetected, TooShort, Watermarked};
        for (log10_p, tokens, keys, verdict) in [
            (Some(-3.0), 1, 1, Watermarked),
            (Some(-2.9), 57, 1, TooShort),
            (Some(-2.9), 58, 1, NotDetected),
            // A thousand keys: each is tested at 1e-6.
            (Some(-2.9), 111, 1000, TooShort),
            (Some(-2.9), 112, 1000, NotDetected),
            (None, 0, 1, TooShort),
        ] {
            assert_eq!(Verdict::new(log10_p, tokens, 30, 1e-3, keys), verdict, "{log10_p:?} {tokens} {keys}");
        }
    }

    #[test]
    fn json_names() {
        for verdict in [Verdict::Watermarked, Verdict::NotDetected, Verdict::TooShort] {
            assert_eq!(serde_json::to_value(verdict).unwrap(), verdict.name());
        }
    }
}
