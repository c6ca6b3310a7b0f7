//! Writes text with Gemma 2 and marks it while sampling.
//!
//! The data path is the file list: [`model`] turns token ids into [`logits`], [`sample`] turns logits into a marked draw,
//! [`engine`] does both for many requests at a time, [`text`] turns text into ids and ids into text, and [`verify`] reads a text again to
//! find the mark with the model's help. The scheme itself (keys, g-values, tournament) is [`wmdetect::scheme`], which the
//! detector shares. [`train`] makes a model of your own from plain text, [`quantize`] makes a GGUF file of it, and
//! [`default_model`] is one that was made so.

pub mod bench;
pub mod default_model;
pub mod engine;
mod kernels;
pub mod logits;
pub mod model;
pub mod quantize;
pub mod respond;
pub mod sample;
pub mod text;
pub mod train;
pub mod verify;

/// What the benchmarks of this crate measure. It is not part of the API.
#[doc(hidden)]
pub mod internals {
    pub use crate::kernels::cpu::Level;
    #[cfg(target_arch = "x86_64")]
    pub use crate::kernels::gemv::multiply;
    pub use crate::kernels::panels::LANES;
    pub use crate::kernels::{Activations, Bytes, MatMul, Matrix, QuantisedRows, Sums};
}
