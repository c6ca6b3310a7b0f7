//! Turns a p-value into a verdict.
//!
//! The verdict is `watermarked` if p ≤ fpr, at any length. Otherwise it is `too_short` if even a marked text of this
//! many effective tokens would be found with probability below 0.9, so that the mark's absence says nothing. Otherwise it
//! is `not_detected`.
//!
//! "A marked text" needs an assumption about how much of the mark a token carries: see
//! [`power`](crate::statistics::power).

use std::fmt;

use serde::{Deserialize, Serialize};

/// Usual false positive rate.
pub const DEFAULT_FPR: f64 = 0.001;

/// Least false positive rate: divided by the number of keys, channels and forms, it is still above 0.
pub const LEAST_FPR: f64 = 1e-300;

/// A false positive rate that is below [`LEAST_FPR`] or not below 1.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error(
    "the false positive rate must lie between 0 and 1: expected at least {LEAST_FPR:e} and below 1, found {found:?}; \
     the usual rate is {DEFAULT_FPR}"
)]
pub struct FprError {
    /// The rate that was asked for.
    pub found: f64,
}

/// Checks a false positive rate.
///
/// # Errors
/// Returns an error if `fpr` is below [`LEAST_FPR`] or not below 1.
pub fn check_fpr(fpr: f64) -> Result<(), FprError> {
    if (LEAST_FPR..1.0).contains(&fpr) { Ok(()) } else { Err(FprError { found: fpr }) }
}

/// What a p-value means at the false positive rate that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Verdict {
    /// p ≤ fpr: an unmarked text gets this verdict with probability at most fpr.
    Watermarked,
    /// p > fpr, and a text this long, marked as [`power`](crate::statistics::power) supposes, would have been found with
    /// probability 0.9 or more. Texts of low entropy are missed more often.
    NotDetected,
    /// p > fpr, but the text is too short for that to mean anything.
    TooShort,
}

impl Verdict {
    /// Returns the verdict on a p-value at the rate `fpr`, which [`check_fpr`] takes.
    ///
    /// `log10_p` is log₁₀ of the p-value, already corrected for the number of keys, channels and forms tried, or `None` if
    /// nothing was scored. `effective_tokens` is that of the report: the sum of the squares of the scored tokens' shares.
    /// `required_tokens` is n* of the detector at `fpr` divided by that number
    /// ([`Statistic::required_tokens`](crate::statistics::Statistic::required_tokens)). It is called only if p does not
    /// decide.
    pub fn new(
        log10_p: Option<f64>,
        fpr: f64,
        effective_tokens: u64,
        required_tokens: impl FnOnce() -> u64,
    ) -> Self {
        match log10_p {
            Some(log10_p) if log10_p <= fpr.log10() => Self::Watermarked,
            None => Self::TooShort,
            Some(_) if effective_tokens < required_tokens() => Self::TooShort,
            Some(_) => Self::NotDetected,
        }
    }

    /// Returns the name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Watermarked => "watermarked",
            Self::NotDetected => "not_detected",
            Self::TooShort => "too_short",
        }
    }
}

/// Writes the name in words, for people.
impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Watermarked => "watermarked",
            Self::NotDetected => "not detected",
            Self::TooShort => "too short to tell",
        })
    }
}

/// Strength of the evidence of a text that is called watermarked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Strength {
    /// p is within a factor of ten of the rate, or above 10⁻⁴.
    Weak,
    /// p is above 10⁻⁶.
    Moderate,
    /// p is above 10⁻¹².
    Strong,
    /// p is at most 10⁻¹².
    VeryStrong,
}

impl Strength {
    /// Returns the strength of a p-value at most `fpr`; `log10_p` is its logarithm.
    pub fn new(log10_p: f64, fpr: f64) -> Self {
        match log10_p {
            p if p > fpr.log10() - 1.0 || p > -4.0 => Self::Weak,
            p if p > -6.0 => Self::Moderate,
            p if p > -12.0 => Self::Strong,
            _ => Self::VeryStrong,
        }
    }

    /// Returns the name for programs: `weak`, `moderate`, `strong` or `very_strong`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Weak => "weak",
            Self::Moderate => "moderate",
            Self::Strong => "strong",
            Self::VeryStrong => "very_strong",
        }
    }
}

/// Writes the name in words, for people.
impl fmt::Display for Strength {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Weak => "weak evidence",
            Self::Moderate => "moderate evidence",
            Self::Strong => "strong evidence",
            Self::VeryStrong => "very strong evidence",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts() {
        use Verdict::{NotDetected, TooShort, Watermarked};
        for (log10_p, tokens, verdict) in [
            (Some(-3.0), 1, Watermarked),
            (Some(-2.9), 57, TooShort),
            (Some(-2.9), 58, NotDetected),
            (None, 0, TooShort),
        ] {
            assert_eq!(Verdict::new(log10_p, 1e-3, tokens, || 58), verdict, "{log10_p:?} {tokens}");
        }
        assert_eq!(Verdict::new(Some(-3.0), 1e-3, 1, || unreachable!()), Watermarked);
    }

    #[test]
    fn p_just_under_the_rate_is_weak_at_every_rate() {
        let cases = [
            (-3.1, 1e-3, Strength::Weak),
            (-6.5, 1e-6, Strength::Weak),
            (-3.9, 0.05, Strength::Weak),
            (-5.0, 1e-3, Strength::Moderate),
            (-8.0, 1e-3, Strength::Strong),
            (-30.0, 1e-3, Strength::VeryStrong),
        ];
        for (log10_p, fpr, strength) in cases {
            assert_eq!(Strength::new(log10_p, fpr), strength, "{log10_p} {fpr}");
        }
    }

    #[test]
    fn json_names() {
        for verdict in [Verdict::Watermarked, Verdict::NotDetected, Verdict::TooShort] {
            assert_eq!(serde_json::to_value(verdict).unwrap(), verdict.name());
        }
    }
}
