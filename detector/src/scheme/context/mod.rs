//! Which positions carry the mark, and which of them count.
//!
//! Generator and detector share the rule. Under that of `synthid-sha256`, a position is marked, and scored, only if its
//! whole context belongs to this response. Nor may it have come up before, in the prompt or in the response. The history is
//! complete. So the generator's receipt and the detector's mask are the same positions when the detector knows the
//! prompt. And a prompt that always ends alike does not give every answer the same first draw. "Fresh contexts" in
//! `docs/concepts/statistics.md` says why the *context* must be fresh and not only the n-gram.
//!
//! `synthid-sha256-v2` has another rule: a position takes the shortest run of tokens before it that no earlier position
//! of the response has taken. See [`ContextRule`].
//!
//! Other engines have other rules: places before the response count as tokens (`Padded`), or contexts reach into the
//! prompt (`Spanning`). See [`ContextRule`].
//!
//! Generators that follow a reference implementation mark the positions that it marks. There the context before the
//! first token is zeros, the history is the last `context_history_size` contexts, and the prompt plays no part. Their
//! texts are still scored by the complete history.
//!
//! | file | what it settles |
//! |---|---|
//! | `seen` | the complete history, and how contexts are told apart |
//! | `filter` | the same in bounded memory |
//! | `reference` | the reference implementations' history |
//! | `shortest` | the shortest unused context |
//! | `fresh` | the rules for a whole text at once |
//! | `inputs` | the inputs of a hash that is narrower than the n-gram |
//! | `piece`, `stream` | any rule for a text that comes in pieces |

pub(crate) use fresh::first_places;
pub(super) use inputs::Inputs;
pub use piece::{ContextLens, Piece};
pub(crate) use reference::{ReferenceHistory, lcg, lcg_over};
use seen::{Seen, context_id};
use shortest::Shortest;
pub use stream::ContextStream;

mod filter;
mod fresh;
mod inputs;
mod piece;
mod reference;
mod seen;
mod shortest;
mod stream;

/// Which tokens before a position decide its values, and at which positions they do.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum ContextRule {
    /// The `len` tokens before the position, unless they have been a context before, in the prompt or in the text.
    Whole {
        /// H, at least 1.
        len: usize,
    },
    /// The shortest run of tokens before the position, `shortest` to `longest` long, that no earlier position of the
    /// text has taken. A prompt plays no part.
    Shortest {
        /// From 1 to `longest`.
        shortest: usize,
        /// From `shortest` to 4.
        longest: usize,
    },
    /// The `len` places before the position, unless they have been a context of the text before. The places before the
    /// text's start hold [`PAD`]. A prompt plays no part.
    Padded {
        /// H, at least 1.
        len: usize,
    },
    /// The `len` tokens before the position, which may be tokens of the prompt. They may have been a context before:
    /// the scheme itself leaves out what repeats. Without a prompt the first `len` tokens of a text have no context.
    Spanning {
        /// H, at least 1.
        len: usize,
    },
}

/// What stands in the places before a text under the rule of padded contexts. It is not a token.
pub const PAD: u32 = u32::MAX;

impl ContextRule {
    /// Returns the length of the longest context, H.
    pub fn longest(self) -> usize {
        match self {
            Self::Whole { len } | Self::Padded { len } | Self::Spanning { len } => len,
            Self::Shortest { longest, .. } => longest,
        }
    }

    /// Returns the length of the shortest context. If nothing stands [before the text](Self::before), it is also the
    /// index of the first position that may have a context.
    pub fn shortest(self) -> usize {
        match self {
            Self::Whole { len } | Self::Padded { len } | Self::Spanning { len } => len,
            Self::Shortest { shortest, .. } => shortest,
        }
    }

    /// Returns the tokens in front of a response to `prompt` that belong to the contexts of its first positions, oldest
    /// first.
    pub fn before(self, prompt: &[u32]) -> Vec<u32> {
        match self {
            Self::Whole { .. } | Self::Shortest { .. } => Vec::new(),
            Self::Padded { len } => vec![PAD; len],
            Self::Spanning { len } => prompt[prompt.len().saturating_sub(len)..].to_vec(),
        }
    }
}

/// What the rule says of the position whose token comes next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PositionKind {
    /// Carries the mark, and counts in the detector.
    Marked,
    /// Its context is not wholly part of this response yet.
    IncompleteContext,
    /// Its context came up before.
    RepeatedContext,
}

/// Follows a sequence token by token and tells of each next position whether it carries the mark.
#[derive(Clone, Debug)]
pub struct ContextTracker {
    /// The last H tokens (fewer at the very start), oldest first; includes the prompt's.
    window: Vec<u32>,
    context_len: usize,
    /// Number of tokens of the response so far, plus those that the rule puts [before it](ContextRule::before).
    generated: usize,
    history: History,
}

