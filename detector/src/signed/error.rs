//! What can be wrong with a key for signatures, and with a signature.

use crate::scheme::KeyError;

/// What can be wrong with a key for signatures.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JwkError {
    /// The system cannot read the file.
    #[error("{path}: cannot read the key for signatures: {source}")]
    Unreadable {
        /// The file.
        path: String,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The key cannot be written, or the system gives no randomness.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The file is something else.
    #[error("{path}: expected {expected}, found {found}")]
    Other {
        /// The file.
        path: String,
        /// What was expected.
        expected: &'static str,
        /// What was found; never a part of a key.
        found: String,
    },
}

/// Why a signature is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignatureError {
    /// It is not a compact JWS.
    #[error("expected a compact JWS, found {found}")]
    Malformed {
        /// What was found.
        found: String,
    },
    /// It is signed with another algorithm, or not signed.
    #[error("expected a signature with the algorithm EdDSA, found {found:?}")]
    Algorithm {
        /// The algorithm.
        found: String,
    },
    /// It asks for an extension that changes what is signed or how it is checked.
    #[error("expected a signature without extensions, found {found}")]
    Extension {
        /// The extension.
        found: String,
    },
    /// It signs something other than a verdict.
    #[error("expected a signed verdict (the type {expected:?}), found {found}")]
    Type {
        /// The type of a verdict.
        expected: &'static str,
        /// The type, or that there is none.
        found: String,
    },
    /// It says that another key made it.
    #[error("expected a signature of the key {expected}, found one of the key {found:?}")]
    OtherKey {
        /// The thumbprint of the key that checks.
        expected: String,
        /// The thumbprint in the signature.
        found: String,
    },
    /// The key did not make it, or it was changed afterwards.
    #[error(
        "the signature is not one of the key {key} over this content: one of the two was changed, or another key signed"
    )]
    Wrong {
        /// The thumbprint of the key that checks.
        key: String,
    },
    /// The signature is valid, but it signs a statement that this version cannot read.
    #[error("expected a signed statement of version {expected}, found {found}")]
    Statement {
        /// The version that is read.
        expected: u32,
        /// What was found.
        found: String,
    },
}
