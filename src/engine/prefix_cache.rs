//! The caches of prompts that have been read, for prompts of the same tenant that begin alike. Another tenant's caches are
//! not used, because the time that they save would tell what others have asked.

use super::slices::Slices;

/// Caches of read prompts, the least recently used first.
pub(super) struct PrefixCache<C> {
    entries: Vec<Entry<C>>,
    slices: Slices,
    /// Bytes of all entries at worst, and the most that they may be.
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
    /// Caches of prompts that were read in `slices`, of `limit` bytes at most.
    pub(super) fn new(limit: usize, slices: Slices) -> Self {
        Self { entries: Vec::new(), slices, bytes: 0, limit }
    }

    /// Calls `fork` with the tenant's caches that begin as `prompt` does and the number of positions that can be taken over, the
    /// most positions first, until it gives something.
    ///
    /// Positions are taken over up to a border of slices that both prompts have. So what is read after it is what would
    /// be read without the cache, and in the same slices.
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

    /// Bytes of all caches at worst.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether a cache of so many bytes is worth keeping: it fits, and its prompt has a border to take positions over to.
    pub(super) fn takes(&self, tokens: &[u32], bytes: usize) -> bool {
        let len = tokens.len();
        bytes <= self.limit && self.slices.last_in_common(len, [len, len]) > 0
    }

    /// Makes room for the cache of a prompt, of so many bytes, where all may take `most`.
    pub(super) fn make_room(&mut self, tenant: u32, tokens: &[u32], bytes: usize, most: usize) {
        let same = |entry: &Entry<C>| entry.tenant == tenant && entry.tokens == tokens;
        if let Some(same) = self.entries.iter().position(same) {
            self.bytes -= self.entries.remove(same).bytes;
        }
        self.shrink_to(self.limit.min(most).saturating_sub(bytes));
    }

    /// Keeps the cache of a prompt, for which there is [room](Self::make_room).
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
