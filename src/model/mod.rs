//! Gemma 2 and Gemma 3 text models: from files to logits.
//!
//! [`Gemma::load`] maps a Hugging Face directory or a GGUF file. [`Gemma::forward`] takes token ids and a [`Cache`] and
//! returns the logits of the next token. [`Config`] is everything that distinguishes one Gemma from another.
//!
//! The reference is `transformers` in f32 (`Gemma2ForCausalLM`, `Gemma3ForCausalLM`, eager attention). The tests
//! compare every logit with it.

mod cache;
pub mod config;
pub mod error;
mod forward;
pub mod gemma;
pub mod inspect;
mod layer;
mod linear;
pub mod logits;
mod norm;
mod packed;
#[cfg(test)]
pub(crate) mod random;
pub(crate) mod rope;
mod source;
pub mod weights;

pub use crate::kernels::Format;
pub use cache::{Cache, TAKE_BACK};
pub use candle_core::{DType, Device, Tensor};
pub use config::{Architecture, Config, LayerKind};
pub use error::{Error, Result};
pub use forward::CHUNK;
pub use gemma::{Gemma, LoadOptions, first_non_finite};
pub use inspect::Summary;
pub use logits::RawLogits;
pub use weights::Weights;
