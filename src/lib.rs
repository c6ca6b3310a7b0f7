//! Writes text with Gemma 2 or Gemma 3 and marks it while sampling.
//!
//! The data flows as follows. [`model`] turns token ids into [`logits`], and [`sample`] turns logits into a marked draw.
//! [`engine`] does both for many requests at a time, and [`respond`] adds text: prompts in, pieces of text and receipts out.
//! [`text`] converts between text and ids. [`verify`] reads a text again to find the mark with the model's help. The scheme
//! itself (keys, g-values, tournament) is [`wmdetect::scheme`], which the detector shares.
//!
//! [`train`] makes a model from plain text, and [`quantize`] makes a GGUF file of a model. [`eval`] measures how good a model is
//! at tasks, and [`compare`] puts two models side by side. [`radioactive`] tells whether a model learned from marked text, and
//! [`mod@bench`] measures how fast a model runs.
//!
//! The folder `examples` has three programs: one writes a marked text piece by piece, one serves several clients, and one reads a
//! text again with its model.
//!
//! Features; a library needs none of them. `cli` (default) is the program `wmgen`, and `serve` (default) its server. `schema`
//! gives the types of reports JSON schemas. `default-model` adds the model that ships with it, as `default_model`. `cuda` and
//! `metal` run models on a GPU.

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

/// Items that the benchmarks of this crate measure. They are not part of the API.
#[doc(hidden)]
pub mod internals {
    pub use crate::kernels::cpu::Level;
    #[cfg(target_arch = "x86_64")]
    pub use crate::kernels::gemv::multiply;
    pub use crate::kernels::panels::LANES;
    pub use crate::kernels::{Activations, Bytes, MatMul, Matrix, QuantisedRows, Sums};
}
