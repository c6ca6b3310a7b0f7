//! Green lists ("KGW", Kirchenbauer, Geiping et al. 2023).
//!
//! The tokens before a position, and in some variants the token itself, seed a generator that permutes the vocabulary.
//! A part of the permutation is the green list, whose tokens the mark makes likelier.
//!
//! | module | what |
//! |---|---|
//! | `hf` | `kgw-hf`: transformers' `WatermarkLogitsProcessor` |
//! | `lm` | `kgw`: the authors' lm-watermarking |
//! | `tgi` | `kgw-tgi`: Text Generation Inference |
//!
//! The permutations are those of torch on the CPU. On a GPU torch makes others, so marks that were made there are not found.
//!
//! Each different seed of a text costs as many draws as its list has tokens: 64,000 for a quarter of 256,000, about a
//! fifth of a millisecond. Tokens with the same seed share the list.

use std::sync::OnceLock;

use zeroize::ZeroizeOnDrop;

use super::KeyError;
use super::context::{ContextRule, ContextTracker, Piece};
use super::distribution::Distribution;
use super::engine_json;
use super::evidence::{Evidence, EvidenceKind, GBits, TextGreens};
use super::family::{FixedContext, KeyedFunction, TextMemory};
use super::ngrams::Ngrams;
use super::real::Real;
use super::secret::{Secret, SecretShape};
use super::twister::{among, permutation};

mod hf;
mod lm;
mod tgi;

pub use hf::{KgwHf, Seeding};
pub use lm::{Kgw, Prf};
pub use tgi::KgwTgi;

/// The size of the tables by which tokens are hashed: a prime.
const TABLE: u32 = 1_000_003;
/// The key in every engine's sources.
const PUBLIC_KEY: i64 = 15_485_863;
/// What a mark adds to a green logit: every engine's default.
const BIAS: f64 = 2.0;
/// The largest vocabulary, far below where torch takes another algorithm.
const LARGEST: u32 = 10_000_000;

const SHAPE: SecretShape = SecretShape { len: 8, distinct_layer_keys: false, derivable: false };

/// The lists of a scheme.
#[derive(Clone, Copy, Debug)]
struct Lists {
    vocab_size: u32,
    greens: u32,
    /// Whether a list is the last part of the permutation and not the first.
    last: bool,
}

impl Lists {
    fn new(vocab_size: u32, ratio: Real, last: bool) -> Self {
        Self { vocab_size, greens: (f64::from(vocab_size) * ratio.0) as u32, last }
    }

    /// Returns a little more than the share of the vocabulary that is green: a draw of torch's permutation is biased by
    /// at most n / 2^32 of it.
    fn rate(self) -> f64 {
        f64::from(self.greens) / f64::from(self.vocab_size) * (1.0 + 1.0 / 16_384.0)
    }

    fn check(self, scheme: &'static str, ratio: &'static str) -> Result<(), KeyError> {
        if !(2..=LARGEST).contains(&self.vocab_size) {
            return Err(engine_json::parameter(
                scheme,
                "vocab_size",
                format!("from 2 to {LARGEST}"),
                self.vocab_size,
            ));
        }
        if self.greens == 0 || self.rate() >= 1.0 {
            let expected = "that makes at least one token green and one red".into();
            return Err(engine_json::parameter(scheme, ratio, expected, format!("{} green", self.greens)));
        }
        Ok(())
    }

    fn part(self) -> [u32; 2] {
        if self.last { [self.vocab_size - self.greens, self.vocab_size] } else { [0, self.greens] }
    }
}

/// How a seed is made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Seed {
    /// key · Σ of the tokens before.
    Sum,
    /// The least key · t(token) · t(candidate) over the last tokens and the candidate, which together are this many.
    MinWithSelf(usize),
    /// The least of t(key · token).
    Min,
    /// t(key · the first of the tokens before).
    First,
}

/// The function of one key.
#[derive(ZeroizeOnDrop)]
pub(super) struct Function {
    key: i64,
    #[zeroize(skip)]
    seed: Seed,
    #[zeroize(skip)]
    context_len: usize,
    #[zeroize(skip)]
    lists: Lists,
    /// The table by which tokens are hashed, where the seed needs one that depends on the key.
    table: Vec<u32>,
}

/// Returns the table of lm-watermarking, the same for all keys.
fn common_table() -> &'static [u32] {
    static TABLE_OF_LM: OnceLock<Vec<u32>> = OnceLock::new();
    TABLE_OF_LM.get_or_init(|| permutation(2_971_215_073, TABLE))
}

impl Function {
    fn new(secret: &Secret, seed: Seed, context_len: usize, lists: Lists, own_table: bool) -> Self {
        let key = secret.layer_keys()[0];
        let table = if own_table { permutation(key as u32, TABLE) } else { Vec::new() };
        Self { key, seed, context_len, lists, table }
    }

    fn t(&self, number: i64) -> i64 {
        let table = if self.table.is_empty() { common_table() } else { &self.table };
        i64::from(table[number.rem_euclid(TABLE.into()) as usize]) + 1
    }

