//! The contexts of a text that comes in pieces.

use std::borrow::Cow;

use super::fresh::fresh_contexts;
use super::{ContextTracker, PositionKind};

/// A text that comes in pieces: which of its positions have a context that did not occur before. One serves every key
/// with contexts of this length.
#[derive(Clone, Debug)]
pub struct ContextStream {
    tracker: ContextTracker,
    context_len: usize,
    /// The last `context_len` tokens, fewer at the start.
    carry: Vec<u32>,
}

/// A piece of the text, and the end of what was before it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Piece<'a> {
    /// The tokens from the piece's first complete context on.
    pub ids: Cow<'a, [u32]>,
    /// Index in the piece of its first position with a complete context: H less the tokens before the piece, at least 0. A
    /// short piece at the start of a text may have none.
    pub first: usize,
    /// For each position from `first` on, whether its context is new.
    pub fresh: Vec<bool>,
}

impl<'a> Piece<'a> {
    /// A text that is one piece.
    pub(crate) fn whole(context_len: usize, prompt: &[u32], ids: &'a [u32]) -> Self {
        match fresh_contexts(context_len, prompt, ids) {
            Some(fresh) => Self { ids: ids.into(), first: context_len, fresh },
            None => ContextStream::new(context_len, prompt).push(ids),
        }
    }
}

impl ContextStream {
    /// Starts a text with a complete history, whose memory grows with the text.
    pub fn new(context_len: usize, prompt: &[u32]) -> Self {
        Self::bounded(context_len, prompt, usize::MAX)
    }

    /// Starts a text with a history in bounded memory; see [`ContextTracker::bounded`].
    pub fn bounded(context_len: usize, prompt: &[u32], limit: usize) -> Self {
        let tracker = ContextTracker::bounded(context_len, prompt, limit);
        Self { tracker, context_len, carry: Vec::new() }
    }

    /// Returns whether the history has grown beyond its bound.
    pub fn is_approximate(&self) -> bool {
        self.tracker.is_approximate()
    }

    /// Takes the next tokens of the text and returns the piece that they end.
    pub fn push(&mut self, ids: &[u32]) -> Piece<'static> {
        let start = self.carry.len();
        let first = self.context_len - start;
        let mut joined = std::mem::take(&mut self.carry);
        joined.extend(ids);
        for &token in ids.iter().take(first) {
            self.tracker.push(token);
        }
        let rest = joined.iter().skip(self.context_len);
        let fresh = rest.map(|&token| self.tracker.advance(token) == PositionKind::Marked).collect();
        self.carry = joined[joined.len().saturating_sub(self.context_len)..].to_vec();
        Piece { ids: joined.into(), first, fresh }
    }
}
