//! What can go wrong in training.

use std::path::PathBuf;

/// The result of this module's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a model cannot be trained. Each message says what was expected, what was found and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// What was tried: `read`, `write`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A setting that makes no sense.
    #[error("{name} is {found}, expected {expected}")]
    Setting {
        /// The setting.
        name: &'static str,
        /// Its value.
        found: String,
        /// What would be accepted.
        expected: String,
    },
    /// Text that is too short, or no text.
    #[error("the text gives {found}, expected {expected}; use a longer text or a shorter context")]
    Text {
        /// What there is.
        found: String,
        /// What is needed.
        expected: String,
    },
    /// A checkpoint that is damaged or belongs to another run.
    #[error("the checkpoint {path} {reason}")]
    Checkpoint {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A checkpoint of other settings.
    #[error("the checkpoint {path} is of other settings: {}", .differences.join("; "))]
    OtherSettings {
        /// The file.
        path: PathBuf,
        /// For each setting, what the checkpoint has and what was given.
        differences: Vec<String>,
    },
    /// A configuration that the fused gradients do not have.
    #[error("fused gradients are for a tied Gemma 2 in f32 on the CPU, found {found}; use the autograd path")]
    NotFused {
        /// What does not fit.
        found: String,
    },
    /// The loss is not a number any more.
    #[error(
        "the loss at step {step} is {loss}: training has diverged; resume from the last checkpoint with a lower learning rate"
    )]
    Diverged {
        /// The step.
        step: u64,
        /// NaN or infinity.
        loss: f64,
    },
    /// Of the tokenizer's library.
    #[error("the tokenizer cannot be trained: {message}")]
    Tokenizer {
        /// The library's message.
        message: String,
    },
    /// An example that cannot be learned from.
    #[error("{path}, line {line}: {message}")]
    Example {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        message: String,
    },
    /// A file of teacher targets that cannot be learned from.
    #[error("the teacher targets {path} {reason}")]
    Targets {
        /// The file.
        path: PathBuf,
        /// What is wrong: expected and found.
        reason: String,
    },
    /// Two models that do not have one vocabulary.
    #[error(
        "the teacher has another tokenizer than the student: expected fingerprint {expected}, found {found}; a teacher of the \
         same vocabulary is needed, since its probabilities are those of tokens"
    )]
    OtherTokenizer {
        /// The student's fingerprint.
        expected: String,
        /// The teacher's.
        found: String,
    },
    /// Two models whose vocabularies differ in size.
    #[error("the student's vocab_size is wrong: expected {expected}, the teacher's, found {found}")]
    OtherVocabulary {
        /// The teacher's entries.
        expected: usize,
        /// The student's.
        found: usize,
    },
    /// A student's own sample that could not be drawn.
    #[error("the student's sample at step {step} cannot be drawn: {message}")]
    Sample {
        /// The step.
        step: u64,
        /// What the engine says.
        message: String,
    },
    /// Of the model.
    #[error(transparent)]
    Model(#[from] crate::model::Error),
    /// Of the tensor library.
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
