//! JSON of `wmgen radioactive`.

use serde::Serialize;
use wmdetect::statistics::PKind;

use super::Excluded;
use crate::respond::ModelReceipt;

/// Report of a test for radioactivity.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct RadioactiveReport {
    /// Version of this structure: 1.
    pub schema_version: u32,
    /// The student, which is the suspected model.
    pub student: ModelReceipt,
    /// Number of documents that it read.
    pub documents: u64,
    /// Number of tokens in their answers, each a position with a first choice.
    pub positions: u64,
    /// Whether the user says that the corpus does not depend on the key.
    pub unmarked: bool,
    /// Public id of the key with the smallest p.
    pub key_id: String,
    /// Number of keys that were tried.
    pub keys_tried: u64,
    /// p of that key, times the number of keys; null if no pair counts.
    pub p_value: Option<f64>,
    /// Its logarithm to base 10.
    pub log10_p: Option<f64>,
    /// Guarantee for p.
    pub p_kind: PKind,
    /// Rate for the verdict.
    pub fpr: f64,
    /// Verdict at that rate.
    pub verdict: Verdict,
    /// Reports on the keys.
    pub keys: Vec<KeyReport>,
    /// What to know before using the numbers.
    pub warnings: Vec<String>,
}

/// Meaning of p.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// p is at most the rate.
    Radioactive,
    /// p is above the rate.
    NotDetected,
}

/// Report on one key.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct KeyReport {
    /// Public id of the key.
    pub key_id: String,
    /// Scheme of the key.
    pub scheme: &'static str,
    /// Number of channels, whose values are summed.
    pub channels: u16,
    /// Number of pairs of context and first choice that count.
    pub pairs: u64,
    /// Number of those whose choice is the token that the corpus has there.
    pub agreeing: u64,
    /// Positions that do not count.
    pub excluded: Excluded,
    /// Share of ones among the g-values of the choices, with a larger weight for early layers; null if no pair counts.
    pub score: Option<f64>,
    /// p for this key alone.
    pub p_value: Option<f64>,
    /// Its logarithm to base 10.
    pub log10_p: Option<f64>,
    /// Guarantee for p.
    pub p_kind: PKind,
    /// Tells whether the corpus itself carries the mark: the logarithm to base 10 of the p of its tokens in the same
    /// contexts.
    pub corpus_log10_p: Option<f64>,
    /// Results of random keys in place of this one; absent unless asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub control: Option<Control>,
}

/// p under random keys.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Control {
    /// Number of random keys.
    pub keys: u64,
    /// Seed of the random keys.
    pub seed: u64,
    /// Largest distance of the p-values' distribution from the uniform distribution (Kolmogorov and Smirnov).
    pub distance: f64,
    /// p-value of that distance.
    pub ks_p: f64,
    /// Number of p-values that are at most the rate.
    pub at_most_fpr: u64,
    /// The p-values, in ascending order.
    pub p_values: Vec<f64>,
}
