//! Turns logits into a token, in small stages. A [`Sampler`] chooses candidates and shapes their logits ([`filter`]),
//! [`watermark`] marks their distribution, and [`draw`] draws one. [`Logits`](crate::logits::Logits) know whether the soft cap is
//! still to be applied. Logits and probabilities are different types: candidates become a [`Distribution`] once, and only a
//! distribution is marked and drawn from.

mod candidates;
pub mod draw;
pub mod filter;
mod history;
mod logprobs;
mod rank;
mod sampler;
pub mod watermark;

use candidates::Candidates;
pub use draw::Draw;
pub use history::History;
pub use logprobs::Logprobs;
pub use sampler::Sampler;
pub use watermark::Mark;
pub use wmdetect::scheme::Distribution;

use wmdetect::scheme::DistributionError;

use history::Penalties;

/// Sampling settings. The stages come in this order: repeat penalty, frequency and presence penalty, top-k, temperature, top-p,
/// min-p.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Sampling {
    /// Temperature: the divisor of the logits; 0 takes the most likely token.
    pub temperature: f64,
    /// Number of most likely tokens that are kept; 0 keeps all.
    pub top_k: usize,
    /// Total probability of the smallest set of most likely tokens that is kept of those; 1 keeps all.
    pub top_p: f64,
    /// Penalty for tokens that occurred before: divides their positive logits and multiplies their negative ones; 1 changes
    /// nothing.
    pub repeat_penalty: f32,
    /// Penalty subtracted from a token's logit for each time that it occurs in the response; from −2 to 2, 0 changes nothing.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub frequency_penalty: f64,
    /// Penalty subtracted from the logit of a token that occurs in the response; from −2 to 2, 0 changes nothing.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub presence_penalty: f64,
    /// Tokens are kept if their probability is at least this share of the most likely token's; 0 keeps all.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub min_p: f64,
    /// Seed of the draws; reading a text does not need it.
    #[serde(default)]
    pub seed: u64,
}

impl Default for Sampling {
    /// Returns the model's own distribution over its 100 most likely tokens.
    fn default() -> Self {
        Self {
            temperature: 1.0,
            top_k: 100,
            top_p: 1.0,
            repeat_penalty: 1.0,
            frequency_penalty: 0.0,
            presence_penalty: 0.0,
            min_p: 0.0,
            seed: 0,
        }
    }
}

/// Returns whether a setting has no effect, so that JSON leaves it out.
#[allow(clippy::trivially_copy_pass_by_ref)] // the signature that serde requires
pub(crate) fn is_zero(setting: &f64) -> bool {
    *setting == 0.0
}

/// Returns a seed from the system's randomness. It is below 2^53, because every JSON reader keeps such a number exactly.
pub fn random_seed() -> u64 {
    rand::random::<u64>() >> 11
}

/// Error from sampling a token.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SampleError {
    /// A setting is out of range.
    #[error("{name} is {found}, expected {expected}")]
    Setting {
        /// Name of the setting.
        name: &'static str,
        /// Its value.
        found: f64,
        /// Values that would be accepted.
        expected: &'static str,
    },
    /// Greedy output cannot carry the mark.
    #[error(
        "{setting} {found} always takes the most likely token, so there is no draw that could carry the mark; use a \
         {} {setting}, or no key",
        if *setting == "min-p" { "smaller" } else { "larger" }
    )]
    GreedyWatermark {
        /// Name of the setting that leaves only one candidate.
        setting: &'static str,
        /// Its value.
        found: f64,
    },
    /// The model gave a NaN logit.
    #[error("the logit of token {token} is not a number: the weights are damaged or overflow in this dtype")]
    Nan {
        /// The first such token.
        token: u32,
    },
    /// The model gave an infinite logit.
    #[error("the logit of token {token} is infinite: the weights are damaged or overflow in this dtype")]
    Infinite {
        /// The first such token among the candidates.
        token: u32,
    },
    /// There is no distribution to draw from.
    #[error(transparent)]
    Distribution(DistributionError),
}

impl From<DistributionError> for SampleError {
    fn from(error: DistributionError) -> Self {
        match error {
            // Settings make no weight infinite, so the model's logit is.
            DistributionError::Value { token, found: f64::INFINITY } => Self::Infinite { token },
            error => Self::Distribution(error),
        }
    }
}

/// Minimum temperature. Divided by less, logits would leave the range of f32. Already at this temperature, logits that differ in
/// the last bit differ by a factor in probability.
pub(crate) const LEAST_TEMPERATURE: f64 = 1e-6;

