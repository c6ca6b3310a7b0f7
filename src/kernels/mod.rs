//! The CPU's fast paths: matrix products and row look-ups over weights that stay in their file's pages, and the operations
//! between them. [`cpu`] decides which build of a kernel runs.
//!
//! Nothing here knows what a model is. A [`Matrix`] is a rectangle of numbers in some storage [`Format`]. The kernels read it a
//! row or a tile at a time. So the matrix never exists in f32 as a whole, and the resident memory is that of the file. If the
//! processor has the instructions for it (AVX-512 VNNI or AVX2), matrices are reordered into [`panels`] once, which then
//! replace the file's pages. [`gemv`] multiplies them by the few rows of activations of a decode step, [`gemm`] by the many
//! rows of a prompt. [`matmul`] multiplies matrices that stay in their file's pages, and picks the product for each. [`loops`]
//! has the operations between two products.

pub(crate) mod attention;
mod bf16_tiles;
pub(crate) mod cpu;
mod dot;
mod format;
pub(crate) mod gemm;
#[cfg(target_arch = "x86_64")]
pub(crate) mod gemv;
pub(crate) mod loops;
mod matmul;
mod matrix;
pub(crate) mod panels;
mod pointwise;
mod prefetch;
mod quantised_rows;
#[cfg(target_arch = "x86_64")]
mod simd;
pub(crate) mod team;

pub(crate) use attention::DecodeAttention;
pub(crate) use bf16_tiles::Bf16Tiles;
pub use format::Format;
pub use gemm::{Activations, Sums};
pub(crate) use loops::SoftCap;
pub use matmul::MatMul;
pub use matrix::{Bytes, Matrix};
pub(crate) use panels::Panels;
pub(crate) use pointwise::{GatedGelu, MaskedSoftmax};
pub use quantised_rows::QuantisedRows;
