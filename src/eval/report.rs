//! JSON of `wmgen eval`.

use serde::Serialize;

use super::Kind;
use super::compare::Difference;
use super::metrics::Measured;
use crate::respond::ModelReceipt;
use crate::sample::Sampling;

/// Report of an evaluation.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct EvalReport {
    /// Version of this structure: 1.
    pub schema_version: u32,
    /// Conventions that the measurements follow.
    pub conventions: &'static str,
    /// The model.
    pub model: ModelReceipt,
    /// Whether answers were computed with rounded activations, as `wmgen generate` does.
    pub rounded: bool,
    /// Reports of the tasks.
    pub tasks: Vec<TaskReport>,
    /// What to know before using the numbers.
    pub warnings: Vec<String>,
}

/// Report of a task, or of one of its groups.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct TaskReport {
    /// Name of the task; for a group, the names of the task and the group.
    pub task: String,
    /// How the task is done.
    pub kind: Kind,
    /// Number of examples before each question.
    pub shots: usize,
    /// Number of documents.
    pub documents: usize,
    /// Number of documents whose prompt lost its beginning.
    pub truncated: usize,
    /// How answers were drawn; null if the model only read.
    pub sampling: Option<Sampling>,
    /// The mark; null without one.
    pub watermark: Option<MarkReport>,
    /// Metrics; empty in a comparison.
    pub metrics: Vec<Measured>,
    /// The comparison; null without one.
    pub comparison: Option<Comparison>,
    /// The same reports for each group of documents.
    pub groups: Vec<TaskReport>,
}

/// Mark of a task's answers.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct MarkReport {
    /// Public ids of the keys.
    pub key_ids: Vec<String>,
    /// Number of tokens in all marked answers.
    pub tokens: u64,
    /// Number of those tokens that were drawn with the mark.
    pub marked_tokens: u64,
}

/// Comparison of marked with unmarked answers.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Comparison {
    /// The runs, in the order of the differences by run.
    pub runs: Vec<RunReport>,
    /// Difference in each metric.
    pub metrics: Vec<Compared>,
}

/// One run of a comparison.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct RunReport {
    /// Public id of the key.
    pub key_id: String,
    /// Seed of its draws.
    pub seed: u64,
}

/// A metric of a comparison.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Compared {
    /// Name of the metric.
    pub metric: &'static str,
    /// Filter of the part of an answer that is compared.
    pub filter: Option<String>,
    /// Difference; null if it cannot be computed, for instance because programs were not run.
    pub difference: Option<Difference>,
}
