//! The evidence of a text, whole or in pieces.

use std::collections::HashSet;

use super::context::ReferenceHistory;
use super::{Ngrams, Piece, Prf, TextGValues};

impl TextGValues {
    /// Computes the g-values of `ids`. With a `prompt`, its contexts count as seen, as they did when the answer was
    /// generated.
    pub fn new(prf: &Prf, prompt: &[u32], ids: &[u32]) -> Self {
        GValueStream::new(prf).push(&Piece::whole(prf.scheme().context_len(), prompt, ids))
    }
}

/// The states of a narrow hash that a text has used.
#[derive(Default, Debug)]
struct SeenStates(HashSet<u64>);

impl SeenStates {
    /// True if `state` was not there.
    fn insert(&mut self, state: u64) -> bool {
        self.0.insert(state)
    }
}

/// The g-values under one key of a text that comes in pieces.
#[derive(Debug)]
pub struct GValueStream {
    prf: Prf,
    states: SeenStates,
    reference: Option<ReferenceHistory>,
}

impl GValueStream {
    /// At the start of a text.
    pub fn new(prf: &Prf) -> Self {
        let reference = ReferenceHistory::of(prf.scheme());
        Self { prf: prf.clone(), states: SeenStates::default(), reference }
    }

    /// The g-values of the next piece, which a [`ContextStream`](super::ContextStream) for this key's H gave.
    pub fn push(&mut self, piece: &Piece) -> TextGValues {
        let context_len = self.prf.scheme().context_len();
        let count = piece.fresh.len();
        let mut g = Vec::with_capacity(count);
        let mut scored = Vec::with_capacity(count);
        let mut reference_mask = Vec::with_capacity(count);
        if !self.prf.scheme().is_compat() {
            let ngrams = piece.ids.windows(context_len + 1).take(count);
            self.prf.g_bits_of(&Ngrams::new(context_len + 1, ngrams), &mut g);
            scored.clone_from(&piece.fresh);
            reference_mask.clone_from(&piece.fresh);
            return TextGValues {
                first: piece.first,
                depth: self.prf.scheme().depth(),
                g,
                scored,
                reference_mask,
            };
        }
        for (window, &fresh) in piece.ids.windows(context_len + 1).zip(&piece.fresh) {
            let (context, token) = (&window[..context_len], window[context_len]);
            let keyed = self.prf.context(context);
            g.push(keyed.g_bits(token));
            // Where the scheme's hash is narrower than a token id, ids that differ can still share all g-values.
            let fresh_state = keyed.narrow_state(token).is_none_or(|state| self.states.insert(state));
            let fresh = fresh && fresh_state;
            scored.push(fresh);
            reference_mask.push(match &mut self.reference {
                Some(history) => history.insert(keyed.reference_hash()),
                None => fresh,
            });
        }
        TextGValues { first: piece.first, depth: self.prf.scheme().depth(), g, scored, reference_mask }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scheme::{ContextStream, Key, Scheme, Secret};

    #[test]
    fn pieces_are_the_whole() {
        let secret: Vec<u8> = [5_i64, 7].iter().flat_map(|key| key.to_le_bytes()).collect();
        let compat = Scheme::DeepMind { depth: 2, ngram_len: 3, context_history_size: 8 };
        let keys = [
            Key::from_bytes(&[1; 32], "test").unwrap(),
            Key::new(compat, Secret::new(secret.into())).unwrap(),
        ];
        let ids: Vec<u32> = (0..200_u32).map(|i| i.wrapping_mul(2_654_435_761) >> 30).collect();
        for prf in keys.map(|key| key.prf()) {
            let whole = TextGValues::new(&prf, &[3, 0, 1], &ids);
            for sizes in [&[1][..], &[2, 0, 3], &[7], &[199, 1]] {
                let mut contexts = ContextStream::new(prf.scheme().context_len(), &[3, 0, 1]);
                let mut stream = GValueStream::new(&prf);
                let mut joined = TextGValues { g: vec![], scored: vec![], reference_mask: vec![], ..whole };
                let mut rest = &ids[..];
                for size in sizes.iter().cycle() {
                    let (piece, after) = rest.split_at((*size).min(rest.len()));
                    let values = stream.push(&contexts.push(piece));
                    joined.g.extend(values.g);
                    joined.scored.extend(values.scored);
                    joined.reference_mask.extend(values.reference_mask);
                    rest = after;
                    if rest.is_empty() {
                        break;
                    }
                }
                assert_eq!(joined, whole, "{sizes:?}");
            }
        }
    }
}
