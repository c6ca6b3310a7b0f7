//! The CPU's fast paths: matrix products and row look-ups over weights that stay in their file's pages, and what lies
//! between them.
//!
//! Nothing here knows what a model is. A [`Matrix`] is a rectangle of numbers in some storage [`Format`]; the
//! kernels read it a row or a tile at a time, so the matrix never exists in f32 as a whole and the resident memory is
//! that of the file. Where the processor has the instructions for it (AVX-512 VNNI or AVX2), matrices are reordered into
//! [`panels`] once, which then take the place of the file's pages. [`gemv`] multiplies them by the few rows of activations of a
//! decode step, [`gemm`] by the many of a prompt. [`matmul`] picks a product for every other matrix.

pub mod attention;
pub mod bf16_tiles;
pub mod cpu;
pub mod dot;
pub mod elementwise;
pub mod format;
pub mod gemm;
#[cfg(target_arch = "x86_64")]
pub mod gemv;
pub mod matmul;
pub mod matrix;
pub mod panels;
pub mod pointwise;
mod prefetch;
pub mod quantised_rows;
pub mod scan;
#[cfg(target_arch = "x86_64")]
mod simd;
pub mod soft_cap;
pub mod team;

pub use attention::DecodeAttention;
pub use bf16_tiles::Bf16Tiles;
pub use format::Format;
pub use gemm::{Activations, Sums};
pub use matmul::MatMul;
pub use matrix::{Bytes, Matrix, MatrixError};
pub use panels::Panels;
pub use pointwise::{GatedGelu, MaskedSoftmax};
pub use quantised_rows::QuantisedRows;
pub use soft_cap::SoftCap;
