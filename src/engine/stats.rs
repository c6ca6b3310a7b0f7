//! Statistics of what an engine is doing and has done.

/// What an engine was doing after a step, and what it has done since it was created.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[non_exhaustive]
pub struct Stats {
    /// Number of requests that have not begun.
    pub waiting_requests: usize,
    /// Number of requests whose prompts are being read.
    pub reading_requests: usize,
    /// Number of responses that have begun and are not complete.
    pub running_responses: usize,
    /// Number of cache bytes that the requests that have begun may need at worst.
    pub promised_bytes: usize,
    /// Their maximum: [`Options::cache_bytes`](super::Options::cache_bytes).
    pub cache_bytes: usize,
    /// Number of cache bytes that are kept for prompts that begin alike.
    pub prefix_bytes: usize,
    /// Number of prompt tokens read so far.
    pub prompt_tokens: u64,
    /// Number of prompt tokens taken over from earlier prompts so far.
    pub reused_tokens: u64,
    /// Number of response tokens so far.
    pub response_tokens: u64,
    /// Number of response tokens guessed so far. [`accepted_tokens`](Self::accepted_tokens) of them
    /// were right.
    pub drafted_tokens: u64,
    /// Number of right guesses. See [`drafted_tokens`](Self::drafted_tokens).
    pub accepted_tokens: u64,
    /// Number of calls of [`Engine::step`](super::Engine::step) so far.
    pub steps: u64,
}
