//! A vocabulary of Gemma's kind compiled into tables, and the encoder over them.
//!
//! `tokenizers` takes two seconds to read Gemma's tokenizer.json and cuts about a megabyte a second. The tables here
//! are mapped from a file in milliseconds ([`Cache`]), and [`encode`] gives the same tokens an order of magnitude
//! faster. [`build`] decides which tokenizers can be compiled; all others go through `tokenizers`.

mod build;
mod check;
mod encode;
mod store;
mod symbol;
#[cfg(test)]
mod tests;
mod trie;
mod words;

use std::fmt;
use std::sync::{Mutex, PoisonError};

pub(super) use build::compile;
use encode::Scratch;
use store::Store;
use trie::Trie;

use super::mmap::Mapped;
use super::pieces::{TokenKind, TokenizerFingerprint, byte_piece};
use super::{Encoded, TextError};
use crate::cache::{Cache, Key, Kind};

/// Where each table lies in the [`Store`].
mod section {
    /// bos, eos (u32), then the fingerprint's 32 bytes.
    pub(super) const META: usize = 0;
    /// What each id is for (u8).
    pub(super) const KINDS: usize = 1;
    /// Where the bytes of each id end in `BYTES` (u32).
    pub(super) const ENDS: usize = 2;
    pub(super) const BYTES: usize = 3;
    /// For each 256 code points the page of `CHARS` (u32).
    pub(super) const CHAR_PAGES: usize = 4;
    /// Pages of 256 ids (u32); page 0 is empty.
    pub(super) const CHARS: usize = 5;
    /// Which pairs of ASCII characters may be in one token (bits of u64, 128 a row).
    pub(super) const ASCII_PAIRS: usize = 6;
    /// The same for pairs of any characters, by hash.
    pub(super) const PAIRS: usize = 7;
    /// Open-addressed: left id, right id, rank (22, 22 and 20 bits of u64).
    pub(super) const MERGES: usize = 8;
    /// The id that a merge makes, by rank (u32).
    pub(super) const MERGED: usize = 9;
    /// Open-addressed: hash of the bytes, id, whether it is the encoding of its own bytes (32, 31 and 1 bits of u64).
    pub(super) const PIECES: usize = 10;
    /// The token of each byte (u32).
    pub(super) const BYTE_IDS: usize = 11;
    /// Control tokens: id (u32), length of the name (u32), name.
    pub(super) const CONTROL: usize = 12;
    /// Added tokens that are looked for in the text: first bytes, edges, bytes, values of a trie.
    pub(super) const ADDED: usize = 13;
    /// The added tokens that are looked for once spaces are `▁`.
    pub(super) const NORMALISED: usize = 17;
}

/// The value that stands for no id.
const NONE: u32 = u32::MAX;

/// A compiled tokenizer.
pub(super) struct Compiled {
    store: Store,
    /// Memory that encoding needs in addition to the tables: one for each call that runs at the same time.
    scratch: Mutex<Vec<Scratch>>,
}

impl Compiled {
    fn new(store: Store) -> Self {
        Self { store, scratch: Mutex::default() }
    }

    /// Returns the tables that were compiled from the source that `key` names, if `cache` has them and they are whole.
    pub(super) fn load(cache: &Cache, key: &Key) -> Option<Self> {
        let file = cache.open(Kind::Vocabulary, key)?;
        let compiled = Self::new(Store::from_file(Mapped::new(&file).ok()?, key)?);
        check::is_sound(&compiled).then_some(compiled)
    }

    /// Keeps the tables for the next time.
    pub(super) fn save(&self, cache: &Cache, key: &Key) {
        cache.save(Kind::Vocabulary, key, self.store.bytes());
    }

