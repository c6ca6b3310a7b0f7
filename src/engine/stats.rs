//! What an engine is doing and has done, in numbers.

/// What an engine was doing after a step, and what it has done since it was made.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[non_exhaustive]
pub struct Stats {
    /// Requests that have not begun.
    pub waiting_requests: usize,
    /// Requests whose prompts are being read.
    pub reading_requests: usize,
    /// Responses that have begun and are not complete.
    pub running_responses: usize,
    /// Bytes of cache that the requests that have begun may need at worst.
    pub promised_bytes: usize,
    /// The most that these may be: [`Options::cache_bytes`](super::Options::cache_bytes).
    pub cache_bytes: usize,
    /// Bytes of cache that are kept for prompts that begin alike.
    pub prefix_bytes: usize,
    /// Tokens of prompts that were read so far.
    pub prompt_tokens: u64,
    /// Tokens of prompts that were taken over from earlier prompts so far.
    pub reused_tokens: u64,
    /// Tokens of responses so far.
    pub response_tokens: u64,
    /// Tokens of responses that were guessed so far, and how many of the guesses were right.
    pub drafted_tokens: u64,
    /// See [`drafted_tokens`](Self::drafted_tokens).
    pub accepted_tokens: u64,
    /// Calls of [`Engine::step`](super::Engine::step) so far.
    pub steps: u64,
}
