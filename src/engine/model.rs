//! Interface that the engine needs from a model.

use crate::logits::LogitRows;

/// A model that continues sequences of token ids.
///
/// A [cache](Self::Cache) is one sequence: the positions that the model has read, in the form that it needs to read the next one.
pub trait LanguageModel {
    /// One sequence as the model keeps it.
    type Cache: Send;
    /// Error of a model that cannot read on.
    type Error: std::error::Error + Send + Sync + 'static;

    /// Returns the size of the vocabulary. All ids are below it.
    fn vocab(&self) -> usize;

    /// Returns the maximum number of positions in a sequence.
    fn context(&self) -> usize;

    /// Returns how many drafted ids [`feed`](Self::feed) can read after the first in about the time of one, with logits after all of
    /// them. [`truncate`](Self::truncate) can take them back at once. The default is 0: drafts do not help this model.
    fn most_drafts(&self) -> usize {
        0
    }

    /// Returns how many bytes the cache of a sequence of this many positions takes at worst.
    fn cache_bytes(&self, positions: usize) -> usize;

    /// Returns an empty cache for a new sequence.
    fn new_cache(&self) -> Self::Cache;

    /// Returns the number of positions of a sequence.
    fn len(&self, cache: &Self::Cache) -> usize;

    /// Returns a copy of the first `len` positions, which shares no memory with the sequence. Returns `None` if the cache has
    /// dropped something that a sequence of that length needs. Copying all positions is always possible.
    ///
    /// # Errors
    /// Returns an error if there is no memory for the copy.
    fn fork(&self, cache: &Self::Cache, len: usize) -> Result<Option<Self::Cache>, Self::Error>;

    /// Removes all positions from `len` on. Returns false, and leaves the sequence unchanged, if the cache has dropped something
    /// that a sequence of that length needs.
    ///
    /// # Errors
    /// Returns an error if the device fails. Then the sequence is lost.
    fn truncate(&self, cache: &mut Self::Cache, len: usize) -> Result<bool, Self::Error>;

    /// Appends ids to each of several sequences, and passes the requested logits to `read`. The rows of the first sequence come
    /// first, in the order of its positions, then those of the second, and so on.
    ///
    /// What a sequence gets depends neither on the other sequences nor on their number. If logits are wanted after all of several
    /// ids, they equal those of as many calls with one id each.
    ///
    /// # Errors
    /// Returns an error if the model cannot read the ids. Then a sequence that was to get one id is unchanged, and one that was to
    /// get more is lost.
    fn feed<T>(
        &self,
        batch: &mut [Feed<'_, Self::Cache>],
        read: impl FnOnce(LogitRows<'_>) -> T,
    ) -> Result<T, Self::Error>;
}

/// The next ids of one sequence.
#[derive(Debug)]
pub struct Feed<'a, C> {
    /// The sequence.
    pub cache: &'a mut C,
    /// Its next ids, at least one.
    pub ids: &'a [u32],
    /// Number of last ids after which logits are wanted. It is 0 for a part of a prompt that others follow, 1 for the distribution
    /// of the next token, and the number of ids to check a draft.
    pub logits: usize,
}
