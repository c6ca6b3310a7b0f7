//! What can be wrong with a profile file.

use super::classes::ClassesError;
use super::laws::LawError;

/// What a profile file says it is.
pub(super) const FORMAT: &str = "wmdetect-llr-profile";

/// The version that is written, and the only one that is read.
pub(super) const VERSION: u32 = 1;

/// What can be wrong with a profile file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProfileError {
    /// The file cannot be read.
    #[error(
        "cannot read the profile {path}: {source}; expected a profile's JSON file, or one of the built-in \
         names pooled, t1.0, t0.7, t0.5, t0.35"
    )]
    Read {
        /// The file.
        path: String,
        /// The system's reason.
        source: std::io::Error,
    },
    /// It is not a profile.
    #[error("{path} is not a profile: {source}; expected the JSON of a profile")]
    Json {
        /// The file.
        path: String,
        /// The parser's reason.
        source: serde_json::Error,
    },
    /// It is something else, or from another version.
    #[error(
        "{path}: expected format {FORMAT} version {VERSION}, found {format} version {version}; train it again"
    )]
    Version {
        /// The file.
        path: String,
        /// Its format.
        format: String,
        /// Its version.
        version: u32,
    },
    /// The classes are out of range.
    #[error("{path}: {source}; train it again")]
    Classes {
        /// The file.
        path: String,
        /// Which number.
        source: ClassesError,
    },
    /// The numbers do not fit together.
    #[error("{path}: the {what} does not fit the rest, so its p-values would be wrong; train it again")]
    Damaged {
        /// The part that does not fit.
        what: &'static str,
        /// The file.
        path: String,
    },
    /// The null law or the marked law is not the one of its classes.
    #[error(
        "{path}: its law is not that of its classes, so its p-values would be wrong: {source}; train it again"
    )]
    Law {
        /// The file.
        path: String,
        /// Where they differ.
        source: LawError,
    },
}
