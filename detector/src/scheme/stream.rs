//! The evidence of a text, whole or in pieces.

use super::context::Piece;
use super::evidence::{Evidence, TextGValues};
use super::family::TextMemory;
use super::prf::Prf;

impl Evidence {
    /// Computes the evidence of `ids`. The key's [`ContextRule`](super::ContextRule) says what part a `prompt` plays, as it
    /// did when the answer was generated.
    pub fn new(prf: &Prf, prompt: &[u32], ids: &[u32]) -> Self {
        EvidenceStream::new(prf).push(&Piece::whole(prf.scheme().context_rule(), prompt, ids))
    }
}

impl TextGValues {
    /// Computes the g-values of `ids` under the key of a tournament, as [`Evidence::new`].
    ///
    /// # Panics
    /// Panics if the key's scheme is not a tournament.
    pub fn new(prf: &Prf, prompt: &[u32], ids: &[u32]) -> Self {
        let layers = Evidence::new(prf, prompt, ids).into_layers();
        layers.unwrap_or_else(|| panic!("{} is not a tournament", prf.scheme().name()))
    }
}

/// The evidence under one key of a text that comes in pieces.
#[derive(Clone, Debug)]
pub struct EvidenceStream {
    prf: Prf,
    memory: TextMemory,
}

impl EvidenceStream {
    /// Starts a text.
    pub fn new(prf: &Prf) -> Self {
        Self { prf: prf.clone(), memory: TextMemory::default() }
    }

    /// Returns the evidence of the next piece, which a [`ContextStream`](super::ContextStream) for this key's rule gave.
    pub fn push(&mut self, piece: &Piece<'_>) -> Evidence {
        let evidence = self.prf.keyed().evidence(&mut self.memory, piece);
        #[cfg(test)]
        crate::work::hashes(evidence.len());
        evidence
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scheme::{ContextStream, Key, Secret, synthid};

    #[test]
    fn pieces_are_the_whole() {
        let secret: Vec<u8> = [5_i64, 7].iter().flat_map(|key| key.to_le_bytes()).collect();
        let compat = synthid::DeepMind { depth: 2, ngram_len: 3, context_history_size: 8 };
        let keys = [
            Key::from_bytes(&[1; 32], "test").unwrap(),
            Key::new(synthid::Sha256V2::default(), Secret::new(vec![1; 32].into())).unwrap(),
            Key::new(
                synthid::Sha256V2 { shortest_context: 2, ..Default::default() },
                Secret::new(vec![1; 32].into()),
            )
            .unwrap(),
            Key::new(compat, Secret::new(secret.into())).unwrap(),
        ];
        let ids: Vec<u32> = (0..200_u32).map(|i| i.wrapping_mul(2_654_435_761) >> 30).collect();
        for prf in keys.map(|key| key.prf()) {
            let whole = TextGValues::new(&prf, &[3, 0, 1], &ids);
            for sizes in [&[1][..], &[2, 0, 3], &[7], &[199, 1]] {
                let mut contexts = ContextStream::new(prf.scheme().context_rule(), &[3, 0, 1]);
                let mut stream = EvidenceStream::new(&prf);
                let mut joined = TextGValues {
                    g: vec![],
                    scored: vec![],
                    shares: vec![],
                    reference_mask: vec![],
                    ..whole
                };
                let mut rest = &ids[..];
                for size in sizes.iter().cycle() {
                    let (piece, after) = rest.split_at((*size).min(rest.len()));
                    let values = stream.push(&contexts.push(piece)).into_layers().unwrap();
                    joined.g.extend(values.g);
                    joined.scored.extend(values.scored);
                    joined.shares.extend(values.shares);
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