impl Sampling {
    /// Checks that settings are in range, and that sampling is not greedy for a text that is to be marked.
    ///
    /// # Errors
    /// Returns an error that names the first setting that is out of range, and what was expected.
    pub fn check(&self, marked: bool) -> Result<(), SampleError> {
        let setting = |name, found, expected| Err(SampleError::Setting { name, found, expected });
        if !self.temperature.is_finite() || (self.temperature != 0.0 && self.temperature < LEAST_TEMPERATURE)
        {
            return setting(
                "temperature",
                self.temperature,
                "0 or a number from 0.000001 (1.0 is the model's own distribution)",
            );
        }
        if !(self.top_p > 0.0 && self.top_p <= 1.0) {
            return setting("top-p", self.top_p, "a number above 0 and at most 1 (1 keeps all tokens)");
        }
        if !self.repeat_penalty.is_finite() || self.repeat_penalty <= 0.0 {
            return setting(
                "repeat-penalty",
                self.repeat_penalty.into(),
                "a number above 0 (1 changes nothing)",
            );
        }
        for (name, found) in
            [("frequency-penalty", self.frequency_penalty), ("presence-penalty", self.presence_penalty)]
        {
            if !(-2.0..=2.0).contains(&found) {
                return setting(name, found, "a number from -2 to 2 (0 changes nothing)");
            }
        }
        if !(0.0..=1.0).contains(&self.min_p) {
            return setting("min-p", self.min_p, "a number from 0 to 1 (0 keeps all tokens)");
        }
        match self.leaves_one_candidate() {
            Some((setting, found)) if marked => Err(SampleError::GreedyWatermark { setting, found }),
            _ => Ok(()),
        }
    }

    /// Returns the setting, with its value, that leaves only one candidate for any logits, if there is one.
    fn leaves_one_candidate(&self) -> Option<(&'static str, f64)> {
        /// Number that exceeds the size of any vocabulary.
        const TOKENS: usize = 1 << 22;
        if self.temperature == 0.0 {
            return Some(("temperature", 0.0));
        }
        if self.top_k == 1 {
            return Some(("top-k", 1.0));
        }
        if self.min_p >= 1.0 {
            return Some(("min-p", self.min_p));
        }
        // The most likely of k candidates has at least the probability 1/k.
        let candidates = if self.top_k == 0 { TOKENS } else { self.top_k };
        (self.top_p * candidates as f64 <= 1.0).then_some(("top-p", self.top_p))
    }

    /// Returns the settings that make logits depend on the tokens before.
    fn penalties(&self) -> Penalties {
        Penalties {
            repeat: self.repeat_penalty,
            frequency: self.frequency_penalty,
            presence: self.presence_penalty,
        }
    }

    /// Returns how many candidates are chosen by their logits; 0 is all.
    fn candidates(&self) -> usize {
        if self.temperature == 0.0 { 1 } else { self.top_k }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_always_leaves_one_candidate_is_greedy_by_another_name() {
        let plain = Sampling::default();
        let greedy = [
            ("temperature", Sampling { temperature: 0.0, ..plain }),
            ("top-k", Sampling { top_k: 1, ..plain }),
            ("top-p", Sampling { top_p: 1e-9, ..plain }),
            ("top-p", Sampling { top_p: 0.01, ..plain }),
            ("top-p", Sampling { top_p: 1e-9, top_k: 0, ..plain }),
            ("min-p", Sampling { min_p: 1.0, ..plain }),
        ];
        for (name, sampling) in greedy {
            assert_eq!(sampling.check(false), Ok(()));
            let refused = sampling.check(true);
            assert!(
                matches!(refused, Err(SampleError::GreedyWatermark { setting, .. }) if setting == name),
                "{refused:?}"
            );
        }
        let drawn = [
            Sampling { top_p: 0.011, ..plain },
            Sampling { top_k: 2, ..plain },
            Sampling { min_p: 0.99, frequency_penalty: -2.0, presence_penalty: 2.0, ..plain },
        ];
        for sampling in [plain].into_iter().chain(drawn) {
            assert_eq!(sampling.check(true), Ok(()));
        }
    }

    #[test]
    fn settings_out_of_range_are_refused_by_name() {
        let plain = Sampling::default();
        let wrong = [
            ("frequency-penalty", Sampling { frequency_penalty: 2.01, ..plain }),
            ("presence-penalty", Sampling { presence_penalty: f64::NAN, ..plain }),
            ("min-p", Sampling { min_p: -0.01, ..plain }),
            ("min-p", Sampling { min_p: 1.01, ..plain }),
        ];
        for (expected, sampling) in wrong {
            let refused = sampling.check(false);
            assert!(
                matches!(refused, Err(SampleError::Setting { name, .. }) if name == expected),
                "{refused:?}"
            );
        }
    }
}