    /// Returns what the generator is seeded with: the low 32 bits of the seed modulo 2^64 − 1.
    fn seed(&self, context: &[u32], token: u32) -> u32 {
        let times = |number: i64| self.key.wrapping_mul(number);
        let seed: i128 = match self.seed {
            Seed::Sum => {
                let sum: i128 = context.iter().copied().map(i128::from).sum();
                i128::from(self.key) * sum
            }
            Seed::MinWithSelf(width) => {
                let own = self.t(token.into());
                let before = &context[context.len() - (width - 1).min(context.len())..];
                let least = before.iter().map(|&token| self.t(token.into())).chain([own]);
                least.map(|t| times(t).wrapping_mul(own)).min().unwrap_or(0).into()
            }
            Seed::Min => context.iter().map(|&token| self.t(times(token.into()))).min().unwrap_or(0).into(),
            Seed::First => self.t(times(context[0].into())).into(),
        };
        seed.rem_euclid((1 << 64) - 1) as u32
    }

    /// Returns whether each token is on the list of its seed: one list for each different seed.
    fn greens(&self, seeded: &[(u32, u32)]) -> Vec<GBits> {
        let mut order: Vec<usize> = (0..seeded.len()).collect();
        order.sort_unstable_by_key(|&i| seeded[i]);
        let mut greens = vec![GBits(0); seeded.len()];
        for same in order.chunk_by(|&a, &b| seeded[a].0 == seeded[b].0) {
            let (known, tokens): (Vec<usize>, Vec<u32>) = same
                .iter()
                .map(|&i| (i, seeded[i].1))
                .filter(|&(_, token)| token < self.lists.vocab_size)
                .unzip();
            let seed = seeded[same[0]].0;
            let found = among(seed, self.lists.vocab_size, self.lists.part(), &tokens);
            for (i, green) in known.into_iter().zip(found) {
                greens[i] = GBits(green.into());
            }
        }
        greens
    }

    fn seeded(&self, ngram: &[u32]) -> (u32, u32) {
        let (context, token) = ngram.split_at(ngram.len() - 1);
        (self.seed(context, token[0]), token[0])
    }

    fn fix(&self, context: &[u32]) -> Context<'_> {
        Context { function: self, context: context.to_vec() }
    }
}

/// Returns a seed and a token as one number.
fn joined((seed, token): (u32, u32)) -> u64 {
    u64::from(seed) << 32 | u64::from(token)
}

impl KeyedFunction for Function {
    fn marked_positions(&self, prompt: &[u32]) -> ContextTracker {
        ContextTracker::new(ContextRule::Spanning { len: self.context_len }, prompt)
    }

    fn mark(&self, g: &[GBits], _leaves: u32, candidates: &mut Distribution) {
        candidates.reweigh(|_, probabilities| {
            for (p, g) in probabilities.iter_mut().zip(g) {
                *p *= if g.0 == 1 { BIAS.exp() } else { 1.0 };
            }
        });
    }

    fn evidence(&self, memory: &mut TextMemory, piece: &Piece<'_>) -> Evidence {
        let seeded: Vec<(u32, u32)> = piece.ngrams().map(|ngram| self.seeded(ngram)).collect();
        // A token that the model does not have is on no list, and says nothing.
        let scored = |&input: &(u32, u32)| memory.insert(joined(input)) && input.1 < self.lists.vocab_size;
        Evidence::Green(TextGreens {
            first: piece.first,
            rate: self.lists.rate(),
            scored: seeded.iter().map(scored).collect(),
            reference_mask: vec![true; seeded.len()],
            green: self.greens(&seeded),
        })
    }

    fn g_bits_of(&self, ngrams: &Ngrams<'_>, g: &mut Vec<GBits>) {
        let seeded: Vec<(u32, u32)> = ngrams.iter().map(|ngram| self.seeded(ngram)).collect();
        *g = self.greens(&seeded);
    }

    fn narrow_input(&self, ngram: &[u32]) -> Option<u64> {
        Some(joined(self.seeded(ngram)))
    }
}

/// The function in one context.
pub(super) struct Context<'f> {
    function: &'f Function,
    context: Vec<u32>,
}

impl FixedContext for Context<'_> {
    fn g_bits_of(&self, tokens: &[u32], g: &mut [GBits]) {
        let seeded: Vec<(u32, u32)> =
            tokens.iter().map(|&token| (self.function.seed(&self.context, token), token)).collect();
        g.copy_from_slice(&self.function.greens(&seeded));
    }
}

fn evidence_kind(lists: Lists) -> EvidenceKind {
    EvidenceKind::Green { rate: lists.rate() }
}

/// Returns the size of the vocabulary, from the options or else from the configuration.
fn vocab_size(scheme: &'static str, field: Option<u64>, option: Option<u32>) -> Result<u32, KeyError> {
    let found = option.map(u64::from).or(field);
    let Some(found) = found else {
        let expected = "of the model's logits, in a field `vocab_size` of the file or by the option".into();
        return Err(engine_json::parameter(scheme, "vocab_size", expected, "none"));
    };
    u32::try_from(found)
        .map_err(|_| engine_json::parameter(scheme, "vocab_size", format!("from 2 to {LARGEST}"), found))
}
