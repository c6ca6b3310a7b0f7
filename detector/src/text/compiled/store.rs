//! The block of memory that a compiled vocabulary is: a header and sections of integers. It is the same in a file and
//! in memory, so a file need not be parsed: its checksum is enough.
//!
//! | words of 64 bits, little-endian | content |
//! |---|---|
//! | 0 | `wmdvocab` |
//! | 1 | [`VERSION`] |
//! | 2 | words in all |
//! | 3 | [`checksum`] of the words from 4 on |
//! | 4 to 7 | key: SHA-256 of what was compiled |
//! | 8 to 8 + 2 · [`SECTIONS`] | for each section its first word and its length in bytes |
//! | then | the sections, each from a whole word on |

use super::super::mmap::Mapped;
use crate::cache::Key;

const MAGIC: u64 = u64::from_le_bytes(*b"wmdvocab");
/// Changes whenever the content of a section, its meaning or the rules of compiling change.
const VERSION: u64 = 1;
const HEADER: usize = 8;
/// Number of sections.
pub(super) const SECTIONS: usize = 21;
/// A block with a valid header.
#[derive(Debug)]
pub(in super::super) struct Store {
    words: Words,
    /// First byte and end of each section.
    sections: [(usize, usize); SECTIONS],
}

#[derive(Debug)]
enum Words {
    Owned(Vec<u64>),
    Mapped(Mapped),
}

impl Words {
    fn get(&self) -> &[u64] {
        match self {
            Self::Owned(words) => words,
            // Maps begin at a page, and `from_file` has seen that the length is whole.
            Self::Mapped(map) => bytemuck::try_cast_slice(map.bytes()).unwrap_or_default(),
        }
    }
}

impl Store {
    /// Joins sections to a block.
    pub(super) fn join(key: &Key, sections: &[Vec<u8>; SECTIONS]) -> Self {
        let mut words = vec![0; HEADER + 2 * SECTIONS];
        for (i, section) in sections.iter().enumerate() {
            words[HEADER + 2 * i] = words.len() as u64;
            words[HEADER + 2 * i + 1] = section.len() as u64;
            let whole = section.chunks(8).map(|chunk| {
                let mut word = [0; 8];
                word[..chunk.len()].copy_from_slice(chunk);
                u64::from_ne_bytes(word)
            });
            words.extend(whole);
        }
        words[0] = MAGIC;
        words[1] = VERSION;
        words[2] = words.len() as u64;
        for (word, bytes) in words[4..HEADER].iter_mut().zip(key.chunks_exact(8)) {
            *word = u64::from_ne_bytes(bytes.try_into().expect("8 bytes"));
        }
        words[3] = checksum(&words[4..]);
        let sections = bounds(&words).expect("sections that were just laid out");
        Self { words: Words::Owned(words), sections }
    }

    /// Returns the block in a file, if it is whole, of this version, and of what `key` names.
    pub(super) fn from_file(map: Mapped, key: &Key) -> Option<Self> {
        let words: &[u64] = bytemuck::try_cast_slice(map.bytes()).ok()?;
        let valid = words.len() >= HEADER + 2 * SECTIONS
            && words[0] == MAGIC
            && words[1] == VERSION
            && words[2] == words.len() as u64
            && bytemuck::cast_slice::<u64, u8>(&words[4..HEADER]) == key
            && words[3] == checksum(&words[4..]);
        let sections = if valid { bounds(words)? } else { return None };
        Some(Self { words: Words::Mapped(map), sections })
    }

    /// Returns the whole block, byte for byte what a file has.
    pub(super) fn bytes(&self) -> &[u8] {
        bytemuck::cast_slice(self.words.get())
    }

    /// Gives changed content a checksum that fits.
    #[cfg(test)]
    pub(super) fn seal(bytes: &mut [u8]) {
        let (words, _) = bytes.as_chunks::<8>();
        let words: Vec<u64> = words.iter().map(|word| u64::from_ne_bytes(*word)).collect();
        bytes[24..32].copy_from_slice(&checksum(&words[4..]).to_ne_bytes());
    }

    /// Returns whether the block is a mapped file.
    #[cfg(test)]
    pub(super) fn is_mapped(&self) -> bool {
        matches!(self.words, Words::Mapped(_))
    }

    /// Returns a section as bytes.
    pub(super) fn section(&self, index: usize) -> &[u8] {
        let (start, end) = self.sections[index];
        &self.bytes()[start..end]
    }

    /// Returns a section as integers.
    pub(super) fn integers<T: bytemuck::AnyBitPattern>(&self, index: usize) -> &[T] {
        // Sections begin at whole words and `Builder` filled them with whole integers.
        bytemuck::try_cast_slice(self.section(index)).unwrap_or_default()
    }
}

/// Returns the first byte and end of each section, if all lie in the block.
fn bounds(words: &[u64]) -> Option<[(usize, usize); SECTIONS]> {
    let mut sections = [(0, 0); SECTIONS];
    let table = words.get(HEADER..HEADER + 2 * SECTIONS)?;
    for (bounds, entry) in sections.iter_mut().zip(table.chunks_exact(2)) {
        let start = usize::try_from(entry[0]).ok()?.checked_mul(8)?;
        let end = start.checked_add(usize::try_from(entry[1]).ok()?)?;
        if end > words.len() * 8 {
            return None;
        }
        *bounds = (start, end);
    }
    Some(sections)
}

/// Returns a checksum that detects any change of one word for certain, and any other change with probability 1 − 2⁻⁶⁴,
/// at the speed of memory. It guards against damage. That nobody else can write into the cache is
/// [`Cache`](crate::Cache)'s business.
fn checksum(words: &[u64]) -> u64 {
    const FACTOR: u64 = 0x9E37_79B9_7F4A_7C15;
    // Each step is a bijection of the lane for a fixed word, and of the word for a fixed lane.
    let step = |lane: u64, word: u64| (lane ^ word).wrapping_mul(FACTOR).rotate_left(29);
    let mut lanes = [1, 2, 3, 4];
    let mut chunks = words.chunks_exact(4);
    for chunk in &mut chunks {
        for (lane, &word) in lanes.iter_mut().zip(chunk) {
            *lane = step(*lane, word);
        }
    }
    let sum = chunks.remainder().iter().fold(words.len() as u64, |sum, &word| step(sum, word));
    lanes.into_iter().fold(sum, step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_word_changes_the_checksum() {
        let words: Vec<u64> = (0..23).map(|i| i * i * 0x1234_5678_9ABC).collect();
        let sum = checksum(&words);
        for i in 0..words.len() {
            for bit in 0..64 {
                let mut changed = words.clone();
                changed[i] ^= 1 << bit;
                assert_ne!(checksum(&changed), sum, "word {i} bit {bit}");
            }
            let mut swapped = words.clone();
            swapped.swap(i, (i + 1) % words.len());
            assert_ne!(checksum(&swapped), sum);
            assert_ne!(checksum(&words[..i]), sum);
        }
    }
}
