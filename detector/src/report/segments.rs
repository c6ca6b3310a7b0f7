//! Marked passages.

use serde::{Deserialize, Serialize};

use super::{Changes, Warning};
use crate::statistics::PKind;

/// A passage that carries a key's mark. With family-wise error `fpr`, every reported passage meets marked text or
/// repeats one that does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Span {
    /// First byte in the original text and the one after the last; null if the input was token ids.
    pub bytes: Option<[u64; 2]>,
    /// First token and the one after the last, counted from 0. The context of the first scored token is included.
    pub tokens: [u64; 2],
    /// Scored tokens of the window that was found in the passage, which may reach beyond it; 0 for a repetition of another
    /// passage.
    pub scored_tokens: u64,
    /// ln of the likelihood ratio over that window, in nats; 0 for a repetition.
    pub score: f64,
    /// p of the passage, or of the one that it repeats, corrected for all windows, profiles, keys, channels and forms.
    /// It is never below the smallest normal `f64`.
    pub p_value: f64,
    /// log₁₀ p, finite also where `p_value` is at its floor.
    pub log10_p: f64,
    /// The profile that found it.
    pub profile: String,
    /// The key that found it.
    pub key_id: String,
    /// The channel of the key in which it was found; absent if the key has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<u16>,
}

/// What [`Detector::segments`](crate::Detector::segments) says of one text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct SegmentsReport {
    /// Name of the tokenizer that split the text; null if the input was token ids.
    pub tokenizer: Option<String>,
    /// Tokens of the text.
    pub tokens: u64,
    /// Number of tokens that count, under `synthid-sha256-v2` at least two thirds. With several keys, the largest number
    /// over the keys.
    pub scored_tokens: u64,
    /// What the passages' p-values promise.
    pub p_kind: PKind,
    /// The family-wise error: the share of unmarked texts that may have any passage.
    pub fpr: f64,
    /// How many keys were tried.
    pub keys_tried: u64,
    /// The passages, in order of the text; those of one key and channel do not overlap.
    pub segments: Vec<Span>,
    /// The warnings, as in [`Report`](super::Report).
    #[serde(flatten, with = "crate::warning")]
    #[cfg_attr(feature = "schema", schemars(with = "crate::warning::Written<'static>"))]
    pub warnings: Vec<Warning>,
    /// How many channels of all keys together were tried; absent if each key has one. Each p is corrected for them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channels_tried: Option<u64>,
    /// How many forms of the text with different tokens were tried; they differ in their typographic characters. Absent
    /// if it is one. p is corrected for them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forms_tried: Option<u64>,
    /// What was changed in the text before it was cut into tokens; absent if nothing was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub normalisation: Option<Changes>,
}
