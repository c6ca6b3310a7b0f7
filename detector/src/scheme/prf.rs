//! The one keyed function: (key, context, token) → the g-values of all layers.
//!
//! Generator and detector both call [`Prf::context`] and then [`KeyedContext::g_bits`]; nothing else in the project
//! turns a key into g-values. `docs/scheme.md` has the layouts and test vectors.

use std::sync::Arc;

use sha2::{Digest, Sha256};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::synthid::sha256::message::{Ngrams, OpenMessage};
use super::{GBits, Key, SamplingTable, Scheme};

/// Multiplier of the reference's linear congruential hash (newlib's and musl's).
const LCG_MULTIPLIER: i64 = 6_364_136_223_846_793_005;

/// A key made ready for hashing. Cheap to clone; wiped when the last clone goes.
#[derive(Clone)]
pub struct Prf(Arc<Inner>);

struct Inner {
    scheme: Scheme,
    state: State,
}

#[derive(Zeroize, ZeroizeOnDrop)]
enum State {
    Sha256 { block_key: [u8; 32] },
    Hf { keys: Zeroizing<Vec<i64>>, table: Vec<u8> },
    DeepMind { keys: Zeroizing<Vec<i64>>, iv: i64 },
}

/// Shows the scheme; never the key.
impl std::fmt::Debug for Prf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Prf").field(&self.scheme().name()).finish()
    }
}

impl Key {
    /// The keyed function of this key.
    pub fn prf(&self) -> Prf {
        let scheme = self.scheme().clone();
        let state = match &scheme {
            Scheme::Sha256 { depth, ngram_len } => {
                let mut block_key = [0; 32];
                self.secret().expand(&[b"synthid-sha256/block-key/", &[*depth, *ngram_len]], &mut block_key);
                State::Sha256 { block_key }
            }
            Scheme::Hf { table, .. } => State::Hf {
                keys: self.secret().layer_keys(),
                table: match table {
                    SamplingTable::Seeded { size, seed } => torch_random_bits(*seed, *size as usize),
                    SamplingTable::Explicit(entries) => entries.clone(),
                },
            },
            Scheme::DeepMind { .. } => {
                let keys = self.secret().layer_keys();
                State::DeepMind { iv: deepmind_iv(&keys), keys }
            }
        };
        Prf(Arc::new(Inner { scheme, state }))
    }
}

impl Prf {
    /// The scheme and its parameters.
    pub fn scheme(&self) -> &Scheme {
        &self.0.scheme
    }

    /// Fixes the context, the H tokens before a position, oldest first.
    ///
    /// # Panics
    /// If the context does not have H tokens.
    pub fn context(&self, context: &[u32]) -> KeyedContext<'_> {
        let expected = self.scheme().context_len();
        assert_eq!(context.len(), expected, "a context of {} has {expected} tokens", self.scheme().name());
        let state = match &self.0.state {
            State::Sha256 { block_key } => ContextState::Sha256(OpenMessage::new(block_key, context)),
            State::Hf { .. } => ContextState::Lcg(lcg_over(1, context)),
            State::DeepMind { iv, .. } => ContextState::Lcg(lcg_over(*iv, context)),
        };
        KeyedContext { prf: &self.0, state }
    }

    /// Replaces `g` by the g-values of the last token of each of `ngrams` after the others: what a detector asks for,
    /// where a sampler asks for many tokens in one context.
    ///
    /// # Panics
    /// If an n-gram is shorter or longer than the scheme's.
    pub(crate) fn g_bits_of(&self, ngrams: &Ngrams<'_>, g: &mut Vec<GBits>) {
        #[cfg(test)]
        crate::work::hashes(ngrams.len());
        let len = self.scheme().ngram_len();
        assert!(
            ngrams.iter().all(|ngram| ngram.len() == len),
            "n-grams of {} have {len} tokens",
            self.scheme().name()
        );
        if let State::Sha256 { block_key } = &self.0.state {
            return ngrams.g_bits(block_key, g, self.0.mask());
        }
        g.clear();
        g.extend(ngrams.iter().map(|ngram| self.context(&ngram[..len - 1]).g_bits(ngram[len - 1])));
    }
}

impl Inner {
    /// A one for each layer.
    fn mask(&self) -> u64 {
        u64::MAX >> (64 - self.scheme.depth())
    }
}

