//! `synthid-deepmind`: `synthid_text` on its main branch since June 2025.

use sha2::{Digest, Sha256};
use zeroize::{ZeroizeOnDrop, Zeroizing};

use super::{Hash, json};
use crate::scheme::KeyError;
use crate::scheme::context::{ContextTracker, Piece, ReferenceHistory, lcg, lcg_over};
use crate::scheme::distribution::Distribution;
use crate::scheme::evidence::{Evidence, EvidenceKind, GBits};
use crate::scheme::family::{
    Family, FixedContext, ImportOptions, Imported, KeyedFunction, Parameters, Promise, TextMemory,
};
use crate::scheme::fields::Fields;
use crate::scheme::ngrams::Ngrams;
use crate::scheme::secret::{Secret, SecretShape};

/// The parameters of `synthid-deepmind`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DeepMind {
    /// Layers, one key each.
    pub depth: u8,
    /// H + 1.
    pub ngram_len: u8,
    /// How many past contexts the generator remembers.
    pub context_history_size: u32,
}

impl Parameters for DeepMind {
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
        let reason = "the g-values of synthid-deepmind are not independent under the null hypothesis";
        Promise::Approximate { reason }
    }

    fn secret_shape(&self) -> SecretShape {
        super::secret_shape(self.depth)
    }

    fn check(&self) -> Result<(), KeyError> {
        super::check(self.depth, self.ngram_len, self.context_history_size)
    }

    fn to_fields(&self) -> Vec<u8> {
        let mut fields = vec![self.depth, self.ngram_len];
        fields.extend(self.context_history_size.to_le_bytes());
        fields
    }

    fn update_id(&self, id: &mut Sha256) {
        id.update([self.depth, self.ngram_len]);
    }

    fn to_json(&self, secret: &Secret) -> Option<Zeroizing<String>> {
        Some(json::write(secret, self.ngram_len, self.context_history_size, None))
    }
}

impl DeepMind {
    fn read(json: &[u8], path: &str) -> Result<Imported<Self>, KeyError> {
        let config = json::Config::read(json, path)?;
        let mut notes = config.notes();
        notes.extend(
            config
                .table_fields()
                .map(|name| format!("synthid-deepmind has no sampling table: {name:?} was ignored")),
        );
        let (depth, ngram_len) = config.lengths()?;
        let parameters = Self { depth, ngram_len, context_history_size: config.context_history_size };
        Ok(Imported { parameters, secret: config.secret(), notes })
    }
}

impl Family for DeepMind {
    const TAG: u8 = 3;
    const NAME: &'static str = "synthid-deepmind";
    type Function = Function;
    type Context<'f> = Context<'f>;

    fn from_fields(fields: &mut Fields<'_>) -> Result<Self, KeyError> {
        let [depth, ngram_len] = fields.array()?;
        Ok(Self { depth, ngram_len, context_history_size: u32::from_le_bytes(fields.array()?) })
    }

    fn from_json(json: &[u8], path: &str, _: ImportOptions) -> Option<Result<Imported<Self>, KeyError>> {
        Some(Self::read(json, path))
    }

    fn function(&self, secret: &Secret, _channel: u16) -> Function {
        let Self { depth, ngram_len, context_history_size } = *self;
        let keys = secret.layer_keys();
        Function { depth, ngram_len, context_history_size, iv: iv(&keys), keys }
    }

    fn fix<'f>(function: &'f Function, context: &[u32]) -> Context<'f> {
        Context { function, context: lcg_over(function.iv, context) }
    }
}

/// Returns SHA-256 of the keys as little-endian 64-bit words, read as a big-endian number, modulo 2^63 − 1.
fn iv(keys: &[i64]) -> i64 {
    let mut hash = Sha256::new();
    for key in keys {
        hash.update(key.to_le_bytes());
    }
    let modulus = i64::MAX as u128;
    hash.finalize().iter().fold(0u128, |rest, &byte| (rest << 8 | u128::from(byte)) % modulus) as i64
}

/// The function of one key.
#[derive(ZeroizeOnDrop)]
pub(in crate::scheme) struct Function {
    depth: u8,
    ngram_len: u8,
    context_history_size: u32,
    keys: Zeroizing<Vec<i64>>,
    /// Value that the hash of a context starts from.
    iv: i64,
}

impl Hash for Function {
    fn start(&self) -> i64 {
        self.iv
    }

    fn layers(&self, hash: i64) -> GBits {
        super::layers(&self.keys, |key| {
            let mixed = (0..12).fold(lcg(hash, key), |hash, _| lcg(hash, 1) >> 5);
            (mixed >> 30 & 1) as u64
        })
    }

    fn narrow_input(&self, _context: i64, _token: u32) -> Option<u64> {
        None
    }
}

impl KeyedFunction for Function {
    fn marked_positions(&self, _prompt: &[u32]) -> ContextTracker {
        let history = ReferenceHistory::new(self.context_history_size);
        ContextTracker::reference(usize::from(self.ngram_len) - 1, history, self.iv)
    }

    fn mark(&self, g: &[GBits], leaves: u32, candidates: &mut Distribution) {
        candidates.tournament(g, self.depth.into(), leaves);
    }

    fn evidence(&self, memory: &mut TextMemory, piece: &Piece<'_>) -> Evidence {
        super::evidence(self, self.ngram_len, self.depth, self.context_history_size, memory, piece)
    }

    fn g_bits_of(&self, ngrams: &Ngrams<'_>, g: &mut Vec<GBits>) {
        super::g_bits_of_ngrams(self, ngrams, g);
    }

    fn narrow_input(&self, ngram: &[u32]) -> Option<u64> {
        super::narrow_input(self, ngram)
    }
}

/// The function in one context.
pub(in crate::scheme) struct Context<'f> {
    function: &'f Function,
    context: i64,
}

impl FixedContext for Context<'_> {
    fn g_bits_of(&self, tokens: &[u32], g: &mut [GBits]) {
        super::g_bits_of_tokens(self.function, self.context, tokens, g);
    }
}
