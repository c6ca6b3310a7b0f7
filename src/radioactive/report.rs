//! The JSON of `wmgen radioactive`.

use serde::Serialize;
use wmdetect::statistics::PKind;

use super::Excluded;
use crate::respond::ModelReceipt;

/// What was found.
#[derive(Clone, Debug, Serialize)]
pub struct RadioactiveReport {
    /// 1.
    pub schema_version: u32,
    /// The student.
    pub student: ModelReceipt,
    /// Documents that it read.
    pub documents: u64,
    /// Tokens of their answers, each a position with a first choice.
    pub positions: u64,
    /// Whether the corpus is said not to depend on the key.
    pub unmarked: bool,
    /// The public id of the key with the least p.
    pub key_id: String,
    /// Keys that were tried.
    pub keys_tried: u64,
    /// Its p, times the number of keys; null where no pair counts.
    pub p_value: Option<f64>,
    /// Its logarithm to base 10.
    pub log10_p: Option<f64>,
    /// What p promises.
    pub p_kind: PKind,
    /// The rate of the verdict.
    pub fpr: f64,
    /// What p means at that rate.
    pub verdict: Verdict,
    /// Each key.
    pub keys: Vec<KeyReport>,
    /// What to know before the numbers are used.
    pub warnings: Vec<String>,
}

/// What p means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// p is at most the rate.
    Radioactive,
    /// p is above the rate.
    NotDetected,
}

/// One key.
#[derive(Clone, Debug, Serialize)]
pub struct KeyReport {
    /// Its public id.
    pub key_id: String,
    /// Its scheme.
    pub scheme: &'static str,
    /// Its channels, whose values are summed.
    pub channels: u16,
    /// Pairs of context and first choice that count.
    pub pairs: u64,
    /// Those whose choice is the token that the corpus has there.
    pub agreeing: u64,
    /// Positions that do not count.
    pub excluded: Excluded,
    /// Share of ones among the g-values of the choices, early layers weighing more; null of no pair.
    pub score: Option<f64>,
    /// p, of this key alone.
    pub p_value: Option<f64>,
    /// Its logarithm to base 10.
    pub log10_p: Option<f64>,
    /// What p promises.
    pub p_kind: PKind,
    /// Whether the corpus itself carries the mark: the logarithm to base 10 of the p of its own tokens in the same contexts.
    pub corpus_log10_p: Option<f64>,
    /// Random keys in the place of this one; absent unless asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub control: Option<Control>,
}

/// p under random keys.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Control {
    /// Their number.
    pub keys: u64,
    /// What they follow from.
    pub seed: u64,
    /// The largest distance of the p-values' distribution from the uniform one (Kolmogorov and Smirnov).
    pub distance: f64,
    /// The p-value of that distance.
    pub ks_p: f64,
    /// How many p-values are at most the rate.
    pub at_most_fpr: u64,
    /// The p-values, in ascending order.
    pub p_values: Vec<f64>,
}
