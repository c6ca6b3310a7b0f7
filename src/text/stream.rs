//! Turns token ids into text as they come.

use std::sync::Arc;

use wmdetect::text::{Tokenizer, Utf8Stream};

/// Turns ids into text one at a time, and never returns half a character.
///
/// At any point, the parts together are [`Tokenizer::decode`] of all ids so far, except for an incomplete character.
/// A byte token waits until its character is complete. Control tokens give no text.
///
/// ```no_run
/// # use wmgen::text::StreamDecoder;
/// # fn show(tokenizer: std::sync::Arc<wmdetect::text::Tokenizer>, ids: &[u32]) -> String {
/// let mut decoder = StreamDecoder::new(tokenizer);
/// let mut text: String = ids.iter().map(|&id| decoder.push(id)).collect();
/// text += &decoder.finish();
/// # text
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct StreamDecoder {
    tokenizer: Arc<Tokenizer>,
    utf8: Utf8Stream,
}

impl StreamDecoder {
    /// Makes a decoder at the start of a text.
    pub fn new(tokenizer: Arc<Tokenizer>) -> Self {
        Self { tokenizer, utf8: Utf8Stream::default() }
    }

    /// Takes the next id, and returns the text that it completes, which may be empty.
    pub fn push(&mut self, id: u32) -> String {
        let mut text = String::new();
        self.utf8.push(self.tokenizer.token_bytes(id).unwrap_or_default(), &mut text);
        text
    }

    /// Ends the text, and returns what is left of an incomplete character, as U+FFFD. The decoder is then at the
    /// start of another text.
    pub fn finish(&mut self) -> String {
        let mut text = String::new();
        self.utf8.finish(&mut text);
        text
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tests::tokenizer;
    use super::*;

    #[test]
    fn a_character_waits_for_its_last_byte() {
        let tokenizer = Arc::new(tokenizer());
        let ids = tokenizer.encode("a😀é").unwrap().ids;
        assert_eq!(ids.len(), 7, "byte tokens");
        let mut decoder = StreamDecoder::new(Arc::clone(&tokenizer));
        let parts: Vec<String> = ids.iter().map(|&id| decoder.push(id)).collect();
        assert_eq!(parts, ["a", "", "", "", "😀", "", "é"]);
        assert_eq!(decoder.finish(), "");
        decoder.push(ids[1]);
        assert_eq!(decoder.finish(), "\u{FFFD}");
        assert_eq!(decoder.finish(), "");
    }

    proptest! {
        #[test]
        fn the_parts_are_the_whole(
            // The vocabulary has 512 entries: byte tokens from 19 to 274, control tokens below 6.
            ids in proptest::collection::vec(prop_oneof![0..520_u32, 19..275_u32, 140..275_u32], 0..60),
            end in 0..60_usize,
        ) {
            thread_local! {
                static TOKENIZER: Arc<Tokenizer> = Arc::new(tokenizer());
            }
            TOKENIZER.with(|tokenizer| {
                let mut decoder = StreamDecoder::new(Arc::clone(tokenizer));
                let mut text: String = ids.iter().map(|&id| decoder.push(id)).collect();
                text += &decoder.finish();
                prop_assert_eq!(text, tokenizer.decode(&ids));
                // What was returned before the end stays as it is.
                let mut decoder = StreamDecoder::new(Arc::clone(tokenizer));
                let head: String = ids.iter().take(end).map(|&id| decoder.push(id)).collect();
                prop_assert!(tokenizer.decode(&ids).starts_with(&head));
                Ok(())
            })?;
        }
    }
}
