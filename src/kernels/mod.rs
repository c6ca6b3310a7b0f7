//! The CPU's fast paths: matrix products and row look-ups over weights that stay in their file's pages, and what lies
//! between them.
//!
//! Nothing here knows what a model is. A [`Matrix`] is a rectangle of numbers in some storage [`Format`]; the
//! kernels read it a row or a tile at a time, so the matrix never exists in f32 as a whole and the resident memory is
//! that of the file. Where the processor has the instructions for it (AVX-512 VNNI or AVX2), matrices are reordered into
//! [`panels`] once, which then take the place of the file's pages. [`product`] multiplies them by a few rows of activations,
//! [`many_rows`] by those of a prompt.

pub mod attention;
pub mod dense;
pub mod dot;
pub mod elementwise;
pub mod format;
pub mod many_rows;
pub mod matmul;
pub mod matrix;
pub mod panels;
pub mod pointwise;
mod prefetch;
#[cfg(target_arch = "x86_64")]
pub mod product;
pub mod rows;
pub mod scan;
pub mod soft_cap;
pub mod team;
pub mod tiles;

pub use attention::DecodeAttention;
pub use format::Format;
pub use many_rows::{Activations, Sums};
pub use matmul::MatMul;
pub use matrix::{Bytes, Matrix, MatrixError};
pub use panels::Panels;
pub use pointwise::{GatedGelu, MaskedSoftmax};
pub use rows::Rows;
pub use soft_cap::SoftCap;
pub use tiles::Tiles;
