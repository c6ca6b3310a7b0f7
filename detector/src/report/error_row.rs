//! What is said of an input that could not be read.

use serde::{Deserialize, Serialize};

/// One input that could not be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ErrorRow {
    /// [`SCHEMA_VERSION`](super::SCHEMA_VERSION).
    pub schema_version: u32,
    /// As in [`Report`](super::Report).
    pub input: String,
    /// What was expected, what was found, what to do.
    pub error: String,
}
