//! What can be wrong with a prompt.

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
        /// The control token.
        missing: &'static str,
        /// The tokenizer's name.
        tokenizer: String,
    },
    /// Turns out of order.
    #[error(
        "expected turn {index} to be the {expected}'s, found the {found}'s; turns alternate and the user's is first"
    )]
    Order {
        /// Which turn, from 0.
        index: usize,
        /// Whose turn it is.
        expected: &'static str,
        /// Who spoke.
        found: &'static str,
    },
    /// There is nothing for the model to answer.
    #[error("expected the last turn to be the user's, found {found}; add what the model should answer")]
    NothingToAnswer {
        /// The last turn's role, or that there is none.
        found: &'static str,
    },
    /// There is nothing to learn.
    #[error(
        "expected the last turn to be the model's, which is learned, found another or none; add the answer"
    )]
    NoAnswer,
    /// A turn that cannot be tokenized.
    #[error(transparent)]
    Text(#[from] TextError),
}
