//! Keeps the caches of prompts that have been read, for prompts of the same tenant that begin alike. Another tenant's caches are
//! not used, because the time that they save would reveal what others have asked.

use super::slices::Slices;

/// Caches of prompts that were read, the least recently used first.
pub(super) struct PrefixCache<C> {
    entries: Vec<Entry<C>>,
    slices: Slices,
    /// Bytes of all entries at worst, and their maximum.
    bytes: usize,
    limit: usize,
}

struct Entry<C> {
    tenant: u32,
    tokens: Vec<u32>,
    cache: C,
    bytes: usize,
}

impl<C> PrefixCache<C> {
    /// Makes an empty store of at most `limit` bytes, for prompts that are read in `slices`.
    pub(super) fn new(limit: usize, slices: Slices) -> Self {
        Self { entries: Vec::new(), slices, bytes: 0, limit }
    }

    /// Calls `fork` with each of the tenant's caches that begins as `prompt` does, and the number of positions that can be taken
    /// over. The cache with the most positions comes first. Stops at the first result.
    ///
    /// Positions are taken over up to a slice border that both prompts have. So what is read after it is the same as without the
    /// cache, in the same slices.
    pub(super) fn longest<T>(
        &mut self,
        tenant: u32,
        prompt: &[u32],
        mut fork: impl FnMut(&C, usize) -> Option<T>,
    ) -> Option<(usize, T)> {
        let shared = |entry: &Entry<C>| {
            if entry.tenant != tenant {
                return 0;
            }
            let common = entry.tokens.iter().zip(prompt).take_while(|(a, b)| a == b).count();
            self.slices.last_in_common(common, [entry.tokens.len(), prompt.len()])
        };
        let mut found: Vec<(usize, usize)> = self.entries.iter().map(shared).zip(0..).collect();
        found.retain(|(shared, _)| *shared > 0);
        found.sort_unstable_by(|a, b| b.cmp(a));
        for (shared, index) in found {
            if let Some(copy) = fork(&self.entries[index].cache, shared) {
                let used = self.entries.remove(index);
                self.entries.push(used);
                return Some((shared, copy));
            }
        }
        None
    }

    /// Returns the number of bytes of all caches at worst.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns whether a cache of this size is worth keeping: it fits, and its prompt has a border up to which positions can be
    /// taken over.
    pub(super) fn takes(&self, tokens: &[u32], bytes: usize) -> bool {
        let len = tokens.len();
        bytes <= self.limit && self.slices.last_in_common(len, [len, len]) > 0
    }

    /// Makes room for a prompt's cache of this size, where all caches together may take `most` bytes.
    pub(super) fn make_room(&mut self, tenant: u32, tokens: &[u32], bytes: usize, most: usize) {
        let same = |entry: &Entry<C>| entry.tenant == tenant && entry.tokens == tokens;
        if let Some(same) = self.entries.iter().position(same) {
            self.bytes -= self.entries.remove(same).bytes;
        }
        self.shrink_to(self.limit.min(most).saturating_sub(bytes));
    }

    /// Keeps the cache of a prompt. There must be [room](Self::make_room) for it.
    pub(super) fn insert(&mut self, tenant: u32, tokens: &[u32], cache: C, bytes: usize) {
        self.bytes += bytes;
        self.entries.push(Entry { tenant, tokens: tokens.to_vec(), cache, bytes });
    }

    /// Gives up the least recently used caches until the others take at most `bytes`.
    pub(super) fn shrink_to(&mut self, bytes: usize) {
        while self.bytes > bytes {
            self.bytes -= self.entries.remove(0).bytes;
        }
    }
}