    fn view(&self) -> View<'_> {
        let trie = |at| Trie {
            first: self.store.section(at),
            edges: self.store.integers(at + 1),
            bytes: self.store.section(at + 2),
            values: self.store.integers(at + 3),
        };
        View {
            ends: self.store.integers(section::ENDS),
            bytes: self.store.section(section::BYTES),
            char_pages: self.store.integers(section::CHAR_PAGES),
            chars: self.store.integers(section::CHARS),
            ascii_pairs: self.store.integers(section::ASCII_PAIRS),
            pairs: self.store.integers(section::PAIRS),
            merges: self.store.integers(section::MERGES),
            merged: self.store.integers(section::MERGED),
            pieces: self.store.integers(section::PIECES),
            byte_ids: self.store.integers(section::BYTE_IDS),
            added: trie(section::ADDED),
            normalised: trie(section::NORMALISED),
        }
    }

    /// Cuts a text into tokens, as `tokenizers` does.
    ///
    /// # Errors
    /// Returns an error if the text has 4 GiB or more: [`TextError::Encode`].
    pub(super) fn encode(&self, text: &str) -> Result<Encoded, TextError> {
        self.encode_with::<true>(text)
    }

    /// Returns only the ids of [`encode`](Self::encode).
    pub(super) fn encode_ids(&self, text: &str) -> Result<Vec<u32>, TextError> {
        Ok(self.encode_with::<false>(text)?.ids)
    }

    fn encode_with<const OFFSETS: bool>(&self, text: &str) -> Result<Encoded, TextError> {
        if u32::try_from(text.len()).is_err() {
            return Err(TextError::Encode {
                message: format!("expected less than 4 GiB, found {} bytes; cut it in blocks", text.len()),
            });
        }
        // A panic elsewhere leaves scratch memory as good as new.
        let scratch = || self.scratch.lock().unwrap_or_else(PoisonError::into_inner);
        let mut mine = scratch().pop().unwrap_or_default();
        let encoded = encode::encode::<OFFSETS>(&self.view(), &mut mine, text);
        scratch().push(mine);
        Ok(encoded)
    }

    pub(super) fn token_bytes(&self, id: u32) -> Option<&[u8]> {
        match self.token_kind(id) {
            TokenKind::Control | TokenKind::Unused => None,
            _ => self.view().bytes(id),
        }
    }

    pub(super) fn token_kind(&self, id: u32) -> TokenKind {
        let kind = self.store.section(section::KINDS).get(id as usize);
        kind.map_or(TokenKind::Unused, |&kind| kind_of(kind))
    }

    pub(super) fn vocab_size(&self) -> usize {
        self.store.section(section::KINDS).len()
    }

    pub(super) fn bos(&self) -> Option<u32> {
        self.store.integers(section::META).first().copied().filter(|&id| id != NONE)
    }

    pub(super) fn eos(&self) -> Option<u32> {
        self.store.integers(section::META).get(1).copied().filter(|&id| id != NONE)
    }

    pub(super) fn fingerprint(&self) -> TokenizerFingerprint {
        let mut hash = [0; 32];
        hash.iter_mut()
            .zip(self.store.section(section::META).iter().skip(8))
            .for_each(|(to, &from)| *to = from);
        TokenizerFingerprint(hash)
    }

    /// Returns the tokens that merges make, in order of the first merge that makes each, and whether each is what its
    /// own bytes are encoded as.
    pub(super) fn made(&self) -> Vec<(u32, bool)> {
        let view = self.view();
        let mut own = vec![false; self.vocab_size()];
        for &entry in view.pieces.iter().filter(|&&entry| entry != EMPTY) {
            own[(entry as u32 >> 1) as usize] = entry & 1 == 1;
        }
        let mut seen = vec![false; self.vocab_size()];
        let first = view.merged.iter().filter(|&&id| !std::mem::replace(&mut seen[id as usize], true));
        first.map(|&id| (id, own[id as usize])).collect()
    }

    pub(super) fn control_id(&self, name: &str) -> Option<u32> {
        let mut rest = self.store.section(section::CONTROL);
        while let Some((head, tail)) = rest.split_at_checked(8) {
            let id = u32::from_ne_bytes(head[..4].try_into().ok()?);
            let len = u32::from_ne_bytes(head[4..].try_into().ok()?);
            let (found, tail) = tail.split_at_checked(len as usize)?;
            if found == name.as_bytes() {
                return Some(id);
            }
            rest = tail;
        }
        None
    }

    pub(super) fn token_to_id(&self, token: &str) -> Option<u32> {
        let view = self.view();
        let exact = |trie: Trie<'_>| {
            trie.longest(token.as_bytes(), false).filter(|&(len, _)| len == token.len()).map(|found| found.1)
        };
        if let Some(byte) = byte_piece(token) {
            return view.byte_ids.get(usize::from(byte)).copied().filter(|&id| id != NONE);
        }
        exact(view.added)
            .or_else(|| exact(view.normalised))
            .filter(|&id| id != trie::PASSED_OVER)
            // A literal space is in no piece of the vocabulary.
            .or_else(|| {
                (!token.contains(' ')).then(|| view.piece(token.replace('▁', " ").as_bytes()))?.map(|p| p.0)
            })
            .or_else(|| self.control_id(token))
    }
}

/// The tables.
#[derive(Clone, Copy)]
struct View<'a> {
    ends: &'a [u32],
    bytes: &'a [u8],
    char_pages: &'a [u32],
    chars: &'a [u32],
    ascii_pairs: &'a [u64],
    pairs: &'a [u64],
    merges: &'a [u64],
    merged: &'a [u32],
    pieces: &'a [u64],
    byte_ids: &'a [u32],
    added: Trie<'a>,
    normalised: Trie<'a>,
}

/// Bits of a token id.
const ID_BITS: u32 = 22;
/// Bits of a merge's rank.
const RANK_BITS: u32 = 20;
/// Multiplier of the hashes: 2^64 over the golden ratio.
const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;
/// An unused slot.
const EMPTY: u64 = u64::MAX;

