//! GGUF files: their metadata, where their tensors lie, and writing them.
//!
//! Source: the GGUF specification, <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>. Versions 2 and 3 are
//! read, version 3 is written.
//!
//! A file is untrusted: every length is compared with the bytes that are left before anything is allocated, so memory
//! stays proportional to the file's size. A file that contradicts itself is an error, never a panic.
//!
//! The numbers in the tensors are not read. A tensor's type is ggml's number for it. [`names`] has what llama.cpp puts
//! into such files.

mod error;
pub mod names;
mod read;
mod value;
mod write;

pub use error::GgufError;
pub use read::{Header, Metadata, Tensor};
pub use value::{Array, Value};
pub use write::{Layout, Plan, Writer};

/// Tensors start at multiples of this, unless the metadata say otherwise.
const ALIGNMENT: u64 = 32;
/// A tensor has at most this many dimensions.
const MAX_DIMS: u32 = 4;
/// Arrays nest at most this deep; the format never needs more than one level.
const MAX_DEPTH: u32 = 4;
