//! The contexts of a text that comes in pieces.

use super::fresh::{fresh_contexts, share, shortest_contexts};
use super::seen::{Seen, context_id};
use super::{ContextLens, ContextRule, ContextTracker, Piece, PositionKind};
use crate::scheme::Share;

/// A text that comes in pieces: which of its positions count, and with which context. One stream serves every key with
/// this rule.
#[derive(Clone, Debug)]
pub struct ContextStream {
    tracker: ContextTracker,
    rule: ContextRule,
    /// The last tokens, as many as the longest context has; fewer at the start.
    carry: Vec<u32>,
    /// The tokens and the pairs of neighbours so far, where the rule looks at them.
    known: Option<[Seen; 2]>,
}

impl<'a> Piece<'a> {
    /// Makes the piece that is a whole text, the response to `prompt`.
    pub(crate) fn whole(rule: ContextRule, prompt: &[u32], ids: &'a [u32]) -> Self {
        let known = match rule {
            ContextRule::Whole { len } => fresh_contexts(len, prompt, ids)
                .map(|fresh| (ContextLens::Same(len), fresh.into_iter().map(whole).collect())),
            ContextRule::Shortest { shortest, longest } => shortest_contexts(shortest, longest, ids)
                .map(|(lens, shares)| (ContextLens::Each(lens), shares)),
            ContextRule::Padded { .. } | ContextRule::Spanning { .. } => None,
        };
        match known {
            Some((context_lens, shares)) => {
                Self { ids: ids.into(), first: rule.shortest(), context_lens, shares }
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
        let known = matches!(rule, ContextRule::Shortest { .. }).then(|| [(); 2].map(|()| Seen::new(limit)));
        let tracker = ContextTracker::bounded(rule, prompt, limit);
        Self { tracker, rule, carry: rule.before(prompt), known }
    }

    /// Returns whether the history has grown beyond its bound.
    pub fn is_approximate(&self) -> bool {
        self.tracker.is_approximate() || self.known.iter().flatten().any(Seen::is_approximate)
    }

    /// Takes the next token of the text. Returns the length of its context, 0 if it has none, and how much its position
    /// counts.
    fn next(&mut self, token: u32) -> (usize, Share) {
        let len = self.tracker.context().len();
        let pair = self.tracker.last_token().map(|last| context_id(&[last, token]));
        let marked = self.tracker.advance(token) == PositionKind::Marked;
        // A token that has come up before surprises less, and one that has followed the same token before hardly at
        // all: its draw had little choice.
        let counts = match &mut self.known {
            Some([tokens, pairs]) => {
                let new_token = tokens.insert(context_id(&[token]));
                share(marked, pair.is_some_and(|pair| pairs.insert(pair)), new_token)
            }
            None => whole(marked),
        };
        (if marked { len } else { 0 }, counts)
    }

    /// Takes the next tokens of the text and returns the piece that they end.
    pub fn push(&mut self, ids: &[u32]) -> Piece<'static> {
        let start = self.carry.len();
        let first = self.rule.shortest().saturating_sub(start);
        let mut joined = std::mem::take(&mut self.carry);
        joined.extend(ids);
        let (mut shares, mut lens) = (Vec::with_capacity(ids.len()), Vec::new());
        for (i, &token) in ids.iter().enumerate() {
            let (len, counts) = self.next(token);
            if i >= first {
                shares.push(counts);
                lens.push(len as u8);
            }
        }
        let longest = self.rule.longest();
        self.carry = joined[joined.len().saturating_sub(longest)..].to_vec();
        let context_lens = match self.known {
            None => ContextLens::Same(longest),
            Some(_) => ContextLens::Each(lens),
        };
        Piece { ids: joined.into(), first, context_lens, shares }
    }
}

/// Returns the share of a position that counts wholly or not at all.
fn whole(fresh: bool) -> Share {
    if fresh { Share::Full } else { Share::Nothing }
}
