//! Errors from loading and running a model.

use std::path::PathBuf;

/// Result of this module's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Error from loading or running a model. Each message says what was expected, what was found and what to
/// do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is nothing at the path.
    #[error(
        "no model at {path}: expected a Hugging Face directory (config.json, *.safetensors) or a .gguf file"
    )]
    NotFound {
        /// Path that was asked for.
        path: PathBuf,
    },
    /// The path exists but is not a model.
    #[error(
        "{path} is not a model: {found}; expected a Hugging Face directory (config.json, *.safetensors) or a .gguf file"
    )]
    NotAModel {
        /// Path that was asked for.
        path: PathBuf,
        /// What is there instead.
        found: String,
    },
    /// The operating system reported an error.
    #[error("cannot read {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Reason that the system gives.
        source: std::io::Error,
    },
    /// The model has an unsupported architecture.
    #[error(
        "unsupported architecture {found:?}: expected Gemma 2 (gemma2) or a Gemma 3 text model (gemma3_text, gemma3 in GGUF); convert or choose another model"
    )]
    Architecture {
        /// Architecture that the file names.
        found: String,
    },
    /// A setting is unsupported, or makes no sense.
    #[error("unsupported model configuration: {field} is {found}, expected {expected}")]
    Config {
        /// Key in config.json or in the GGUF metadata.
        field: String,
        /// Its value.
        found: String,
        /// Value that would be accepted.
        expected: String,
    },
    /// The files have tensors that the model does not use.
    #[error(
        "{path} has weights that a {architecture} model of {layers} layers does not use: {named}; expected the weights of the \
         model that the configuration describes, so get both from the same place"
    )]
    Unused {
        /// Directory or file.
        path: PathBuf,
        /// Architecture of the configuration.
        architecture: &'static str,
        /// Number of layers of the configuration.
        layers: usize,
        /// The first of the tensors, quoted, and the number of further ones.
        named: String,
    },
    /// The files have a head that the model would not use, because it uses the embedding.
    #[error(
        "{path} has a {head:?} unlike {embedding:?}, but its configuration says that the head is the embedding; expected \
         equal tensors: if the head belongs to the model, set tie_word_embeddings to false in config.json"
    )]
    OtherHead {
        /// The directory.
        path: PathBuf,
        /// Name of the head.
        head: &'static str,
        /// Name of the embedding.
        embedding: &'static str,
    },
    /// The file is one part of a split GGUF file.
    #[error(
        "{path} is part {part} of {parts} of a split GGUF file; expected the whole model in one file, which llama.cpp's \
         `llama-gguf-split --merge` makes"
    )]
    Shard {
        /// The file.
        path: PathBuf,
        /// Number of the part, counted from 1.
        part: u64,
        /// Number of parts.
        parts: u64,
    },
    /// A tensor that the architecture needs is missing.
    #[error(
        "{path} has no tensor {name:?}: the file is incomplete or of another architecture than its configuration says"
    )]
    MissingTensor {
        /// Name of the tensor.
        name: String,
        /// Path of the model.
        path: PathBuf,
    },
    /// The shape of a tensor differs from what the configuration says.
    #[error(
        "tensor {name:?} has shape {found:?}, expected {expected:?} from the configuration: configuration and weights do not belong together"
    )]
    Shape {
        /// Name of the tensor.
        name: String,
        /// Shape that follows from the configuration.
        expected: Vec<usize>,
        /// Shape in the file.
        found: Vec<usize>,
    },
    /// The type of a tensor is not supported.
    #[error("tensor {name:?} has type {found}, expected {expected}")]
    Dtype {
        /// Name of the tensor.
        name: String,
        /// Type in the file.
        found: String,
        /// Supported types.
        expected: &'static str,
    },
    /// The file ends before its contents do.
    #[error("{path} is truncated: {what} needs {needed} bytes, the file has {found}; download it again")]
    Truncated {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        what: String,
        /// Number of bytes that the file would have at least.
        needed: u64,
        /// Number of bytes that it has.
        found: u64,
    },
    /// The file contradicts its format.
    #[error("{path} is damaged: {reason}; download it again")]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The GGUF file cannot be read.
    #[error("cannot read {path}: {reason}")]
    Gguf {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: wmdetect::gguf::GgufError,
    },
    /// There are more tokens than the model has positions.
    #[error(
        "{needed} tokens do not fit in the context of {limit}: shorten the prompt or ask for fewer tokens"
    )]
    Context {
        /// Number of positions that would be in use.
        needed: usize,
        /// Number of positions of the model.
        limit: usize,
    },
    /// The rows of ids do not fit the cache or each other.
    #[error("expected {expected}, found {found}")]
    Batch {
        /// What the cache or the first row requires.
        expected: String,
        /// What was given.
        found: String,
    },
    /// A token id is outside the vocabulary.
    #[error(
        "token id {id} is outside the model's vocabulary of {vocab}: the tokenizer belongs to another model"
    )]
    Token {
        /// The id.
        id: u32,
        /// Size of the model's vocabulary.
        vocab: usize,
    },
    /// The device or dtype is not supported.
    #[error("{found} is not available: {expected}")]
    Device {
        /// Device or dtype that was asked for.
        found: String,
        /// What is supported.
        expected: String,
    },
    /// The tensor library reported an error.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}
