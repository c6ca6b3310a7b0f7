//! The set of the contexts that a text has had.

use std::collections::HashSet;
use std::hash::{BuildHasher, Hasher, RandomState};

use sha2::{Digest, Sha256};

use super::filter::ContextFilter;

/// The contexts of a text so far.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    exact: HashSet<u128, RandomFactors>,
    /// How many of them `exact` may hold.
    limit: usize,
    /// The others.
    filter: Option<ContextFilter>,
}

impl Seen {
    /// Makes an empty set, which stores the first `limit` contexts exactly.
    pub(super) fn new(limit: usize) -> Self {
        Self { exact: HashSet::default(), limit, filter: None }
    }

    /// Returns whether there are more contexts than the limit.
    pub(super) fn is_approximate(&self) -> bool {
        self.filter.is_some()
    }

    pub(super) fn contains(&self, id: u128) -> bool {
        self.exact.contains(&id) || self.filter.as_ref().is_some_and(|filter| filter.contains(id))
    }

    /// Adds `id` and returns true if it was not there. With a filter it may return false although `id` was not there.
    pub(super) fn insert(&mut self, id: u128) -> bool {
        if self.exact.len() < self.limit {
            return self.exact.insert(id);
        }
        if self.contains(id) {
            return false;
        }
        self.filter.get_or_insert_default().insert(id);
        true
    }
}

/// Hashes a context by multiplications with random factors, so that nobody can write a text whose contexts collide.
#[derive(Clone, Debug)]
pub(super) struct RandomFactors([u64; 2]);

impl Default for RandomFactors {
    fn default() -> Self {
        // The standard library's seeds come from the system's randomness.
        let random = RandomState::new();
        Self([0_u8, 1].map(|which| random.hash_one(which)))
    }
}

impl BuildHasher for RandomFactors {
    type Hasher = ContextHasher;

    fn build_hasher(&self) -> ContextHasher {
        ContextHasher { factors: self.0, hash: 0 }
    }
}

impl RandomFactors {
    pub(super) fn hash(&self, id: u128) -> u64 {
        mixed(self.0, 0, id)
    }
}

fn mixed([first, second]: [u64; 2], hash: u64, id: u128) -> u64 {
    let fold = |a: u64, b: u64| {
        let product = u128::from(a) * u128::from(b);
        product as u64 ^ (product >> 64) as u64
    };
    let low = fold(id as u64 ^ first, second);
    fold(low ^ hash ^ (id >> 64) as u64, first.rotate_left(32) | 1)
}

/// See [`RandomFactors`].
pub(super) struct ContextHasher {
    factors: [u64; 2],
    hash: u64,
}

impl Hasher for ContextHasher {
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u128(byte.into());
        }
    }

    fn write_u128(&mut self, id: u128) {
        self.hash = mixed(self.factors, self.hash, id);
    }

    fn finish(&self) -> u64 {
        self.hash
    }
}

/// Returns a context as a set element: up to four ids as they are, more of them as a 128-bit digest. No key is
/// involved, so whether a context repeats is a fact of the text alone.
pub(super) fn context_id(context: &[u32]) -> u128 {
    if context.len() <= 4 {
        return context.iter().fold(0, |id, &token| id << 32 | u128::from(token));
    }
    let mut hash = Sha256::new();
    for token in context {
        hash.update(token.to_le_bytes());
    }
    let digest: [u8; 32] = hash.finalize().into();
    u128::from_le_bytes(digest[..16].try_into().expect("16 of 32 bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_and_high_ids_tell_contexts_apart() {
        let ids = [[0, 1], [1, 0], [65_536, 0], [0, 65_536], [255_999, 65_535]];
        let distinct: HashSet<u128> = ids.iter().map(|context| context_id(context)).collect();
        assert_eq!(distinct.len(), ids.len());
        let long = |last| context_id(&[1, 2, 3, 4, last]);
        assert_ne!(long(5), long(6));
    }
}
