//! Schemes: how a key, a context and a token become values, how these steer a draw, and what they say of a text.
//!
//! A text is a sequence of token ids. The *context* of a position is the H = `ngram_len` − 1 tokens before it, or fewer
//! where the scheme says so ([`ContextRule`]). A key's keyed function ([`Prf`]) maps (context, token) to bits. The
//! generator draws by them ([`Watermark`]). The detector computes them for the tokens that were drawn ([`Evidence`])
//! and sees whether they differ from chance.
//!
//! In SynthID the bits are m = `depth` *g-values*. The generator runs a tournament of m layers over its candidates, which
//! favours tokens with many ones without changing the distribution on average over keys. The detector counts the ones.
//! Terms are those of Dathathri et al., "Scalable watermarking for identifying large language model outputs", Nature
//! 634 (2024).
//!
//! | module | what it settles |
//! |---|---|
//! | `family` | what a scheme must say of itself: parameters, shape of its secret, promise about p, positions, marking, evidence |
//! | `schemes`, `preset` | which schemes there are, and which to take for a new key |
//! | [`synthid`] | `synthid-sha256`, `synthid-sha256-v2`, `synthid-hf`, `synthid-deepmind`, and their tournament |
//! | [`gumbel`] | the Gumbel-max marks of vLLM, SGLang and TextSeal |
//! | [`kgw`] | the green lists of transformers, lm-watermarking and TGI |
//! | `twister` | torch's random numbers on the CPU |
//! | `engine_json`, `real` | what reads the configurations of other engines |
//! | `secret`, [`key`] | secrets, keys, ids, derivation; the `k.bin` container and the JSON of other libraries |
//! | [`KeyError`] | what can be wrong with a key |
//! | `prf` | the keyed function of any scheme |
//! | `ngrams`, `lanes` | the n-grams of a text, and many SHA-256 hashes at a time |
//! | `context` | which positions are marked and scored |
//! | `distribution`, `watermark` | the sampling side: candidates, and a response being marked |
//! | `evidence`, `stream` | the detecting side: the values of a text and the positions that count |
//!
//! A scheme is added by a module like those in [`synthid`] and one line in `schemes`. `docs/concepts/scheme.md` specifies the
//! schemes with test vectors.

mod context;
mod distribution;
mod engine_json;
mod error;
mod evidence;
mod exponential;
mod family;
mod fields;
pub mod gumbel;
pub mod key;
pub mod kgw;
mod lanes;
mod ngrams;
mod preset;
mod prf;
mod real;
mod schemes;
mod secret;
mod stream;
pub mod synthid;
#[cfg(test)]
pub(crate) mod test_families;
mod twister;
mod watermark;

pub(crate) use context::first_places;
pub use context::{ContextLens, ContextRule, ContextStream, ContextTracker, PAD, Piece, PositionKind};
pub use distribution::{Distribution, DistributionError};
pub use error::KeyError;
pub use evidence::{Evidence, EvidenceKind, GBits, Share, TextGValues, TextGreens, TextUniforms, Uniforms};
pub use family::{ImportOptions, Promise};
pub use key::{Key, TokenizerBinding};
pub use ngrams::DistinctNgrams;
pub(crate) use ngrams::Ngrams;
pub use preset::{Preset, UnknownPreset};
pub use prf::{KeyedContext, Prf};
pub use real::Real;
pub use schemes::Scheme;
pub use secret::{Secret, SecretShape};
pub use stream::EvidenceStream;
pub use synthid::SamplingTable;
pub use watermark::{Marking, Watermark};

/// The deepest tournament that a key may ask for. The g-values of one token fit one machine word.
pub const MAX_DEPTH: usize = 64;
/// The longest n-gram that a key may ask for.
pub const MAX_NGRAM_LEN: usize = 64;
/// Layers of a new key unless its owner asks for another number (the paper's choice).
pub const DEFAULT_DEPTH: usize = 30;
/// Tokens of the longest context of `synthid-sha256-v2`. With it a message is still one block of SHA-256.
pub const MAX_V2_CONTEXT: u8 = 4;
/// Largest number of channels of a key.
pub const MAX_CHANNELS: u16 = 1024;
/// Number of channels of a key that is not given one.
pub const DEFAULT_CHANNELS: u16 = 16;
/// n-gram length of a new key unless its owner asks for another (the paper's H = 4).
pub const DEFAULT_NGRAM_LEN: usize = 5;
