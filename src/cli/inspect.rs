//! `wmgen inspect`.

use std::collections::BTreeMap;
use std::fmt::Write;

use anyhow::Result;
use schemars::JsonSchema;
use serde::Serialize;
use wmdetect::shell::OneLine;

use super::args::InspectArgs;
use super::{model, print, print_json};

#[derive(Serialize, JsonSchema)]
pub(super) struct Report {
    /// Version of this object, 1.
    schema_version: u32,
    /// The model as given.
    model: String,
    /// `gemma2` or `gemma3`.
    architecture: &'static str,
    /// Digest of the files, 64 hexadecimal digits.
    fingerprint: String,
    /// Numbers of the model.
    parameters: u64,
    /// Size of its files.
    file_bytes: u64,
    /// For each storage format how much is stored in it.
    formats: BTreeMap<&'static str, FormatReport>,
    /// Size of the vocabulary.
    vocab: usize,
    /// Width of a position.
    hidden: usize,
    /// Number of layers.
    layers: usize,
    /// Number of layers that see a window.
    local_layers: usize,
    /// Number of layers that see the whole context.
    global_layers: usize,
    /// Positions that a local layer sees; null without local layers.
    window: Option<usize>,
    /// Largest number of positions.
    context: usize,
    /// Number of query heads.
    heads: usize,
    /// Number of key and value heads.
    kv_heads: usize,
    /// Width of a head.
    head_dim: usize,
    /// Attention scores are divided by its square root.
    query_pre_attn_scalar: f64,
    /// Soft cap of attention scores; null without one.
    attn_logit_softcapping: Option<f64>,
    /// Soft cap of logits; null without one.
    final_logit_softcapping: Option<f64>,
}

#[derive(Serialize, JsonSchema)]
struct FormatReport {
    /// Number of tensors.
    tensors: usize,
    /// Numbers in them.
    numbers: u64,
}

pub(super) fn run(args: &InspectArgs) -> Result<()> {
    let place = model::Place::of(args.model.as_deref())?;
    let summary = place.summary()?;
    let c = &summary.config;
    let report = Report {
        schema_version: 1,
        model: args.model.clone().filter(|_| place.path().is_some()).unwrap_or_else(|| place.name()),
        architecture: c.architecture.name(),
        fingerprint: summary.fingerprint.clone(),
        parameters: summary.parameters,
        file_bytes: summary.file_bytes,
        formats: summary
            .formats
            .iter()
            .map(|(name, (tensors, numbers))| (*name, FormatReport { tensors: *tensors, numbers: *numbers }))
            .collect(),
        vocab: c.vocab,
        hidden: c.hidden,
        layers: c.num_layers(),
        local_layers: summary.local_layers,
        global_layers: summary.global_layers,
        window: c.window(),
        context: c.max_position,
        heads: c.heads,
        kv_heads: c.kv_heads,
        head_dim: c.head_dim,
        query_pre_attn_scalar: c.query_pre_attn_scalar,
        attn_logit_softcapping: c.attn_softcap,
        final_logit_softcapping: c.final_softcap,
    };
    if args.json {
        return print_json(&report);
    }
    let cap = |cap: Option<f64>| cap.map_or("none".to_owned(), |cap| cap.to_string());
    let mut text = String::new();
    let formats: Vec<String> =
        report.formats.iter().map(|(name, f)| format!("{name} ({})", f.tensors)).collect();
    let window = report.window.map_or(String::new(), |window| format!(", window {window}"));
    let lines = [
        ("model", report.model),
        ("architecture", report.architecture.to_owned()),
        ("parameters", format!("{:.1} million", report.parameters as f64 / 1e6)),
        ("files", format!("{:.1} MB: {}", report.file_bytes as f64 / 1e6, formats.join(", "))),
        ("layers", format!("{} local{window}; {} global", report.local_layers, report.global_layers)),
        (
            "heads",
            format!("{} of {}, {} for keys and values", report.heads, report.head_dim, report.kv_heads),
        ),
        ("hidden", report.hidden.to_string()),
        ("vocabulary", report.vocab.to_string()),
        ("context", report.context.to_string()),
        ("attention cap", cap(report.attn_logit_softcapping)),
        ("final cap", cap(report.final_logit_softcapping)),
        ("fingerprint", report.fingerprint),
    ];
    for (name, value) in lines {
        let _ = writeln!(text, "{name:<14} {}", OneLine(&value));
    }
    Ok(print(text.as_bytes())?)
}