#[derive(Clone, Debug)]
enum History {
    Complete(Seen),
    Shortest(Shortest),
    /// No history: a context may repeat.
    Every,
    /// The contexts that the response has used, by a hash of the scheme.
    Hashed {
        used: Seen,
        hash: fn(&[u32]) -> u32,
    },
    /// The history of the reference implementations, with the value that their hash of a context starts from.
    Reference {
        history: ReferenceHistory,
        start: i64,
    },
}

impl ContextTracker {
    /// Returns the tracker of a response to `prompt` with a complete history, where the rule keeps one.
    pub fn new(rule: ContextRule, prompt: &[u32]) -> Self {
        Self::bounded(rule, prompt, usize::MAX)
    }

    /// Returns what [`new`](Self::new) returns, in bounded memory. The first `limit` contexts of each length are stored
    /// exactly. Later ones go into a filter, which may take a new context for a repeated one but never the reverse. So
    /// no context counts twice.
    pub fn bounded(rule: ContextRule, prompt: &[u32], limit: usize) -> Self {
        let history = match rule {
            ContextRule::Whole { .. } | ContextRule::Padded { .. } => History::Complete(Seen::new(limit)),
            ContextRule::Spanning { .. } => History::Every,
            ContextRule::Shortest { shortest, longest } => {
                History::Shortest(Shortest::new(shortest, longest, limit))
            }
        };
        let context_len = rule.longest();
        let mut window = Vec::with_capacity(context_len);
        window.extend(rule.before(prompt));
        let generated = window.len();
        let mut tracker = Self { window, context_len, generated, history };
        if let ContextRule::Whole { .. } = rule {
            for &token in prompt {
                tracker.push(token);
            }
            tracker.generated = 0;
        }
        tracker
    }

    /// Returns the tracker of the reference implementations: the contexts that `history` holds, by a hash that starts
    /// from `start`.
    pub(crate) fn reference(context_len: usize, history: ReferenceHistory, start: i64) -> Self {
        Self {
            window: vec![0; context_len],
            context_len,
            generated: 0,
            history: History::Reference { history, start },
        }
    }

    /// Returns the tracker of a response to `prompt` whose contexts may reach into the prompt. A position is marked
    /// only if no earlier position of the response had a context of the same `hash`.
    pub(crate) fn hashed(context_len: usize, prompt: &[u32], hash: fn(&[u32]) -> u32) -> Self {
        let tracker = Self::new(ContextRule::Spanning { len: context_len }, prompt);
        Self { history: History::Hashed { used: Seen::new(usize::MAX), hash }, ..tracker }
    }

    /// Returns whether the history has grown beyond the limit of [`bounded`](Self::bounded).
    pub fn is_approximate(&self) -> bool {
        match &self.history {
            History::Complete(seen) => seen.is_approximate(),
            History::Shortest(shortest) => shortest.is_approximate(),
            History::Every | History::Hashed { .. } | History::Reference { .. } => false,
        }
    }

    /// Returns what the rule says of the position whose token comes next.
    pub fn next_position(&self) -> PositionKind {
        let repeated = match &self.history {
            History::Complete(_) | History::Every | History::Hashed { .. }
                if self.generated < self.context_len =>
            {
                return PositionKind::IncompleteContext;
            }
            History::Every => false,
            History::Hashed { used, hash } => used.contains(hash(&self.window).into()),
            History::Complete(seen) => seen.contains(context_id(&self.window)),
            History::Shortest(shortest) => return shortest.kind(self.window.len()),
            History::Reference { history, start } => history.contains(lcg_over(*start, &self.window)),
        };
        if repeated { PositionKind::RepeatedContext } else { PositionKind::Marked }
    }

    /// Returns the context of the next position, oldest token first. The position is marked with this context. If the
    /// position is not marked, the context may be shorter.
    pub fn context(&self) -> &[u32] {
        match &self.history {
            History::Shortest(shortest) => &self.window[self.window.len() - shortest.context_len()..],
            History::Complete(_) | History::Every | History::Hashed { .. } | History::Reference { .. } => {
                &self.window
            }
        }
    }

    /// Returns the token before the next position, which may be the prompt's; `None` if there is none.
    fn last_token(&self) -> Option<u32> {
        self.window.last().copied()
    }

    /// Appends the token of the next position; its context counts as seen from here on.
    pub fn push(&mut self, token: u32) {
        self.advance(token);
    }

