//! Converts between text and the token ids that the generator works on: prompts on the way in, a stream of complete
//! characters on the way out. The generator itself knows no text.

mod chat;
mod error;
mod prompt;
mod special;
mod stop;
mod stream;

pub use chat::{Chat, Role, Turn};
pub use error::PromptError;
pub use prompt::Prompt;
pub use special::SpecialTokens;
pub use stop::StopMatcher;
pub use stream::StreamDecoder;

use wmdetect::text::{TextError, Tokenizer};

/// Returns the ids of a prompt that the model continues: `<bos>` (if the vocabulary has it) and the text. Names of
/// control tokens in the text are treated as text.
///
/// # Errors
/// Returns the errors of [`Tokenizer::encode`].
pub fn plain_prompt(tokenizer: &Tokenizer, text: &str) -> Result<Vec<u32>, TextError> {
    let mut ids: Vec<u32> = tokenizer.bos().into_iter().collect();
    ids.extend(tokenizer.encode(text)?.ids);
    Ok(ids)
}

/// Returns the tokens that end a response: the end of the text and, if the vocabulary has it, the end of a turn.
pub fn stop_ids(tokenizer: &Tokenizer) -> Vec<u32> {
    tokenizer.eos().into_iter().chain(tokenizer.control_id(chat::END_OF_TURN)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Opens the tokenizer made by `tests/oracle/tiny_tokenizer.py`.
    pub(super) fn tokenizer() -> Tokenizer {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/tiny-gemma2/tokenizer.json");
        Tokenizer::open(path).unwrap()
    }

    #[test]
    fn a_prompt_has_one_bos() {
        let tokenizer = tokenizer();
        assert_eq!(plain_prompt(&tokenizer, "").unwrap(), [2]);
        let ids = plain_prompt(&tokenizer, "<bos><bos>a").unwrap();
        assert_eq!(ids[0], 2);
        assert!(!ids[1..].contains(&2), "{ids:?}");
        assert_eq!(tokenizer.decode(&ids), "<bos><bos>a");
    }

    #[test]
    fn both_ends_stop() {
        assert_eq!(stop_ids(&tokenizer()), [1, 5]);
    }
}
