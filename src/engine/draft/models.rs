//! The model that answers, and the model that guesses for it, if there is one.

use super::Draft;
use crate::engine::model::{Feed, LanguageModel};
use crate::logits::LogitRows;

/// A model, and the source of guesses at its tokens. The engine sees one model, whose caches hold what both have read.
#[derive(Clone)]
pub(in crate::engine) struct Models<M> {
    target: M,
    draft: Draft<M>,
}

/// The caches of one sequence in both models.
pub(in crate::engine) struct Caches<C> {
    target: C,
    /// The draft model's cache; `None` if no model guesses. It may have read less than the target or, while guessing, more.
    draft: Option<C>,
}

impl<M: LanguageModel> Models<M> {
    pub(in crate::engine) fn new(target: M, draft: Draft<M>) -> Self {
        Self { target, draft }
    }

    /// Returns the source of guesses.
    pub(in crate::engine) fn draft(&self) -> &Draft<M> {
        &self.draft
    }

    fn draft_model(&self) -> Option<&M> {
        match &self.draft {
            Draft::Model(model) => Some(model),
            _ => None,
        }
    }

    /// Returns how many positions the draft model has read, and how many more it can read, or `None` where it does not guess.
    pub(in crate::engine) fn draft_len(&self, cache: &Caches<M::Cache>) -> Option<(usize, usize)> {
        let (model, cache) = (self.draft_model()?, cache.draft.as_ref()?);
        let len = model.len(cache);
        Some((len, model.context().saturating_sub(len)))
    }

    /// Makes the draft model guess for a sequence, of which it may have read nothing yet.
    pub(in crate::engine) fn start_drafting(&self, cache: &mut Caches<M::Cache>) {
        if let (Some(model), None) = (self.draft_model(), &cache.draft) {
            cache.draft = Some(model.new_cache());
        }
    }

    /// Makes the draft model stop guessing for a sequence.
    pub(in crate::engine) fn stop_drafting(cache: &mut Caches<M::Cache>) {
        cache.draft = None;
    }

    /// Makes the draft model read `ids`, the beginning of a sequence, from where it stopped. If it cannot, it stops guessing.
    pub(in crate::engine) fn read_draft(&self, cache: &mut Caches<M::Cache>, ids: &[u32]) {
        let Some((len, room)) = self.draft_len(cache) else { return };
        let ids = &ids[len.min(ids.len())..];
        if ids.len() > room {
            return Self::stop_drafting(cache);
        }
        if !ids.is_empty() {
            self.feed_draft(&mut [Feed { cache, ids, logits: 0 }], |_| ());
        }
    }

    /// [Feeds](LanguageModel::feed) the draft model, for sequences for which it guesses. If that fails, it stops guessing for all
    /// of them.
    pub(in crate::engine) fn feed_draft<T>(
        &self,
        batch: &mut [Feed<'_, Caches<M::Cache>>],
        read: impl FnOnce(LogitRows<'_>) -> T,
    ) -> Option<T> {
        let model = self.draft_model()?;
        let mut feeds: Vec<Feed<'_, M::Cache>> = Vec::with_capacity(batch.len());
        for Feed { cache, ids, logits } in &mut *batch {
            feeds.push(Feed { cache: cache.draft.as_mut()?, ids, logits: *logits });
        }
        let result = model.feed(&mut feeds, read);
        if result.is_err() {
            for feed in batch {
                Self::stop_drafting(feed.cache);
            }
        }
        result.ok()
    }
}

/// Behaves like the target, with memory for the caches of both models.
impl<M: LanguageModel> LanguageModel for Models<M> {
    type Cache = Caches<M::Cache>;
    type Error = M::Error;

    fn vocab(&self) -> usize {
        self.target.vocab()
    }

    fn context(&self) -> usize {
        self.target.context()
    }

    fn most_drafts(&self) -> usize {
        match self.draft {
            Draft::None => 0,
            _ => self.target.most_drafts(),
        }
    }

    fn cache_bytes(&self, positions: usize) -> usize {
        let draft = self.draft_model().map_or(0, |model| model.cache_bytes(positions.min(model.context())));
        self.target.cache_bytes(positions) + draft
    }

    fn new_cache(&self) -> Self::Cache {
        Caches { target: self.target.new_cache(), draft: None }
    }

    fn len(&self, cache: &Self::Cache) -> usize {
        self.target.len(&cache.target)
    }

    fn fork(&self, cache: &Self::Cache, len: usize) -> Result<Option<Self::Cache>, M::Error> {
        let Some(target) = self.target.fork(&cache.target, len)? else { return Ok(None) };
        let draft = match (self.draft_model(), &cache.draft) {
            // A draft cache that cannot be copied is rebuilt by reading again.
            (Some(model), Some(draft)) => {
                Some(model.fork(draft, len.min(model.len(draft)))?.unwrap_or_else(|| model.new_cache()))
            }
            _ => None,
        };
        Ok(Some(Caches { target, draft }))
    }

    fn truncate(&self, cache: &mut Self::Cache, len: usize) -> Result<bool, M::Error> {
        if self.target.len(&cache.target) > len && !self.target.truncate(&mut cache.target, len)? {
            return Ok(false);
        }
        if let (Some(model), Some(draft)) = (self.draft_model(), &mut cache.draft)
            && model.len(draft) > len
            && !model.truncate(draft, len)?
        {
            cache.draft = None;
        }
        Ok(true)
    }

    fn feed<T>(
        &self,
        batch: &mut [Feed<'_, Self::Cache>],
        read: impl FnOnce(LogitRows<'_>) -> T,
    ) -> Result<T, M::Error> {
        let mut feeds: Vec<Feed<'_, M::Cache>> = batch
            .iter_mut()
            .map(|Feed { cache, ids, logits }| Feed { cache: &mut cache.target, ids, logits: *logits })
            .collect();
        self.target.feed(&mut feeds, read)
    }
}