    /// Appends `token` and returns what the rule says of its position: [`next_position`](Self::next_position) and
    /// [`push`](Self::push) in one.
    pub fn advance(&mut self, token: u32) -> PositionKind {
        let complete = self.window.len() == self.context_len;
        let mut kind = PositionKind::IncompleteContext;
        match &mut self.history {
            History::Complete(seen) => {
                let fresh = complete && seen.insert(context_id(&self.window));
                if self.generated >= self.context_len {
                    kind = if fresh { PositionKind::Marked } else { PositionKind::RepeatedContext };
                }
            }
            History::Every if complete => kind = PositionKind::Marked,
            History::Hashed { used, hash } if complete => {
                let fresh = used.insert(hash(&self.window).into());
                kind = if fresh { PositionKind::Marked } else { PositionKind::RepeatedContext };
            }
            History::Every | History::Hashed { .. } => {}
            History::Shortest(shortest) => {
                kind = shortest.kind(self.window.len());
                shortest.take(&self.window);
            }
            History::Reference { history, start } => {
                let fresh = complete && history.insert(lcg_over(*start, &self.window));
                kind = if fresh { PositionKind::Marked } else { PositionKind::RepeatedContext };
            }
        }
        if complete {
            self.window.rotate_left(1);
            self.window.pop();
        }
        self.window.push(token);
        self.generated += 1;
        if let History::Shortest(shortest) = &mut self.history {
            shortest.choose(&self.window);
        }
        kind
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: ContextRule = ContextRule::Whole { len: 2 };

    fn kinds(prompt: &[u32], response: &[u32]) -> String {
        let mut tracker = ContextTracker::new(WHOLE, prompt);
        response
            .iter()
            .map(|&token| {
                let kind = tracker.next_position();
                tracker.push(token);
                match kind {
                    PositionKind::Marked => 'm',
                    PositionKind::IncompleteContext => 'i',
                    PositionKind::RepeatedContext => 'r',
                }
            })
            .collect()
    }

    #[test]
    fn a_context_is_marked_once() {
        assert_eq!(kinds(&[], &[1, 2, 3, 1, 2, 3, 1, 2]), "iimmmrrr");
    }

    #[test]
    fn the_prompt_is_part_of_the_history() {
        // (1, 2) stands in the prompt; (2, 1) spans the border.
        assert_eq!(kinds(&[5, 1, 2], &[1, 2, 9, 2, 1, 7]), "iirmmr");
    }

    #[test]
    fn padded_contexts_begin_with_the_first_token_and_count_once() {
        let rule = ContextRule::Padded { len: 2 };
        let mut tracker = ContextTracker::new(rule, &[1, 2]);
        let mut seen = Vec::new();
        for token in [1, 2, 1, 2, 1] {
            seen.push((tracker.context().to_vec(), tracker.next_position() == PositionKind::Marked));
            assert_eq!(tracker.next_position(), tracker.advance(token));
        }
        let expected =
            [([PAD, PAD], true), ([PAD, 1], true), ([1, 2], true), ([2, 1], true), ([1, 2], false)];
        assert_eq!(seen, expected.map(|(context, marked)| (context.to_vec(), marked)));
        let piece = Piece::whole(rule, &[1, 2], &[1, 2, 1, 2, 1]);
        assert_eq!((piece.first, &*piece.ids), (0, &[PAD, PAD, 1, 2, 1, 2, 1][..]));
        assert_eq!(piece.scored(), [true, true, true, true, false]);
    }

    #[test]
    fn spanning_contexts_reach_into_the_prompt_and_may_repeat() {
        let rule = ContextRule::Spanning { len: 2 };
        for (prompt, expected) in [(&[][..], "iimmm"), (&[9][..], "immmm"), (&[7, 1, 2][..], "mmmmm")] {
            let mut tracker = ContextTracker::new(rule, prompt);
            let kinds = [1, 2, 1, 2, 1].map(|token| {
                let kind = tracker.next_position();
                assert_eq!(kind, tracker.advance(token));
                if kind == PositionKind::Marked { 'm' } else { 'i' }
            });
            assert_eq!(String::from_iter(kinds), expected);
            let piece = Piece::whole(rule, prompt, &[1, 2, 1, 2, 1]);
            assert_eq!(piece.first, 2_usize.saturating_sub(prompt.len()));
            assert_eq!(piece.scored(), vec![true; 5 - piece.first]);
        }
        let piece = Piece::whole(rule, &[7, 8, 9], &[1, 2]);
        assert_eq!(piece.ngrams().collect::<Vec<_>>(), [[8, 9, 1], [9, 1, 2]]);
    }

    /// A filter may only lose positions, and with few contexts it loses none.
    #[test]
    fn a_bounded_history_counts_no_more_than_the_complete_one() {
        let ids: Vec<u32> = (0..3_000_u32).map(|i| i.wrapping_mul(2_654_435_761) >> 26).collect();
        let marked = |mut tracker: ContextTracker| -> Vec<bool> {
            ids.iter()
                .map(|&token| {
                    let marked = tracker.next_position() == PositionKind::Marked;
                    tracker.push(token);
                    marked
                })
                .collect()
        };
        let complete = marked(ContextTracker::new(WHOLE, &[]));
        for limit in [0, 1, 100, usize::MAX] {
            assert_eq!(marked(ContextTracker::bounded(WHOLE, &[], limit)), complete);
        }
    }
}
