//! What a benchmark measured: the object of `wmgen bench --json`.

use serde::{Deserialize, Serialize};

/// The speed of one model on one machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct BenchReport {
    /// [`SCHEMA_VERSION`](wmdetect::report::SCHEMA_VERSION).
    pub schema_version: u32,
    /// What ran.
    pub model: BenchModel,
    /// Threads of the matrix products.
    pub threads: u64,
    /// Tokens of a prefill.
    pub prefill_tokens: u64,
    /// Tokens of a decode run.
    pub decode_tokens: u64,
    /// Runs of each kind, after one that does not count.
    pub repetitions: u64,
    /// How tokens were drawn.
    pub sampling: BenchSampling,
    /// The mark of the marked runs.
    pub watermark: BenchWatermark,
    /// A read of all weights, and nothing else.
    pub read: BenchRead,
    /// One entry for each depth asked for.
    pub depths: Vec<BenchDepth>,
    /// Decoding with drafts, if that was asked for: without a mark and with one, for each source of guesses.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub drafts: Vec<BenchDraft>,
    /// The most memory that the process had resident; null where the system does not say.
    pub peak_resident_bytes: Option<u64>,
}

/// The model that ran.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct BenchModel {
    /// A shape's name, or where the model came from.
    pub name: String,
    /// How most matrices are stored.
    pub format: String,
    /// Whether the weights were made for the run.
    pub random: bool,
    /// Numbers of the model.
    pub parameters: u64,
    /// Bytes of the weights, all of which a decode step reads.
    pub weight_bytes: u64,
}

/// How tokens were drawn.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct BenchSampling {
    /// As in a receipt of `wmgen generate`.
    pub temperature: f64,
    /// Candidates; 0 is all.
    pub top_k: u64,
    /// As in a receipt.
    pub top_p: f64,
}

/// The mark of the marked runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct BenchWatermark {
    /// The scheme of a key made for the run.
    pub scheme: String,
    /// Layers.
    pub depth: u64,
    /// Context length plus one.
    pub ngram_len: u64,
}

/// Median and extremes over the repetitions.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Spread {
    /// The middle one, or the mean of the two in the middle.
    pub median: f64,
    /// The least.
    pub min: f64,
    /// The greatest.
    pub max: f64,
}

impl Spread {
    /// Of at least one number; all 0 for none.
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

/// A read of all weights by all threads, which bounds a decode step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct BenchRead {
    /// 10⁹ bytes a second.
    pub gigabytes_per_second: Spread,
    /// Tokens a second of a decode step that did nothing but read the weights once, by the median.
    pub bound: f64,
}

/// One depth.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct BenchDepth {
    /// Positions in the cache before each run.
    pub depth: u64,
    /// Prompt tokens a second.
    pub prefill: Spread,
    /// One entry for each number of sequences asked for.
    pub decode: Vec<BenchDecode>,
}

/// Decoding of some sequences together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct BenchDecode {
    /// Sequences that share each pass over the weights.
    pub sequences: u64,
    /// Tokens a second of all sequences without a mark, sampling included.
    pub plain: Spread,
    /// Tokens a second with it.
    pub marked: Spread,
    /// Share of the bound that decoding without a mark reaches, by the medians: of steps a second.
    pub share_of_bound: f64,
    /// Microseconds of a token's sampling, from logits to a distribution and the draw; median over the marked runs.
    pub sampling_microseconds: f64,
    /// Microseconds of a token's mark: hashes, tournament, and keeping the history; median over marked positions.
    pub mark_microseconds: f64,
    /// The mark's share of the time, by the medians.
    pub mark_share: f64,
}

/// Decoding of the same texts with drafts and without.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct BenchDraft {
    /// Where guesses come from: `prompt`, the draft model's name, or `simulated`.
    pub draft: String,
    /// Of simulated guesses the probability that one is right; null otherwise.
    pub stated_acceptance: Option<f64>,
    /// Of simulated guesses the time of one as a share of a step without drafts; null otherwise.
    pub stated_cost: Option<f64>,
    /// Whether the texts carry the mark.
    pub marked: bool,
    /// The most texts that decode together.
    pub sequences: u64,
    /// Texts of a run.
    pub texts: u64,
    /// Tokens a second of all texts without drafts.
    pub without: Spread,
    /// Tokens a second with drafts.
    pub with: Spread,
    /// Tokens a second with drafts over those without, in one turn.
    pub gain: Spread,
    /// Guesses that were right over those that were made; 0 if none was.
    pub acceptance: f64,
    /// Tokens that a pass over the weights gives a text.
    pub tokens_per_pass: f64,
}