impl<'a> View<'a> {
    fn bytes(&self, id: u32) -> Option<&'a [u8]> {
        let id = id as usize;
        let end = *self.ends.get(id)?;
        let start = if id == 0 { 0 } else { self.ends[id - 1] };
        self.bytes.get(start as usize..end as usize)
    }

    /// Returns the token that is one character; a space is 0x20.
    fn char(&self, c: u32) -> u32 {
        let page = self.char_pages[(c >> 8) as usize];
        self.chars[(page << 8 | c & 0xFF) as usize]
    }

    /// Returns whether there may be a token in which `left` is followed by `right`. Only false is certain.
    fn may_join(&self, left: u32, right: u32) -> bool {
        if left | right < 0x80 {
            self.ascii_pairs[(left << 1 | right >> 6) as usize] >> (right & 63) & 1 == 1
        } else {
            let bit = pair_bit(left, right);
            self.pairs[bit >> 6] >> (bit & 63) & 1 == 1
        }
    }

    /// Returns the rank of the merge of two tokens, [`NONE`] if there is none.
    fn rank(&self, left: u32, right: u32) -> u32 {
        let pair = merge_key(left, right);
        let mask = self.merges.len() - 1;
        let mut slot = merge_slot(pair) & mask;
        loop {
            let found = self.merges[slot];
            if found >> RANK_BITS == pair {
                return (found & ((1 << RANK_BITS) - 1)) as u32;
            }
            if found == EMPTY {
                return NONE;
            }
            slot = (slot + 1) & mask;
        }
    }

    /// Returns the token with these bytes, and whether it is what they are encoded as.
    fn piece(&self, bytes: &[u8]) -> Option<(u32, bool)> {
        let hash = hash(bytes);
        let mask = self.pieces.len() - 1;
        let mut slot = hash as usize & mask;
        loop {
            let found = self.pieces[slot];
            if found == EMPTY {
                return None;
            }
            if found >> 32 == hash >> 32 {
                let id = found as u32 >> 1;
                if self.bytes(id) == Some(bytes) {
                    return Some((id, found & 1 == 1));
                }
            }
            slot = (slot + 1) & mask;
        }
    }
}

/// Bits of [`section::PAIRS`].
const PAIR_BITS: u32 = 19;

fn pair_bit(left: u32, right: u32) -> usize {
    ((u64::from(left) << 21 | u64::from(right)).wrapping_mul(GOLDEN) >> (64 - PAIR_BITS)) as usize
}

fn merge_key(left: u32, right: u32) -> u64 {
    u64::from(left) << ID_BITS | u64::from(right)
}

/// Returns where to look for a merge first. The caller reduces it to the table's size.
fn merge_slot(pair: u64) -> usize {
    (pair.wrapping_mul(GOLDEN) >> 32) as usize
}

/// Returns a hash of a short string.
fn hash(bytes: &[u8]) -> u64 {
    let word = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("8 bytes"));
    let half = |at: usize| u64::from(u32::from_le_bytes(bytes[at..at + 4].try_into().expect("4 bytes")));
    let mix = |a: u64, b: u64| {
        let product = u128::from(a ^ GOLDEN) * u128::from(b ^ 0xD6E8_FEB8_6659_FD93);
        product as u64 ^ (product >> 64) as u64
    };
    let len = bytes.len();
    match len {
        0..4 => {
            let middle = bytes.get(len / 2).copied().unwrap_or_default();
            let [first, last] = [bytes.first(), bytes.last()].map(|byte| byte.copied().unwrap_or_default());
            mix(u64::from(first) | u64::from(middle) << 8 | u64::from(last) << 16, len as u64)
        }
        4..8 => mix(half(0) << 32 | half(len - 4), len as u64),
        8..=16 => mix(word(0), word(len - 8) ^ len as u64),
        _ => {
            let start = (0..len - 8).step_by(8).fold(len as u64, |sum, at| mix(sum, word(at)));
            mix(start, word(len - 8))
        }
    }
}

fn code_of(kind: TokenKind) -> u8 {
    match kind {
        TokenKind::Ordinary => 0,
        TokenKind::Byte => 1,
        TokenKind::UserDefined => 2,
        TokenKind::Control => 3,
        TokenKind::Unused => 4,
    }
}

fn kind_of(code: u8) -> TokenKind {
    match code {
        0 => TokenKind::Ordinary,
        1 => TokenKind::Byte,
        2 => TokenKind::UserDefined,
        3 => TokenKind::Control,
        _ => TokenKind::Unused,
    }
}

impl fmt::Debug for Compiled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Compiled").field("vocab_size", &self.vocab_size()).finish_non_exhaustive()
    }
}
