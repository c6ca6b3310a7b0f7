//! Errors of a detector.

use crate::ignore::IgnoreError;
use crate::key_directory::KeyDirectoryError;
use crate::scheme::KeyError;
use crate::statistics::UnsupportedEvidence;
#[cfg(feature = "text")]
use crate::text::TextError;
use crate::verdict::FprError;

/// What can go wrong before or while a text is scored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DetectError {
    /// The key cannot be read, or belongs to another tokenizer.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The tokenizer fails.
    #[cfg(feature = "text")]
    #[error(transparent)]
    Text(#[from] TextError),
    /// The list of known boilerplate cannot be used.
    #[error(transparent)]
    Ignore(#[from] IgnoreError),
    /// The list in a directory of keys does not agree with the keys.
    #[error(transparent)]
    KeyDirectory(KeyDirectoryError),
    /// The directory cannot be listed.
    #[error("cannot read the keyring {path}: {source}; expected a directory of key files")]
    Keyring {
        /// The directory.
        path: String,
        /// The system's reason.
        source: std::io::Error,
    },
    /// There is no key to try.
    #[error("the keyring {path} has no key; expected at least one")]
    EmptyKeyring {
        /// The directory, or what stands for it.
        path: String,
    },
    /// A text for a detector that knows only token ids.
    #[error("the detector has no tokenizer: expected token ids, found text")]
    NoTokenizer,
    /// A reader for [`segments`](crate::Detector::segments) or another question that needs the whole text.
    #[error("{what} need the whole text: expected text, bytes or token ids, found a reader")]
    NeedsWholeText {
        /// The question.
        what: &'static str,
    },
    /// The statistic cannot judge the scheme of one of the keys.
    #[error(transparent)]
    Statistic(#[from] UnsupportedEvidence),
    /// A false positive rate out of its range.
    #[error(transparent)]
    Fpr(#[from] FprError),
    /// A channel that a key does not have.
    #[error("key {key_id} has the channels 0 to {last}, found channel {found}", last = channels - 1)]
    Channel {
        /// The key.
        key_id: String,
        /// How many channels it has.
        channels: u16,
        /// The channel that was asked for.
        found: u16,
    },
    /// A long text cannot be read to its end.
    #[error("cannot read the text to its end: {source}")]
    Input {
        /// The system's reason.
        source: std::io::Error,
    },
}

/// Keys and directories that cannot be used give the same errors with and without a list of keys.
impl From<KeyDirectoryError> for DetectError {
    fn from(error: KeyDirectoryError) -> Self {
        match error {
            KeyDirectoryError::Key(error) => Self::Key(error),
            KeyDirectoryError::Unreadable { path, source } => Self::Keyring { path, source },
            KeyDirectoryError::Empty { path } => Self::EmptyKeyring { path },
            error => Self::KeyDirectory(error),
        }
    }
}
