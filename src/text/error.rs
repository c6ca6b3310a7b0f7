//! Errors of prompts.

use wmdetect::text::TextError;

/// Errors from making a prompt.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PromptError {
    /// The vocabulary is not one of a Gemma model.
    #[error(
        "expected a Gemma vocabulary with the control token {missing}, found none in {tokenizer}; use an \
         instruction-tuned Gemma model, or a plain prompt"
    )]
    NoTemplate {
        /// Name of the control token.
        missing: &'static str,
        /// Name of the tokenizer.
        tokenizer: String,
    },
    /// The turns are out of order.
    #[error(
        "expected turn {index} to be the {expected}'s, found the {found}'s; turns alternate and the user's is first"
    )]
    Order {
        /// Number of the turn, from 0.
        index: usize,
        /// Expected speaker.
        expected: &'static str,
        /// Speaker that was found.
        found: &'static str,
    },
    /// There is nothing for the model to answer.
    #[error("expected the last turn to be the user's, found {found}; add what the model should answer")]
    NothingToAnswer {
        /// Role of the last turn, or a remark that there is none.
        found: &'static str,
    },
    /// There is nothing to learn.
    #[error(
        "expected the last turn to be the model's, which is learned, found another or none; add the answer"
    )]
    NoAnswer,
    /// A turn cannot be tokenized.
    #[error(transparent)]
    Text(#[from] TextError),
}
