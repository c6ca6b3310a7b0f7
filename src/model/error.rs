//! What can go wrong between a model's path and its logits.

use std::path::PathBuf;

/// The result of this module's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a model cannot be loaded or run. Each message says what was expected, what was found and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Nothing there.
    #[error(
        "no model at {path}: expected a Hugging Face directory (config.json, *.safetensors) or a .gguf file"
    )]
    NotFound {
        /// The path asked for.
        path: PathBuf,
    },
    /// A path that exists but is not a model.
    #[error(
        "{path} is not a model: {found}; expected a Hugging Face directory (config.json, *.safetensors) or a .gguf file"
    )]
    NotAModel {
        /// The path asked for.
        path: PathBuf,
        /// What is there instead.
        found: String,
    },
    /// The operating system refused.
    #[error("cannot read {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A model of another kind.
    #[error(
        "unsupported architecture {found:?}: expected Gemma 2 (gemma2) or a Gemma 3 text model (gemma3_text, gemma3 in GGUF); convert or choose another model"
    )]
    Architecture {
        /// The architecture that the file names.
        found: String,
    },
    /// A setting that this implementation does not have, or that makes no sense.
    #[error("unsupported model configuration: {field} is {found}, expected {expected}")]
    Config {
        /// The key in config.json or in the GGUF metadata.
        field: String,
        /// Its value.
        found: String,
        /// What would be accepted.
        expected: String,
    },
    /// Tensors that the model does not use.
    #[error(
        "{path} has weights that a {architecture} model of {layers} layers does not use: {named}; expected the weights of the \
         model that the configuration describes, so get both from the same place"
    )]
    Unused {
        /// The directory or file.
        path: PathBuf,
        /// The configuration's architecture.
        architecture: &'static str,
        /// The configuration's number of layers.
        layers: usize,
        /// The first of the tensors, quoted, and how many more there are.
        named: String,
    },
    /// A head that the model would not use, because it uses the embedding.
    #[error(
        "{path} has a {head:?} unlike {embedding:?}, but its configuration says that the head is the embedding; expected \
         equal tensors: if the head belongs to the model, set tie_word_embeddings to false in config.json"
    )]
    OtherHead {
        /// The directory.
        path: PathBuf,
        /// The head's name.
        head: &'static str,
        /// The embedding's name.
        embedding: &'static str,
    },
    /// A part of a GGUF file that was split.
    #[error(
        "{path} is part {part} of {parts} of a split GGUF file; expected the whole model in one file, which llama.cpp's \
         `llama-gguf-split --merge` makes"
    )]
    Shard {
        /// The file.
        path: PathBuf,
        /// Its number, counted from 1.
        part: u64,
        /// The number of parts.
        parts: u64,
    },
    /// A tensor that the architecture needs is not there.
    #[error(
        "{path} has no tensor {name:?}: the file is incomplete or of another architecture than its configuration says"
    )]
    MissingTensor {
        /// The tensor's name.
        name: String,
        /// The model.
        path: PathBuf,
    },
    /// A tensor of another shape than the configuration says.
    #[error(
        "tensor {name:?} has shape {found:?}, expected {expected:?} from the configuration: configuration and weights do not belong together"
    )]
    Shape {
        /// The tensor's name.
        name: String,
        /// The shape that follows from the configuration.
        expected: Vec<usize>,
        /// The shape in the file.
        found: Vec<usize>,
    },
    /// A tensor of a type that cannot be read.
    #[error("tensor {name:?} has type {found}, expected {expected}")]
    Dtype {
        /// The tensor's name.
        name: String,
        /// The type in the file.
        found: String,
        /// The types that are read.
        expected: &'static str,
    },
    /// A file that ends before its contents do.
    #[error("{path} is truncated: {what} needs {needed} bytes, the file has {found}; download it again")]
    Truncated {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        what: String,
        /// Bytes that the file would have at least.
        needed: u64,
        /// Bytes that it has.
        found: u64,
    },
    /// A file that contradicts its format.
    #[error("{path} is damaged: {reason}; download it again")]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A GGUF file that cannot be read.
    #[error("cannot read {path}: {reason}")]
    Gguf {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: wmdetect::gguf::GgufError,
    },
    /// More tokens than the model has positions.
    #[error(
        "{needed} tokens do not fit in the context of {limit}: shorten the prompt or ask for fewer tokens"
    )]
    Context {
        /// Positions that would be in use.
        needed: usize,
        /// Positions that the model has.
        limit: usize,
    },
    /// Rows of ids that do not fit the cache or each other.
    #[error("expected {expected}, found {found}")]
    Batch {
        /// What the cache or the first row asks for.
        expected: String,
        /// What was given.
        found: String,
    },
    /// A token id outside the vocabulary.
    #[error(
        "token id {id} is outside the model's vocabulary of {vocab}: the tokenizer belongs to another model"
    )]
    Token {
        /// The id.
        id: u32,
        /// Size of the vocabulary.
        vocab: usize,
    },
    /// A device or compute type that is not supported.
    #[error("{found} is not available: {expected}")]
    Device {
        /// What was asked for.
        found: String,
        /// What is supported.
        expected: String,
    },
    /// An error of the tensor library.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}
