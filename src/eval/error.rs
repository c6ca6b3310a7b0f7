//! What can go wrong.

use crate::model;

/// Why something cannot be evaluated.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EvalError {
    /// A task file that is not one.
    #[error("not a task: {0}")]
    Json(#[from] serde_json::Error),
    /// A task whose parts do not fit together.
    #[error("task {task}: {problem}")]
    Task {
        /// The task's name.
        task: String,
        /// What was expected and what was found.
        problem: String,
    },
    /// A document without what the task asks for.
    #[error("field {field}: expected {expected}, found {found}")]
    Field {
        /// The field's path.
        field: String,
        /// What the task needs.
        expected: String,
        /// What is there.
        found: String,
    },
    /// An example for the shots without what the task asks for.
    #[error("example {number}: {source}")]
    Example {
        /// Its number among the examples, from 0.
        number: usize,
        /// What is wrong with it.
        source: Box<EvalError>,
    },
    /// Too few examples for the shots.
    #[error("expected at least {wanted} examples for the shots{of_group}, found {found}")]
    Shots {
        /// Number of shots.
        wanted: usize,
        /// Of which group, with words around it; empty without groups.
        of_group: String,
        /// Number of examples.
        found: usize,
    },
    /// A text that gives no tokens to score.
    #[error("expected a text with at least one token to score, found none")]
    Empty,
    /// A prompt without room for the answer.
    #[error(
        "an answer of {max_tokens} tokens leaves no room for a prompt: expected fewer than the context of {context}"
    )]
    Room {
        /// Tokens of an answer.
        max_tokens: usize,
        /// Positions of the model.
        context: usize,
    },
    /// The model's logits are not numbers.
    #[error("the logit of token {token} is not finite: damaged weights?")]
    NotFinite {
        /// The token.
        token: usize,
    },
    /// The text cannot be tokenized.
    #[error(transparent)]
    Text(#[from] wmdetect::text::TextError),
    /// The model cannot read on.
    #[error(transparent)]
    Model(#[from] model::Error),
    /// No answer was written.
    #[error(transparent)]
    Respond(#[from] crate::respond::RespondError),
}
