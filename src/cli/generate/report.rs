//! What `wmgen generate --json` prints.

use std::time::{Duration, Instant};

use serde::Serialize;
use wmdetect::scheme::{Key, Scheme};
use wmgen::generate::FinishReason;
use wmgen::sample::Sampling;

use super::super::model::Loaded;
use super::Draft;

/// One text: what `--json` prints, and the receipt that a verifier reads.
#[derive(Serialize)]
pub(super) struct Report {
    schema_version: u32,
    pub(super) text: String,
    /// Ids of the text.
    tokens: Vec<u32>,
    /// Ids of the prompt.
    prompt_tokens: Vec<u32>,
    finish_reason: FinishReason,
    watermark: WatermarkReport,
    sampling: SamplingReport,
    model: ModelReport,
    timing: Timing,
}

/// What was done, counted while it was done.
#[derive(Serialize)]
struct WatermarkReport {
    applied: bool,
    scheme: Option<&'static str>,
    key_id: Option<String>,
    ngram_len: Option<usize>,
    depth: Option<usize>,
    marked_tokens: usize,
    repeated_contexts: usize,
}

#[derive(Serialize)]
struct SamplingReport {
    temperature: f64,
    top_k: usize,
    top_p: f64,
    repeat_penalty: f32,
    seed: u64,
}

#[derive(Serialize)]
struct ModelReport {
    name: String,
    fingerprint: Option<String>,
    dtype: &'static str,
    softcap: bool,
}

/// Times of one prompt, which its texts share. The texts of other prompts share the time of decoding, too.
#[derive(Serialize, Clone, Copy)]
#[allow(clippy::struct_field_names)] // the unit is part of a JSON field's name
pub(super) struct Timing {
    prefill_s: f64,
    decode_s: f64,
    tokens_per_s: Option<f64>,
}

impl Timing {
    /// `decode` starts with the first token, which is the prompt's.
    pub(super) fn new(prefill: Duration, decode: (Instant, Instant), texts: &[Draft<'_>]) -> Self {
        let decode_s = (decode.1 - decode.0).as_secs_f64();
        let steps: usize = texts.iter().map(|text| text.tokens.len().saturating_sub(1)).sum();
        Self {
            prefill_s: prefill.as_secs_f64(),
            decode_s,
            tokens_per_s: (steps > 0 && decode_s > 0.0).then(|| steps as f64 / decode_s),
        }
    }
}

/// A row for a prompt that failed.
#[derive(Serialize)]
pub(super) struct ErrorReport {
    pub(super) schema_version: u32,
    pub(super) input: String,
    pub(super) error: String,
}

impl Report {
    pub(super) fn new(
        text: Draft<'_>,
        prompt_tokens: Vec<u32>,
        key: Option<&Key>,
        sampling: Sampling,
        loaded: &Loaded,
        timing: Timing,
    ) -> Self {
        let scheme = key.map(Key::scheme);
        let model = &loaded.model;
        Self {
            schema_version: 1,
            text: text.text,
            tokens: text.tokens,
            prompt_tokens,
            finish_reason: text.finished.unwrap_or(FinishReason::Interrupted),
            watermark: WatermarkReport {
                applied: text.marked > 0,
                scheme: scheme.map(Scheme::name),
                key_id: key.map(Key::id),
                ngram_len: scheme.map(Scheme::ngram_len),
                depth: scheme.map(Scheme::depth),
                marked_tokens: text.marked,
                repeated_contexts: text.repeated,
            },
            sampling: SamplingReport {
                temperature: sampling.temperature,
                top_k: sampling.top_k,
                top_p: sampling.top_p,
                repeat_penalty: sampling.repeat_penalty,
                seed: sampling.seed,
            },
            model: ModelReport {
                name: loaded.name.clone(),
                fingerprint: model.fingerprint().map(str::to_owned),
                dtype: model.dtype().as_str(),
                softcap: model.config().attn_softcap.is_some() || model.config().final_softcap.is_some(),
            },
            timing,
        }
    }
}
