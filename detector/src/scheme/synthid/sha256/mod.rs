//! `synthid-sha256`, our own scheme: one SHA-256 compression gives the g-values of all layers, and the history of
//! contexts is complete.

use sha2::Digest;
use zeroize::ZeroizeOnDrop;

use crate::scheme::context::{ContextRule, ContextTracker, Piece};
use crate::scheme::distribution::Distribution;
use crate::scheme::evidence::{Evidence, EvidenceKind, GBits, TextGValues};
use crate::scheme::family::{Family, FixedContext, KeyedFunction, Parameters, Promise, TextMemory};
use crate::scheme::fields::Fields;
use crate::scheme::ngrams::Ngrams;
use crate::scheme::secret::{Secret, SecretShape};
use crate::scheme::{DEFAULT_DEPTH, DEFAULT_NGRAM_LEN, KeyError};
use message::OpenMessage;

mod message;
pub(in crate::scheme) mod v2;

/// The parameters of `synthid-sha256`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sha256 {
    /// Layers of the tournament, m.
    pub depth: u8,
    /// Context length plus one, H + 1.
    pub ngram_len: u8,
}

impl Default for Sha256 {
    fn default() -> Self {
        Self { depth: DEFAULT_DEPTH as u8, ngram_len: DEFAULT_NGRAM_LEN as u8 }
    }
}

impl Parameters for Sha256 {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn ngram_len(&self) -> usize {
        self.ngram_len.into()
    }

    fn evidence_kind(&self) -> EvidenceKind {
        EvidenceKind::Layers { depth: self.depth.into() }
    }

    fn promise(&self) -> Promise {
        Promise::Exact
    }

    fn secret_shape(&self) -> SecretShape {
        SecretShape { len: 32, distinct_layer_keys: false, derivable: true }
    }

    fn check(&self) -> Result<(), KeyError> {
        super::check(self.depth, self.ngram_len)
    }

    fn to_fields(&self) -> Vec<u8> {
        vec![self.depth, self.ngram_len]
    }

    fn update_id(&self, id: &mut sha2::Sha256) {
        id.update([self.depth, self.ngram_len]);
    }
}

impl Family for Sha256 {
    const TAG: u8 = 1;
    const NAME: &'static str = "synthid-sha256";
    type Function = Function;
    type Context<'f> = Context;

    fn from_fields(fields: &mut Fields<'_>) -> Result<Self, KeyError> {
        let [depth, ngram_len] = fields.array()?;
        Ok(Self { depth, ngram_len })
    }

    fn function(&self, secret: &Secret, _channel: u16) -> Function {
        let Self { depth, ngram_len } = *self;
        let mut block_key = [0; 32];
        secret.expand(&[b"synthid-sha256/block-key/", &[depth, ngram_len]], &mut block_key);
        Function { depth: depth.into(), ngram_len: ngram_len.into(), block_key }
    }

    fn fix(function: &Function, context: &[u32]) -> Context {
        Context { message: OpenMessage::new(&function.block_key, context), mask: function.mask() }
    }
}

/// Number of n-grams that are laid out for hashing at a time, at 36 bytes each.
const TOGETHER: usize = 1 << 14;

/// The function of one key.
#[derive(ZeroizeOnDrop)]
pub(in crate::scheme) struct Function {
    depth: usize,
    ngram_len: usize,
    block_key: [u8; 32],
}

impl Function {
    fn mask(&self) -> u64 {
        mask(self.depth)
    }
}

/// Returns a one for each layer.
fn mask(depth: usize) -> u64 {
    u64::MAX >> (64 - depth)
}

impl KeyedFunction for Function {
    fn marked_positions(&self, prompt: &[u32]) -> ContextTracker {
        ContextTracker::new(ContextRule::Whole { len: self.ngram_len - 1 }, prompt)
    }

    fn mark(&self, g: &[GBits], leaves: u32, candidates: &mut Distribution) {
        candidates.tournament(g, self.depth, leaves);
    }

    fn evidence(&self, _memory: &mut TextMemory, piece: &Piece<'_>) -> Evidence {
        let count = piece.shares.len();
        let mut g = vec![GBits(0); count];
        for (start, g) in (0..).step_by(TOGETHER).zip(g.chunks_mut(TOGETHER)) {
            let ngrams = piece.ids[start..].windows(self.ngram_len).take(g.len());
            message::g_bits_of(&Ngrams::new(self.ngram_len, ngrams), &self.block_key, g, self.mask());
        }
        Evidence::Layers(TextGValues {
            first: piece.first,
            depth: self.depth,
            g,
            scored: piece.scored(),
            shares: piece.shares.clone(),
            reference_mask: piece.scored(),
        })
    }

