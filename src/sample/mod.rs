//! From logits to a token, in small stages: a [`Sampler`] chooses [`Candidates`] and shapes their logits ([`filter`]),
//! [`watermark`] puts the mark on their distribution, [`draw`] takes one. [`Logits`](crate::logits::Logits) know whether the soft
//! cap is still to come. Logits and probabilities are different types: candidates become a [`Distribution`] once, and only a
//! distribution is marked and drawn from.

mod candidates;
pub mod draw;
pub mod filter;
mod logprobs;
mod rank;
mod sampler;
pub mod watermark;

pub use candidates::Candidates;
pub use draw::Draw;
pub use logprobs::Logprobs;
pub use sampler::Sampler;
pub use watermark::Mark;
pub use wmdetect::scheme::Distribution;

use wmdetect::scheme::DistributionError;

/// How to sample.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Sampling {
    /// Logits are divided by it; 0 takes the most likely token.
    pub temperature: f64,
    /// How many of the most likely tokens stay; 0 keeps all.
    pub top_k: usize,
    /// Of those, the smallest set of most likely tokens with this much probability stays; 1 keeps all.
    pub top_p: f64,
    /// Divides positive and multiplies negative logits of tokens that came up before; 1 changes nothing.
    pub repeat_penalty: f32,
    /// Seed of the draws; a reader of texts needs none.
    #[serde(default)]
    pub seed: u64,
}

impl Default for Sampling {
    /// The model's own distribution over its 100 most likely tokens.
    fn default() -> Self {
        Self { temperature: 1.0, top_k: 100, top_p: 1.0, repeat_penalty: 1.0, seed: 0 }
    }
}

/// Why there is no next token.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SampleError {
    /// A setting out of range.
    #[error("{name} is {found}, expected {expected}")]
    Setting {
        /// The setting.
        name: &'static str,
        /// Its value.
        found: f64,
        /// What would be accepted.
        expected: &'static str,
    },
    /// Greedy output cannot carry the mark.
    #[error(
        "{setting} {found} always takes the most likely token, so there is no draw that could carry the mark; use a \
         larger {setting}, or no key"
    )]
    GreedyWatermark {
        /// The setting that leaves one candidate.
        setting: &'static str,
        /// Its value.
        found: f64,
    },
    /// The model broke down.
    #[error("the logit of token {token} is not a number: the weights are damaged or overflow in this dtype")]
    Nan {
        /// The first such token.
        token: u32,
    },
    /// The model overflowed.
    #[error("the logit of token {token} is infinite: the weights are damaged or overflow in this dtype")]
    Infinite {
        /// The first such token among the candidates.
        token: u32,
    },
    /// Nothing to draw from.
    #[error(transparent)]
    Distribution(DistributionError),
}

impl From<DistributionError> for SampleError {
    fn from(error: DistributionError) -> Self {
        match error {
            // Settings make no weight infinite, so it is the model's.
            DistributionError::Value { token, found: f64::INFINITY } => Self::Infinite { token },
            error => Self::Distribution(error),
        }
    }
}

/// Divided by less, logits leave the range of f32. Already here, those that differ in the last bit are a factor apart.
const LEAST_TEMPERATURE: f64 = 1e-6;

impl Sampling {
    /// Refuses settings out of range, and greedy sampling for a text that is to be marked.
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
        match self.leaves_one_candidate() {
            Some((setting, found)) if marked => Err(SampleError::GreedyWatermark { setting, found }),
            _ => Ok(()),
        }
    }

    /// The setting, with its value, that leaves one candidate whatever the logits are, if one does.
    fn leaves_one_candidate(&self) -> Option<(&'static str, f64)> {
        /// More than any vocabulary has.
        const TOKENS: usize = 1 << 22;
        if self.temperature == 0.0 {
            return Some(("temperature", 0.0));
        }
        if self.top_k == 1 {
            return Some(("top-k", 1.0));
        }
        // The most likely of k candidates has at least the probability 1/k.
        let candidates = if self.top_k == 0 { TOKENS } else { self.top_k };
        (self.top_p * candidates as f64 <= 1.0).then_some(("top-p", self.top_p))
    }

    /// How many candidates are chosen by their logits; 0 is all.
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
        ];
        for (name, sampling) in greedy {
            assert_eq!(sampling.check(false), Ok(()));
            let refused = sampling.check(true);
            assert!(
                matches!(refused, Err(SampleError::GreedyWatermark { setting, .. }) if setting == name),
                "{refused:?}"
            );
        }
        for sampling in [plain, Sampling { top_p: 0.011, ..plain }, Sampling { top_k: 2, ..plain }] {
            assert_eq!(sampling.check(true), Ok(()));
        }
    }
}
