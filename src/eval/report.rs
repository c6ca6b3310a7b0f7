//! The JSON of `wmgen eval`.

use serde::Serialize;

use super::Kind;
use super::compare::Difference;
use super::metrics::Measured;
use crate::respond::ModelReceipt;
use crate::sample::Sampling;

/// What was measured.
#[derive(Clone, Debug, Serialize)]
pub struct EvalReport {
    /// 1.
    pub schema_version: u32,
    /// Whose conventions hold.
    pub conventions: &'static str,
    /// The model.
    pub model: ModelReceipt,
    /// Whether answers were computed with rounded activations, as `wmgen generate` does.
    pub rounded: bool,
    /// The tasks.
    pub tasks: Vec<TaskReport>,
    /// What to know before the numbers are used.
    pub warnings: Vec<String>,
}

/// A task, or one of its groups.
#[derive(Clone, Debug, Serialize)]
pub struct TaskReport {
    /// Its name; of a group, the task's and the group's.
    pub task: String,
    /// How it is done.
    pub kind: Kind,
    /// Examples before each question.
    pub shots: usize,
    /// Documents.
    pub documents: usize,
    /// Documents whose prompt lost its beginning.
    pub truncated: usize,
    /// How answers were drawn; null where the model only read.
    pub sampling: Option<Sampling>,
    /// The mark; null without one.
    pub watermark: Option<MarkReport>,
    /// The metrics. Of a comparison there are none.
    pub metrics: Vec<Measured>,
    /// The comparison; null without one.
    pub comparison: Option<Comparison>,
    /// The same for each group of documents.
    pub groups: Vec<TaskReport>,
}

/// The mark of a task's answers.
#[derive(Clone, Debug, Serialize)]
pub struct MarkReport {
    /// The keys' public ids.
    pub key_ids: Vec<String>,
    /// Tokens of all marked answers.
    pub tokens: u64,
    /// Those that were drawn with the mark.
    pub marked_tokens: u64,
}

/// Marked answers against unmarked ones.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    /// The runs, in the order of the differences by run.
    pub runs: Vec<RunReport>,
    /// How far each metric is apart.
    pub metrics: Vec<Compared>,
}

/// A run of a comparison.
#[derive(Clone, Debug, Serialize)]
pub struct RunReport {
    /// The key's public id.
    pub key_id: String,
    /// What its draws are seeded with.
    pub seed: u64,
}

/// A metric of a comparison.
#[derive(Clone, Debug, Serialize)]
pub struct Compared {
    /// Its name.
    pub metric: &'static str,
    /// Which part of an answer is compared.
    pub filter: Option<String>,
    /// The difference; null where there is none to be had, such as of programs that were not run.
    pub difference: Option<Difference>,
}
