//! Result of a benchmark: the object of `wmgen bench --json`.

use serde::{Deserialize, Serialize};

/// Speed of one model on one machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct BenchReport {
    /// Version of this structure: [`SCHEMA_VERSION`](wmdetect::report::SCHEMA_VERSION).
    pub schema_version: u32,
    /// Model that ran.
    pub model: BenchModel,
    /// Number of threads of the matrix products.
    pub threads: u64,
    /// Number of tokens in a prefill.
    pub prefill_tokens: u64,
    /// Number of tokens in a decode run.
    pub decode_tokens: u64,
    /// Number of runs of each kind, after one that does not count.
    pub repetitions: u64,
    /// Settings with which tokens were drawn.
    pub sampling: BenchSampling,
    /// Mark of the marked runs.
    pub watermark: BenchWatermark,
    /// Speed of reading all weights and doing nothing else.
    pub read: BenchRead,
    /// Results for each depth asked for.
    pub depths: Vec<BenchDepth>,
    /// Decoding with drafts, if asked for: with and without a mark, for each source of guesses.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub drafts: Vec<BenchDraft>,
    /// Largest resident memory of the process in bytes; null if the system does not report it.
    pub peak_resident_bytes: Option<u64>,
}

/// Model that ran.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct BenchModel {
    /// Name of the shape, or the source of the model.
    pub name: String,
    /// Storage format of most matrices.
    pub format: String,
    /// Whether the weights were made for the run.
    pub random: bool,
    /// Number of parameters of the model.
    pub parameters: u64,
    /// Number of bytes of the weights, all of which a decode step reads.
    pub weight_bytes: u64,
}

/// Settings with which tokens were drawn.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct BenchSampling {
    /// Temperature, as in a receipt of `wmgen generate`.
    pub temperature: f64,
    /// Number of most likely tokens to draw from; 0 is all.
    pub top_k: u64,
    /// Top-p, as in a receipt.
    pub top_p: f64,
}

/// Mark of the marked runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct BenchWatermark {
    /// Scheme of the key made for the run.
    pub scheme: String,
    /// Number of tournament layers.
    pub depth: u64,
    /// Context length plus one.
    pub ngram_len: u64,
}

/// Median and extremes over the repetitions.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Spread {
    /// Median: the middle value, or the mean of the two in the middle.
    pub median: f64,
    /// Smallest value.
    pub min: f64,
    /// Largest value.
    pub max: f64,
}

impl Spread {
    /// Returns the spread of at least one number; all 0 if there are none.
    pub fn of(values: &[f64]) -> Self {
        let mut sorted = values.to_vec();
        sorted.sort_unstable_by(f64::total_cmp);
        let (Some(&min), Some(&max)) = (sorted.first(), sorted.last()) else {
            return Self { median: 0.0, min: 0.0, max: 0.0 };
        };
        let half = sorted.len() / 2;
        let median =
            if sorted.len() % 2 == 1 { sorted[half] } else { f64::midpoint(sorted[half - 1], sorted[half]) };
        Self { median, min, max }
    }
}

/// Speed at which all threads read all weights, which limits a decode step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct BenchRead {
    /// Read rate in 10⁹ bytes per second.
    pub gigabytes_per_second: Spread,
    /// Tokens per second of a decode step that only reads the weights once, by the median.
    pub bound: f64,
}

/// Results at one depth.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct BenchDepth {
    /// Number of positions in the KV cache before each run.
    pub depth: u64,
    /// Prompt tokens per second.
    pub prefill: Spread,
    /// Results for each number of sequences asked for.
    pub decode: Vec<BenchDecode>,
}

/// Decoding of some sequences together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct BenchDecode {
    /// Number of sequences that share each pass over the weights.
    pub sequences: u64,
    /// Tokens per second of all sequences without a mark, including sampling.
    pub plain: Spread,
    /// Tokens per second with the mark.
    pub marked: Spread,
    /// Steps per second without a mark, as a share of the bound, by the medians.
    pub share_of_bound: f64,
    /// Microseconds of sampling per token, from logits to a distribution, and the draw; median over the marked
    /// runs.
    pub sampling_microseconds: f64,
    /// Microseconds of the mark per token: hashes, tournament, and keeping the history; median over marked
    /// positions.
    pub mark_microseconds: f64,
    /// Share of the time that the mark takes, by the medians.
    pub mark_share: f64,
}

/// Decoding of the same texts with and without drafts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct BenchDraft {
    /// Source of guesses: `prompt`, the draft model's name, or `simulated`.
    pub draft: String,
    /// For simulated guesses, the probability that one is right; null otherwise.
    pub stated_acceptance: Option<f64>,
    /// For simulated guesses, the time of one as a share of a step without drafts; null otherwise.
    pub stated_cost: Option<f64>,
    /// Whether the texts carry the mark.
    pub marked: bool,
    /// Maximum number of texts that decode together.
    pub sequences: u64,
    /// Number of texts in a run.
    pub texts: u64,
    /// Tokens per second of all texts without drafts.
    pub without: Spread,
    /// Tokens per second with drafts.
    pub with: Spread,
    /// Tokens per second with drafts, divided by those without drafts in the same turn.
    pub gain: Spread,
    /// Share of guesses that were right; 0 if there were none.
    pub acceptance: f64,
    /// Mean number of tokens that a pass over the weights gives a text.
    pub tokens_per_pass: f64,
}
