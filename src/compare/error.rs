//! Errors of comparisons.

/// Error from comparing answers.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum CompareError {
    /// A row lacks something that it needs.
    #[error("{place}: expected {expected}, found {found}")]
    Row {
        /// File and line.
        place: String,
        /// What the row needs.
        expected: String,
        /// What the row has.
        found: String,
    },
    /// Two rows that are paired by their id have different prompts.
    #[error("{a} and {b} have one id, {id}, and different prompts; expected one prompt")]
    Prompts {
        /// Place of the first row.
        a: String,
        /// Place of the second row.
        b: String,
        /// Their id, as it was written.
        id: String,
    },
    /// A template lacks a part that a judge's prompt needs.
    #[error(
        "expected {{prompt}}, {{response_a}} and {{response_b}} in the judge's prompt, found no {{{missing}}}"
    )]
    Template {
        /// Name of the missing part.
        missing: &'static str,
    },
}
