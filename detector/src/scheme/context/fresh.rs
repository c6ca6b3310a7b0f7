//! The contexts of a whole text at once.

use super::seen::{RandomFactors, context_id};
use crate::scheme::Share;

/// Returns for each position of `ids` with a complete context whether that context is new in `prompt` and `ids`. The
/// answers are those of [`ContextTracker`](super::ContextTracker), but take one probe of a small table a position.
///
/// Returns `None` if there is no [table](has_table).
pub(super) fn fresh_contexts(context_len: usize, prompt: &[u32], ids: &[u32]) -> Option<Vec<bool>> {
    if !has_table(context_len, prompt.len().saturating_add(ids.len())) {
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
    let repeat = |at: usize, _| {
        if at >= first {
            fresh[at - first] = false;
        }
    };
    repeats(context_len, text, repeat);
    Some(fresh)
}

/// Returns for each of `ids` the first position with the same context, or `u32::MAX` if no earlier position has it.
///
/// Returns `None` if there is no [table](has_table).
pub(crate) fn first_places(context_len: usize, ids: &[u32]) -> Option<Vec<u32>> {
    if !has_table(context_len, ids.len()) {
        return None;
    }
    let mut places = vec![u32::MAX; ids.len()];
    repeats(context_len, ids, |at, first| places[at] = first as u32);
    Some(places)
}

/// Returns what the rule of the [shortest contexts](super::Shortest) says of each position of `ids` from `shortest` on,
/// as a [`ContextStream`](super::ContextStream) does: the length of its context (0 without one), and how much it
/// counts.
///
/// Returns `None` if there is no [table](has_table).
pub(super) fn shortest_contexts(
    shortest: usize,
    longest: usize,
    ids: &[u32],
) -> Option<(Vec<u8>, Vec<Share>)> {
    if !has_table(longest, ids.len()) {
        return None;
    }
    let count = ids.len().saturating_sub(shortest);
    let (mut lens, mut shares) = (Vec::<u8>::with_capacity(count), Vec::with_capacity(count));
    let [mut taken, mut pairs, mut tokens] = [(); 3].map(|()| Places::new(ids.len()));
    let random = RandomFactors::default();
    for t in 0..ids.len() {
        let token = random.hash(context_id(&ids[t..=t]));
        let new_token = tokens.first(token, t, |other| ids[other] == ids[t]).is_none();
        let pair = |end: usize| &ids[end - 1..=end];
        let new_pair = t > 0
            && pairs.first(random.hash(context_id(pair(t))), t, |other| pair(other) == pair(t)).is_none();
        if t < shortest {
            continue;
        }
        let free = |&len: &usize| {
            let context = |end: usize| &ids[end - len..end];
            // Contexts of different lengths get different hashes.
            let hash = random.hash(context_id(context(t)) ^ (len as u128) << 123);
            let same =
                |other: usize| usize::from(lens[other - shortest]) == len && context(other) == context(t);
            taken.first(hash, t, same).is_none()
        };
        let len = (shortest..=longest.min(t)).find(free).unwrap_or(0);
        lens.push(len as u8);
        shares.push(share(len > 0, new_pair, new_token));
    }
    Some((lens, shares))
}

/// Returns how much a position of the rule of the shortest contexts counts.
pub(super) fn share(marked: bool, new_pair: bool, new_token: bool) -> Share {
    match (marked, new_pair, new_token) {
        (false, ..) => Share::Nothing,
        (true, false, _) => Share::Third,
        (true, true, false) => Share::TwoThirds,
        (true, true, true) => Share::Full,
    }
}

/// Positions of a text by the hashes of their contexts, in an open-addressed table that is at most half full. A slot
/// holds a position plus one and, above it, as many bits of the hash as fit. 0 marks an empty slot.
struct Places {
    slots: Vec<u32>,
    /// The bits of a slot that hold the position.
    index: u32,
}

impl Places {
    /// Makes the table for a text of `len` tokens, fewer than 2^30.
    fn new(len: usize) -> Self {
        let index = (1_u32 << (usize::BITS - len.leading_zeros())) - 1;
        Self { slots: vec![0; (2 * len.max(1)).next_power_of_two()], index }
    }

    /// Reads the slot where a search begins.
    fn touch(&self, hash: u64) -> u32 {
        self.slots[hash as usize & (self.slots.len() - 1)]
    }

    /// Returns the position of this hash for which `same` holds. If there is none, puts `at` in.
    fn first(&mut self, hash: u64, at: usize, same: impl Fn(usize) -> bool) -> Option<usize> {
        let mask = self.slots.len() - 1;
        let entry = (hash >> 32) as u32 & !self.index | (at as u32 + 1);
        let mut slot = hash as usize & mask;
        while self.slots[slot] != 0 {
            let found = self.slots[slot];
            if (found ^ entry) & !self.index == 0 {
                let other = (found & self.index) as usize - 1;
                if same(other) {
                    return Some(other);
                }
            }
            slot = (slot + 1) & mask;
        }
        self.slots[slot] = entry;
        None
    }
}

/// Returns whether [`repeats`] takes such a text. It takes no contexts of more than four tokens, whose ids do not fit
/// one number, and no text that is too long for the table.
fn has_table(context_len: usize, len: usize) -> bool {
    context_len <= 4 && len < 1 << 30
}

/// Calls `repeat` for each position of `text` whose context came up before, with the first position that had it.
fn repeats(context_len: usize, text: &[u32], mut repeat: impl FnMut(usize, usize)) {
    /// Number of contexts that are looked up together.
    const BATCH: usize = 32;
    if text.len() <= context_len {
        return;
    }
    let mut places = Places::new(text.len());
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
            touched |= places.touch(*hash);
            id = (id << 32 | u128::from(token)) & all;
        }
        std::hint::black_box(touched);
        for (end, hash) in (start..start + tokens.len()).zip(hashes) {
            let same = |other: usize| text[other - context_len..other] == text[end - context_len..end];
            if let Some(other) = places.first(hash, end, same) {
                repeat(end, other);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scheme::context::{ContextLens, ContextStream, Piece};
    use crate::scheme::{ContextRule, ContextTracker, PositionKind};

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
                // 0 and the largest id are ordinary ids.
                (0..n).map(|_| (next() % vocabulary).wrapping_sub(next() & 1)).collect()
            };
            let (prompt, ids) = (if round % 3 == 0 { tokens(12) } else { vec![] }, tokens(300));
            for context_len in 1..=4 {
                let mut tracker = ContextTracker::new(ContextRule::Whole { len: context_len }, &prompt);
                let kinds: Vec<_> = ids.iter().map(|&token| tracker.advance(token)).collect();
                let expected: Vec<bool> =
                    kinds.iter().skip(context_len).map(|&kind| kind == PositionKind::Marked).collect();
                assert_eq!(
                    fresh_contexts(context_len, &prompt, &ids).unwrap(),
                    expected,
                    "{prompt:?} {ids:?}"
                );
                let mut first = std::collections::HashMap::new();
                let mut places = vec![u32::MAX; ids.len()];
                for (at, context) in (context_len..ids.len()).zip(ids.windows(context_len)) {
                    let first = *first.entry(context).or_insert(at);
                    places[at] = if first < at { first as u32 } else { u32::MAX };
                }
                assert_eq!(first_places(context_len, &ids).unwrap(), places, "{ids:?}");
            }
        }
        assert!(fresh_contexts(5, &[], &[]).is_none());
    }

    #[test]
    fn the_shortest_contexts_of_a_whole_text_are_the_streams() {
        let mut state = 7;
        for round in 0..400_u64 {
            let vocabulary = [1, 2, 5, 40, 1 << 20][round as usize % 5];
            let count = crate::split_mix::next(&mut state) % 300;
            let ids: Vec<u32> = (0..count)
                .map(|_| (crate::split_mix::next(&mut state) % vocabulary) as u32)
                .map(|id| id.wrapping_sub((round % 2) as u32))
                .collect();
            for [shortest, longest] in [[1, 4], [1, 1], [2, 3], [4, 4]] {
                let rule = ContextRule::Shortest { shortest, longest };
                let whole = Piece::whole(rule, &[9], &ids);
                let mut stream = ContextStream::new(rule, &[9]);
                assert_eq!(whole, stream.push(&ids), "{rule:?} {ids:?}");
                assert!(matches!(whole.context_lens, ContextLens::Each(_)));
            }
        }
    }
}
