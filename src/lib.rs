//! Writes text with Gemma 2 and marks it while sampling.
//!
//! The data path is the file list: [`model`] turns token ids into [`logits`], [`sample`] turns logits into a marked
//! draw, [`engine`] does both for many requests at a time, and [`respond`] puts text around it: prompts in, pieces of
//! text and receipts out. [`text`] turns text into ids and ids into text. [`verify`] reads a text again to find the mark
//! with the model's help. The scheme itself (keys, g-values, tournament) is [`wmdetect::scheme`], which the detector
//! shares. [`train`] makes a model from plain text, [`quantize`] makes a GGUF file of a model, [`eval`] measures how good
//! a model is at tasks, [`compare`] puts two models side by side, [`radioactive`] tells whether one learned from marked text, and
//! [`mod@bench`] says how fast one runs.
//!
//! The folder `examples` has a program that writes a marked text piece by piece, one that serves several clients, and one
//! that reads a text again with its model.
//!
//! Features, of which a library needs none: `cli` (default) is the program `wmgen`; `default-model` brings the model that
//! ships with it as `default_model`; `cuda` and `metal` run models on a GPU.

/// Compiles the code of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

pub mod bench;
pub mod compare;
#[cfg(feature = "default-model")]
pub mod default_model;
pub mod engine;
pub mod eval;
mod kernels;
pub mod logits;
pub mod model;
pub mod quantize;
pub mod radioactive;
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
