//! What can go wrong with a Bayesian detector.

use std::io;
use std::path::PathBuf;

use safetensors::tensor::{Dtype, SafeTensorError};

use crate::statistics::llr::LawError;

use super::limits::{BETA, DELTA, MAX_DEPTH, MAX_FILE, PRIOR};

/// Why a detector could not be read, written or used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BayesianError {
    /// A file could not be read or written.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// `read` or `write`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A file is too large to be part of a detector.
    #[error(
        "expected a detector's file of at most {MAX_FILE} bytes, found more in {path}; is it another model?"
    )]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// A JSON file is not what it should be.
    #[error("{path}: {source}; expected the {what}")]
    Json {
        /// The file.
        path: PathBuf,
        /// What the file is for.
        what: &'static str,
        /// What the parser says.
        source: serde_json::Error,
    },
    /// The weights are not a safetensors file, or lack a tensor.
    #[error(
        "{path}: {source}; expected the tensors {BETA}, {DELTA} and {PRIOR} of a BayesianDetectorModel, as its \
         save_pretrained writes them"
    )]
    Weights {
        /// The file.
        path: PathBuf,
        /// What the parser says.
        source: SafeTensorError,
    },
    /// A tensor is not F32.
    #[error("expected {name} as F32, found {found:?}; load the detector in float32 and save it again")]
    Dtype {
        /// The tensor.
        name: &'static str,
        /// Its type.
        found: Dtype,
    },
    /// A tensor's shape does not fit the depth.
    #[error("expected {name} of shape {expected:?}, found {found:?}")]
    Shape {
        /// The tensor.
        name: &'static str,
        /// By the config's depth.
        expected: Vec<usize>,
        /// In the file.
        found: Vec<usize>,
    },
    /// A weight is infinite or not a number.
    #[error(
        "expected finite numbers in {name}, found one that is not; was the training stopped by an error?"
    )]
    NotFinite {
        /// The tensor.
        name: &'static str,
    },
    /// The depth cannot be.
    #[error("expected a watermarking_depth from 1 to {MAX_DEPTH}, found {found}")]
    Depth {
        /// As found.
        found: usize,
    },
    /// The law in `null.json` is not the one of the weights.
    #[error(
        "{path}: its law is not that of the directory's weights, so its p-values would be wrong: {source}; remove the \
         file, and it is made again"
    )]
    Law {
        /// The file.
        path: PathBuf,
        /// Where they differ.
        source: LawError,
    },
}
