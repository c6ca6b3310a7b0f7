//! What the reference implementations of SynthID remember, and the hash by which they recognise contexts.

use std::collections::VecDeque;

/// Multiplier of the reference's linear congruential hash (newlib's and musl's).
const LCG_MULTIPLIER: i64 = 6_364_136_223_846_793_005;

/// Returns the hash after one step of the reference's `accumulate_hash`.
pub(crate) fn lcg(hash: i64, data: i64) -> i64 {
    hash.wrapping_add(data).wrapping_mul(LCG_MULTIPLIER).wrapping_add(1)
}

/// Returns the hash of a context from the value `start` on.
pub(crate) fn lcg_over(start: i64, context: &[u32]) -> i64 {
    context.iter().fold(start, |hash, &token| lcg(hash, token.into()))
}

/// The hashes of the last contexts, zeros at the start.
#[derive(Clone, Debug)]
pub(crate) struct ReferenceHistory {
    hashes: VecDeque<i64>,
}

impl ReferenceHistory {
    /// Makes a memory of `size` contexts.
    pub(crate) fn new(size: u32) -> Self {
        Self { hashes: std::iter::repeat_n(0, size as usize).collect() }
    }

    /// Returns whether the context of this hash is remembered.
    pub(super) fn contains(&self, hash: i64) -> bool {
        self.hashes.contains(&hash)
    }

    /// Remembers `hash` and forgets the oldest. Returns true if it was not there.
    pub(crate) fn insert(&mut self, hash: i64) -> bool {
        let fresh = !self.contains(hash);
        self.hashes.pop_back();
        self.hashes.push_front(hash);
        fresh
    }
}
