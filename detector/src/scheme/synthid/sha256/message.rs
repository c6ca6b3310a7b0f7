//! The message of `synthid-sha256`, key ‖ context ‖ token, and the first bytes of its hash: of many candidates in one
//! context, or of the n-grams of a text.
//!
//! Where the message ends within one block, the hashes of many are computed side by side
//! ([`lanes`](crate::scheme::lanes)). All others are computed one by one.

use sha2::block_api::compress256;
use zeroize::Zeroizing;

use crate::scheme::evidence::GBits;
use crate::scheme::lanes::{Digests, LANES, Lanes, Set};
use crate::scheme::ngrams::{NGRAM_WORDS, Ngrams};

/// The initial state of SHA-256 (FIPS 180-4, section 5.3.3).
const SHA256_START: [u32; 8] =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];

/// Bytes that follow a message: 0x80 and its length in bits, 64-bit big-endian. Zeros may stand between them.
const PADDING: usize = 9;

/// Words of a block that hold the key.
const KEY_WORDS: usize = 8;

/// Index of the last word of an n-gram of [`NGRAM_WORDS`] tokens.
const LAST_WORD: usize = KEY_WORDS + NGRAM_WORDS - 1;

/// Number of sets of messages that are gathered before they are hashed.
const SETS: usize = 16;

/// Returns the first eight bytes of a digest, whose first words are `a` and `b`, as a little-endian number.
fn first_bytes(a: u32, b: u32) -> u64 {
    // The digest is the state's words in big-endian order.
    u64::from(a.swap_bytes()) | u64::from(b.swap_bytes()) << 32
}

/// Returns a block as the words that SHA-256 makes of it.
fn words(block: &[u8; 64]) -> Zeroizing<[u32; 16]> {
    let mut words = Zeroizing::new([0; 16]);
    for (word, bytes) in words.iter_mut().zip(block.as_chunks().0) {
        *word = u32::from_be_bytes(*bytes);
    }
    words
}

/// Reads the g-values of the first `g.len()` messages from their digests.
fn read(digests: &[Digests], g: &mut [GBits], mask: u64) {
    for ([a, b], g) in digests.iter().zip(g.chunks_mut(LANES)) {
        for ((g, a), b) in g.iter_mut().zip(a).zip(b) {
            *g = GBits(first_bytes(*a, *b) & mask);
        }
    }
}

/// The padded message without the token. With contexts of up to four tokens it is one block, so a candidate costs one
/// compression and nothing else.
pub(super) struct OpenMessage {
    /// SHA-256's state after the blocks before the token's.
    state: [u32; 8],
    /// The block that holds the token, and the next one where the padding runs into it.
    blocks: Zeroizing<[[u8; 64]; 2]>,
    /// How many of the two blocks are used.
    count: usize,
    /// Where in the first block the token goes; a multiple of 4.
    at: usize,
}

impl OpenMessage {
    pub(super) fn new(key: &[u8; 32], context: &[u32]) -> Self {
        let mut state = SHA256_START;
        let mut blocks = Zeroizing::new([[0; 64]; 2]);
        blocks[0][..32].copy_from_slice(key);
        let mut at = 32;
        for token in context {
            blocks[0][at..at + 4].copy_from_slice(&token.to_le_bytes());
            at += 4;
            if at == 64 {
                compress256(&mut state, &blocks[..1]);
                blocks[0] = [0; 64];
                at = 0;
            }
        }
        let bits = 8 * (32 + 4 * (context.len() as u64 + 1));
        let count = (at + 4 + PADDING).div_ceil(64);
        let flat = blocks.as_flattened_mut();
        flat[at + 4] = 0x80;
        flat[64 * count - 8..64 * count].copy_from_slice(&bits.to_be_bytes());
        Self { state, blocks, count, at }
    }

    /// Writes the g-values of each of `tokens` in the token's place into as many entries of `g`, with the bits of
    /// `mask`.
    pub(super) fn g_bits_of(&self, tokens: &[u32], g: &mut [GBits], mask: u64) {
        let count = tokens.len().min(g.len());
        let done = match Lanes::detect() {
            Some(lanes) if self.count == 1 && (KEY_WORDS..=LAST_WORD).contains(&(self.at / 4)) => {
                let done = lanes.together(count);
                self.many(lanes, &tokens[..done], &mut g[..done], mask);
                done
            }
            _ => 0,
        };
        if done == count {
            return;
        }
        let mut blocks = self.blocks.clone();
        for (g, token) in g.iter_mut().zip(tokens).skip(done) {
            blocks[0][self.at..self.at + 4].copy_from_slice(&token.to_le_bytes());
            let mut state = self.state;
            compress256(&mut state, &blocks[..self.count]);
            *g = GBits(first_bytes(state[0], state[1]) & mask);
        }
    }

