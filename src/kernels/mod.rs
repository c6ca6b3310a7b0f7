//! The CPU's fast paths: matrix products and row look-ups over weights that stay in their file's pages, and what lies
//! between them.
//!
//! Nothing here knows what a model is. A [`Matrix`] is a rectangle of numbers in some storage [`Format`]; the
//! kernels read it a row or a tile at a time, so the matrix never exists in f32 as a whole and the resident memory is
//! that of the file.

pub mod dense;
pub mod dot;
pub mod elementwise;
pub mod format;
pub mod matmul;
pub mod matrix;
pub mod pointwise;
mod q5;
pub mod scan;

pub use format::Format;
pub use matmul::MatMul;
pub use matrix::{Bytes, Matrix, MatrixError};
pub use pointwise::{MaskedSoftmax, SoftCap};
