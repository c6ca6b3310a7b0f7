//! Counts the two kinds of costly work: cutting a text into tokens and hashing its n-grams.

use std::cell::Cell;

thread_local! {
    static DONE: Cell<Work> = const { Cell::new(Work { encoded: 0, hashed: 0 }) };
}

/// The work that was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Work {
    /// Texts that were cut into tokens.
    pub encoded: u64,
    /// n-grams that were hashed.
    pub hashed: u64,
}

/// Counts a text that is cut into tokens.
#[cfg(feature = "text")]
pub(crate) fn encodes() {
    DONE.with(|done| done.set(Work { encoded: done.get().encoded + 1, ..done.get() }));
}

/// Counts n-grams that are hashed.
pub(crate) fn hashes(ngrams: usize) {
    DONE.with(|done| done.set(Work { hashed: done.get().hashed + ngrams as u64, ..done.get() }));
}

/// Returns the work that `action` does on this thread.
pub(crate) fn of(action: impl FnOnce()) -> Work {
    let before = DONE.get();
    action();
    let after = DONE.get();
    Work { encoded: after.encoded - before.encoded, hashed: after.hashed - before.hashed }
}
