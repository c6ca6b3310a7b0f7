//! What can go wrong between a tokenizer's file and token ids.

use std::path::PathBuf;

use crate::gguf::GgufError;

/// An error of the text layer. Each message says what was expected, what was found and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TextError {
    /// The file or directory could not be read.
    #[error("cannot read {}: {source}; expected a tokenizer.json, a directory that holds one, or a GGUF file", path.display())]
    Read {
        /// The path as given.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A directory without a tokenizer.
    #[error(
        "no tokenizer.json in {}; download it from the model's repository into that directory, or name a \
         GGUF file, which carries its own", path.display()
    )]
    NoTokenizer {
        /// The directory.
        path: PathBuf,
    },
    /// A file that is neither GGUF nor JSON.
    #[error(
        "{} is not a tokenizer: expected a tokenizer.json (starts with '{{') or a GGUF file (starts with \
         'GGUF'), found a file that starts with {found}", path.display()
    )]
    Unrecognised {
        /// The file.
        path: PathBuf,
        /// Its first bytes, printable.
        found: String,
    },
    /// A tokenizer.json that the `tokenizers` library rejects.
    #[error("{} is not a valid tokenizer.json: {message}; download the file again", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// The library's reason.
        message: String,
    },
    /// A GGUF file whose header or metadata cannot be read.
    #[error("cannot read the tokenizer in {}: {source}", path.display())]
    Gguf {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: GgufError,
    },
    /// A tokenizer of a kind that this crate does not implement.
    #[error(
        "unsupported tokenizer: expected {expected}, found {found}; use the tokenizer.json of the same model, or another model"
    )]
    Unsupported {
        /// The kinds that work.
        expected: &'static str,
        /// What the file has.
        found: String,
    },
    /// A vocabulary whose parts contradict each other.
    #[error("broken vocabulary: expected {expected}, found {found}; download the file again")]
    Vocabulary {
        /// The rule.
        expected: String,
        /// What broke it.
        found: String,
    },
    /// The tokenizer failed on a text.
    #[error("cannot tokenize the text: {message}")]
    Encode {
        /// The library's reason.
        message: String,
    },
}
