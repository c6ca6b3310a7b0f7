//! What can go wrong.

/// Why answers cannot be compared.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum CompareError {
    /// A row without what a row needs.
    #[error("{place}: expected {expected}, found {found}")]
    Row {
        /// File and line.
        place: String,
        /// What it needs.
        expected: String,
        /// What is there.
        found: String,
    },
    /// Two rows that are paired by their id and have different prompts.
    #[error("{a} and {b} have one id, {id}, and different prompts; expected one prompt")]
    Prompts {
        /// The place of the first.
        a: String,
        /// The place of the second.
        b: String,
        /// The id, as it was written.
        id: String,
    },
    /// A template that a judge cannot be asked with.
    #[error(
        "expected {{prompt}}, {{response_a}} and {{response_b}} in the judge's prompt, found no {{{missing}}}"
    )]
    Template {
        /// What is missing.
        missing: &'static str,
    },
}
