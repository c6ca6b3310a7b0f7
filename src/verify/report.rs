//! What a verification says of one text. `wmgen verify --json` prints it in a [`Row`](wmdetect::report::Row).

use std::fmt;

use serde::{Deserialize, Serialize};

use wmdetect::report::{Changes, WarningCode};
use wmdetect::statistics::PKind;
use wmdetect::verdict::Verdict;

use crate::sample::is_zero;

/// The exact likelihood ratio of one text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct VerifyReport {
    /// The key's scheme.
    pub scheme: String,
    /// The key's public id. Of several keys, that of the one whose p is least.
    pub key_id: String,
    /// The model that read the text.
    pub model: VerifyModel,
    /// Name of the tokenizer that split the text; null where the input was token ids.
    pub tokenizer: Option<String>,
    /// Tokens of the prompt; 0 if it is not known.
    pub prompt_tokens: u64,
    /// Tokens of the text, without `<bos>`.
    pub tokens: u64,
    /// Those that were read: all, unless reading ended early.
    pub read_tokens: u64,
    /// Those that count: complete context, not seen before in prompt and text.
    pub scored_tokens: u64,
    /// The statistic.
    pub detector: VerifyDetector,
    /// ln of the greatest e-value on the way through the text, at least 0.
    pub ln_e: f64,
    /// The most that it could have become under any key.
    pub ln_ceiling: f64,
    /// log₁₀ p of the text-only likelihood ratio, where the prompt is not known and the whole text was read; else null.
    pub log10_p_text: Option<f64>,
    /// The p-value that decides: e^−`ln_e`; without the prompt twice the lesser of that and the text-only p-value; or the
    /// rank among random keys; times `channels_tried` or else `keys_tried`, and `forms_tried`. Never below the smallest normal `f64`.
    pub p_value: f64,
    /// log₁₀ of it.
    pub log10_p: f64,
    /// What it promises: `conservative`, `exact` for the rank where one key was tried on one form, `approximate` for a compatible scheme.
    pub p_kind: PKind,
    /// How many random keys the text was judged under as well; 0 without `--monte-carlo`.
    pub random_keys: u64,
    /// (1 + those with at least the key's evidence) / (`random_keys` + 1); null without `--monte-carlo`.
    pub monte_carlo_p: Option<f64>,
    /// The level that the verdict holds p against.
    pub fpr: f64,
    /// The share of simulated marked texts with the same distributions that reach `fpr`, divided by these numbers.
    pub power: f64,
    /// The verdict; `too_short` if that share is below 0.9.
    pub verdict: Verdict,
    /// How the text was taken to be sampled.
    pub sampling: VerifySampling,
    /// The marked passages, in order; they have a family-wise error of their own, `fpr`.
    pub spans: Vec<VerifySpan>,
    /// What the reader should know before trusting the above.
    pub warnings: Vec<String>,
    /// The code of each of these sentences.
    #[serde(default)]
    pub warning_codes: Vec<WarningCode>,
    /// How many different keys were tried; absent if it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keys_tried: Option<u64>,
    /// The channel of the key that this is about; absent if the key has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<u16>,
    /// How many channels of the keys were tried, of all keys together; absent if each has one, or if the receipt names the
    /// channel. p is corrected for them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channels_tried: Option<u64>,
    /// How many forms of the text have different tokens (typographic characters kept, or made plain) and were tried;
    /// absent if it is one. The report is about the one with the least p.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forms_tried: Option<u64>,
    /// What was changed in the text before it was cut into tokens; absent if nothing was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub normalisation: Option<Changes>,
}

/// A model by name and digest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct VerifyModel {
    /// The name it was asked for by.
    pub name: String,
    /// What `wmgen inspect` prints; null for a model without files.
    pub fingerprint: Option<String>,
}

/// `gemma-3-270m (1f0c2a97)`.
impl fmt::Display for VerifyModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digest = self.fingerprint.as_deref();
        let short = digest.map_or("no fingerprint", |digest| digest.get(..8).unwrap_or(digest));
        write!(f, "{} ({short})", self.name)
    }
}

/// The statistic of [`VerifyReport`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
#[serde(rename_all = "snake_case")]
pub enum VerifyDetector {
    /// The likelihood ratio of [`wmdetect::model_ratio`].
    #[serde(rename = "exact_ratio")]
    ModelRatio,
}

/// Where the sampling settings come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SamplingSource {
    /// From a receipt.
    Receipt,
    /// From the caller.
    Given,
    /// Not known: e-values at several temperatures are averaged.
    Mixed,
}

/// The sampling settings that a text was read with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct VerifySampling {
    /// Where they come from.
    pub source: SamplingSource,
    /// The temperatures.
    pub temperatures: Vec<f64>,
    /// The share of each in the e-value; the largest is no estimate with a guarantee.
    pub shares: Vec<f64>,
    /// Candidates; 0 is all.
    pub top_k: u64,
    /// Their probability together.
    pub top_p: f64,
    /// Penalty of tokens that came up before.
    pub repeat_penalty: f32,
    /// What each time that a token came up in the text takes from its logit.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub frequency_penalty: f64,
    /// What it takes that a token came up in the text at all.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub presence_penalty: f64,
    /// The least share of the most likely token's probability.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub min_p: f64,
}

/// A marked passage.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct VerifySpan {
    /// First byte in the original text and the one after the last; null where the input was token ids.
    pub bytes: Option<[u64; 2]>,
    /// First token and the one after the last, from 0, the context of the first scored token included.
    pub tokens: [u64; 2],
    /// ln of the likelihood ratio over the passage.
    pub score: f64,
    /// p of the passage, corrected for all windows and temperatures; never below the smallest normal `f64`.
    pub p_value: f64,
    /// log₁₀ of it.
    pub log10_p: f64,
    /// The temperature that found it.
    pub temperature: f64,
}
