//! Result of verifying one text. `wmgen verify --json` prints it in a [`Row`](wmdetect::report::Row).

use std::fmt;

use serde::{Deserialize, Serialize};

use wmdetect::report::{Changes, WarningCode};
use wmdetect::statistics::PKind;
use wmdetect::verdict::Verdict;

use crate::sample::is_zero;

/// Exact likelihood ratio of one text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct VerifyReport {
    /// Scheme of the key.
    pub scheme: String,
    /// Public id of the key; of several keys, the one with the smallest p.
    pub key_id: String,
    /// The model that read the text.
    pub model: VerifyModel,
    /// Name of the tokenizer that split the text; null if the input was token ids.
    pub tokenizer: Option<String>,
    /// Number of tokens in the prompt; 0 if it is not known.
    pub prompt_tokens: u64,
    /// Number of tokens in the text, without `<bos>`.
    pub tokens: u64,
    /// Number of tokens that were read: all, unless reading ended early.
    pub read_tokens: u64,
    /// Number of tokens that count: their context is complete, and new by the key's rule.
    pub scored_tokens: u64,
    /// The statistic.
    pub detector: VerifyDetector,
    /// ln of the largest e-value along the text, at least 0.
    pub ln_e: f64,
    /// Maximum that it could have reached under any key.
    pub ln_ceiling: f64,
    /// log₁₀ p of the text-only likelihood ratio, if the prompt is not known and the whole text was read; else null.
    pub log10_p_text: Option<f64>,
    /// The p-value that decides. It is e^−`ln_e` or, without the prompt, twice the smaller of that and the text-only p-value. With random
    /// keys it is the rank among them. It is multiplied by `channels_tried`, or else by `keys_tried`, and by `forms_tried`. It is never
    /// below the smallest normal `f64`.
    pub p_value: f64,
    /// log₁₀ of the p-value.
    pub log10_p: f64,
    /// Guarantee for p: `conservative`; `exact` for the rank if one key was tried on one form in one channel;
    /// `approximate` for a compatible scheme.
    pub p_kind: PKind,
    /// Number of random keys under which the text was judged as well; 0 without `--monte-carlo`.
    pub random_keys: u64,
    /// Rank among random keys: (1 + n) / (`random_keys` + 1), where n of them have at least the key's evidence; null without
    /// `--monte-carlo`.
    pub monte_carlo_p: Option<f64>,
    /// False positive rate with which the verdict compares p.
    pub fpr: f64,
    /// Share of simulated marked texts with the same distributions that reach the level: `fpr` divided by the number of tries.
    pub power: f64,
    /// Verdict; `too_short` if that share is below 0.9.
    pub verdict: Verdict,
    /// Sampling settings with which the text was read.
    pub sampling: VerifySampling,
    /// Marked passages, in order. They have a separate family-wise error rate, `fpr`.
    pub spans: Vec<VerifySpan>,
    /// What to know before relying on this report.
    pub warnings: Vec<String>,
    /// Code of each of these warnings.
    #[serde(default)]
    pub warning_codes: Vec<WarningCode>,
    /// Number of different keys that were tried; absent if it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keys_tried: Option<u64>,
    /// Channel of the key that this report is about; absent if the key has only one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<u16>,
    /// Number of channels that were tried, over all keys; absent if each key has one, or the receipt names the channel. p is corrected
    /// for them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channels_tried: Option<u64>,
    /// Number of forms of the text that have different tokens and were tried: typographic characters kept, or replaced by plain ones.
    /// Absent if it is one. The report is about the form with the smallest p.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forms_tried: Option<u64>,
    /// Changes to the text before it was split into tokens; absent if there were none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub normalisation: Option<Changes>,
}

/// A model by name and digest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct VerifyModel {
    /// Name by which the model was requested.
    pub name: String,
    /// Fingerprint, as `wmgen inspect` prints it; null for a model without files.
    pub fingerprint: Option<String>,
}

/// Formats the model like `gemma-3-270m (1f0c2a97)`.
impl fmt::Display for VerifyModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digest = self.fingerprint.as_deref();
        let short = digest.map_or("no fingerprint", |digest| digest.get(..8).unwrap_or(digest));
        write!(f, "{} ({short})", self.name)
    }
}

/// The statistic of [`VerifyReport`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
#[serde(rename_all = "snake_case")]
pub enum VerifyDetector {
    /// The likelihood ratio of [`wmdetect::model_ratio`].
    #[serde(rename = "exact_ratio")]
    ModelRatio,
}

/// Source of the sampling settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum SamplingSource {
    /// A receipt.
    Receipt,
    /// The caller.
    Given,
    /// Unknown: e-values at several temperatures are averaged.
    Mixed,
}

/// The sampling settings that a text was read with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct VerifySampling {
    /// Source of the settings.
    pub source: SamplingSource,
    /// Temperatures.
    pub temperatures: Vec<f64>,
    /// Share of each temperature in the e-value. The largest is not an estimate with a guarantee.
    pub shares: Vec<f64>,
    /// Number of most likely tokens to draw from; 0 is all.
    pub top_k: u64,
    /// Total probability of the tokens to draw from.
    pub top_p: f64,
    /// Penalty for tokens that occurred before.
    pub repeat_penalty: f32,
    /// Subtracted from a token's logit for each time that the token occurred in the text.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub frequency_penalty: f64,
    /// Subtracted from a token's logit if the token occurred in the text.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub presence_penalty: f64,
    /// Minimum probability, as a share of the most likely token's probability.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub min_p: f64,
}

/// A marked passage.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct VerifySpan {
    /// First byte in the original text, and the one after the last; null if the input was token ids.
    pub bytes: Option<[u64; 2]>,
    /// First token and the one after the last, from 0, including the context of the first scored token.
    pub tokens: [u64; 2],
    /// ln of the likelihood ratio over the passage.
    pub score: f64,
    /// p of the passage, corrected for all windows and temperatures; never below the smallest normal `f64`.
    pub p_value: f64,
    /// log₁₀ of the p-value.
    pub log10_p: f64,
    /// Temperature at which the passage was found.
    pub temperature: f64,
}
