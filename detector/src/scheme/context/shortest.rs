//! The shortest unused context.
//!
//! The context of a position is as short as it can be. It has `shortest` tokens, or more (up to `longest`) where
//! earlier positions of the response have taken the shorter ones. A replaced word then costs few other positions their
//! mark: only those whose short contexts contain it. A position whose contexts are all taken is not marked.

use super::PositionKind;
use super::seen::{Seen, context_id};

/// The contexts that the positions of a text have taken.
#[derive(Clone, Debug)]
pub(super) struct Shortest {
    /// Tokens of the shortest context.
    least: usize,
    /// One set for each length from there on.
    taken: Vec<Seen>,
    /// The length of the next position's context; 0 where all are taken or the text is too short.
    context_len: usize,
}

impl Shortest {
    /// Starts a text. The first `limit` contexts of each length are stored exactly.
    pub(super) fn new(shortest: usize, longest: usize, limit: usize) -> Self {
        let taken = (shortest..=longest).map(|_| Seen::new(limit)).collect();
        Self { least: shortest, taken, context_len: 0 }
    }

    /// Returns the length of the next position's context, 0 if it has none.
    pub(super) fn context_len(&self) -> usize {
        self.context_len
    }

    /// Returns what the rule says of the next position, which is at least `before` tokens into the text.
    pub(super) fn kind(&self, before: usize) -> PositionKind {
        match self.context_len {
            0 if before < self.least => PositionKind::IncompleteContext,
            0 => PositionKind::RepeatedContext,
            _ => PositionKind::Marked,
        }
    }

    /// Takes the next position's context, whose tokens end `window`.
    pub(super) fn take(&mut self, window: &[u32]) {
        if self.context_len > 0 {
            let context = &window[window.len() - self.context_len..];
            self.taken[self.context_len - self.least].insert(context_id(context));
        }
    }

    /// Chooses the context of the position after `window`, the last tokens of the text.
    pub(super) fn choose(&mut self, window: &[u32]) {
        let free = |(len, taken): &(usize, &Seen)| {
            window.len().checked_sub(*len).is_some_and(|start| !taken.contains(context_id(&window[start..])))
        };
        let found = (self.least..).zip(&self.taken).find(free);
        self.context_len = found.map_or(0, |(len, _)| len);
    }

    /// Returns whether a set has grown beyond its limit.
    pub(super) fn is_approximate(&self) -> bool {
        self.taken.iter().any(Seen::is_approximate)
    }
}

#[cfg(test)]
mod tests {
    use crate::scheme::context::{ContextRule, ContextTracker};

    /// Returns the length of the context of each position, 0 where it is not marked.
    fn lens(shortest: usize, longest: usize, ids: &[u32]) -> String {
        let mut tracker = ContextTracker::new(ContextRule::Shortest { shortest, longest }, &[7, 1, 2]);
        let mut lens = String::new();
        for &token in ids {
            lens += &tracker.context().len().to_string();
            tracker.push(token);
        }
        lens
    }

    #[test]
    fn each_position_takes_the_shortest_context_that_is_free() {
        // By hand: (1), (2), (3), then (1) is taken, so (3 1), (1 2), (2 3); then (2 3 1), (3 1 2), …
        assert_eq!(lens(1, 4, &[1, 2, 3, 1, 2, 3, 1, 2, 3, 1, 2, 3, 1, 2, 3, 1]), "0111222333444000");
        assert_eq!(lens(2, 3, &[1, 2, 3, 1, 2, 3, 1, 2, 3, 1]), "0022233300");
        // A position takes the context that it is marked with, and no other: the last one finds (2) taken and (1 2) free,
        // although (1 2) has occurred before.
        assert_eq!(lens(1, 4, &[1, 1, 2, 1, 2, 1]), "012122");
        // 0 and the largest id are ordinary ids.
        assert_eq!(lens(1, 2, &[0, u32::MAX, 0, u32::MAX, 0]), "01122");
    }
}
