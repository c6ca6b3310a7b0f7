//! MurmurHash3 x86_32 over words, with seed 0.
//!
//! Source: Appleby, <https://github.com/aappleby/smhasher>, `MurmurHash3.cpp` (public domain).

/// A hash in the middle of its words.
#[derive(Clone, Copy, Default)]
pub(super) struct Murmur {
    state: u32,
    words: u32,
}

impl Murmur {
    /// Returns the hash after one more word.
    pub(super) fn word(self, word: u32) -> Self {
        let k = word.wrapping_mul(0xCC9E_2D51).rotate_left(15).wrapping_mul(0x1B87_3593);
        let state = (self.state ^ k).rotate_left(13).wrapping_mul(5).wrapping_add(0xE654_6B64);
        Self { state, words: self.words + 1 }
    }

    /// Returns the hash after more words.
    pub(super) fn all(self, words: &[u32]) -> Self {
        words.iter().fold(self, |hash, &word| hash.word(word))
    }

    /// Returns the hash of the words so far.
    pub(super) fn finish(self) -> u32 {
        let mut h = self.state ^ self.words.wrapping_mul(4);
        h = (h ^ h >> 16).wrapping_mul(0x85EB_CA6B);
        h = (h ^ h >> 13).wrapping_mul(0xC2B2_AE35);
        h ^ h >> 16
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_answers() {
        // Four zero bytes and "aaaa", as the verification of the original has them.
        assert_eq!(Murmur::default().finish(), 0);
        assert_eq!(Murmur::default().word(0).finish(), 0x2362_f9de);
        assert_eq!(Murmur::default().word(0xFFFF_FFFF).finish(), 0x7629_3b50);
        assert_eq!(Murmur::default().word(0x8765_4321).finish(), 0xf55b_516b);
        assert_eq!(Murmur::default().all(&[1, 2, 3, 4]).finish(), 0x4445_ad00);
        assert_eq!(Murmur::default().word(5).finish(), 0x0e1b_bb7e);
    }
}
