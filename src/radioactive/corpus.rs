//! The texts that a student reads.

use serde_json::Value;
use wmdetect::text::{TextError, Tokenizer};

use crate::respond::{Receipt, ReceiptError};
use crate::text::{Chat, PromptError, plain_prompt};
use crate::train::examples;

/// A text in the form that the student reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// Its token ids, including a prompt and `<bos>`.
    pub ids: Vec<u32>,
    /// For each id, whether it belongs to an answer. The first does not.
    pub said: Vec<bool>,
}

/// Error from a line that is not a document.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CorpusError {
    /// The line is of an unknown kind.
    #[error(
        "expected a JSON object with \"tokens\" and \"prompt_tokens\", as `wmgen generate --json` writes, with \"messages\", \
         with \"prompt\" and \"completion\", or with \"text\", found {found}"
    )]
    Form {
        /// What the line is.
        found: String,
    },
    /// The conversation is damaged.
    #[error("{0}")]
    Example(String),
    /// The receipt is damaged, or belongs to another tokenizer.
    #[error("{0}; expected tokens of the student's tokenizer")]
    Receipt(#[from] ReceiptError),
    /// The chat template cannot hold the conversation.
    #[error(transparent)]
    Prompt(#[from] PromptError),
    /// The text cannot be tokenized.
    #[error(transparent)]
    Text(#[from] TextError),
    /// There is no answer.
    #[error("expected a text with at least one token, found none")]
    Empty,
    /// The student does not have a token.
    #[error("expected token ids below {vocab}, the student's vocabulary, found {found}")]
    Id {
        /// Size of the student's vocabulary.
        vocab: usize,
        /// The largest id found.
        found: u32,
    },
}

impl Document {
    /// Parses a line. It is a receipt of `wmgen generate --json`, an example as for `wmgen train --examples`, in Gemma's
    /// chat template, or an object with a `text`, which follows `<bos>`.
    ///
    /// # Errors
    /// Returns an error if the line is none of these, or has no answer. Also returns an error if a receipt's text is not
    /// what its tokens spell for `tokenizer`, or a token is not below `vocab`.
    pub fn parse(line: &str, tokenizer: &Tokenizer, vocab: usize) -> Result<Self, CorpusError> {
        let form = |found: &str| CorpusError::Form { found: found.into() };
        let value: Value = serde_json::from_str(line).map_err(|error| form(&error.to_string()))?;
        let object = value.as_object().ok_or_else(|| form("another kind of JSON"))?;
        let document = if object.contains_key("tokens") {
            let receipt = Receipt::parse(line)?;
            let answer = receipt.tokens_of_text(tokenizer)?;
            let prompt = match &receipt.prompt_tokens[..] {
                [] => plain_prompt(tokenizer, "")?,
                prompt => prompt.to_vec(),
            };
            Self::answered(prompt, answer)
        } else if object.contains_key("messages") || object.contains_key("completion") {
            let turns = examples::turns(line).map_err(CorpusError::Example)?;
            let (ids, said) = Chat::new(tokenizer)?.example(&turns)?;
            Self { ids, said }
        } else if let Some(Value::String(text)) = object.get("text") {
            Self::answered(plain_prompt(tokenizer, "")?, &tokenizer.encode(text)?.ids)
        } else {
            let names: Vec<String> = object.keys().take(12).map(|name| format!("{name:?}")).collect();
            return Err(form(&if names.is_empty() { "an empty one".into() } else { names.join(", ") }));
        };
        // The student's first choice needs something that precedes it.
        if document.ids.len() < 2 || !document.said[1..].contains(&true) {
            return Err(CorpusError::Empty);
        }
        match document.ids.iter().max() {
            Some(&found) if found as usize >= vocab => Err(CorpusError::Id { vocab, found }),
            _ => Ok(document),
        }
    }

    /// Makes a document of a prompt and an answer.
    fn answered(prompt: Vec<u32>, answer: &[u32]) -> Self {
        let said = (0..prompt.len() + answer.len()).map(|at| at >= prompt.len() && at > 0).collect();
        Self { ids: [&prompt, answer].concat(), said }
    }

    /// Returns the first position of an answer.
    pub fn first_said(&self) -> usize {
        self.said.iter().position(|said| *said).unwrap_or(self.ids.len())
    }

    /// Returns the number of tokens in answers.
    pub fn answer_tokens(&self) -> usize {
        self.said.iter().filter(|said| **said).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Document, CorpusError> {
        let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/tiny-gemma2");
        Document::parse(line, &Tokenizer::open(dir).unwrap(), 2048)
    }

    #[test]
    fn all_forms_are_read_and_others_named() {
        let plain = parse(r#"{"text": "Hi there", "id": 3}"#).unwrap();
        assert_eq!((plain.ids[0], plain.first_said()), (2, 1));
        assert_eq!(plain.answer_tokens() + 1, plain.ids.len());
        let chat = parse(r#"{"prompt": "Hi", "completion": "there"}"#).unwrap();
        let messages =
            r#"{"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "there"}]}"#;
        assert_eq!(chat, parse(messages).unwrap());
        assert!(chat.first_said() > 3 && chat.said.last() == Some(&true));
        for (line, expected) in [
            ("{}", "found an empty one"),
            ("[1]", "found another kind of JSON"),
            ("no JSON", "expected a JSON object with"),
            (r#"{"prompt": "Hi"}"#, "found \"prompt\""),
            (r#"{"text": ""}"#, "at least one token"),
            (r#"{"tokens": [1], "schema_version": 1}"#, "missing field"),
            (r#"{"messages": [{"role": "user", "content": "x"}]}"#, "last turn"),
        ] {
            let error = parse(line).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
