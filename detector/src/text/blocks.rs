//! Long texts in blocks, cut where a tokenizer cuts too.

use std::io::{self, Read};

/// Default number of bytes in a block. Cutting a text into tokens takes about a hundred times as much memory as the
/// text has bytes.
pub const BLOCK_LEN: usize = 256 << 10;

/// Reads a text in blocks of at most `len` bytes.
///
/// A block ends before ASCII white space, if its second half has any: before the last run with a line break, else
/// before the last run. Except for Gemma 3's ` ></`, Gemma's vocabularies have no piece that reaches from a visible
/// character into a space or a line feed. So the tokens of the blocks are the tokens of the whole. Where there is no
/// white space, the block ends between two characters, and a token or two at the cut may differ. Either way the blocks
/// depend on the text alone.
#[derive(Debug)]
pub struct Blocks<R> {
    input: R,
    len: usize,
    /// Bytes that were read and are not in a block yet.
    rest: Vec<u8>,
    ended: bool,
}

impl<R: Read> Blocks<R> {
    /// Cuts `input` into blocks of at most `len` bytes; a `len` below 8 counts as 8.
    pub fn new(input: R, len: usize) -> Self {
        Self { input, len: len.max(8), rest: Vec::new(), ended: false }
    }

    /// Returns the next block, `None` at the end of the text.
    ///
    /// # Errors
    /// Returns an error if the reader does.
    pub fn next_block(&mut self) -> io::Result<Option<Vec<u8>>> {
        if !self.ended && self.rest.len() < self.len {
            let missing = self.len - self.rest.len();
            let read = (&mut self.input).take(missing as u64).read_to_end(&mut self.rest)?;
            self.ended = read < missing;
        }
        if self.rest.is_empty() {
            return Ok(None);
        }
        let end = if self.rest.len() <= self.len && self.ended { self.rest.len() } else { cut(&self.rest) };
        let after = self.rest.split_off(end);
        Ok(Some(std::mem::replace(&mut self.rest, after)))
    }
}

/// Returns where to cut `bytes`: between half of its length and all of it.
fn cut(bytes: &[u8]) -> usize {
    let mut space = None;
    for at in (bytes.len() / 2..bytes.len()).rev() {
        let starts_run = bytes[at].is_ascii_whitespace() && !bytes[at - 1].is_ascii_whitespace();
        // Gemma 2 has pieces such as `;\r`.
        if starts_run && bytes[at] != b'\r' {
            if bytes[at..].iter().take_while(|byte| byte.is_ascii_whitespace()).any(|&byte| byte == b'\n') {
                return at;
            }
            space = space.or(Some(at));
        }
    }
    space.unwrap_or_else(|| {
        // In front of a character that may not be complete.
        let continued = bytes.iter().rev().take(3).take_while(|&&byte| byte & 0xC0 == 0x80).count();
        let lead = bytes.len() - 1 - continued;
        if bytes[lead] >= 0xC0 { lead } else { bytes.len() }
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn blocks(text: &[u8], len: usize) -> Vec<Vec<u8>> {
        let mut blocks = Blocks::new(text, len);
        std::iter::from_fn(|| blocks.next_block().unwrap()).collect()
    }

    #[test]
    fn cuts_before_white_space() {
        let cut = |text: &str, len| {
            blocks(text.as_bytes(), len)
                .into_iter()
                .map(|b| String::from_utf8(b).unwrap())
                .collect::<Vec<_>>()
        };
        assert_eq!(cut("one two three", 8), ["one two", " three"]);
        assert_eq!(cut("one,\n\r\n   two three", 9), ["one,", "\n\r\n   two", " three"]);
        assert_eq!(cut("some a;\r\ntwo", 9), ["some", " a;\r\ntwo"]);
        assert_eq!(cut("ééééééé", 9), ["éééé", "ééé"]);
        assert_eq!(cut("", 9), [""; 0]);
        assert_eq!(cut("12345678", 8), ["12345678"]);
    }

    proptest! {
        #[test]
        fn blocks_are_the_text(text in "[a-c \n😀é]{0,60}", len in 8..30_usize) {
            let blocks = blocks(text.as_bytes(), len);
            prop_assert!(blocks.iter().all(|block| !block.is_empty() && block.len() <= len));
            prop_assert!(blocks.iter().all(|block| std::str::from_utf8(block).is_ok()));
            prop_assert_eq!(blocks.concat(), text.into_bytes());
        }
    }
}
