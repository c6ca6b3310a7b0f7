//! The g-values of a finished text, and which of its positions count.

use super::context::{ReferenceHistory, SeenStates, fresh_contexts};
use super::message::Ngrams;
use super::{ContextTracker, PositionKind, Prf};

/// The g-values of one (context, token): bit l is layer l, layer 0 the least significant; higher bits are 0.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct GBits(pub u64);

impl GBits {
    /// g of layer `layer` as 0 or 1.
    pub fn layer(self, layer: usize) -> u64 {
        self.0 >> layer & 1
    }

    /// The layers as text, layer 0 first: `"0110…"`, `depth` characters.
    pub fn to_string(self, depth: usize) -> String {
        (0..depth).map(|layer| if self.layer(layer) == 1 { '1' } else { '0' }).collect()
    }
}

/// The g-values of a text under one key, position by position from the first with a complete context.
///
/// The three lists have one entry for each position t ≥ `first`; a text of at most `first` tokens has none.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TextGValues {
    /// H: index of the first position in the text that has a complete context.
    pub first: usize,
    /// Layers.
    pub depth: usize,
    /// g-values of position `first` + i.
    pub g: Vec<GBits>,
    /// True where the position counts in a p-value: its context has not occurred before in this text (nor in the
    /// prompt, if one is known).
    pub scored: Vec<bool>,
    /// The mask that the reference implementation would use for its scores; our own for `synthid-sha256`.
    pub reference_mask: Vec<bool>,
}

impl TextGValues {
    /// Computes the g-values of `ids`. With a `prompt`, its contexts count as seen, as they did when the answer was
    /// generated.
    pub fn new(prf: &Prf, prompt: &[u32], ids: &[u32]) -> Self {
        GValueStream::new(prf).push(&Piece::whole(prf.scheme().context_len(), prompt, ids))
    }

    /// The g-values that a p-value may count.
    pub fn scored(&self) -> impl Iterator<Item = GBits> + '_ {
        select(&self.g, &self.scored)
    }

    /// The g-values that the reference implementation's scores count.
    pub fn reference_scored(&self) -> impl Iterator<Item = GBits> + '_ {
        select(&self.g, &self.reference_mask)
    }
}

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
pub struct Piece {
    /// The tokens from the piece's first complete context on.
    pub ids: Vec<u32>,
    /// Index in the piece of its first position with a complete context: H at the start of a text, then 0.
    pub first: usize,
    /// For each position from `first` on, whether its context is new.
    pub fresh: Vec<bool>,
}

impl Piece {
    /// A text that is one piece.
    fn whole(context_len: usize, prompt: &[u32], ids: &[u32]) -> Self {
        match fresh_contexts(context_len, prompt, ids) {
            Some(fresh) => Self { ids: ids.to_vec(), first: context_len, fresh },
            None => ContextStream::new(context_len, prompt).push(ids),
        }
    }
}

impl ContextStream {
    /// With a complete history: memory grows with the text.
    pub fn new(context_len: usize, prompt: &[u32]) -> Self {
        Self::bounded(context_len, prompt, usize::MAX)
    }

    /// With a history in bounded memory; see [`ContextTracker::bounded`].
    pub fn bounded(context_len: usize, prompt: &[u32], limit: usize) -> Self {
        let tracker = ContextTracker::bounded(context_len, prompt, limit);
        Self { tracker, context_len, carry: Vec::new() }
    }

    /// Whether the history has grown beyond its bound.
    pub fn is_approximate(&self) -> bool {
        self.tracker.is_approximate()
    }

    /// The next tokens of the text.
    pub fn push(&mut self, ids: &[u32]) -> Piece {
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
        Piece { ids: joined, first, fresh }
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

    /// The g-values of the next piece, which a [`ContextStream`] for this key's H gave.
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

fn select<'a>(g: &'a [GBits], mask: &'a [bool]) -> impl Iterator<Item = GBits> + 'a {
    g.iter().zip(mask).filter_map(|(&g, &keep)| keep.then_some(g))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scheme::{Key, Scheme, Secret};

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
