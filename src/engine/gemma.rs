//! [`Gemma`] as the engine's model.

use super::model::{Feed, LanguageModel};
use crate::logits::LogitRows;
use crate::model::{Cache, Error, Gemma, RawLogits};

impl LanguageModel for Gemma {
    type Cache = Cache;
    type Error = Error;

    fn vocab(&self) -> usize {
        self.config().vocab
    }

    fn context(&self) -> usize {
        self.config().max_position
    }

    fn cache_bytes(&self, positions: usize) -> usize {
        self.cache_bytes(positions)
    }

    fn new_cache(&self) -> Cache {
        self.new_cache(1)
    }

    fn len(&self, cache: &Cache) -> usize {
        cache.len()
    }

    fn fork(&self, cache: &Cache, len: usize) -> Result<Option<Cache>, Error> {
        if len == cache.len() { cache.fork().map(Some) } else { Ok(None) }
    }

    fn truncate(&self, cache: &mut Cache, len: usize) -> bool {
        len == cache.len()
    }

    fn feed<T>(
        &self,
        batch: &mut [Feed<'_, Cache>],
        read: impl FnOnce(LogitRows<'_>) -> T,
    ) -> Result<T, Error> {
        // A first position goes the way of prompts.
        let is_step =
            |feed: &Feed<'_, Cache>| feed.ids.len() == 1 && feed.logits == 1 && !feed.cache.is_empty();
        if batch.iter().all(is_step) {
            let tokens: Vec<u32> = batch.iter().map(|feed| feed.ids[0]).collect();
            let mut caches: Vec<&mut Cache> = batch.iter_mut().map(|feed| &mut *feed.cache).collect();
            return self.step(&tokens, &mut caches)?.read(|rows| Ok(read(rows)));
        }
        let mut logits = Vec::new();
        for Feed { cache, ids, logits: wanted } in batch {
            logits.extend(self.read(ids, cache, *wanted)?);
        }
        match RawLogits::cat(logits)? {
            Some(logits) => logits.read(|rows| Ok(read(rows))),
            None => Ok(read(LogitRows::new(&[], self.vocab(), None))),
        }
    }
}
