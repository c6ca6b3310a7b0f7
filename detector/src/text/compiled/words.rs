//! The words seen before, with their tokens: a memory that is overwritten.

use std::ops::Range;

use super::GOLDEN;
use super::symbol::Symbol;

/// Number of words that are remembered, a power of two. They take two megabytes, so that a language's common words keep
/// their places.
pub(super) const WORDS: usize = 1 << 15;
/// The longest word that is remembered, in bytes.
const WORD_LEN: usize = 24;
/// The most tokens that it may have.
pub(super) const WORD_TOKENS: usize = 6;

/// The tokens of a word, in one cache line. The vocabulary's own tables take some megabytes; common words are found
/// here without looking into them.
#[derive(Clone, Copy, Default)]
#[repr(align(64))]
pub(super) struct Word {
    pub(super) key: WordKey,
    pub(super) ids: [u32; WORD_TOKENS],
    pub(super) lens: [u8; WORD_TOKENS],
    pub(super) count: u8,
}

/// The bytes of a word of at most [`WORD_LEN`] bytes, filled up with zeros, and their number, which no unused word has.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct WordKey {
    words: [u64; WORD_LEN / 8],
    len: u8,
}

impl WordKey {
    /// Returns the key of `range` of `text`, or `None` for more than [`WORD_LEN`] bytes. No branch depends on the
    /// length of a word, which no processor can predict.
    pub(super) fn new(text: &[u8], range: Range<usize>) -> Option<Self> {
        /// For each length, the bits of each 64-bit word that belong to the word.
        const MASKS: [[u64; WORD_LEN / 8]; WORD_LEN + 1] = {
            let mut masks = [[0; WORD_LEN / 8]; WORD_LEN + 1];
            let mut len = 0;
            while len <= WORD_LEN {
                let mut byte = 0;
                while byte < len {
                    masks[len][byte / 8] |= 0xFF << (byte % 8 * 8);
                    byte += 1;
                }
                len += 1;
            }
            masks
        };
        let len = range.len();
        let masks = MASKS.get(len)?;
        let words = if let Some(block) = text[range.start..].first_chunk::<WORD_LEN>() {
            std::array::from_fn(|i| word(block, i) & masks[i])
        } else {
            // At the end of the text.
            let mut block = [0; WORD_LEN];
            block[..len].copy_from_slice(&text[range]);
            std::array::from_fn(|i| word(&block, i))
        };
        Some(Self { words, len: len as u8 })
    }

    pub(super) fn slot(&self) -> usize {
        let [first, second, third] = self.words;
        let product = u128::from(first ^ GOLDEN)
            * u128::from(second.rotate_left(24) ^ third.rotate_left(48) ^ 0xD6E8_FEB8_6659_FD93);
        ((product as u64 ^ (product >> 64) as u64) >> 32) as usize % WORDS
    }
}

/// Returns the `i`-th eight bytes of `block`.
fn word(block: &[u8; WORD_LEN], i: usize) -> u64 {
    u64::from_le_bytes(block[8 * i..8 * i + 8].try_into().expect("8 bytes"))
}

impl Word {
    pub(super) fn new(key: WordKey, symbols: &[Symbol]) -> Self {
        let mut word = Self { key, count: symbols.len() as u8, ..Self::default() };
        for (i, symbol) in symbols.iter().enumerate() {
            word.ids[i] = symbol.id;
            word.lens[i] = (symbol.end - symbol.start) as u8;
        }
        word
    }
}
