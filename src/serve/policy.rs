//! Decides whether an answer is marked. It fails closed: what was promised to be marked is marked or refused.

use serde::Deserialize;
use wmdetect::service::ApiError;
use wmgen::sample::Sampling;

/// Promise about a tenant's answers.
#[derive(Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "lowercase")]
pub(super) enum Policy {
    /// Every answer is marked. An answer whose settings leave no room for a mark is refused, and so is one in which no
    /// token could carry it. A text that ends after a few tokens may be without the mark; its answer says so.
    Require,
    /// Answers are marked if possible, and say so if not.
    Default,
    /// Like `default`, but a request may ask for an unmarked answer.
    Optional,
    /// No answer is marked.
    Off,
}

/// Reason why an answer is not marked.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Reason {
    /// The settings leave only one candidate, so nothing is drawn.
    Greedy,
    /// The request asked for an unmarked answer.
    OptedOut,
    /// The tenant's answers are not marked.
    PolicyOff,
    /// The answer was to be marked, but no token could carry the mark: it is too short, or the model had no choice.
    NoDraw,
}

impl Reason {
    /// Returns the name in headers, bodies and receipts.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Greedy => "greedy",
            Self::OptedOut => "opted_out",
            Self::PolicyOff => "policy_off",
            Self::NoDraw => "no_draw",
        }
    }
}

impl Policy {
    /// Returns whether an answer that cannot be marked is refused. `asked` is the request's field `watermarking`.
    pub(super) fn demands(self, asked: Option<bool>) -> bool {
        self == Self::Require || asked == Some(true)
    }

    /// Decides on a request; `asked` is its field `watermarking`.
    ///
    /// # Errors
    /// Returns an error if the request asks for what the policy does not allow, or if it must be marked and cannot be.
    pub(super) fn decide(
        self,
        asked: Option<bool>,
        sampling: &Sampling,
    ) -> Result<Result<(), Reason>, ApiError> {
        let forbidden = |message: &str| Err(ApiError::forbidden(message).with_param("watermarking"));
        match (self, asked) {
            (Self::Off, Some(true)) => {
                return forbidden(
                    "watermarking: the answers of this tenant are not marked; leave the field out",
                );
            }
            (Self::Off, _) => return Ok(Err(Reason::PolicyOff)),
            (Self::Optional, Some(false)) => return Ok(Err(Reason::OptedOut)),
            (Self::Require | Self::Default, Some(false)) => {
                return forbidden("watermarking: all answers of this tenant are marked; leave the field out");
            }
            _ => {}
        }
        if self.demands(asked) && leaves_little_choice(sampling) {
            let message = "temperature: expected settings that leave the mark a choice: a temperature and top_p from 0.1 and a \
                           min_p up to 0.9";
            return Err(ApiError::field("temperature", message).with_code("cannot_be_marked"));
        }
        match sampling.check(true) {
            Ok(()) => Ok(Ok(())),
            // Other errors concern the settings themselves, and are found where the settings are checked.
            Err(_) if !self.demands(asked) => Ok(Err(Reason::Greedy)),
            Err(error) => {
                Err(ApiError::field("temperature", error.to_string()).with_code("cannot_be_marked"))
            }
        }
    }
}

/// Returns the error for an answer that was to be marked or refused, and in which no token could carry the mark.
pub(super) fn unmarked() -> ApiError {
    let message =
        "temperature: expected settings that leave the mark a choice, found an answer without a marked token";
    ApiError::field("temperature", message).with_code("cannot_be_marked")
}

/// Returns whether nearly every draw has only one outcome, whatever the model says. Such settings are not accepted for
/// answers that must be marked.
fn leaves_little_choice(sampling: &Sampling) -> bool {
    let Sampling { temperature, top_p, min_p, .. } = *sampling;
    (temperature > 0.0 && temperature < 0.1) || top_p < 0.1 || min_p > 0.9
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decide(policy: Policy, asked: Option<bool>, sampling: &Sampling) -> &'static str {
        match policy.decide(asked, sampling) {
            Ok(Ok(())) => "marked",
            Ok(Err(reason)) => reason.name(),
            Err(error) if error.status() == 403 => "forbidden",
            Err(_) => "refused",
        }
    }

    #[test]
    fn what_must_be_marked_is_marked_or_refused() {
        let drawn = Sampling::default();
        let greedy = Sampling { temperature: 0.0, ..drawn };
        let table = |policy| {
            [None, Some(true), Some(false)]
                .map(|asked| [decide(policy, asked, &drawn), decide(policy, asked, &greedy)])
        };
        assert_eq!(table(Policy::Require), [["marked", "refused"], ["marked", "refused"], ["forbidden"; 2]]);
        for close in [
            Sampling { temperature: 0.01, ..drawn },
            Sampling { top_p: 0.05, ..drawn },
            Sampling { min_p: 0.99, ..drawn },
        ] {
            assert_eq!(decide(Policy::Require, None, &close), "refused");
            assert_eq!(decide(Policy::Default, None, &close), "marked");
        }
        assert_eq!(table(Policy::Default), [["marked", "greedy"], ["marked", "refused"], ["forbidden"; 2]]);
        assert_eq!(table(Policy::Optional), [["marked", "greedy"], ["marked", "refused"], ["opted_out"; 2]]);
        assert_eq!(table(Policy::Off), [["policy_off"; 2], ["forbidden"; 2], ["policy_off"; 2]]);
    }
}
