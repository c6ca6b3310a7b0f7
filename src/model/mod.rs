//! Gemma 2 and Gemma 3 text models: from files to logits.
//!
//! [`Gemma::load`] maps a Hugging Face directory or a GGUF file; [`Gemma::forward`] takes token ids and a [`Cache`] and
//! gives the logits of the next token. [`Config`] is the model as data: everything that tells one Gemma from another.
//!
//! The reference is `transformers` in f32 (`Gemma2ForCausalLM`, `Gemma3ForCausalLM`, eager attention); the tests hold
//! every logit to it.

mod attend;
pub mod attention;
pub mod config;
mod decode;
pub mod error;
pub mod gemma;
pub mod inspect;
pub mod kv_cache;
pub mod linear;
pub mod logits;
pub mod mlp;
pub mod norm;
mod prompt;
pub mod rope;
mod source;
mod step;
pub mod weights;

pub use config::{Architecture, Config, LayerKind};
pub use error::{Error, Result};
pub use gemma::{Gemma, LoadOptions, first_non_finite};
pub use inspect::Summary;
pub use kv_cache::Cache;
pub use logits::RawLogits;
pub(crate) use source::gguf_name;
pub use weights::Weights;
