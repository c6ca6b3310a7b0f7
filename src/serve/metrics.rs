//! Metrics of answers.

use std::fmt;
use std::sync::{Arc, OnceLock};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use wmgen::engine::worker::Handle;
use wmgen::respond::Receipt;

use super::policy::Reason;

/// Counts of answers and of their tokens.
#[derive(Clone, Debug)]
pub(super) struct Metrics {
    texts: Family<TextLabels, Counter>,
    tokens: Family<TextLabels, Counter>,
    refused: Family<RefusedLabels, Counter>,
    /// Time from the request to the first token of a text.
    pub(super) first_token: Histogram,
    /// Time between two tokens of a text.
    pub(super) between_tokens: Histogram,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct TextLabels {
    tenant: String,
    marked: &'static str,
    reason: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RefusedLabels {
    tenant: String,
    status: u16,
}

/// Bounds of times, from that of a step to that of a long prompt.
const SECONDS: [f64; 14] = [0.005, 0.01, 0.02, 0.04, 0.08, 0.15, 0.3, 0.6, 1.2, 2.5, 5.0, 10.0, 30.0, 120.0];

impl Metrics {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let metrics = Self {
            texts: Family::default(),
            tokens: Family::default(),
            refused: Family::default(),
            first_token: Histogram::new(SECONDS),
            between_tokens: Histogram::new(SECONDS),
        };
        registry.register("texts", "Texts that were written", metrics.texts.clone());
        registry.register(
            "tokens",
            "Tokens that were written, and whether they were drawn with the mark",
            metrics.tokens.clone(),
        );
        registry.register("refused", "Requests that were refused", metrics.refused.clone());
        registry.register_with_unit(
            "time_to_first_token",
            "From a request to the first token of a text",
            Unit::Seconds,
            metrics.first_token.clone(),
        );
        registry.register_with_unit(
            "time_between_tokens",
            "Between two tokens of a text",
            Unit::Seconds,
            metrics.between_tokens.clone(),
        );
        metrics
    }

    /// Counts a text and its tokens. Unmarked tokens count under `reason` or, without one, under their context.
    pub(super) fn count_text(&self, tenant: &str, receipt: &Receipt, reason: Option<Reason>) {
        let labels = |marked, reason| TextLabels { tenant: tenant.to_owned(), marked, reason };
        let name = reason.map_or("none", Reason::name);
        let marked = receipt.watermark.marked_tokens as u64;
        let unmarked = receipt.tokens.len() as u64 - marked.min(receipt.tokens.len() as u64);
        let applied = if receipt.watermark.applied { "yes" } else { "no" };
        self.texts.get_or_create(&labels(applied, name)).inc();
        self.tokens.get_or_create(&labels("yes", "none")).inc_by(marked);
        let because = if reason.is_none() { "context" } else { name };
        self.tokens.get_or_create(&labels("no", because)).inc_by(unmarked);
    }

    /// Counts a request that was refused.
    pub(super) fn count_refused(&self, tenant: &str, status: u16) {
        self.refused.get_or_create(&RefusedLabels { tenant: tenant.to_owned(), status }).inc();
    }
}

/// The engine's counts, which are read when somebody asks for them, once there is an engine.
pub(super) struct EngineMetrics(pub(super) Arc<OnceLock<Handle>>);

impl fmt::Debug for EngineMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EngineMetrics")
    }
}

impl Collector for EngineMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Some(handle) = self.0.get() else { return Ok(()) };
        let stats = handle.stats();
        let gauges = [
            ("engine_waiting_requests", "Requests that wait for rows or memory", stats.waiting_requests),
            ("engine_reading_prompts", "Prompts that are being read", stats.reading_requests),
            ("engine_running_texts", "Texts that get a token in each step", stats.running_responses),
            ("engine_cache_promised_bytes", "Memory that open requests may need", stats.promised_bytes),
            ("engine_cache_budget_bytes", "Memory that all caches may have", stats.cache_bytes),
            ("engine_prefix_bytes", "Memory of prompts that are kept for later ones", stats.prefix_bytes),
        ];
        for (name, help, value) in gauges {
            let gauge = ConstGauge::new(value as i64);
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
        }
        let counters = [
            ("engine_steps", "Passes over the model's weights", stats.steps),
            ("engine_tokens", "Tokens that were drawn", stats.response_tokens),
            ("engine_drafted_tokens", "Tokens that were guessed ahead", stats.drafted_tokens),
            ("engine_accepted_tokens", "Of these, tokens that were guessed right", stats.accepted_tokens),
            ("engine_prompt_tokens_read", "Tokens of prompts that were read", stats.prompt_tokens),
            (
                "engine_prompt_tokens_reused",
                "Prompt tokens that were taken over from an earlier prompt",
                stats.reused_tokens,
            ),
        ];
        for (name, help, value) in counters {
            let counter = ConstCounter::new(value);
            counter.encode(encoder.encode_descriptor(name, help, None, counter.metric_type())?)?;
        }
        Ok(())
    }
}
