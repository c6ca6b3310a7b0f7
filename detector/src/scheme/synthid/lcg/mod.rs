//! The schemes that follow the reference implementations: a linear congruential hash of key, context and token.
//!
//! `hf` and `deepmind` differ in where the hash starts and in how a layer's hash becomes a bit. The rest is here.

use crate::scheme::KeyError;
use crate::scheme::context::{Piece, ReferenceHistory, lcg, lcg_over};
use crate::scheme::evidence::{Evidence, GBits, Share, TextGValues};
use crate::scheme::family::TextMemory;
use crate::scheme::ngrams::Ngrams;
use crate::scheme::secret::SecretShape;

pub(super) mod deepmind;
pub(super) mod hf;
mod json;
pub(super) mod table;
mod torch;

/// Returns the shape of a list of layer keys.
fn secret_shape(depth: u8) -> SecretShape {
    SecretShape { len: 8 * usize::from(depth), distinct_layer_keys: true, derivable: false }
}

/// Refuses parameters that cannot work.
fn check(depth: u8, ngram_len: u8, context_history_size: u32) -> Result<(), KeyError> {
    super::check(depth, ngram_len)?;
    if !(1..=1 << 24).contains(&context_history_size) {
        return Err(KeyError::ContextHistorySize { found: context_history_size });
    }
    Ok(())
}

/// Returns the g-values of all layers from the hash of an n-gram.
fn layers(keys: &[i64], g: impl Fn(i64) -> u64) -> GBits {
    GBits(keys.iter().enumerate().fold(0, |bits, (layer, &key)| bits | g(key) << layer))
}

/// What differs between keyed functions of this kind.
trait Hash {
    /// Returns the value that the hash of a context starts from.
    fn start(&self) -> i64;

    /// Returns the g-values of all layers from the hash of an n-gram.
    fn layers(&self, hash: i64) -> GBits;

    /// Returns what decides all g-values of `token` after a context of the hash `context`, where that is narrower than
    /// the token ids. Two n-grams that share it share all layers.
    fn narrow_input(&self, context: i64, token: u32) -> Option<u64>;
}

/// Returns the g-values of `token` after a context of the hash `context`.
fn g_bits(hash: &impl Hash, context: i64, token: u32) -> GBits {
    hash.layers(lcg(context, token.into()))
}

/// Writes into `g` the g-values of each of `tokens` after a context of the hash `context`.
fn g_bits_of_tokens(hash: &impl Hash, context: i64, tokens: &[u32], g: &mut [GBits]) {
    for (g, &token) in g.iter_mut().zip(tokens) {
        *g = g_bits(hash, context, token);
    }
}

/// Replaces `g` by the g-values of the last token of each n-gram after the others.
fn g_bits_of_ngrams(hash: &impl Hash, ngrams: &Ngrams<'_>, g: &mut Vec<GBits>) {
    g.clear();
    g.extend(ngrams.iter().filter_map(|ngram| {
        let (&token, context) = ngram.split_last()?;
        Some(g_bits(hash, lcg_over(hash.start(), context), token))
    }));
}

/// See [`KeyedFunction::narrow_input`](crate::scheme::family::KeyedFunction::narrow_input).
fn narrow_input(hash: &impl Hash, ngram: &[u32]) -> Option<u64> {
    let (&token, context) = ngram.split_last()?;
    hash.narrow_input(lcg_over(hash.start(), context), token)
}

/// Returns the evidence of a piece of a text.
fn evidence(
    hash: &impl Hash,
    ngram_len: u8,
    depth: u8,
    context_history_size: u32,
    memory: &mut TextMemory,
    piece: &Piece<'_>,
) -> Evidence {
    let mut reference =
        memory.reference.take().unwrap_or_else(|| ReferenceHistory::new(context_history_size));
    let count = piece.shares.len();
    let mut values = TextGValues {
        first: piece.first,
        depth: depth.into(),
        g: Vec::with_capacity(count),
        scored: Vec::with_capacity(count),
        shares: Vec::with_capacity(count),
        reference_mask: Vec::with_capacity(count),
    };
    for (ngram, &share) in piece.ids.windows(ngram_len.into()).zip(&piece.shares) {
        let (context, token) = (lcg_over(hash.start(), &ngram[..ngram.len() - 1]), ngram[ngram.len() - 1]);
        values.g.push(g_bits(hash, context, token));
        let fresh_input = hash.narrow_input(context, token).is_none_or(|input| memory.insert(input));
        let counts = share == Share::Full && fresh_input;
        values.scored.push(counts);
        values.shares.push(if counts { Share::Full } else { Share::Nothing });
        values.reference_mask.push(reference.insert(context));
    }
    memory.reference = Some(reference);
    Evidence::Layers(values)
}
