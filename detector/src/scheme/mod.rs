//! The scheme: how a key, a context and a token become g-values, and how g-values steer a draw.
//!
//! Terms are those of Dathathri et al., "Scalable watermarking for identifying large language model outputs",
//! Nature 634 (2024). A text is a sequence of token ids. The *context* of a position is the H = `ngram_len` − 1
//! tokens before it. The keyed function of [`prf`] maps (key, context, token) to m = `depth` *g-values*, each 0 or 1.
//! The generator runs a [`tournament`] of m layers over its candidates, which favours tokens with many ones without
//! changing the distribution on average over keys; the detector counts the ones ([`gvalues`]). Both sides ask
//! [`context`] which positions carry the mark.
//!
//! | file | what it settles |
//! |---|---|
//! | [`key`] | schemes and their parameters, secrets, key ids, derivation |
//! | [`KeyError`] | what can be wrong with a key |
//! | [`key_file`] | the `k.bin` container and the reference libraries' JSON |
//! | [`prf`] | the one keyed function: (key, context, token) → g-values |
//! | `message`, `lanes` | the messages that `synthid-sha256` hashes, and many hashes at a time |
//! | [`context`] | which positions are marked and scored |
//! | [`gvalues`] | the g-values of a finished text |
//! | [`tournament`] | the sampling side: a candidate distribution under the mark |
//!
//! `docs/scheme.md` specifies all three schemes with test vectors.

mod context;
mod distribution;
mod error;
mod evidence;
mod exponential;
pub mod key;
mod prf;
mod schemes;
mod secret;
mod stream;
mod synthid;
mod watermark;

pub use context::{ContextStream, ContextTracker, Piece, PositionKind};
pub use distribution::{Distribution, DistributionError};
pub use error::KeyError;
pub use evidence::{GBits, TextGValues};
pub use key::{Key, TokenizerBinding};
pub use prf::{KeyedContext, Prf};
pub use schemes::{SamplingTable, Scheme};
pub use secret::Secret;
pub use stream::GValueStream;
pub(crate) use synthid::sha256::message::Ngrams;
pub use watermark::{Marking, Watermark};

/// The deepest tournament that a key may ask for. The g-values of one token fit one machine word.
pub const MAX_DEPTH: usize = 64;
/// The longest n-gram that a key may ask for.
pub const MAX_NGRAM_LEN: usize = 64;
/// Layers of a new key unless its owner asks for another number (the paper's choice).
pub const DEFAULT_DEPTH: usize = 30;
/// n-gram length of a new key unless its owner asks for another (the paper's H = 4).
pub const DEFAULT_NGRAM_LEN: usize = 5;
