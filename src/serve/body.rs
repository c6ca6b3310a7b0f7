//! Bodies of requests, in the form that clients of OpenAI's API and of vLLM send. `openapi.json` explains each field.

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Value};
use wmdetect::service::ApiError;

use crate::serve::messages::Message;

/// Fields of `POST /v1/chat/completions` and of `POST /v1/completions`. Null is the same as absent. Fields that are not
/// listed here are refused.
#[derive(Deserialize, Default, Debug)]
#[serde(deny_unknown_fields)]
pub(super) struct Body {
    pub(super) model: Option<String>,

    // What to answer: the first field is for chat, the second for completions.
    pub(super) messages: Option<Vec<Message>>,
    pub(super) prompt: Option<Prompts>,

    // How to draw.
    pub(super) temperature: Option<f64>,
    pub(super) top_p: Option<f64>,
    pub(super) top_k: Option<i64>,
    pub(super) min_p: Option<f64>,
    pub(super) frequency_penalty: Option<f64>,
    pub(super) presence_penalty: Option<f64>,
    pub(super) repetition_penalty: Option<f64>,
    pub(super) seed: Option<i64>,
    pub(super) watermarking: Option<bool>,

    // How much to write.
    pub(super) max_tokens: Option<u32>,
    pub(super) max_completion_tokens: Option<u32>,
    pub(super) n: Option<u32>,
    pub(super) stop: Option<OneOrMore<String>>,
    pub(super) ignore_eos: Option<bool>,

    // How to answer.
    pub(super) stream: Option<bool>,
    pub(super) stream_options: Option<StreamOptions>,
    pub(super) logprobs: Option<Logprobs>,
    pub(super) top_logprobs: Option<u32>,

    // These must have their neutral value, because they cannot be fulfilled.
    logit_bias: Option<Map<String, Value>>,
    tools: Option<Vec<IgnoredAny>>,
    functions: Option<Vec<IgnoredAny>>,
    tool_choice: Option<Value>,
    function_call: Option<Value>,
    response_format: Option<Value>,
    modalities: Option<Vec<String>>,
    echo: Option<bool>,
    suffix: Option<String>,
    best_of: Option<u32>,

    // These have no effect here.
    #[serde(rename = "user")]
    _user: Option<IgnoredAny>,
    #[serde(rename = "metadata")]
    _metadata: Option<IgnoredAny>,
    #[serde(rename = "store")]
    _store: Option<IgnoredAny>,
    #[serde(rename = "service_tier")]
    _service_tier: Option<IgnoredAny>,
    #[serde(rename = "parallel_tool_calls")]
    _parallel_tool_calls: Option<IgnoredAny>,
    #[serde(rename = "safety_identifier")]
    _safety_identifier: Option<IgnoredAny>,
    #[serde(rename = "prompt_cache_key")]
    _prompt_cache_key: Option<IgnoredAny>,
    #[serde(rename = "prompt_cache_retention")]
    _prompt_cache_retention: Option<IgnoredAny>,
}

/// One value, or a list of them.
#[derive(Deserialize, Clone, Debug)]
#[serde(untagged, expecting = "expected a value or a list of values of one type")]
pub(super) enum OneOrMore<T> {
    One(T),
    More(Vec<T>),
}

impl<T> OneOrMore<T> {
    pub(super) fn into_vec(self) -> Vec<T> {
        match self {
            Self::One(one) => vec![one],
            Self::More(more) => more,
        }
    }
}

/// Prompts of a completion: texts or token ids.
#[derive(Deserialize, Clone, Debug)]
#[serde(
    untagged,
    expecting = "expected a text, a list of texts, a list of token ids, or a list of such lists"
)]
pub(super) enum Prompts {
    Text(String),
    Texts(Vec<String>),
    Ids(Vec<u32>),
    ManyIds(Vec<Vec<u32>>),
}

