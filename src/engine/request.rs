//! Requests to the engine.

use wmdetect::scheme::Watermark;

use super::model::LanguageModel;
use crate::sample::{SampleError, Sampling};

/// A prompt and how to continue it.
#[derive(Clone, Debug)]
pub struct Request {
    /// The prompt's ids, `<bos>` included; at least one.
    pub prompt: Vec<u32>,
    /// The number of responses. They share the reading of the prompt and each pass over the weights.
    pub sequences: usize,
    /// Maximum number of tokens in a response.
    pub max_tokens: usize,
    /// How to sample.
    pub sampling: Sampling,
    /// The mark of the responses, if any.
    pub watermark: Option<Watermark>,
    /// Tokens that end a response. They are not part of the response.
    pub stop_ids: Vec<u32>,
    /// Tokens that are never drawn.
    pub banned_ids: Vec<u32>,
    /// Number of most likely tokens whose log-probabilities are reported, in addition to that of each
    /// token; `None` reports none.
    pub logprobs: Option<usize>,
    /// Tenant that asks. Waiting requests of different tenants begin in turn; those of one tenant begin
    /// in order.
    pub tenant: u32,
}

impl Request {
    /// Makes a request for one unmarked response of at most 256 tokens.
    pub fn new(prompt: Vec<u32>) -> Self {
        Self {
            prompt,
            sequences: 1,
            max_tokens: 256,
            sampling: Sampling::default(),
            watermark: None,
            stop_ids: Vec::new(),
            banned_ids: Vec::new(),
            logprobs: None,
            tenant: 0,
        }
    }

    /// Checks whether `model` can answer the request with `cache_bytes` of memory for caches.
    ///
    /// # Errors
    /// Returns an error if the model can never answer it.
    pub fn check(&self, model: &impl LanguageModel, cache_bytes: usize) -> Result<(), RequestError> {
        self.sampling.check(self.watermark.is_some())?;
        if self.prompt.is_empty() {
            return Err(RequestError::EmptyPrompt);
        }
        if self.sequences == 0 {
            return Err(RequestError::NoSequences);
        }
        let (tokens, limit) = (self.prompt.len(), model.context());
        if tokens > limit {
            return Err(RequestError::Context { tokens, limit });
        }
        let vocab = model.vocab();
        if let Some(&id) = self.prompt.iter().find(|id| **id as usize >= vocab) {
            return Err(RequestError::Token { id, vocab });
        }
        let needed = self.sequences.saturating_mul(self.sequence_bytes(model));
        if needed > cache_bytes {
            return Err(RequestError::Memory { needed, limit: cache_bytes });
        }
        Ok(())
    }

    /// Returns the number of bytes that the cache of one response takes at worst.
    pub(super) fn sequence_bytes(&self, model: &impl LanguageModel) -> usize {
        if self.max_tokens == 0 {
            return 0;
        }
        // The last token is drawn and never fed.
        let positions = self.prompt.len().saturating_add(self.max_tokens - 1);
        model.cache_bytes(positions.min(model.context()))
    }
}

/// Why a request cannot be answered.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// The prompt is empty.
    #[error("the prompt has no tokens; expected at least one, usually <bos>")]
    EmptyPrompt,
    /// No response is asked for.
    #[error("0 responses asked for; expected at least 1")]
    NoSequences,
    /// A token id that the model does not have.
    #[error(
        "token id {id} of the prompt is outside the model's vocabulary of {vocab}: the tokenizer belongs to another model"
    )]
    Token {
        /// The id.
        id: u32,
        /// Size of the model's vocabulary.
        vocab: usize,
    },
    /// The prompt is longer than the context.
    #[error("{tokens} tokens do not fit in the context of {limit}: shorten the prompt")]
    Context {
        /// Number of tokens in the prompt.
        tokens: usize,
        /// Number of positions of the model.
        limit: usize,
    },
    /// The responses may need more memory than the engine may ever use.
    #[error(
        "the responses may need {needed} bytes of cache, and {limit} are allowed: ask for fewer tokens or fewer responses"
    )]
    Memory {
        /// Number of bytes needed at worst.
        needed: usize,
        /// Budget in bytes.
        limit: usize,
    },
    /// The sampling settings are out of range.
    #[error(transparent)]
    Sampling(#[from] SampleError),
    /// The engine takes no more requests.
    #[error("no more requests are taken: the engine is shutting down")]
    Draining,
}
