use wmdetect::text::Tokenizer;

use super::chat::{Chat, Turn};
use super::error::PromptError;
use super::plain_prompt;

/// Input that a model continues or answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Prompt {
    /// A text to continue. An empty text starts from nothing.
    Text(String),
    /// A conversation to answer.
    Chat(Vec<Turn>),
    /// The ids themselves, including `<bos>`.
    Tokens(Vec<u32>),
}

impl Prompt {
    /// Returns the ids that the model reads.
    ///
    /// # Errors
    /// Returns an error if a text cannot be split into tokens, and the errors of [`Chat::new`] and
    /// [`Chat::prompt`].
    pub fn ids(&self, tokenizer: &Tokenizer) -> Result<Vec<u32>, PromptError> {
        match self {
            Self::Text(text) => Ok(plain_prompt(tokenizer, text)?),
            Self::Chat(turns) => Chat::new(tokenizer)?.prompt(turns),
            Self::Tokens(ids) => Ok(ids.clone()),
        }
    }
}