    /// Does what [`g_bits_of`](Self::g_bits_of) does, for a message of one block whose token comes after the key.
    fn many(&self, lanes: Lanes, tokens: &[u32], g: &mut [GBits], mask: u64) {
        let block = words(&self.blocks[0]);
        let mut digests = [[[0; LANES]; 2]; SETS];
        if self.at == 4 * LAST_WORD {
            let mut sets: [Set<1>; SETS] = [[[0; LANES]]; SETS];
            for (tokens, g) in tokens.chunks(LANES * SETS).zip(g.chunks_mut(LANES * SETS)) {
                for (word, token) in sets.as_flattened_mut().as_flattened_mut().iter_mut().zip(tokens) {
                    *word = token.swap_bytes();
                }
                let sets = &sets[..tokens.len().div_ceil(LANES)];
                lanes.compress::<LAST_WORD, 1>(&self.state, &block, sets, &mut digests);
                read(&digests, g, mask);
            }
            return;
        }
        // For contexts shorter than usual, the words of the block stay as they are, except for the token's.
        let row: usize = self.at / 4 - KEY_WORDS;
        let mut set: Set<NGRAM_WORDS> = std::array::from_fn(|i| [block[KEY_WORDS + i]; LANES]);
        for (tokens, g) in tokens.chunks(LANES).zip(g.chunks_mut(LANES)) {
            for (word, token) in set[row].iter_mut().zip(tokens) {
                *word = token.swap_bytes();
            }
            let set = std::slice::from_ref(&set);
            lanes.compress::<KEY_WORDS, NGRAM_WORDS>(&self.state, &block, set, &mut digests[..1]);
            read(&digests, g, mask);
        }
    }
}

/// Writes the g-values of the last token of each n-gram after the others into as many entries of `g`, with the bits of
/// `mask`.
pub(super) fn g_bits_of(ngrams: &Ngrams<'_>, key: &[u8; 32], g: &mut [GBits], mask: u64) {
    let Some(len) = ngrams.iter().next().map(<[u32]>::len) else { return };
    if len > NGRAM_WORDS {
        for (ngram, g) in ngrams.iter().zip(g) {
            let (context, token) = ngram.split_at(len - 1);
            OpenMessage::new(key, context).g_bits_of(token, std::slice::from_mut(g), mask);
        }
        return;
    }
    // One block serves all n-grams; the tokens' place is overwritten.
    let end = 32 + 4 * len;
    let mut block = Zeroizing::new([0; 64]);
    block[..32].copy_from_slice(key);
    block[end] = 0x80;
    block[56..].copy_from_slice(&(8 * end as u64).to_be_bytes());
    let mut done = 0;
    if let (Some(lanes), false) = (Lanes::detect(), ngrams.sets().is_empty()) {
        let block = words(&block);
        let mut digests = [[[0; LANES]; 2]; SETS];
        for sets in ngrams.sets().chunks(SETS) {
            lanes.compress::<KEY_WORDS, NGRAM_WORDS>(&SHA256_START, &block, sets, &mut digests);
            let next = g.len().min(done + LANES * sets.len());
            read(&digests, &mut g[done..next], mask);
            done = next;
        }
    }
    for (ngram, g) in ngrams.iter().zip(g).skip(done) {
        for (bytes, token) in block[32..end].chunks_exact_mut(4).zip(ngram) {
            bytes.copy_from_slice(&token.to_le_bytes());
        }
        let mut state = SHA256_START;
        compress256(&mut state, std::slice::from_ref(&*block));
        *g = GBits(first_bytes(state[0], state[1]) & mask);
    }
}

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::*;

    fn expected(key: &[u8; 32], ngram: &[u32]) -> GBits {
        let tokens: Vec<u8> = ngram.iter().flat_map(|token| token.to_le_bytes()).collect();
        let digest = Sha256::digest([&key[..], &tokens].concat());
        GBits(u64::from_le_bytes(digest[..8].try_into().unwrap()))
    }

    fn ids(count: usize) -> Vec<u32> {
        (1..=count as u32).map(|i| i.wrapping_mul(0x9e37_79b9)).collect()
    }

    /// Numbers of messages around whole sets, at the lengths where the token or the padding goes into another block.
    #[test]
    fn any_number_of_messages_is_sha256_of_each() {
        let key = std::array::from_fn(|i| 7 * i as u8 + 1);
        for len in 2..=64 {
            let counts = if len < 8 { 0..=40 } else { 17..=24 };
            for count in counts.chain([LANES * SETS + 3, 2 * LANES * SETS + 7]) {
                let (context, tokens) = (ids(len - 1), ids(count));
                let mut g = vec![GBits(0); count];
                OpenMessage::new(&key, &context).g_bits_of(&tokens, &mut g, u64::MAX);
                for (token, found) in tokens.iter().zip(&g) {
                    assert_eq!(
                        *found,
                        expected(&key, &[&context[..], &[*token]].concat()),
                        "{len} words, {count}"
                    );
                }
                let text = ids(count + len - 1);
                g_bits_of(&Ngrams::new(len, text.windows(len)), &key, &mut g, u64::MAX);
                let each: Vec<GBits> = text.windows(len).map(|ngram| expected(&key, ngram)).collect();
                assert_eq!(g, each, "{count} n-grams of {len} words");
            }
        }
    }
}
