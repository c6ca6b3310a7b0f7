//! Bodies of requests, as clients of OpenAI's interface and of vLLM send them.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;
use utoipa::ToSchema;
use wmdetect::service::ApiError;

/// The body of `POST /v1/chat/completions`. Null is the same as absent.
#[derive(Deserialize, ToSchema, Debug)]
#[serde(deny_unknown_fields)]
pub(super) struct ChatRequest {
    /// The conversation: an optional system message, then user and assistant in turn; the last message is the user's.
    /// Neighbours of one role are joined.
    #[schema(min_items = 1)]
    pub messages: Vec<Message>,
    /// Report the log-probability of each token under the model, before filters and mark.
    pub logprobs: Option<bool>,
    /// And those of so many most likely tokens.
    #[schema(maximum = 20)]
    pub top_logprobs: Option<u32>,
    /// As `max_tokens`, and stronger.
    pub max_completion_tokens: Option<u32>,
    /// Model that is asked for; the one that `/v1/models` names, or absent.
    pub model: Option<String>,
    /// The most tokens of an answer. The server's own limit and the model's context may end it earlier.
    pub max_tokens: Option<u32>,
    /// 0 takes the most likely token, which cannot be marked.
    #[schema(minimum = 0, maximum = 2)]
    pub temperature: Option<f64>,
    /// Draw among the most likely tokens with this much probability together.
    #[schema(exclusive_minimum = 0, maximum = 1)]
    pub top_p: Option<f64>,
    /// Draw among so many most likely tokens; 0 or -1 is all.
    #[schema(minimum = -1)]
    pub top_k: Option<i64>,
    /// Leave out tokens that are less likely than this share of the most likely one's probability.
    #[schema(minimum = 0, maximum = 1)]
    pub min_p: Option<f64>,
    /// Answers to the one prompt.
    #[schema(minimum = 1, maximum = 8)]
    pub n: Option<u32>,
    /// Up to four strings that end an answer; they are not part of it.
    #[schema(value_type = Option<Stop>)]
    pub stop: Option<Stop>,
    /// The same seed gives the same answer.
    pub seed: Option<i64>,
    /// Send the answer while it is written, as server-sent events.
    pub stream: Option<bool>,
    /// With `stream`.
    pub stream_options: Option<StreamOptions>,
    /// Lower a token's logit by this, times how often the answer has it.
    #[schema(minimum = -2, maximum = 2)]
    pub frequency_penalty: Option<f64>,
    /// Lower the logits of tokens that the answer has.
    #[schema(minimum = -2, maximum = 2)]
    pub presence_penalty: Option<f64>,
    /// Make tokens of prompt and answer less likely; 1 does nothing.
    #[schema(exclusive_minimum = 0)]
    pub repetition_penalty: Option<f64>,
    /// Write `max_tokens` tokens whatever the model wants; for benchmarks.
    pub ignore_eos: Option<bool>,
    /// Whether the answer is to carry the mark; absent is what the tenant's policy says.
    pub watermarking: Option<bool>,
    /// Must be empty: biased answers would show the key.
    pub logit_bias: Option<BTreeMap<String, f64>>,
    /// Must be empty: there are no tools here.
    #[schema(max_items = 0)]
    pub tools: Option<Vec<Value>>,
    /// Only "none" or "auto", since there are no tools here.
    pub tool_choice: Option<Value>,
    /// Only `{"type": "text"}`.
    pub response_format: Option<ResponseFormat>,
    #[serde(flatten)]
    #[schema(inline)]
    pub harmless: Harmless,
}

/// The body of `POST /v1/completions`. Null is the same as absent.
#[derive(Deserialize, ToSchema, Debug)]
#[serde(deny_unknown_fields)]
pub(super) struct CompletionRequest {
    /// A text or several, or their token ids; absent is an empty text.
    #[schema(value_type = Option<PromptSchema>)]
    pub prompt: Option<Value>,
    /// Report the log-probability of each token, and those of so many most likely tokens.
    #[schema(maximum = 20)]
    pub logprobs: Option<u32>,
    /// Must be null or false.
    pub echo: Option<bool>,
    /// Must be null or empty.
    #[schema(max_length = 0)]
    pub suffix: Option<String>,
    /// Must be `n`.
    pub best_of: Option<u32>,
}
