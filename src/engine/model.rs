//! What the engine asks of a model.

use crate::logits::LogitRows;

/// A model that continues sequences of token ids.
///
/// A [cache](Self::Cache) is one sequence: the positions that the model has read, in the form in which it needs them to
/// read the next.
pub trait LanguageModel {
    /// One sequence as the model keeps it.
    type Cache: Send;
    /// Why the model cannot read on.
    type Error: std::error::Error + Send + Sync + 'static;

    /// Returns the size of the vocabulary. Ids are below it.
    fn vocab(&self) -> usize;

    /// Returns the number of positions that a sequence may have.
    fn context(&self) -> usize;

    /// Returns how many ids after the first [`feed`](Self::feed) reads in about the time of one, if logits are wanted after all of
    /// them, and [`truncate`](Self::truncate) takes back at once. 0, which is the default, is a model to which drafts are of no use.
    fn most_drafts(&self) -> usize {
        0
    }

    /// Returns the bytes that the cache of a sequence of so many positions takes at worst.
    fn cache_bytes(&self, positions: usize) -> usize;

    /// Returns the cache of a sequence without positions.
    fn new_cache(&self) -> Self::Cache;

    /// Returns the number of positions of a sequence.
    fn len(&self, cache: &Self::Cache) -> usize;

    /// Returns a copy of the first `len` positions, which shares no memory with the sequence, or none if the cache no
    /// longer has what a sequence of that length needs. A copy of all positions is always to be had.
    ///
    /// # Errors
    /// Returns an error if there is no memory for it.
    fn fork(&self, cache: &Self::Cache, len: usize) -> Result<Option<Self::Cache>, Self::Error>;

    /// Takes back all positions from `len` on. Returns false, and leaves the sequence as it is, if the cache no longer
    /// has what a sequence of that length needs.
    ///
    /// # Errors
    /// Returns an error if the device fails. Then the sequence is lost.
    fn truncate(&self, cache: &mut Self::Cache, len: usize) -> Result<bool, Self::Error>;

    /// Appends ids to each of several sequences and hands `read` the logits that were asked for: the rows of the first
    /// sequence, in the order of its positions, then those of the second, and so on.
    ///
    /// What a sequence gets depends neither on the other sequences nor on their number. Where logits are wanted after all of several
    /// ids, they are those that as many calls with one id each would give.
    ///
    /// # Errors
    /// Returns an error if the model cannot read the ids. Then a sequence that was to get one id is as it was, and one
    /// that was to get more is lost.
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
    /// Its next ids; at least one.
    pub ids: &'a [u32],
    /// The number of the last ids after which logits are wanted: 0 for a part of a prompt that others follow, 1 for the
    /// distribution of the next token, all of them to check a draft.
    pub logits: usize,
}
