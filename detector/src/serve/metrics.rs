//! The metrics of judged texts.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use wmdetect::Verdict;

use super::credentials::Role;

#[derive(Debug)]
pub(super) struct Metrics {
    texts: Family<Told, Counter>,
    tokens: Family<Asked, Counter>,
    repeated: Counter,
    refused: Family<Reason, Counter>,
    seconds: Histogram,
    /// Number of requests that wait or are judged.
    pub(super) queue: Gauge,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Told {
    role: &'static str,
    verdict: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Asked {
    role: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

/// Bounds of a histogram of the time that a text takes.
const SECONDS: [f64; 10] = [0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.05, 0.2, 1.0, 5.0];

impl Metrics {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let metrics = Self {
            texts: Family::default(),
            tokens: Family::default(),
            repeated: Counter::default(),
            refused: Family::default(),
            seconds: Histogram::new(SECONDS),
            queue: Gauge::default(),
        };
        registry.register("texts", "Judged texts, by what the caller was told", metrics.texts.clone());
        registry.register("tokens", "Tokens of judged texts", metrics.tokens.clone());
        registry.register(
            "repeated_texts",
            "Texts whose answer was kept from before",
            metrics.repeated.clone(),
        );
        registry.register(
            "refused",
            "Texts over budget, and requests that found no place",
            metrics.refused.clone(),
        );
        registry.register("queue_length", "Requests that wait or are judged", metrics.queue.clone());
        registry.register_with_unit("text", "Time to judge a text", Unit::Seconds, metrics.seconds.clone());
        metrics
    }

    pub(super) fn judged(&self, role: Role, verdict: Verdict, tokens: u64, repeated: bool, time: Duration) {
        let role = role.name();
        self.texts.get_or_create(&Told { role, verdict: verdict.name() }).inc();
        self.tokens.get_or_create(&Asked { role }).inc_by(tokens);
        self.repeated.inc_by(u64::from(repeated));
        self.seconds.observe(time.as_secs_f64());
    }

    /// Counts a refused request. `reason` is `queue` or `budget`.
    pub(super) fn refused(&self, reason: &'static str) {
        self.refused.get_or_create(&Reason { reason }).inc();
    }
}
