//! The JSON contract of `docs/reference/json.md`: an added, renamed or missing field fails here.

use std::collections::BTreeMap;

use serde::Deserialize;
use wmdetect::statistics::PKind;
use wmdetect::verdict::Verdict;
use wmgen::verify::SamplingSource;

/// `wmgen generate --json`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    pub schema_version: u32,
    pub text: String,
    pub tokens: Vec<u32>,
    pub prompt_tokens: Vec<u32>,
    pub finish_reason: String,
    pub watermark: Watermark,
    pub sampling: Sampling,
    pub model: Model,
    pub timing: Timing,
    pub warnings: Vec<String>,
    pub warning_codes: Vec<String>,
    pub id: Option<serde_json::Value>,
    pub line: Option<u64>,
    pub index: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Watermark {
    pub applied: bool,
    pub scheme: Option<String>,
    pub key_id: Option<String>,
    pub ngram_len: Option<usize>,
    pub depth: Option<usize>,
    pub marked_tokens: usize,
    pub repeated_contexts: usize,
    pub entropy_bits: f64,
    pub expected_evidence: f64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sampling {
    pub temperature: f64,
    pub top_k: usize,
    pub top_p: f64,
    pub repeat_penalty: f64,
    pub seed: u64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    pub name: String,
    pub fingerprint: String,
    pub dtype: String,
    pub softcap: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(clippy::struct_field_names)]
pub struct Timing {
    pub prefill_s: f64,
    pub decode_s: f64,
    pub tokens_per_s: Option<f64>,
}

/// `wmgen verify --json`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VerifyReport {
    pub schema_version: u32,
    pub input: String,
    pub scheme: String,
    pub key_id: String,
    pub model: VerifyModel,
    pub tokenizer: Option<String>,
    pub prompt_tokens: u64,
    pub tokens: u64,
    pub read_tokens: u64,
    pub scored_tokens: u64,
    pub detector: String,
    pub ln_e: f64,
    pub ln_ceiling: f64,
    pub log10_p_text: Option<f64>,
    pub power: f64,
    pub p_value: f64,
    pub log10_p: f64,
    pub p_kind: PKind,
    pub random_keys: u64,
    pub monte_carlo_p: Option<f64>,
    pub fpr: f64,
    pub verdict: Verdict,
    pub sampling: VerifySampling,
    pub spans: Vec<VerifySpan>,
    pub warnings: Vec<String>,
    pub warning_codes: Vec<String>,
    pub keys_tried: Option<u64>,
    pub forms_tried: Option<u64>,
    pub normalisation: Option<BTreeMap<String, u64>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VerifyModel {
    pub name: String,
    pub fingerprint: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VerifySampling {
    pub source: SamplingSource,
    pub temperatures: Vec<f64>,
    pub shares: Vec<f64>,
    pub top_k: u64,
    pub top_p: f64,
    pub repeat_penalty: f64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VerifySpan {
    pub bytes: Option<[u64; 2]>,
    pub tokens: [u64; 2],
    pub score: f64,
    pub p_value: f64,
    pub log10_p: f64,
    pub temperature: f64,
}

/// `wmgen radioactive --json`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Radioactive {
    pub schema_version: u32,
    pub student: Model,
    pub documents: u64,
    pub positions: u64,
    pub unmarked: bool,
    pub key_id: String,
    pub keys_tried: u64,
    pub p_value: Option<f64>,
    pub log10_p: Option<f64>,
    pub p_kind: PKind,
    pub fpr: f64,
    pub verdict: String,
    pub keys: Vec<RadioactiveKey>,
    pub warnings: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RadioactiveKey {
    pub key_id: String,
    pub scheme: String,
    pub channels: u16,
    pub pairs: u64,
    pub agreeing: u64,
    pub excluded: ExcludedPositions,
    pub score: Option<f64>,
    pub p_value: Option<f64>,
    pub log10_p: Option<f64>,
    pub p_kind: PKind,
    pub corpus_log10_p: Option<f64>,
    pub control: Option<Control>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExcludedPositions {
    pub incomplete_context: u64,
    pub repeated_context: u64,
    pub earlier_document: u64,
    pub beyond_pairs: u64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Control {
    pub keys: u64,
    pub seed: u64,
    pub distance: f64,
    pub ks_p: f64,
    pub at_most_fpr: u64,
    pub p_values: Vec<f64>,
}

/// `wmgen bench --json`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BenchReport {
    pub schema_version: u32,
    pub model: BenchModel,
    pub threads: u64,
    pub prefill_tokens: u64,
    pub decode_tokens: u64,
    pub repetitions: u64,
    pub sampling: BenchSampling,
    pub watermark: BenchWatermark,
    pub read: BenchRead,
    pub depths: Vec<BenchDepth>,
    #[serde(default)]
    pub drafts: Vec<BenchDraft>,
    pub peak_resident_bytes: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BenchModel {
    pub name: String,
    pub format: String,
    pub random: bool,
    pub parameters: u64,
    pub weight_bytes: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BenchSampling {
    pub temperature: f64,
    pub top_k: u64,
    pub top_p: f64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BenchWatermark {
    pub scheme: String,
    pub depth: u64,
    pub ngram_len: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spread {
    pub median: f64,
    pub min: f64,
    pub max: f64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BenchRead {
    pub gigabytes_per_second: Spread,
    pub bound: f64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BenchDepth {
    pub depth: u64,
    pub prefill: Spread,
    pub decode: Vec<BenchDecode>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BenchDecode {
    pub sequences: u64,
    pub plain: Spread,
    pub marked: Spread,
    pub share_of_bound: f64,
    pub sampling_microseconds: f64,
    pub mark_microseconds: f64,
    pub mark_share: f64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BenchDraft {
    pub draft: String,
    pub stated_acceptance: Option<f64>,
    pub stated_cost: Option<f64>,
    pub marked: bool,
    pub sequences: u64,
    pub texts: u64,
    pub without: Spread,
    pub with: Spread,
    pub gain: Spread,
    pub acceptance: f64,
    pub tokens_per_pass: f64,
}

/// `wmgen perplexity --json`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(clippy::struct_field_names)]
pub struct Perplexity {
    pub schema_version: u32,
    pub tokens: usize,
    pub mean_nll: f64,
    pub perplexity: f64,
    pub window: usize,
    pub stride: usize,
    pub windows: usize,
    pub token_logprobs: Vec<f64>,
}

/// `wmgen inspect --json`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Inspected {
    pub schema_version: u32,
    pub model: String,
    pub architecture: String,
    pub fingerprint: String,
    pub parameters: u64,
    pub file_bytes: u64,
    pub formats: BTreeMap<String, FormatCount>,
    pub vocab: usize,
    pub hidden: usize,
    pub layers: usize,
    pub local_layers: usize,
    pub global_layers: usize,
    pub window: Option<usize>,
    pub context: usize,
    pub heads: usize,
    pub kv_heads: usize,
    pub head_dim: usize,
    pub query_pre_attn_scalar: f64,
    pub attn_logit_softcapping: Option<f64>,
    pub final_logit_softcapping: Option<f64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FormatCount {
    pub tensors: usize,
    pub numbers: u64,
}

/// `wmgen key show --json`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShownKey {
    pub schema_version: u32,
    pub key_id: String,
    pub scheme: String,
    pub depth: usize,
    pub ngram_len: usize,
    pub label: Option<String>,
    pub tokenizer: Option<KeyTokenizer>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyTokenizer {
    pub name: String,
    pub fingerprint: String,
    pub rules: Option<String>,
}

/// `training.json` of `wmgen train`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Training {
    pub schema_version: u32,
    pub parameters: usize,
    pub settings: TrainingSettings,
    pub steps: u64,
    pub tokens: u64,
    pub epochs: f64,
    pub train_tokens: usize,
    pub train_bytes: usize,
    pub held_out_tokens: usize,
    pub held_out_bytes: usize,
    pub seconds: f64,
    pub loss: Option<f64>,
    pub held_out: f64,
    pub held_out_scored: u64,
    pub perplexity: f64,
    pub bits_per_byte: f64,
    pub points: Vec<TrainingPoint>,
    pub changes: Vec<(u64, u64)>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainingSettings {
    pub steps: u64,
    pub batch: usize,
    pub micro_batch: usize,
    pub context: usize,
    pub learning_rate: f64,
    pub floor: f64,
    pub warmup: u64,
    pub optimizer: Optimizer,
    pub init_std: f64,
    pub seed: u64,
    pub eval_every: u64,
    pub eval_rows: usize,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Optimizer {
    pub beta1: f64,
    pub beta2: f64,
    pub eps: f64,
    pub weight_decay: f64,
    pub clip: f64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainingPoint {
    pub step: u64,
    pub tokens: u64,
    pub loss: f64,
    pub held_out: f64,
    pub rate: f64,
}

/// `wmgen eval --json`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvalReport {
    pub schema_version: u32,
    pub conventions: String,
    pub model: Model,
    pub rounded: bool,
    pub tasks: Vec<EvalTask>,
    pub warnings: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvalTask {
    pub task: String,
    pub kind: String,
    pub shots: usize,
    pub documents: usize,
    pub truncated: usize,
    pub sampling: Option<Sampling>,
    pub watermark: Option<EvalMark>,
    pub metrics: Vec<EvalMetric>,
    pub comparison: Option<EvalComparison>,
    pub groups: Vec<EvalTask>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvalMark {
    pub key_ids: Vec<String>,
    pub tokens: u64,
    pub marked_tokens: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvalMetric {
    pub metric: String,
    pub filter: Option<String>,
    pub value: Option<f64>,
    pub stderr: Option<f64>,
    pub documents: usize,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvalComparison {
    pub runs: Vec<EvalRun>,
    pub metrics: Vec<EvalCompared>,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvalRun {
    pub key_id: String,
    pub seed: u64,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvalCompared {
    pub metric: String,
    pub filter: Option<String>,
    pub difference: Option<EvalDifference>,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvalDifference {
    pub documents: usize,
    pub unmarked: f64,
    pub marked: f64,
    pub difference: f64,
    pub stderr: f64,
    pub degrees: f64,
    pub interval: [f64; 2],
    pub margin: f64,
    pub interval_of_tests: [f64; 2],
    pub p_equivalence: f64,
    pub equivalent: bool,
    pub different: bool,
    pub runs: Vec<f64>,
}
