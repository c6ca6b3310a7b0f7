//! Which positions carry the mark: the one rule that generator and detector share.
//!
//! A position is marked, and scored, only if its whole context was generated in this response and has not come up
//! before, in the prompt or in the response. The history is complete. So the generator's receipt and the detector's
//! mask are the same positions when the detector knows the prompt, and no fixed end of a prompt gives every answer
//! the same first draw. Why the *context* must be fresh and not only the n-gram: STATISTICS in `docs/statistics.md`.
//!
//! The compat schemes mark what their reference marks: a context of zeros before the first token, the last
//! `context_history_size` contexts as history, and the prompt plays no part.

use std::collections::{HashSet, VecDeque};
use std::hash::{BuildHasher, Hasher, RandomState};

use sha2::{Digest, Sha256};

use super::context_filter::ContextFilter;
use super::{Prf, Scheme};

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

/// Follows a sequence token by token and tells for each next position whether it carries the mark.
#[derive(Clone, Debug)]
pub struct ContextTracker {
    /// The last H tokens (fewer at the very start), oldest first; includes the prompt's.
    window: Vec<u32>,
    context_len: usize,
    /// Tokens of the response so far.
    generated: usize,
    history: History,
}

#[derive(Clone, Debug)]
enum History {
    Complete(Seen),
    Reference { history: ReferenceHistory, prf: Prf },
}

impl ContextTracker {
    /// The tracker of a response to `prompt` (which may be empty) under `prf`'s scheme.
    pub fn new(prf: &Prf, prompt: &[u32]) -> Self {
        let context_len = prf.scheme().context_len();
        match ReferenceHistory::of(prf.scheme()) {
            None => Self::complete(context_len, prompt),
            Some(history) => Self {
                window: std::iter::repeat_n(0, context_len).collect(),
                context_len,
                generated: 0,
                history: History::Reference { history, prf: prf.clone() },
            },
        }
    }

    /// The tracker with a complete history, whatever the scheme: what p-values rest on.
    pub fn complete(context_len: usize, prompt: &[u32]) -> Self {
        Self::bounded(context_len, prompt, usize::MAX)
    }

    /// As [`complete`](Self::complete) in bounded memory: the first `limit` contexts are kept as they are, later ones
    /// in a filter that may take a new context for a repeated one but never the reverse. So a position that counts
    /// here counts with the complete history too.
    pub fn bounded(context_len: usize, prompt: &[u32], limit: usize) -> Self {
        let mut tracker = Self {
            window: Vec::with_capacity(context_len),
            context_len,
            generated: 0,
            history: History::Complete(Seen { exact: HashSet::default(), limit, filter: None }),
        };
        for &token in prompt {
            tracker.push(token);
        }
        tracker.generated = 0;
        tracker
    }

    /// Whether the history has grown beyond the limit of [`bounded`](Self::bounded).
    pub fn is_approximate(&self) -> bool {
        matches!(&self.history, History::Complete(Seen { filter: Some(_), .. }))
    }

    /// The rule for the position whose token comes next.
    pub fn next_position(&self) -> PositionKind {
        match &self.history {
            History::Complete(_) if self.generated < self.context_len => PositionKind::IncompleteContext,
            History::Complete(seen) if seen.contains(context_id(&self.window)) => {
                PositionKind::RepeatedContext
            }
            History::Reference { history, prf }
                if history.contains(prf.context(&self.window).reference_hash()) =>
            {
                PositionKind::RepeatedContext
            }
            History::Complete(_) | History::Reference { .. } => PositionKind::Marked,
        }
    }

    /// The context of the next position, oldest token first. Shorter than H only where the position is not marked.
    pub fn context(&self) -> &[u32] {
        &self.window
    }

    /// Appends the token of the next position; its context counts as seen from here on.
    pub fn push(&mut self, token: u32) {
        self.advance(token);
    }

    /// [`next_position`](Self::next_position) and [`push`](Self::push) in one: what the rule says of the position that
    /// `token` takes.
    pub fn advance(&mut self, token: u32) -> PositionKind {
        let complete = self.window.len() == self.context_len;
        let fresh = complete
            && match &mut self.history {
                History::Complete(seen) => seen.insert(context_id(&self.window)),
                History::Reference { history, prf } => {
                    history.insert(prf.context(&self.window).reference_hash())
                }
            };
        let kind = match &self.history {
            History::Complete(_) if self.generated < self.context_len => PositionKind::IncompleteContext,
            _ if fresh => PositionKind::Marked,
            _ => PositionKind::RepeatedContext,
        };
        if complete {
            self.window.rotate_left(1);
            self.window.pop();
        }
        self.window.push(token);
        self.generated += 1;
        kind
    }
}

