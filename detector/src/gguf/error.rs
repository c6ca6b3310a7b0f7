//! What can be wrong with a GGUF file.

use super::{MAX_DEPTH, MAX_DIMS};

/// What can be wrong with a GGUF file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GgufError {
    /// Reading failed.
    #[error("reading failed: {0}")]
    Io(#[from] std::io::Error),
    /// The file is not GGUF.
    #[error("expected a GGUF file (starts with 'GGUF'), found one that starts with {found:02X?}")]
    Magic {
        /// The first four bytes.
        found: [u8; 4],
    },
    /// Written for another byte order.
    #[error("expected a little-endian GGUF file, found a big-endian one; convert the model for this machine")]
    BigEndian,
    /// A version that is too old or too new.
    #[error(
        "expected GGUF version 2 or 3, found version {found}; convert the model again with a current converter"
    )]
    Version {
        /// The version in the file.
        found: u32,
    },
    /// The file ends too early, or a length in it is wrong.
    #[error(
        "{what} takes at least {needed} bytes, but {left} are left in the file; it is truncated or damaged, download it again"
    )]
    Truncated {
        /// What was being read.
        what: String,
        /// Bytes that it needs.
        needed: u64,
        /// Bytes that are left.
        left: u64,
    },
    /// An unknown type number.
    #[error("expected {what} to have a type from 0 to 12, found {found}; the file is damaged")]
    ValueType {
        /// The key.
        what: String,
        /// The number in the file.
        found: u32,
    },
    /// Arrays that are nested too deep.
    #[error("expected arrays nested at most {MAX_DEPTH} deep, found deeper ones in {what}")]
    Depth {
        /// The key.
        what: String,
    },
    /// A string that is not text.
    #[error("expected {what} to be UTF-8, found other bytes; the file is damaged")]
    Utf8 {
        /// The key, or what was being read.
        what: String,
    },
    /// A boolean other than 0 and 1.
    #[error("expected {what} to be 0 or 1, found {found}; the file is damaged")]
    Bool {
        /// The key.
        what: String,
        /// The byte in the file.
        found: u8,
    },
    /// The same key or tensor twice.
    #[error("expected each name once, found {name} twice; the file is damaged")]
    Duplicate {
        /// The key or the tensor's name.
        name: String,
    },
    /// A tensor of too many dimensions.
    #[error("expected at most {MAX_DIMS} dimensions, found {found} in tensor {tensor}; the file is damaged")]
    Dimensions {
        /// The tensor's name.
        tensor: String,
        /// The number in the file.
        found: u32,
    },
    /// A tensor of more numbers than can be counted.
    #[error("expected a possible shape, found {found:?} in tensor {tensor}; the file is damaged")]
    Shape {
        /// The tensor's name.
        tensor: String,
        /// The dimensions, slowest first.
        found: Vec<u64>,
    },
    /// An alignment that the format does not allow.
    #[error("expected general.alignment to be a multiple of 8, found {found}; the file is damaged")]
    Alignment {
        /// The value in the file.
        found: String,
    },
    /// A tensor that does not start where the format allows.
    #[error(
        "expected tensor {tensor} to start at a multiple of {alignment}, found {found}; the file is damaged"
    )]
    Offset {
        /// The tensor's name.
        tensor: String,
        /// The alignment.
        alignment: u64,
        /// The offset in the file.
        found: u64,
    },
    /// A needed key is missing.
    #[error("expected the key {key}, found none; use a GGUF file that carries its tokenizer")]
    Missing {
        /// The key.
        key: String,
    },
    /// A key with a value of the wrong type.
    #[error("expected {key} to be {expected}, found {found}; convert the model again")]
    Kind {
        /// The key.
        key: String,
        /// The type that it should have.
        expected: &'static str,
        /// The type that it has.
        found: &'static str,
    },
}