/// A keyed function with its context fixed, ready for any number of candidate tokens.
pub struct KeyedContext<'a> {
    prf: &'a Inner,
    state: ContextState,
}

enum ContextState {
    Sha256(OpenMessage),
    Lcg(i64),
}

impl KeyedContext<'_> {
    /// The g-values of `token` in this context.
    pub fn g_bits(&self, token: u32) -> GBits {
        let mut g = [GBits(0)];
        self.g_bits_of(&[token], &mut g);
        g[0]
    }

    /// The g-values of each of `tokens` in this context, into as many entries of `g`.
    pub fn g_bits_of(&self, tokens: &[u32], g: &mut [GBits]) {
        let each = g.iter_mut().zip(tokens);
        match (&self.prf.state, &self.state) {
            (State::Sha256 { .. }, ContextState::Sha256(message)) => {
                message.g_bits_of(tokens, g, self.prf.mask());
            }
            (State::Hf { keys, table }, ContextState::Lcg(context)) => {
                let size = table.len() as i64;
                for (g, &token) in each {
                    let hash = lcg(*context, token.into());
                    *g = layers(keys, |key| table[lcg(hash, key).rem_euclid(size) as usize].into());
                }
            }
            (State::DeepMind { keys, .. }, ContextState::Lcg(context)) => {
                for (g, &token) in each {
                    let hash = lcg(*context, token.into());
                    *g = layers(keys, |key| {
                        let mixed = (0..12).fold(lcg(hash, key), |hash, _| lcg(hash, 1) >> 5);
                        (mixed >> 30 & 1) as u64
                    });
                }
            }
            _ => unreachable!("`Prf::context` pairs the states"),
        }
    }

    /// The reference's hash of the context, by which it recognises repetitions; 0 for our own scheme, which has none.
    pub(crate) fn reference_hash(&self) -> u64 {
        match self.state {
            ContextState::Lcg(hash) => hash as u64,
            ContextState::Sha256(_) => 0,
        }
    }

    /// What decides all g-values of `token` here, where that is narrower than the token ids: the low bits of
    /// `synthid-hf`'s hash input when its table's size is a power of two. Two n-grams that share it share all layers.
    pub(crate) fn narrow_state(&self, token: u32) -> Option<u64> {
        match (&self.prf.state, &self.state) {
            (State::Hf { table, .. }, ContextState::Lcg(hash)) if table.len().is_power_of_two() => {
                Some(hash.wrapping_add(token.into()) as u64 & (table.len() as u64 - 1))
            }
            _ => None,
        }
    }
}

fn layers(keys: &[i64], g: impl Fn(i64) -> u64) -> GBits {
    GBits(keys.iter().enumerate().fold(0, |bits, (layer, &key)| bits | g(key) << layer))
}

/// One step of the reference's `accumulate_hash`.
fn lcg(hash: i64, data: i64) -> i64 {
    hash.wrapping_add(data).wrapping_mul(LCG_MULTIPLIER).wrapping_add(1)
}

fn lcg_over(start: i64, context: &[u32]) -> i64 {
    context.iter().fold(start, |hash, &token| lcg(hash, token.into()))
}

/// SHA-256 of the keys as little-endian 64-bit words, read as a big-endian number, modulo 2^63 − 1.
fn deepmind_iv(keys: &[i64]) -> i64 {
    let mut hash = Sha256::new();
    for key in keys {
        hash.update(key.to_le_bytes());
    }
    let modulus = i64::MAX as u128;
    hash.finalize().iter().fold(0u128, |rest, &byte| (rest << 8 | u128::from(byte)) % modulus) as i64
}

