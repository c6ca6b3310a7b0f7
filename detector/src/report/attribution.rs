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

/// The result of a text under one of many keys.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct KeyReport {
    /// The key's public id.
    pub key_id: String,
    /// The channel in which its evidence is strongest; absent if the key has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<u16>,
    /// Its label in a ring of derived keys, or its file's name in a ring of a directory. A key in several files has all
    /// their names. Null otherwise.
    pub name: Option<String>,
    /// Its scheme.
    pub scheme: String,
    /// The usual statistic of its scheme.
    #[serde(default = "weighted_mean", skip_serializing_if = "is_weighted_mean")]
    pub detector: Method,
    /// Tokens that count under its scheme.
    pub scored_tokens: u64,
    /// The statistic over them, as in [`Report::score`](super::Report::score).
    pub score: f64,
    /// p, corrected for the number of keys, channels and forms; never below the smallest normal `f64`.
    pub p_value: f64,
    /// log₁₀ p, finite also where `p_value` is at its floor.
    pub log10_p: f64,
    /// log₁₀ p as if this key alone had been tried.
    pub log10_p_alone: f64,
    /// What the p-value promises.
    pub p_kind: PKind,
}

/// What [`Detector::attribute`](crate::Detector::attribute) says of one text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Attribution {
    /// Name of the tokenizer that split the text; null if the input was token ids.
    pub tokenizer: Option<String>,
    /// Tokens of the text.
    pub tokens: u64,
    /// The usual statistic of the scheme of the key with the least p.
    pub detector: Method,
    /// K, the number of different keys that could have been named.
    pub keys_tried: u64,
    /// How many channels of all keys together were tried; absent if each key has one. p is corrected for them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channels_tried: Option<u64>,
    /// Upper bound of the probability that a key is named which did not mark the text.
    pub fpr: f64,
    /// `watermarked` if the keys below marked the text. Otherwise no key is named.
    pub verdict: Verdict,
    /// The keys whose corrected p is at most `fpr`, least p first; empty if there are none.
    pub keys: Vec<KeyReport>,
    /// The key with the least p among the others; null if there are no others or if nothing is scored.
    pub runner_up: Option<KeyReport>,
    /// The warnings, as in [`Report`](super::Report).
    #[serde(flatten, with = "crate::warning")]
    #[cfg_attr(feature = "schema", schemars(with = "crate::warning::Written<'static>"))]
    pub warnings: Vec<Warning>,
    /// How many forms of the text with different tokens were tried; they differ in their typographic characters. Absent
    /// if it is one. p is corrected for them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forms_tried: Option<u64>,
    /// What was changed in the text before it was cut into tokens; absent if nothing was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub normalisation: Option<Changes>,
}
