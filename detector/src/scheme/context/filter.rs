//! A set of contexts in fixed memory that errs towards "seen".
//!
//! A blocked Bloom filter (Putze, Sanders, Singler 2007): each element sets a few bits of one cache line. The hash uses
//! no key. So which positions the filter drops depends on the text alone, and p-values stay valid.

use crate::split_mix::mix;

/// Number of 64-byte lines, which take 128 MiB.
const LINES: usize = 1 << 21;
/// Number of bits that an element sets in its line.
const BITS: u32 = 6;

/// See the module.
#[derive(Clone)]
pub(super) struct ContextFilter {
    lines: Vec<[u64; 8]>,
}

impl Default for ContextFilter {
    fn default() -> Self {
        Self { lines: vec![[0; 8]; LINES] }
    }
}

impl std::fmt::Debug for ContextFilter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ContextFilter").finish_non_exhaustive()
    }
}

impl ContextFilter {
    pub(super) fn contains(&self, id: u128) -> bool {
        let (line, mask) = place(id);
        self.lines[line].iter().zip(mask).all(|(word, mask)| word & mask == mask)
    }

    pub(super) fn insert(&mut self, id: u128) {
        let (line, mask) = place(id);
        self.lines[line].iter_mut().zip(mask).for_each(|(word, mask)| *word |= mask);
    }
}

/// Returns the line of an element, and its bits there.
fn place(id: u128) -> (usize, [u64; 8]) {
    let line = mix(id as u64 ^ mix((id >> 64) as u64));
    let mut bits = mix(line);
    let mut mask = [0; 8];
    for _ in 0..BITS {
        mask[(bits >> 6 & 7) as usize] |= 1 << (bits & 63);
        bits >>= 9;
    }
    (line as usize & (LINES - 1), mask)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// At 4 million elements a line holds two on average. A Bloom filter of this size takes 1e-9 of new elements for
    /// old, and lines of uneven load take some more.
    #[test]
    fn never_forgets_and_seldom_invents() {
        let mut filter = ContextFilter::default();
        let id = |i: u128| i << 96 | (i * 7) << 64 | i << 32 | 5;
        for i in 0..200_000 {
            filter.insert(id(i));
        }
        assert!((0..200_000).all(|i| filter.contains(id(i))));
        let invented = (200_000..400_000).filter(|&i| filter.contains(id(i))).count();
        assert!(invented <= 2, "{invented}");
    }
}
