//! What a judge is asked, and what becomes of it.

/// What was asked of the judge.
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
    /// What the draws of the reply are seeded with.
    pub seed: u64,
}

/// What becomes of a prompt.
pub(super) enum Outcome {
    /// The judge replied.
    Reply(String),
    /// The prompt does not fit into the judge's context.
    TooLong,
    /// A server took this prompt for a bad one.
    Refused,
}
