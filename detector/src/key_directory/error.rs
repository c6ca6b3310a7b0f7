//! What can be wrong with a directory of keys.

use crate::scheme::KeyError;
use crate::timestamp::Timestamp;

/// What can be wrong with a directory of keys.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyDirectoryError {
    /// A file in it is not a key, or cannot be read.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The system cannot list it, or cannot read its `keys.toml`.
    #[error("cannot read the key directory {path}: {source}")]
    Unreadable {
        /// The directory, or the file in it.
        path: String,
        /// The system's reason.
        source: std::io::Error,
    },
    /// It has no keys.
    #[error("the key directory {path} has no key; expected at least one")]
    Empty {
        /// The directory.
        path: String,
    },
    /// Without a list, something in it is not a file, so keys in it would not be read.
    #[error("the key directory {path}: expected key files, found {found}")]
    NotAFile {
        /// The directory.
        path: String,
        /// What it is, and its name.
        found: String,
    },
    /// `keys.toml` is not what it should be.
    #[error("{path}: cannot read the list of keys: {why}")]
    List {
        /// The file.
        path: String,
        /// What was expected and what was found.
        why: String,
    },
    /// A key in the directory that `keys.toml` does not list.
    #[error("{path}: expected every key file of the directory in this list, found also {files}")]
    Unlisted {
        /// The list.
        path: String,
        /// The files.
        files: String,
    },
    /// A key with another id than the list says.
    #[error("{path}: expected the key {expected}, as the directory's list says, found the key {found}")]
    OtherId {
        /// The key file.
        path: String,
        /// The id in the list.
        expected: String,
        /// The id of the key.
        found: String,
    },
    /// No key is in force at this moment.
    #[error(
        "no key of the directory {path} is in force{whose} at {now}: expected an active key whose dates hold, found {found}"
    )]
    NoneActive {
        /// The directory.
        path: String,
        /// The label that was asked for, as a part of the sentence.
        whose: String,
        /// The moment that was asked about.
        now: Timestamp,
        /// Which keys there are, and until when.
        found: String,
    },
    /// Several keys are in force at this moment, and nothing says which to use.
    #[error(
        "more than one key of the directory {path} is in force{whose} at {now}: expected one that begins last, found {found}"
    )]
    SeveralActive {
        /// The directory.
        path: String,
        /// The label that was asked for, as a part of the sentence.
        whose: String,
        /// The moment that was asked about.
        now: Timestamp,
        /// The keys.
        found: String,
    },
}
