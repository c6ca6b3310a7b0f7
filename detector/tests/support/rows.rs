//! The JSON contract of the program: an added, renamed or missing field fails here. `docs/reference/json.md` describes them.

use serde::Deserialize;
use wmdetect::Verdict;
use wmdetect::report::WarningCode;
use wmdetect::statistics::{Method, PKind};

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    pub schema_version: u32,
    pub input: String,
    pub scheme: String,
    pub key_id: String,
    pub tokenizer: Option<String>,
    pub tokens: u64,
    pub scored_tokens: u64,
    pub detector: Method,
    pub score: Option<f64>,
    pub p_value: Option<f64>,
    pub log10_p: Option<f64>,
    pub p_kind: PKind,
    pub fpr: f64,
    pub verdict: Verdict,
    pub effective_tokens: Option<u64>,
    pub required_tokens: Option<u64>,
    pub scores: Option<Scores>,
    pub warnings: Vec<String>,
    pub warning_codes: Vec<WarningCode>,
    #[serde(default)]
    pub spans: Vec<Span>,
    pub keys_tried: Option<u64>,
    pub forms_tried: Option<u64>,
    pub normalisation: Option<Changes>,
    pub ignored_tokens: Option<u64>,
    pub signature: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scores {
    pub mean: Option<f64>,
    pub weighted_mean: Option<f64>,
    pub llr: Option<f64>,
    pub bayesian: Option<f64>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Span {
    pub bytes: Option<[u64; 2]>,
    pub tokens: [u64; 2],
    pub scored_tokens: u64,
    pub score: f64,
    pub p_value: f64,
    pub log10_p: f64,
    pub profile: String,
    pub key_id: String,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Changes {
    pub zero_width: u64,
    pub soft_hyphens: u64,
    pub bidi_controls: u64,
    pub variation_selectors: u64,
    pub tags: u64,
    pub controls: u64,
    pub composed: u64,
    pub spaces: u64,
    pub line_ends: u64,
    pub quotes: u64,
    pub dashes: u64,
    pub ellipses: u64,
    pub confusables: u64,
    pub markup: u64,
    pub invalid_utf8: u64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SegmentsReport {
    pub schema_version: u32,
    pub input: String,
    pub tokenizer: Option<String>,
    pub tokens: u64,
    pub scored_tokens: u64,
    pub p_kind: PKind,
    pub fpr: f64,
    pub keys_tried: u64,
    pub segments: Vec<Span>,
    pub warnings: Vec<String>,
    pub warning_codes: Vec<WarningCode>,
    pub forms_tried: Option<u64>,
    pub normalisation: Option<Changes>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attribution {
    pub schema_version: u32,
    pub input: String,
    pub tokenizer: Option<String>,
    pub tokens: u64,
    pub detector: Method,
    pub keys_tried: u64,
    pub fpr: f64,
    pub verdict: Verdict,
    pub keys: Vec<KeyReport>,
    pub runner_up: Option<KeyReport>,
    pub warnings: Vec<String>,
    pub warning_codes: Vec<WarningCode>,
    pub forms_tried: Option<u64>,
    pub normalisation: Option<Changes>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyReport {
    pub key_id: String,
    pub name: Option<String>,
    pub scheme: String,
    pub detector: Option<Method>,
    pub scored_tokens: u64,
    pub score: f64,
    pub p_value: f64,
    pub log10_p: f64,
    pub log10_p_alone: f64,
    pub p_kind: PKind,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CalibrationReport {
    pub schema_version: u32,
    pub scheme: String,
    pub key_id: String,
    pub tokenizer: Option<String>,
    pub detector: Method,
    pub fpr: f64,
    pub documents: u64,
    pub documents_given: Option<u64>,
    pub failed: u64,
    pub tokens: u64,
    pub scored_tokens: u64,
    pub ignored_tokens: u64,
    pub random_keys: u64,
    pub seed: u64,
    pub flagged: u64,
    pub random_flagged: Vec<u64>,
    pub keys_at_least: u64,
    pub rank_p: f64,
    pub worse_than_chance: bool,
    pub rate: Rate,
    pub buckets: Vec<Bucket>,
    pub shared: Shared,
    pub warnings: Vec<String>,
    pub warning_codes: Vec<WarningCode>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    pub key: f64,
    pub mean: f64,
    pub mean_interval: [f64; 2],
    pub keys_range: [f64; 2],
    pub expected: f64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bucket {
    pub from: u64,
    pub to: Option<u64>,
    pub documents: u64,
    pub flagged: u64,
    pub rate: Rate,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shared {
    pub least_documents: u64,
    pub ngrams: u64,
    pub scored_share: f64,
    pub passages_found: u64,
    pub passages: Vec<SharedPassage>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SharedPassage {
    pub text: Option<String>,
    pub tokens: Vec<u32>,
    pub documents: u64,
    pub score: f64,
    pub log10_p: f64,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttackReport {
    pub schema_version: u32,
    pub scheme: String,
    pub key_id: Option<String>,
    pub keys_tried: Option<u64>,
    pub tokenizer: Option<String>,
    pub detector: Method,
    pub p_kind: PKind,
    pub seed: u64,
    pub fprs: Vec<f64>,
    pub lengths: Vec<u64>,
    pub cluster: Option<String>,
    pub texts: u64,
    pub human_texts: u64,
    pub failed: u64,
    pub judged: u64,
    pub judged_of: Option<u64>,
    pub rows: Vec<AttackRow>,
    pub warnings: Vec<String>,
    pub warning_codes: Vec<WarningCode>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttackRow {
    pub edit: String,
    pub rate: Option<f64>,
    pub program: Option<String>,
    pub length: u64,
    pub marked: AttackSummary,
    pub human: AttackSummary,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttackSummary {
    pub texts: u64,
    pub clusters: u64,
    pub errors: u64,
    pub found: Vec<AttackFound>,
    pub median_log10_p: Option<f64>,
    pub words_kept: Option<f64>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttackFound {
    pub fpr: f64,
    pub texts: u64,
    pub share: Option<f64>,
    pub interval: Option<[f64; 2]>,
    pub design_effect: Option<f64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GValues {
    pub schema_version: u32,
    pub input: String,
    pub ngram_len: u32,
    pub depth: Option<u32>,
    pub g_bits: Option<Vec<String>>,
    pub uniforms: Option<Vec<f64>>,
    pub second_uniforms: Option<Vec<f64>>,
    pub green: Option<String>,
    pub mask: String,
    pub forms: Option<u64>,
    pub normalisation: Option<Changes>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ErrorRow {
    pub schema_version: u32,
    pub input: String,
    pub error: String,
}
