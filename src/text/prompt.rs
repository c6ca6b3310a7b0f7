use wmdetect::text::{TextError, Tokenizer};

use super::{Chat, Turn, plain_prompt};

/// What a model continues or answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Prompt {
    /// A text to continue; an empty one starts from nothing.
    Text(String),
    /// A conversation to answer.
    Chat(Vec<Turn>),
    /// The ids themselves, `<bos>` included.
    Tokens(Vec<u32>),
}

impl Prompt {
    /// Returns the ids that the model reads.
    ///
    /// # Errors
    /// Returns an error if a text cannot be split into tokens, and as [`Chat::new`] and [`Chat::prompt`].
    pub fn ids(&self, tokenizer: &Tokenizer) -> Result<Vec<u32>, PromptError> {
        match self {
            Self::Text(text) => Ok(plain_prompt(tokenizer, text)?),
            Self::Chat(turns) => Chat::new(tokenizer)?.prompt(turns),
            Self::Tokens(ids) => Ok(ids.clone()),
        }
    }
}

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
    /// A turn that cannot be tokenized.
    #[error(transparent)]
    Text(#[from] TextError),
}
