//! What a detector leaves out of every text.

use std::path::Path;
use std::sync::Arc;

use super::{DetectError, Detector};
use crate::ignore::IgnoreList;
use crate::scheme::TextGValues;

impl Detector {
    /// Leaves the n-grams of `list` out of every text. Which are listed must not depend on the key.
    pub fn ignore(mut self, list: impl Into<Arc<IgnoreList>>) -> Self {
        self.ignore = Some(list.into());
        self
    }

    /// Leaves out what an ignore file lists. A tokenizer must be set before, unless the file lists token ids only.
    ///
    /// # Errors
    /// [`IgnoreError`](crate::ignore::IgnoreError), which names the file, or the tokenizer's own.
    pub fn ignore_file(self, path: impl AsRef<Path>) -> Result<Self, DetectError> {
        let ngram_lens = self.keys.iter().map(|entry| entry.prf.scheme().ngram_len());
        #[cfg(feature = "text")]
        let list = IgnoreList::read(path, ngram_lens, self.tokenizer.as_deref())?;
        #[cfg(not(feature = "text"))]
        let list = IgnoreList::read(path, ngram_lens)?;
        Ok(self.ignore(list))
    }

    /// Takes the listed n-grams of `ids` out of the positions of `values` that count; says how many there were.
    pub(super) fn leave_out(&self, ids: &[u32], values: &mut TextGValues) -> u64 {
        let Some(list) = &self.ignore else { return 0 };
        let mut ignored = 0;
        for (ngram, scored) in ids.windows(values.first + 1).zip(&mut values.scored) {
            if *scored && list.contains(ngram) {
                *scored = false;
                ignored += 1;
            }
        }
        ignored
    }

    /// What is left out.
    pub fn ignored(&self) -> Option<&IgnoreList> {
        self.ignore.as_deref()
    }
}
