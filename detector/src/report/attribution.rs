//! Which of many keys.

use serde::{Deserialize, Serialize};

use super::{Changes, Warning};
use crate::statistics::{Method, PKind};
use crate::verdict::Verdict;

fn weighted_mean() -> Method {
    Method::WeightedMean
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
fn is_weighted_mean(method: &Method) -> bool {
    *method == Method::WeightedMean
}

/// What one of many keys makes of a text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct KeyReport {
    /// The key's public id.
    pub key_id: String,
    /// The channel in which its evidence is strongest; absent if the key has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<u16>,
    /// Its label in a ring of derived keys, its file's name in one of a directory, or all names of a key in several files;
    /// null otherwise.
    pub name: Option<String>,
    /// Its scheme.
    pub scheme: String,
    /// The statistic, the usual one of its scheme.
    #[serde(default = "weighted_mean", skip_serializing_if = "is_weighted_mean")]
    pub detector: Method,
    /// Tokens that count under its scheme.
    pub scored_tokens: u64,
    /// The statistic over them, as in [`Report::score`](super::Report::score).
    pub score: f64,
    /// p, corrected for the number of keys and of forms; never below the smallest normal `f64`.
    pub p_value: f64,
    /// log₁₀ of it.
    pub log10_p: f64,
    /// log₁₀ p as if this key alone had been tried.
    pub log10_p_alone: f64,
    /// What the p-value promises.
    pub p_kind: PKind,
}

/// What [`Detector::attribute`](crate::Detector::attribute) says of one text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Attribution {
    /// Name of the tokenizer that split the text; null where the input was token ids.
    pub tokenizer: Option<String>,
    /// Tokens of the text.
    pub tokens: u64,
    /// The usual statistic of the scheme of the key with the least p.
    pub detector: Method,
    /// K: the different keys that could have been named.
    pub keys_tried: u64,
    /// How many channels of the keys were tried, of all keys together; absent if each has one. p is corrected for them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channels_tried: Option<u64>,
    /// The probability that a key is named which did not mark the text is at most this.
    pub fpr: f64,
    /// `watermarked`: by the keys below. Otherwise none of the keys is named.
    pub verdict: Verdict,
    /// The keys whose corrected p is at most `fpr`, least p first; empty means none.
    pub keys: Vec<KeyReport>,
    /// The key with the least p among the others; null where there are no others or nothing is scored.
    pub runner_up: Option<KeyReport>,
    /// As in [`Report`](super::Report).
    #[serde(flatten, with = "crate::warning")]
    pub warnings: Vec<Warning>,
    /// How many forms of the text have different tokens (typographic characters kept, or made plain) and were tried;
    /// absent if it is one. p is corrected for them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forms_tried: Option<u64>,
    /// What was changed in the text before it was cut into tokens; absent if nothing was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub normalisation: Option<Changes>,
}