/// `torch.randint(0, 2, (size,))` on the CPU after `manual_seed(seed)`: the low bit of each 32-bit output of MT19937
/// (Matsumoto and Nishimura 1998), seeded with the seed's low 32 bits.
fn torch_random_bits(seed: u64, size: usize) -> Vec<u8> {
    const N: usize = 624;
    const M: usize = 397;
    let mut state = [0u32; N];
    state[0] = seed as u32;
    for i in 1..N {
        let previous = state[i - 1];
        state[i] = 1_812_433_253u32.wrapping_mul(previous ^ previous >> 30).wrapping_add(i as u32);
    }
    let mut bits = Vec::with_capacity(size);
    while bits.len() < size {
        for i in 0..N {
            let joined = state[i] & 0x8000_0000 | state[(i + 1) % N] & 0x7fff_ffff;
            let twist = if joined & 1 == 1 { 0x9908_b0df } else { 0 };
            state[i] = state[(i + M) % N] ^ joined >> 1 ^ twist;
        }
        bits.extend(state.iter().take(size - bits.len()).map(|&word| {
            let mut y = word;
            y ^= y >> 11;
            y ^= y << 7 & 0x9d2c_5680;
            y ^= y << 15 & 0xefc6_0000;
            ((y ^ y >> 18) & 1) as u8
        }));
    }
    bits
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::scheme::{Secret, TextGValues};

    fn key(depth: u8, ngram_len: u8, secret: u8) -> Key {
        let secret = Secret::new(Zeroizing::new(vec![secret; 32]));
        Key::new(Scheme::Sha256 { depth, ngram_len }, secret).unwrap()
    }

    #[test]
    fn sha256_layout_is_key_context_token() {
        let key = key(64, 3, 7);
        let mut block_key = [0; 32];
        key.secret().expand(&[b"synthid-sha256/block-key/", &[64, 3]], &mut block_key);
        let message =
            [&block_key[..], &1u32.to_le_bytes(), &65_536u32.to_le_bytes(), &255_999u32.to_le_bytes()];
        let digest = Sha256::digest(message.concat());
        let expected = u64::from_le_bytes(digest[..8].try_into().unwrap());
        assert_eq!(key.prf().context(&[1, 65_536]).g_bits(255_999), GBits(expected));
    }

    /// Contexts around the lengths at which the token or the padding goes into another block.
    #[test]
    fn every_context_length_is_sha256_of_the_message() {
        for ngram_len in 2..=64u8 {
            let key = key(64, ngram_len, 3);
            let mut message = vec![0; 32];
            key.secret().expand(&[b"synthid-sha256/block-key/", &[64, ngram_len]], &mut message);
            let context: Vec<u32> = (1..u32::from(ngram_len)).map(|i| i.wrapping_mul(0x9e37_79b9)).collect();
            message.extend(context.iter().chain(&[77]).flat_map(|token| token.to_le_bytes()));
            let digest = Sha256::digest(message);
            let expected = u64::from_le_bytes(digest[..8].try_into().unwrap());
            assert_eq!(key.prf().context(&context).g_bits(77), GBits(expected), "ngram_len {ngram_len}");
        }
    }

    #[test]
    fn parameters_and_secret_separate_keys() {
        let g = |key: Key, context: &[u32]| key.prf().context(context).g_bits(9);
        let base = g(key(30, 3, 1), &[4, 5]);
        assert_ne!(base, g(key(30, 3, 2), &[4, 5]));
        assert_ne!(base.0, g(key(29, 3, 1), &[4, 5]).0, "depth is bound by the label, not only by the mask");
        assert_ne!(base, g(key(30, 2, 1), &[5]));
    }

    proptest! {
        // One keyed function: what the sampler asks for a candidate is what the detector reads in the text.
        #[test]
        fn sampler_and_detector_read_the_same_bits(
            secret: u8, depth in 1u8..=64, ngram_len in 2u8..=9, ids in prop::collection::vec(0u32..256_000, 0..40),
        ) {
            let prf = key(depth, ngram_len, secret).prf();
            let text = TextGValues::new(&prf, &[], &ids);
            let mut ngrams = Vec::new();
            prf.g_bits_of(&Ngrams::new(ngram_len.into(), ids.windows(ngram_len.into())), &mut ngrams);
            let mut candidates = vec![GBits(0); ids.len()];
            for (i, g) in text.g.iter().enumerate() {
                let t = text.first + i;
                prop_assert_eq!(*g, prf.context(&ids[i..t]).g_bits(ids[t]));
                prop_assert_eq!(*g, ngrams[i]);
                prf.context(&ids[i..t]).g_bits_of(&ids, &mut candidates);
                prop_assert_eq!(*g, candidates[t]);
            }
            prop_assert_eq!(text.g.len(), ids.len().saturating_sub(usize::from(ngram_len) - 1));
        }
    }
}
