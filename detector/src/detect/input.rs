//! The input of a detector.

use std::fmt;
#[cfg(feature = "text")]
use std::io::Read;

#[cfg(feature = "text")]
use crate::text::blocks::BLOCK_LEN;

/// A text, bytes, token ids or a reader, alone or as the response to a known prompt.
///
/// `&str` and `&String` convert into it. Everything but token ids needs the feature `text`.
///
/// | made by | is | score, attribute | segments, explain, tokens, g_values |
/// |---|---|---|---|
/// | [`Input::text`] or a `&str` | text | yes | yes |
/// | [`Input::bytes`] | the content of a file: a byte order mark is dropped, what is not UTF-8 becomes U+FFFD | yes | yes |
/// | [`Input::tokens`] | token ids | yes | yes, without byte positions |
/// | [`Input::reader`] | a text of any length, in bounded memory | yes | no: they need the whole text |
///
/// ```
/// use wmdetect::{Detector, Input, Key};
///
/// # fn main() -> Result<(), wmdetect::DetectError> {
/// let detector = Detector::builder(Key::from_bytes(&[7; 32], "an example")?).build()?;
/// let report = detector.score(Input::tokens(&[5, 6, 7, 8, 9, 10]).after_prompt(&[1, 2, 3][..]))?;
/// assert_eq!(report.tokens, 6);
/// # Ok(())
/// # }
/// ```
pub struct Input<'a> {
    pub(super) content: Content<'a>,
    pub(super) prompt: Prompt<'a>,
}

pub(super) enum Content<'a> {
    Tokens(&'a [u32]),
    #[cfg(feature = "text")]
    Bytes(&'a [u8]),
    #[cfg(feature = "text")]
    Reader(Box<dyn Read + 'a>, StreamOptions),
}

/// The prompt that a text answers, as text or as token ids.
///
/// A text is tokenized as it is: it is not normalised, and no `<bos>` is added.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Prompt<'a> {
    /// Token ids; empty if the prompt is not known.
    Tokens(&'a [u32]),
    /// Text.
    #[cfg(feature = "text")]
    Text(&'a str),
}

/// How much of a long text is held in memory. The default is blocks of 256 KiB and 3,600,000 contexts.
#[cfg(feature = "text")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamOptions {
    /// Number of bytes in a block; see [`Blocks`](crate::text::blocks::Blocks).
    pub block_len: usize,
    /// Number of different contexts that are remembered exactly, at 20 bytes each. Later ones go into a filter of
    /// 128 MiB. The filter takes some new contexts for old ones, and their positions do not count. Each form of the
    /// text (up to three) has both, for each context length of the keys. A key of `synthid-sha256-v2` has up to four
    /// lengths, and its pairs of tokens are remembered in the same way.
    pub contexts: usize,
}

#[cfg(feature = "text")]
impl Default for StreamOptions {
    fn default() -> Self {
        // A hash table of 2^22 places holds this many.
        Self { block_len: BLOCK_LEN, contexts: 3_600_000 }
    }
}

impl<'a> Input<'a> {
    /// Takes a text.
    #[cfg(feature = "text")]
    pub fn text(text: &'a str) -> Self {
        Self::bytes(text.as_bytes())
    }

    /// Takes the content of a file. A byte order mark is dropped, and bytes that are not UTF-8 become U+FFFD, with a
    /// warning in the report.
    #[cfg(feature = "text")]
    pub fn bytes(bytes: &'a [u8]) -> Self {
        Self::of(Content::Bytes(bytes))
    }

    /// Takes token ids of the tokenizer that the text was written with, without ids that a tokenizer adds in front.
    /// They are not checked: ids of another vocabulary score as unmarked.
    pub fn tokens(ids: &'a [u32]) -> Self {
        Self::of(Content::Tokens(ids))
    }

    /// Takes a text that is read block by block, so that memory stays bounded whatever its length.
    ///
    /// The blocks and the positions that count depend on the text alone, so p keeps its promise. With vocabularies such
    /// as Gemma's it equals the p of the whole text, under two conditions. The text has ASCII white space at least
    /// every 128 KiB, and at most [`StreamOptions::contexts`] contexts. Normalisation works within a block: markup that
    /// crosses the end of a block is taken as text.
    #[cfg(feature = "text")]
    pub fn reader(reader: impl Read + 'a) -> Self {
        Self::reader_with(reader, StreamOptions::default())
    }

    /// Takes a reader as [`reader`](Self::reader) does, with another bound on memory.
    #[cfg(feature = "text")]
    pub fn reader_with(reader: impl Read + 'a, options: StreamOptions) -> Self {
        Self::of(Content::Reader(Box::new(reader), options))
    }

    /// Says which prompt the text answers. What follows from that depends on the key's
    /// [`ContextRule`](crate::scheme::ContextRule). Under `Whole`, contexts that occur in the prompt, and contexts that
    /// reach back into it, do not count. Under `Spanning`, contexts may reach back into it. Under `Shortest` and `Padded`
    /// the prompt plays no part.
    #[must_use]
    pub fn after_prompt(mut self, prompt: impl Into<Prompt<'a>>) -> Self {
        self.prompt = prompt.into();
        self
    }

    fn of(content: Content<'a>) -> Self {
        Self { content, prompt: Prompt::Tokens(&[]) }
    }
}

#[cfg(feature = "text")]
impl<'a> From<&'a str> for Input<'a> {
    fn from(text: &'a str) -> Self {
        Self::text(text)
    }
}

#[cfg(feature = "text")]
impl<'a> From<&'a String> for Input<'a> {
    fn from(text: &'a String) -> Self {
        Self::text(text)
    }
}

#[cfg(feature = "text")]
impl<'a> From<&'a str> for Prompt<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(text)
    }
}

#[cfg(feature = "text")]
impl<'a> From<&'a String> for Prompt<'a> {
    fn from(text: &'a String) -> Self {
        Self::Text(text)
    }
}

impl<'a> From<&'a [u32]> for Prompt<'a> {
    fn from(ids: &'a [u32]) -> Self {
        Self::Tokens(ids)
    }
}

impl<'a> From<&'a Vec<u32>> for Prompt<'a> {
    fn from(ids: &'a Vec<u32>) -> Self {
        Self::Tokens(ids)
    }
}

/// Shows the kind and length of the input, and nothing of the text.
impl fmt::Debug for Input<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.content {
            Content::Tokens(ids) => write!(f, "Input({} token ids)", ids.len()),
            #[cfg(feature = "text")]
            Content::Bytes(bytes) => write!(f, "Input({} bytes)", bytes.len()),
            #[cfg(feature = "text")]
            Content::Reader(..) => f.write_str("Input(a reader)"),
        }
    }
}