    fn g_bits_of(&self, ngrams: &Ngrams<'_>, g: &mut Vec<GBits>) {
        g.clear();
        g.resize(ngrams.len(), GBits(0));
        message::g_bits_of(ngrams, &self.block_key, g, self.mask());
    }
}

/// The function in one context.
pub(in crate::scheme) struct Context {
    message: OpenMessage,
    mask: u64,
}

impl FixedContext for Context {
    fn g_bits_of(&self, tokens: &[u32], g: &mut [GBits]) {
        self.message.g_bits_of(tokens, g, self.mask);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::scheme::{Key, TextGValues};

    fn key(depth: u8, ngram_len: u8, secret: u8) -> Key {
        let secret = Secret::new(vec![secret; 32].into());
        Key::new(Sha256 { depth, ngram_len }, secret).unwrap()
    }

    #[test]
    fn sha256_layout_is_key_context_token() {
        let key = key(64, 3, 7);
        let mut block_key = [0; 32];
        key.secret().expand(&[b"synthid-sha256/block-key/", &[64, 3]], &mut block_key);
        let message =
            [&block_key[..], &1u32.to_le_bytes(), &65_536u32.to_le_bytes(), &255_999u32.to_le_bytes()];
        let digest = sha2::Sha256::digest(message.concat());
        let expected = u64::from_le_bytes(digest[..8].try_into().unwrap());
        assert_eq!(key.prf().context(&[1, 65_536]).g_bits(255_999), GBits(expected));
    }

    /// Contexts around the lengths at which the token or the padding goes into another block.
    #[test]
    fn every_context_length_is_sha256_of_the_message() {
        for ngram_len in 2..=64u8 {
            let key = key(64, ngram_len, 3);
            let mut message = vec![0; 32];
            key.secret().expand(&[b"synthid-sha256/block-key/", &[64, ngram_len]], &mut message);
            let context: Vec<u32> = (1..u32::from(ngram_len)).map(|i| i.wrapping_mul(0x9e37_79b9)).collect();
            message.extend(context.iter().chain(&[77]).flat_map(|token| token.to_le_bytes()));
            let digest = sha2::Sha256::digest(message);
            let expected = u64::from_le_bytes(digest[..8].try_into().unwrap());
            assert_eq!(key.prf().context(&context).g_bits(77), GBits(expected), "ngram_len {ngram_len}");
        }
    }

    #[test]
    fn parameters_and_secret_separate_keys() {
        let g = |key: Key, context: &[u32]| key.prf().context(context).g_bits(9);
        let base = g(key(30, 3, 1), &[4, 5]);
        assert_ne!(base, g(key(30, 3, 2), &[4, 5]));
        assert_ne!(base.0, g(key(29, 3, 1), &[4, 5]).0, "depth is bound by the label, not only by the mask");
        assert_ne!(base, g(key(30, 2, 1), &[5]));
    }

    #[test]
    fn a_text_that_is_hashed_in_parts_has_the_bits_of_its_tokens() {
        let prf = key(30, 3, 5).prf();
        let ids: Vec<u32> = (0..2 * TOGETHER as u32 + 9).map(|i| i.wrapping_mul(0x9e37_79b9) >> 14).collect();
        let (text, mut ngrams) = (TextGValues::new(&prf, &[], &ids), Vec::new());
        prf.g_bits_of(&Ngrams::new(3, ids.windows(3)), &mut ngrams);
        assert_eq!(text.g, ngrams);
    }

    proptest! {
        // One keyed function: what the sampler asks for a candidate is what the detector reads in the text.
        #[test]
        fn sampler_and_detector_read_the_same_bits(
            secret: u8, depth in 1u8..=64, ngram_len in 2u8..=9, ids in prop::collection::vec(0u32..256_000, 0..40),
        ) {
            let prf = key(depth, ngram_len, secret).prf();
            let text = TextGValues::new(&prf, &[], &ids);
            let mut ngrams = Vec::new();
            prf.g_bits_of(&Ngrams::new(ngram_len.into(), ids.windows(ngram_len.into())), &mut ngrams);
            let mut candidates = vec![GBits(0); ids.len()];
            for (i, g) in text.g.iter().enumerate() {
                let t = text.first + i;
                prop_assert_eq!(*g, prf.context(&ids[i..t]).g_bits(ids[t]));
                prop_assert_eq!(*g, ngrams[i]);
                prf.context(&ids[i..t]).g_bits_of(&ids, &mut candidates);
                prop_assert_eq!(*g, candidates[t]);
            }
            prop_assert_eq!(text.g.len(), ids.len().saturating_sub(usize::from(ngram_len) - 1));
        }
    }
}
