//! The contexts of a whole text at once.

use super::seen::{RandomFactors, context_id};

/// Returns for each position of `ids` with a complete context whether its context is new in `prompt` and `ids`. That is
/// what a [`ContextTracker`](super::ContextTracker) says, by one probe of a small table a position.
///
/// None where there is no [table](has_table).
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

/// Returns for each of `ids` the position whose context was the same first, or `u32::MAX` if none before was.
///
/// None where there is no [table](has_table).
pub(crate) fn first_places(context_len: usize, ids: &[u32]) -> Option<Vec<u32>> {
    if !has_table(context_len, ids.len()) {
        return None;
    }
    let mut places = vec![u32::MAX; ids.len()];
    repeats(context_len, ids, |at, first| places[at] = first as u32);
    Some(places)
}

/// Whether [`repeats`] takes such a text: not with contexts of more than four tokens, of which the ids themselves are no
/// number to compare, and not if it is too long for the table.
fn has_table(context_len: usize, len: usize) -> bool {
    context_len <= 4 && len < 1 << 30
}

/// Calls `repeat` for each position of `text` whose context came up before, with the position where it did first.
fn repeats(context_len: usize, text: &[u32], mut repeat: impl FnMut(usize, usize)) {
    /// Contexts that are looked up together.
    const BATCH: usize = 32;
    if text.len() <= context_len {
        return;
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
                        repeat(end, other);
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
}

#[cfg(test)]
mod tests {
    use super::*;
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
                // 0 and the largest id are ids like others.
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
}
