//! The values of one text, to check this program against another.

use serde::{Deserialize, Serialize};

use super::Changes;

/// What [`Detector::g_values`](crate::Detector::g_values) says of one text, in the form as it was given.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct GValues {
    /// Length of the longest context plus the token itself, H + 1.
    pub ngram_len: u32,
    /// Index of the first position that has values. It is H, or less under the rule of the shortest contexts or where
    /// contexts begin before the text. A shorter text has no values.
    #[serde(skip)]
    pub first: u32,
    /// Layers m; absent if the scheme is not a tournament.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub depth: Option<u32>,
    /// The channel of the key; absent if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<u16>,
    /// One digit for each position from the shortest context's length on: how many tokens its context has, or `0` if
    /// all contexts are taken. Absent if all contexts have H tokens (H = `ngram_len` − 1).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context_lens: Option<String>,
    /// One string for each position from H on, or for each of `context_lens`: `depth` times `0` or `1`, layer 0 first. Absent if
    /// the scheme is not a tournament.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub g_bits: Option<Vec<String>>,
    /// The number of each position, in [0, 1): the lower edge of the cell that the engine's own number lies in. Only
    /// schemes that draw by such numbers have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uniforms: Option<Vec<f64>>,
    /// The numbers of the second key, if the scheme has two.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub second_uniforms: Option<Vec<f64>>,
    /// One character for each position, `1` where its token is green. Only green lists have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub green: Option<String>,
    /// One character for each of these positions, `1` where it is scored. For the compatible schemes that is as in the
    /// reference implementation.
    pub mask: String,
    /// How much each of these positions counts in the weighted mean, in thirds: `0` to `3`. Absent if all positions of
    /// the scheme count wholly.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shares: Option<String>,
    /// How many forms of the text have different tokens; they differ in their typographic characters. `None` if it is
    /// one. [`Detector::score`](crate::Detector::score) tries each of them. These values are those of the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forms: Option<u64>,
    /// What was changed in the text before it was cut into tokens; `None` if nothing was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub normalisation: Option<Changes>,
}
