//! Questions to a judge, and their outcomes.

/// A question to the judge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Asked {
    pub example: usize,
    pub repeat: usize,
    pub flipped: bool,
}

/// A prompt for the judge.
pub(super) struct Job {
    pub asked: Asked,
    pub prompt: String,
    /// Seed of the reply's draws.
    pub seed: u64,
}

/// Outcome of a prompt.
pub(super) enum Outcome {
    /// The judge replied.
    Reply(String),
    /// The prompt does not fit into the judge's context.
    TooLong,
    /// A server refused this prompt as invalid.
    Refused,
}
