//! Errors of evaluations.

use crate::model;

/// Error from an evaluation.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EvalError {
    /// A task file is not a task.
    #[error("not a task: {0}")]
    Json(#[from] serde_json::Error),
    /// The parts of a task do not fit together.
    #[error("task {task}: {problem}")]
    Task {
        /// Name of the task.
        task: String,
        /// What was expected and what was found.
        problem: String,
    },
    /// A document lacks what the task needs.
    #[error("field {field}: expected {expected}, found {found}")]
    Field {
        /// Path of the field.
        field: String,
        /// What the task needs.
        expected: String,
        /// What the document has.
        found: String,
    },
    /// An example for the shots lacks what the task needs.
    #[error("example {number}: {source}")]
    Example {
        /// Its number among the examples, from 0.
        number: usize,
        /// What is wrong with it.
        source: Box<EvalError>,
    },
    /// There are too few examples for the shots.
    #[error("expected at least {wanted} examples for the shots{of_group}, found {found}")]
    Shots {
        /// Number of shots.
        wanted: usize,
        /// The group that lacks examples, with words around it; empty without groups.
        of_group: String,
        /// Number of examples found.
        found: usize,
    },
    /// The text has no tokens to score.
    #[error("expected a text with at least one token to score, found none")]
    Empty,
    /// The prompt leaves no room for the answer.
    #[error(
        "an answer of {max_tokens} tokens leaves no room for a prompt: expected fewer than the context of {context}"
    )]
    Room {
        /// Number of tokens in an answer.
        max_tokens: usize,
        /// Number of positions of the model.
        context: usize,
    },
    /// The model's logits are not finite.
    #[error("the logit of token {token} is not finite: damaged weights?")]
    NotFinite {
        /// Token with such a logit.
        token: usize,
    },
    /// The text cannot be tokenized.
    #[error(transparent)]
    Text(#[from] wmdetect::text::TextError),
    /// The model cannot read on.
    #[error(transparent)]
    Model(#[from] model::Error),
    /// The answer could not be written.
    #[error(transparent)]
    Respond(#[from] crate::respond::RespondError),
}