/// Of a text that is there as a whole: for each position of `ids` with a complete context, whether its context is new in
/// `prompt` and `ids`. What [`ContextTracker::complete`] says, with one probe of a small table a position.
///
/// None for contexts of more than four tokens, of which the ids themselves are no number to compare, and for texts that
/// are too long for the table.
pub(crate) fn fresh_contexts(context_len: usize, prompt: &[u32], ids: &[u32]) -> Option<Vec<bool>> {
    /// Contexts that are looked up together.
    const BATCH: usize = 32;
    if context_len > 4 || prompt.len().saturating_add(ids.len()) >= 1 << 30 {
        return None;
    }
    let joined;
    let text = if prompt.is_empty() {
        ids
    } else {
        joined = [prompt, ids].concat();
        &joined[..]
    };
    let first = prompt.len() + context_len;
    let mut fresh = vec![true; text.len().saturating_sub(first)];
    if text.len() <= context_len {
        return Some(fresh);
    }
    // Open-addressed, at most half full. A slot has the index of a context's last token plus one and, above it, as much of
    // the hash as there is room for; 0 is empty.
    let size = (2 * (text.len() - context_len)).next_power_of_two();
    let index = (1_u32 << (usize::BITS - text.len().leading_zeros())) - 1;
    let mut slots = vec![0_u32; size];
    let mask = size - 1;
    let random = RandomFactors::default();
    let all = u128::MAX >> (128 - 32 * context_len.max(1));
    let mut id = context_id(&text[..context_len]);
    let mut hashes = [0; BATCH];
    for start in (context_len..text.len()).step_by(BATCH) {
        let tokens = &text[start..text.len().min(start + BATCH)];
        let mut touched = 0;
        for (hash, &token) in hashes.iter_mut().zip(tokens) {
            *hash = random.hash(id);
            // All places are read before any is needed: the waits for memory overlap.
            touched |= slots[*hash as usize & mask];
            id = (id << 32 | u128::from(token)) & all;
        }
        std::hint::black_box(touched);
        for (end, hash) in (start..start + tokens.len()).zip(hashes) {
            let entry = (hash >> 32) as u32 & !index | (end as u32 + 1);
            let mut slot = hash as usize & mask;
            while slots[slot] != 0 {
                let found = slots[slot];
                if (found ^ entry) & !index == 0 {
                    let other = (found & index) as usize - 1;
                    if text[other - context_len..other] == text[end - context_len..end] {
                        if end >= first {
                            fresh[end - first] = false;
                        }
                        break;
                    }
                }
                slot = (slot + 1) & mask;
            }
            if slots[slot] == 0 {
                slots[slot] = entry;
            }
        }
    }
    Some(fresh)
}

/// The contexts of a text so far.
#[derive(Clone, Debug)]
struct Seen {
    exact: HashSet<u128, RandomFactors>,
    /// How many of them `exact` may hold.
    limit: usize,
    /// The others.
    filter: Option<ContextFilter>,
}

impl Seen {
    fn contains(&self, id: u128) -> bool {
        self.exact.contains(&id) || self.filter.as_ref().is_some_and(|filter| filter.contains(id))
    }

    /// True if `id` was not there; with a filter, perhaps false although it was not.
    fn insert(&mut self, id: u128) -> bool {
        if self.exact.len() < self.limit {
            return self.exact.insert(id);
        }
        if self.contains(id) {
            return false;
        }
        self.filter.get_or_insert_default().insert(id);
        true
    }
}

/// Hashes a context by multiplications with random factors, so that nobody can write a text whose contexts collide.
#[derive(Clone, Debug)]
struct RandomFactors([u64; 2]);

impl Default for RandomFactors {
    fn default() -> Self {
        // The standard library's seeds come from the system's randomness.
        let random = RandomState::new();
        Self([0_u8, 1].map(|which| random.hash_one(which)))
    }
}

impl BuildHasher for RandomFactors {
    type Hasher = ContextHasher;

    fn build_hasher(&self) -> ContextHasher {
        ContextHasher { factors: self.0, hash: 0 }
    }
}

impl RandomFactors {
    fn hash(&self, id: u128) -> u64 {
        mixed(self.0, 0, id)
    }
}

