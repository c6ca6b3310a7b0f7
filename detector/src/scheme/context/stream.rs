//! The contexts of a text that comes in pieces.

use super::fresh::{fresh_contexts, shortest_contexts};
use super::seen::{Seen, context_id};
use super::{ContextLens, ContextRule, ContextTracker, Piece, PositionKind};

/// A text that comes in pieces: which of its positions count, and with which context. One serves every key with this
/// rule.
#[derive(Clone, Debug)]
pub struct ContextStream {
    tracker: ContextTracker,
    rule: ContextRule,
    /// The last tokens, as many as the longest context has; fewer at the start.
    carry: Vec<u32>,
    /// The pairs of neighbours so far, where the rule looks at them.
    pairs: Option<Seen>,
}

impl<'a> Piece<'a> {
    /// A text that is one piece, the response to `prompt`.
    pub(crate) fn whole(rule: ContextRule, prompt: &[u32], ids: &'a [u32]) -> Self {
        let known = match rule {
            ContextRule::Whole { len } => {
                fresh_contexts(len, prompt, ids).map(|fresh| (ContextLens::Same(len), fresh))
            }
            ContextRule::Shortest { shortest, longest } => shortest_contexts(shortest, longest, ids)
                .map(|(lens, fresh)| (ContextLens::Each(lens), fresh)),
        };
        match known {
            Some((context_lens, fresh)) => {
                Self { ids: ids.into(), first: rule.shortest(), context_lens, fresh }
            }
            None => ContextStream::new(rule, prompt).push(ids),
        }
    }
}

impl ContextStream {
    /// Starts a text with a complete history, whose memory grows with the text.
    pub fn new(rule: ContextRule, prompt: &[u32]) -> Self {
        Self::bounded(rule, prompt, usize::MAX)
    }

    /// Starts a text with a history in bounded memory; see [`ContextTracker::bounded`].
    pub fn bounded(rule: ContextRule, prompt: &[u32], limit: usize) -> Self {
        let pairs = matches!(rule, ContextRule::Shortest { .. }).then(|| Seen::new(limit));
        Self { tracker: ContextTracker::bounded(rule, prompt, limit), rule, carry: Vec::new(), pairs }
    }

    /// Returns whether the history has grown beyond its bound.
    pub fn is_approximate(&self) -> bool {
        self.tracker.is_approximate() || self.pairs.as_ref().is_some_and(Seen::is_approximate)
    }

    /// Takes the next token of the text. Returns the length of its context, 0 if it has none, and whether its position
    /// counts.
    fn next(&mut self, token: u32) -> (usize, bool) {
        let len = self.tracker.context().len();
        let pair = self.tracker.last_token().map(|last| context_id(&[last, token]));
        let marked = self.tracker.advance(token) == PositionKind::Marked;
        // A token that followed its neighbour before hardly surprises: its draw had little choice.
        let new_pair = match (&mut self.pairs, pair) {
            (Some(pairs), Some(pair)) => pairs.insert(pair),
            _ => true,
        };
        (if marked { len } else { 0 }, marked && new_pair)
    }

    /// Takes the next tokens of the text and returns the piece that they end.
    pub fn push(&mut self, ids: &[u32]) -> Piece<'static> {
        let start = self.carry.len();
        let first = self.rule.shortest().saturating_sub(start);
        let mut joined = std::mem::take(&mut self.carry);
        joined.extend(ids);
        let (mut fresh, mut lens) = (Vec::with_capacity(ids.len()), Vec::new());
        for (i, &token) in ids.iter().enumerate() {
            let (len, counts) = self.next(token);
            if i >= first {
                fresh.push(counts);
                lens.push(len as u8);
            }
        }
        let longest = self.rule.longest();
        self.carry = joined[joined.len().saturating_sub(longest)..].to_vec();
        let context_lens = match self.pairs {
            None => ContextLens::Same(longest),
            Some(_) => ContextLens::Each(lens),
        };
        Piece { ids: joined.into(), first, context_lens, fresh }
    }
}
