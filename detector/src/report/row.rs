//! The line of JSON around a report.

use serde::{Deserialize, Serialize};

use super::SCHEMA_VERSION;

/// What a program prints of one input: a report, and which input it is about.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Row<T> {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// Where the text came from: a path, `-`, or the id of a JSON line.
    pub input: String,
    /// The report; its fields are in the same JSON object as the two above.
    #[serde(flatten)]
    pub report: T,
}

impl<T> Row<T> {
    /// Returns the row of `report` on the input named `input`.
    pub fn new(input: impl Into<String>, report: T) -> Self {
        Self { schema_version: SCHEMA_VERSION, input: input.into(), report }
    }
}

/// The row of an input that could not be scored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Failure {
    /// What was expected, what was found, what to do.
    pub error: String,
}

impl Failure {
    /// Returns the failure for the reason `error`.
    pub fn new(error: impl Into<String>) -> Self {
        Self { error: error.into() }
    }
}