fn mixed([first, second]: [u64; 2], hash: u64, id: u128) -> u64 {
    let fold = |a: u64, b: u64| {
        let product = u128::from(a) * u128::from(b);
        product as u64 ^ (product >> 64) as u64
    };
    let low = fold(id as u64 ^ first, second);
    fold(low ^ hash ^ (id >> 64) as u64, first.rotate_left(32) | 1)
}

/// See [`RandomFactors`].
struct ContextHasher {
    factors: [u64; 2],
    hash: u64,
}

impl Hasher for ContextHasher {
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u128(byte.into());
        }
    }

    fn write_u128(&mut self, id: u128) {
        self.hash = mixed(self.factors, self.hash, id);
    }

    fn finish(&self) -> u64 {
        self.hash
    }
}

/// A context as a set element: the ids themselves up to four of them, a 128-bit digest beyond. No key is involved,
/// so whether a context repeats is a fact of the text alone.
fn context_id(context: &[u32]) -> u128 {
    if context.len() <= 4 {
        return context.iter().fold(0, |id, &token| id << 32 | u128::from(token));
    }
    let mut hash = Sha256::new();
    for token in context {
        hash.update(token.to_le_bytes());
    }
    let digest: [u8; 32] = hash.finalize().into();
    u128::from_le_bytes(digest[..16].try_into().expect("16 of 32 bytes"))
}

/// The reference's memory: the hashes of the last `context_history_size` contexts, zeros at the start.
#[derive(Clone, Debug)]
pub(crate) struct ReferenceHistory {
    hashes: VecDeque<u64>,
}

impl ReferenceHistory {
    /// The memory that `scheme`'s reference starts with; none for our own scheme.
    pub(crate) fn of(scheme: &Scheme) -> Option<Self> {
        let size = match scheme {
            Scheme::Sha256 { .. } => return None,
            Scheme::Hf { context_history_size, .. } | Scheme::DeepMind { context_history_size, .. } => {
                *context_history_size
            }
        };
        Some(Self { hashes: std::iter::repeat_n(0, size as usize).collect() })
    }

    fn contains(&self, hash: u64) -> bool {
        self.hashes.contains(&hash)
    }

    /// Remembers `hash`, forgets the oldest; true if it was not there.
    pub(crate) fn insert(&mut self, hash: u64) -> bool {
        let fresh = !self.contains(hash);
        self.hashes.pop_back();
        self.hashes.push_front(hash);
        fresh
    }
}

/// The states of a narrow hash that a text has used.
#[derive(Default, Debug)]
pub(crate) struct SeenStates(HashSet<u64>);

impl SeenStates {
    /// True if `state` was not there.
    pub(crate) fn insert(&mut self, state: u64) -> bool {
        self.0.insert(state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(prompt: &[u32], response: &[u32]) -> String {
        let mut tracker = ContextTracker::complete(2, prompt);
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
        let complete = marked(ContextTracker::complete(2, &[]));
        for limit in [0, 1, 100, usize::MAX] {
            assert_eq!(marked(ContextTracker::bounded(2, &[], limit)), complete);
        }
    }

    #[test]
    fn the_whole_text_at_once_is_the_tracker() {
        let mut state = 5_u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) as u32
        };
        for round in 0..400 {
            let vocabulary = [1, 2, 4, 1 << 20][round % 4];
            let mut tokens = |max: u32| -> Vec<u32> {
                let n = next() % max;
                // 0 and the largest id are ids like others.
                (0..n).map(|_| (next() % vocabulary).wrapping_sub(next() & 1)).collect()
            };
            let (prompt, ids) = (if round % 3 == 0 { tokens(12) } else { vec![] }, tokens(300));
            for context_len in 1..=4 {
                let mut tracker = ContextTracker::complete(context_len, &prompt);
                let kinds: Vec<_> = ids.iter().map(|&token| tracker.advance(token)).collect();
                let expected: Vec<bool> =
                    kinds.iter().skip(context_len).map(|&kind| kind == PositionKind::Marked).collect();
                assert_eq!(
                    fresh_contexts(context_len, &prompt, &ids).unwrap(),
                    expected,
                    "{prompt:?} {ids:?}"
                );
            }
        }
        assert!(fresh_contexts(5, &[], &[]).is_none());
    }

    #[test]
    fn order_and_high_ids_tell_contexts_apart() {
        let ids = [[0, 1], [1, 0], [65_536, 0], [0, 65_536], [255_999, 65_535]];
        let distinct: HashSet<u128> = ids.iter().map(|context| context_id(context)).collect();
        assert_eq!(distinct.len(), ids.len());
        let long = |last| context_id(&[1, 2, 3, 4, last]);
        assert_ne!(long(5), long(6));
    }
}
