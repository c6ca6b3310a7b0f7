//! Errors of training.

use std::path::PathBuf;

/// Result of this module's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Error from training a model. Each message says what was expected, what was found and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system reported an error.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// Action that was tried: `read`, `write`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Reason that the system gives.
        source: std::io::Error,
    },
    /// A setting makes no sense.
    #[error("{name} is {found}, expected {expected}")]
    Setting {
        /// Name of the setting.
        name: &'static str,
        /// Its value.
        found: String,
        /// Value that would be accepted.
        expected: String,
    },
    /// The text is too short or empty.
    #[error("the text gives {found}, expected {expected}; use a longer text or a shorter context")]
    Text {
        /// What there is.
        found: String,
        /// What is needed.
        expected: String,
    },
    /// The checkpoint is damaged or belongs to another run.
    #[error("the checkpoint {path} {reason}")]
    Checkpoint {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The checkpoint has other settings.
    #[error("the checkpoint {path} is of other settings: {}", .differences.join("; "))]
    OtherSettings {
        /// The file.
        path: PathBuf,
        /// For each setting that differs, what the checkpoint has and what was given.
        differences: Vec<String>,
    },
    /// The fused gradients do not support the configuration.
    #[error("fused gradients are for a tied Gemma 2 in f32 on the CPU, found {found}; use the autograd path")]
    NotFused {
        /// What is not supported.
        found: String,
    },
    /// The loss or the gradient is NaN or infinite.
    #[error("training has diverged at step {step}: expected a finite {what}, found {found}")]
    Diverged {
        /// Number of the step, from 1.
        step: u64,
        /// What is not finite: `loss` or `gradient norm`.
        what: &'static str,
        /// Its value: NaN or infinity.
        found: f64,
    },
    /// The tokenizer's library reported an error.
    #[error("the tokenizer cannot be trained: {message}")]
    Tokenizer {
        /// The library's message.
        message: String,
    },
    /// An example cannot be learned from.
    #[error("{path}, line {line}: {message}")]
    Example {
        /// The file.
        path: PathBuf,
        /// Number of the line, from 1.
        line: usize,
        /// What is wrong.
        message: String,
    },
    /// A file of teacher targets cannot be learned from.
    #[error("the teacher targets {path} {reason}")]
    Targets {
        /// The file.
        path: PathBuf,
        /// What is wrong: what was expected and what was found.
        reason: String,
    },
    /// The two models do not have the same tokenizer.
    #[error(
        "the teacher has another tokenizer than the student: expected fingerprint {expected}, found {found}; a teacher of the \
         same vocabulary is needed, since its probabilities are those of tokens"
    )]
    OtherTokenizer {
        /// Fingerprint of the student's tokenizer.
        expected: String,
        /// Fingerprint of the teacher's tokenizer.
        found: String,
    },
    /// The vocabularies of the two models differ in size.
    #[error("the student's vocab_size is wrong: expected {expected}, the teacher's, found {found}")]
    OtherVocabulary {
        /// Number of entries of the teacher.
        expected: usize,
        /// Number of entries of the student.
        found: usize,
    },
    /// The student's sample could not be drawn.
    #[error("the student's sample at step {step} cannot be drawn: {message}")]
    Sample {
        /// Number of the step.
        step: u64,
        /// Message of the engine.
        message: String,
    },
    /// The model reported an error.
    #[error(transparent)]
    Model(#[from] crate::model::Error),
    /// The tensor library reported an error.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}

impl Error {
    pub(super) fn read(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { action: "read", path, source }
    }

    pub(super) fn write(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { action: "write", path, source }
    }
}