/// `logprobs`: a switch in chat, a number of alternatives in completions.
#[derive(Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(untagged, expecting = "expected true or false for chat, a number for completions")]
pub(super) enum Logprobs {
    Switch(bool),
    Alternatives(u32),
}

#[derive(Deserialize, Clone, Copy, Default, Debug)]
#[serde(deny_unknown_fields)]
pub(super) struct StreamOptions {
    pub(super) include_usage: Option<bool>,
    #[serde(rename = "include_obfuscation")]
    _include_obfuscation: Option<IgnoredAny>,
    #[serde(rename = "continuous_usage_stats")]
    continuous_usage_stats: Option<bool>,
}

impl Body {
    /// Refuses fields that cannot be fulfilled.
    ///
    /// # Errors
    /// Returns an error that names the field.
    pub(super) fn check_neutral(&self) -> Result<(), ApiError> {
        let refuse = |param: &str, why: &str| Err(ApiError::field(param, format!("{param}: {why}")));
        if self.logit_bias.as_ref().is_some_and(|bias| !bias.is_empty()) {
            return refuse(
                "logit_bias",
                "expected nothing: biased answers would help to learn and to forge the mark",
            );
        }
        if self.tools.as_ref().is_some_and(|tools| !tools.is_empty()) {
            return refuse("tools", "expected an empty list: the model calls no tools");
        }
        if self.functions.as_ref().is_some_and(|functions| !functions.is_empty()) {
            return refuse("functions", "expected an empty list: the model calls no functions");
        }
        for (param, choice) in [("tool_choice", &self.tool_choice), ("function_call", &self.function_call)] {
            if choice.as_ref().is_some_and(|choice| choice != "none" && choice != "auto") {
                return refuse(param, "expected \"none\" or \"auto\": the model calls no tools");
            }
        }
        if let Some(format) = &self.response_format
            && (format.get("type") != Some(&Value::from("text")))
        {
            return refuse(
                "response_format",
                "expected {\"type\": \"text\"}: answers are not held to a grammar",
            );
        }
        if self.modalities.as_ref().is_some_and(|kinds| kinds.iter().any(|kind| kind != "text")) {
            return refuse("modalities", "expected [\"text\"]: the model writes text alone");
        }
        if self.echo == Some(true) {
            return refuse("echo", "expected false: the prompt is not part of the answer");
        }
        if self.suffix.as_ref().is_some_and(|suffix| !suffix.is_empty()) {
            return refuse("suffix", "expected nothing: the model only continues");
        }
        if self.best_of.is_some_and(|best_of| best_of != self.n.unwrap_or(1)) {
            return refuse("best_of", "expected the value of n: all answers are returned");
        }
        let options = self.stream_options.unwrap_or_default();
        if options.continuous_usage_stats == Some(true) {
            return refuse(
                "stream_options.continuous_usage_stats",
                "expected false: usage comes once, at the end",
            );
        }
        if self.stream_options.is_some() && self.stream != Some(true) {
            return refuse("stream_options", "expected only with \"stream\": true");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_field_is_described() {
        let document: Value = serde_json::from_str(super::super::OPENAPI).unwrap();
        let properties = |schema: &str| -> BTreeSet<String> {
            let properties = document["components"]["schemas"][schema]["properties"].as_object().unwrap();
            properties.keys().cloned().collect()
        };
        let described: BTreeSet<String> =
            ["Sampling", "ChatRequest", "CompletionRequest"].into_iter().flat_map(properties).collect();
        // Serde's message lists all fields.
        let message = serde_json::from_str::<Body>(r#"{"no such field": 1}"#).unwrap_err().to_string();
        let (_, list) = message.split_once("expected one of ").unwrap();
        let fields: BTreeSet<String> = list.split('`').skip(1).step_by(2).map(str::to_owned).collect();
        assert_eq!(described, fields);
        let nulls: Map<String, Value> = described.into_iter().map(|name| (name, Value::Null)).collect();
        serde_json::from_value::<Body>(nulls.into()).unwrap();
    }
}
