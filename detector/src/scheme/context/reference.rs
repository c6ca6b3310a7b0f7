//! What the reference implementations remember.

use std::collections::VecDeque;

use crate::scheme::Scheme;

/// The reference's memory: the hashes of the last `context_history_size` contexts, zeros at the start.
#[derive(Clone, Debug)]
pub(crate) struct ReferenceHistory {
    hashes: VecDeque<u64>,
}

impl ReferenceHistory {
    /// The memory that `scheme`'s reference starts with; none for our own scheme.
    pub(crate) fn of(scheme: &Scheme) -> Option<Self> {
        let size = match scheme {
            Scheme::Sha256 { .. } => return None,
            Scheme::Hf { context_history_size, .. } | Scheme::DeepMind { context_history_size, .. } => {
                *context_history_size
            }
        };
        Some(Self { hashes: std::iter::repeat_n(0, size as usize).collect() })
    }

    pub(super) fn contains(&self, hash: u64) -> bool {
        self.hashes.contains(&hash)
    }

    /// Remembers `hash`, forgets the oldest; true if it was not there.
    pub(crate) fn insert(&mut self, hash: u64) -> bool {
        let fresh = !self.contains(hash);
        self.hashes.pop_back();
        self.hashes.push_front(hash);
        fresh
    }
}
