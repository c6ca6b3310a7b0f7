use wmdetect::text::Tokenizer;

use super::chat::{Chat, Turn};
use super::error::PromptError;
use super::plain_prompt;

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
