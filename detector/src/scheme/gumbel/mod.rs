//! The Gumbel-max marks of other engines.
//!
//! Key, context and token give each candidate a number u. The token with the greatest u^(1/p) is drawn. On average over
//! keys that is a draw from p (Aaronson 2022).
//!
//! | module | what |
//! |---|---|
//! | `vllm` | `vllm-gumbel` and `vllm-gumbel-dual`: vLLM 0.30.0 to 0.33.0 |
//! | `sglang` | `sglang-gumbel` and `sglang-gumbel-dual`: SGLang 0.5.23 |
//! | `textseal` | `textseal`: Meta's TextSeal |
//! | `philox`, `murmur` | the functions that they are made of |
//!
//! The engines' formulas are in `docs/concepts/scheme.md`, where their sources are named.

use super::context::Piece;
use super::distribution::Distribution;
use super::evidence::{Evidence, GBits, TextUniforms, Uniforms};
use super::ngrams::Ngrams;

mod murmur;
mod philox;
mod sglang;
mod textseal;
mod vllm;

pub use sglang::{SglangGumbel, SglangGumbelDual};
pub use textseal::TextSeal;
pub use vllm::{VllmGumbel, VllmGumbelDual};

/// A keyed function whose values are numbers.
trait Numbers {
    /// Returns how the numbers are read.
    fn law(&self) -> Uniforms;

    /// Returns the numbers of an n-gram's last token after the others.
    fn of(&self, ngram: &[u32]) -> GBits;
}

fn g_bits_of(function: &impl Numbers, ngrams: &Ngrams<'_>, g: &mut Vec<GBits>) {
    g.clear();
    g.extend(ngrams.iter().map(|ngram| function.of(ngram)));
}

/// Returns the evidence of a piece of a text. `scored` says which positions count.
fn evidence(function: &impl Numbers, piece: &Piece<'_>, scored: Vec<bool>) -> Evidence {
    Evidence::Uniform(TextUniforms {
        first: piece.first,
        law: function.law(),
        numbers: piece.ngrams().map(|ngram| function.of(ngram)).collect(),
        reference_mask: scored.clone(),
        scored,
    })
}

/// Gives all weight to the candidate that the key draws. With two keys, the two candidates get the keys' shares.
fn mark(law: Uniforms, g: &[GBits], candidates: &mut Distribution) {
    candidates.reweigh(|_, probabilities| {
        let drawn = |which: usize| {
            let rank = |(p, g): (&f64, &GBits)| {
                // The middle of the cell, which is never 0 or 1.
                let u = law.read(*g)[which].unwrap_or(0.0) + 0.5 / law.steps as f64;
                if *p > 0.0 { u.ln() / p } else { f64::NEG_INFINITY }
            };
            let ranks = probabilities.iter().zip(g).map(rank).enumerate();
            // The first of equal ranks wins.
            ranks.reduce(|best, next| if next.1 > best.1 { next } else { best }).map_or(0, |(i, _)| i)
        };
        let mut weights = vec![0.0; probabilities.len()];
        match law.second_share {
            None => weights[drawn(0)] = 1.0,
            Some(share) => {
                weights[drawn(0)] += 1.0 - share;
                weights[drawn(1)] += share;
            }
        }
        probabilities.copy_from_slice(&weights);
    });
}

/// Returns the share of the second of two keys as the statistic takes it. If one key hardly matters, its share is 0.
/// The text may be marked with another share; that only costs power.
fn judged_share(share: f64) -> f64 {
    match share {
        ..0.001 => 0.0,
        0.999.. => 1.0,
        _ => share,
    }
}
