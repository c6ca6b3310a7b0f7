//! A model whose logits are a hash of everything that was read, and of how it was read. So a text shows whether anything
//! else influenced it.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::super::{Feed, FinishReason, LanguageModel, Next, Request, Sequence};
use crate::logits::{LogitRows, Logits};
use crate::sample::Sampler;

pub(super) const VOCAB: usize = 32;
/// Token that the model cannot read.
pub(super) const POISON: u32 = 30;
/// Token after which the logits are NaN.
pub(super) const NAN: u32 = 31;
/// Number of bytes of a position.
pub(super) const BYTES: usize = 10;

#[derive(Debug, PartialEq, thiserror::Error)]
#[error("poisoned")]
pub(super) struct Poisoned;

/// The model. Clones share what they record.
#[derive(Clone, Debug)]
pub(super) struct Fake {
    pub(super) context: usize,
    /// Whether it panics instead of reading.
    pub(super) panics: bool,
    /// Number of positions of a sequence that it can read before it fails.
    pub(super) fails_at: usize,
    /// Time that a pass takes.
    pub(super) time: Duration,
    /// At multiples of this length, its logits differ from those of other models; 0 for never.
    pub(super) errs_at: usize,
    /// Once a cache has this many positions, it has lost the first ones; by default it loses none.
    pub(super) window: usize,
    /// The parts of sequences that were read, one list for each pass.
    pub(super) passes: Arc<Mutex<Vec<Vec<Range<usize>>>>>,
    pub(super) memory: Arc<Memory>,
}

#[derive(Default, Debug)]
pub(super) struct Memory {
    now: AtomicUsize,
    peak: AtomicUsize,
}

/// The ids of a sequence, and the parts in which they were read.
pub(super) struct Cache {
    ids: Vec<u32>,
    ends: BTreeSet<usize>,
    memory: Arc<Memory>,
}

impl Cache {
    fn new(ids: &[u32], ends: BTreeSet<usize>, memory: &Arc<Memory>) -> Self {
        let mut cache = Self { ids: Vec::new(), ends, memory: Arc::clone(memory) };
        cache.push(ids);
        cache
    }

    fn push(&mut self, ids: &[u32]) {
        self.ids.extend(ids);
        let bytes = BYTES * ids.len();
        let now = self.memory.now.fetch_add(bytes, Ordering::Relaxed) + bytes;
        self.memory.peak.fetch_max(now, Ordering::Relaxed);
    }
}

impl Drop for Cache {
    fn drop(&mut self) {
        self.memory.now.fetch_sub(BYTES * self.ids.len(), Ordering::Relaxed);
    }
}

impl Fake {
    pub(super) fn new() -> Self {
        let (passes, memory) = (Arc::default(), Arc::default());
        Self {
            context: 1000,
            panics: false,
            fails_at: usize::MAX,
            time: Duration::ZERO,
            errs_at: 0,
            window: usize::MAX,
            passes,
            memory,
        }
    }

    /// Returns the largest number of bytes that all caches had together.
    pub(super) fn peak_bytes(&self) -> usize {
        self.memory.peak.load(Ordering::Relaxed)
    }

    /// Returns the logits after `ids`, which were read in parts with these ends.
    pub(super) fn logits(ids: &[u32], ends: &BTreeSet<usize>) -> Vec<f32> {
        if ids.last() == Some(&NAN) {
            return vec![f32::NAN; VOCAB];
        }
        let mut hash = 0xcbf2_9ce4_8422_2325u64;
        let words = ids.iter().map(|id| u64::from(*id)).chain(ends.iter().map(|end| 1000 + *end as u64));
        for word in words {
            hash = (hash ^ word).wrapping_mul(0x0100_0000_01b3).rotate_left(23);
        }
        let mut logits = Vec::with_capacity(VOCAB);
        for token in 0..VOCAB as u64 {
            let x = (hash ^ token).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            logits.push((x >> 40) as f32 / (1 << 22) as f32);
        }
        // Drawn only if all other tokens are banned.
        logits[POISON as usize] = -100.0;
        logits[NAN as usize] = -100.0;
        logits
    }
}

impl LanguageModel for Fake {
    type Cache = Cache;
    type Error = Poisoned;

    fn vocab(&self) -> usize {
        VOCAB
    }

    fn context(&self) -> usize {
        self.context
    }

    fn most_drafts(&self) -> usize {
        5
    }

    fn cache_bytes(&self, positions: usize) -> usize {
        BYTES * positions
    }

    fn new_cache(&self) -> Cache {
        Cache::new(&[], BTreeSet::new(), &self.memory)
    }

    fn len(&self, cache: &Cache) -> usize {
        cache.ids.len()
    }

    fn fork(&self, cache: &Cache, len: usize) -> Result<Option<Cache>, Poisoned> {
        if len < cache.ids.len() && cache.ids.len() > self.window {
            return Ok(None);
        }
        let ends = cache.ends.range(..=len).copied().collect();
        Ok(Some(Cache::new(&cache.ids[..len], ends, &self.memory)))
    }

    fn truncate(&self, cache: &mut Cache, len: usize) -> Result<bool, Poisoned> {
        let copy = self.fork(cache, len)?;
        let possible = copy.is_some();
        if let Some(copy) = copy {
            *cache = copy;
        }
        Ok(possible)
    }

    fn feed<T>(
        &self,
        batch: &mut [Feed<'_, Cache>],
        read: impl FnOnce(LogitRows<'_>) -> T,
    ) -> Result<T, Poisoned> {
        assert!(!self.panics, "as asked for");
        let fails = |feed: &Feed<'_, Cache>| {
            feed.ids.contains(&POISON) || feed.cache.ids.len() + feed.ids.len() > self.fails_at
        };
        if batch.iter().any(fails) {
            return Err(Poisoned);
        }
        let (mut rows, mut pass) = (Vec::new(), Vec::new());
        for Feed { cache, ids, logits } in batch {
            pass.push(cache.ids.len()..cache.ids.len() + ids.len());
            let is_draft = *logits > 1;
            assert!(!is_draft || *logits == ids.len(), "a draft is checked as a whole");
            for part in ids.chunks(if is_draft { 1 } else { ids.len() }) {
                cache.push(part);
                cache.ends.insert(cache.ids.len());
                if *logits == 0 {
                    continue;
                }
                let errs = self.errs_at > 0 && cache.ids.len().is_multiple_of(self.errs_at);
                let first = if errs { cache.ids.len() - 1 } else { 0 };
                rows.extend(Self::logits(&cache.ids[first..], &cache.ends));
            }
        }
        self.passes.lock().unwrap().push(pass);
        std::thread::sleep(self.time);
        Ok(read(LogitRows::new(&rows, VOCAB, None)))
    }
}

/// Returns the tokens of response number `number`, and why it ends, by definition and without an engine. The prompt is
/// read in slices with these ends.
pub(super) fn expected(request: &Request, number: u64, ends: &[usize]) -> (Vec<u32>, FinishReason) {
    let mut sequence = Sequence::new(Arc::new(request.clone()), number);
    let mut sampler = Sampler::default();
    let (mut ids, mut ends) = (request.prompt.clone(), ends.iter().copied().collect::<BTreeSet<_>>());
    loop {
        let logits = Fake::logits(&ids, &ends);
        match sequence.next(&mut sampler, Logits::capped(&logits)).unwrap() {
            Next::Token(token) => ids.push(token.id),
            Next::Last(_) => return (sequence.tokens().to_vec(), FinishReason::Length),
            Next::Stop => return (sequence.tokens().to_vec(), FinishReason::Stop),
        }
        ends.insert(ids.len());
    }
}
