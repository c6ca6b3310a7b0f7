//! `synthid-hf`: `transformers.SynthIDTextWatermarkLogitsProcessor` and `synthid-text` 0.2.1.

use sha2::{Digest, Sha256};
use zeroize::{ZeroizeOnDrop, Zeroizing};

use super::table::SamplingTable;
use super::{Hash, json, torch};
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

/// The parameters of `synthid-hf`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hf {
    /// Layers, one key each.
    pub depth: u8,
    /// H + 1.
    pub ngram_len: u8,
    /// How many past contexts the generator remembers.
    pub context_history_size: u32,
    /// Where g-values are read.
    pub table: SamplingTable,
}

impl Parameters for Hf {
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
        let reason = "the g-values of synthid-hf are not independent under the null hypothesis";
        Promise::Approximate { reason }
    }

    fn secret_shape(&self) -> SecretShape {
        super::secret_shape(self.depth)
    }

    fn check(&self) -> Result<(), KeyError> {
        super::check(self.depth, self.ngram_len, self.context_history_size)?;
        self.table.check()
    }

    fn to_fields(&self) -> Vec<u8> {
        let mut fields = vec![self.depth, self.ngram_len];
        fields.extend(self.context_history_size.to_le_bytes());
        match &self.table {
            SamplingTable::Seeded { size, seed } => {
                fields.push(0);
                fields.extend(size.to_le_bytes());
                fields.extend(seed.to_le_bytes());
            }
            SamplingTable::Explicit(entries) => {
                fields.push(1);
                fields.extend((entries.len() as u32).to_le_bytes());
                fields.extend(entries);
            }
        }
        fields
    }

    fn update_id(&self, id: &mut Sha256) {
        id.update([self.depth, self.ngram_len]);
        match &self.table {
            SamplingTable::Seeded { size, seed } => {
                id.update([0]);
                id.update(size.to_le_bytes());
                id.update(seed.to_le_bytes());
            }
            SamplingTable::Explicit(entries) => {
                id.update([1]);
                id.update(entries);
            }
        }
    }

    fn to_json(&self, secret: &Secret) -> Option<Zeroizing<String>> {
        Some(json::write(secret, self.ngram_len, self.context_history_size, Some(&self.table)))
    }
}

impl Hf {
    fn read(json: &[u8], path: &str) -> Result<Imported<Self>, KeyError> {
        let config = json::Config::read(json, path)?;
        let (depth, ngram_len) = config.lengths()?;
        let parameters = Self {
            depth,
            ngram_len,
            context_history_size: config.context_history_size,
            table: config.table(),
        };
        Ok(Imported { parameters, secret: config.secret(), notes: config.notes() })
    }
}

impl Family for Hf {
    const TAG: u8 = 2;
    const NAME: &'static str = "synthid-hf";
    type Function = Function;
    type Context<'f> = Context<'f>;

    fn from_fields(fields: &mut Fields<'_>) -> Result<Self, KeyError> {
        let [depth, ngram_len] = fields.array()?;
        let context_history_size = u32::from_le_bytes(fields.array()?);
        let [explicit] = fields.array()?;
        let size = u32::from_le_bytes(fields.array()?);
        let table = match explicit {
            0 => SamplingTable::Seeded { size, seed: u64::from_le_bytes(fields.array()?) },
            1 => SamplingTable::Explicit(fields.take(size as usize)?.to_vec()),
            _ => return Err(fields.corrupted("its sampling table is of an unknown kind")),
        };
        Ok(Self { depth, ngram_len, context_history_size, table })
    }

    fn from_json(json: &[u8], path: &str, _: ImportOptions) -> Option<Result<Imported<Self>, KeyError>> {
        Some(Self::read(json, path))
    }

    fn function(&self, secret: &Secret, _channel: u16) -> Function {
        Function {
            depth: self.depth,
            ngram_len: self.ngram_len,
            context_history_size: self.context_history_size,
            keys: secret.layer_keys(),
            table: match &self.table {
                SamplingTable::Seeded { size, seed } => torch::random_bits(*seed, *size as usize),
                SamplingTable::Explicit(entries) => entries.clone(),
            },
        }
    }

    fn fix<'f>(function: &'f Function, context: &[u32]) -> Context<'f> {
        Context { function, context: lcg_over(START, context) }
    }
}

/// Value that the hash of a context starts from.
const START: i64 = 1;

/// The function of one key.
#[derive(ZeroizeOnDrop)]
pub(in crate::scheme) struct Function {
    depth: u8,
    ngram_len: u8,
    context_history_size: u32,
    keys: Zeroizing<Vec<i64>>,
    table: Vec<u8>,
}

impl Hash for Function {
    fn start(&self) -> i64 {
        START
    }

    fn layers(&self, hash: i64) -> GBits {
        let size = self.table.len() as i64;
        super::layers(&self.keys, |key| self.table[lcg(hash, key).rem_euclid(size) as usize].into())
    }

    /// Returns the low bits of the hash's input, where the table's size is a power of two.
    fn narrow_input(&self, context: i64, token: u32) -> Option<u64> {
        let size = self.table.len();
        size.is_power_of_two().then(|| context.wrapping_add(token.into()) as u64 & (size as u64 - 1))
    }
}

impl KeyedFunction for Function {
    fn marked_positions(&self, _prompt: &[u32]) -> ContextTracker {
        let history = ReferenceHistory::new(self.context_history_size);
        ContextTracker::reference(usize::from(self.ngram_len) - 1, history, START)
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
