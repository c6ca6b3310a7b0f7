//! Bodies of answers, in the form that clients of OpenAI's API read.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;
use serde_json::{Map, Value, json};
use wmdetect::text::{Tokenizer, Utf8Stream};
use wmgen::engine::{FinishReason, Token};
use wmgen::respond::Receipt;

use super::asked::Interface;
use super::policy::Reason;

/// Fields that all bodies of an answer share.
#[derive(Clone, Debug)]
pub(super) struct Head {
    interface: Interface,
    id: String,
    created: u64,
    model: Arc<str>,
    tokenizer: Arc<Tokenizer>,
}

/// Counts of tokens.
#[derive(Serialize, Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(super) struct Usage {
    prompt_tokens: usize,
    completion_tokens: usize,
    total_tokens: usize,
    prompt_tokens_details: PromptDetails,
}

#[derive(Serialize, Clone, Copy, Default, PartialEq, Eq, Debug)]
struct PromptDetails {
    cached_tokens: usize,
}

impl Usage {
    pub(super) fn new(prompt_tokens: usize, cached_tokens: usize, completion_tokens: usize) -> Self {
        Self {
            prompt_tokens,
            completion_tokens,
            total_tokens: prompt_tokens + completion_tokens,
            prompt_tokens_details: PromptDetails { cached_tokens },
        }
    }
}

/// What happened to the mark, over all texts of an answer.
#[derive(Serialize, Clone, Default, PartialEq, Eq, Debug)]
pub(super) struct Mark {
    /// Whether each text carries the mark.
    pub(super) applied: bool,
    /// Why one of them does not.
    pub(super) reason: Option<&'static str>,
    scheme: Option<String>,
    key_id: Option<String>,
    tokens: usize,
    marked_tokens: usize,
}

impl Mark {
    /// Sums up the receipts of an answer that was to be marked or, because of `reason`, unmarked.
    pub(super) fn of(receipts: &[Receipt], reason: Option<Reason>) -> Self {
        let first = receipts.first().map(|receipt| receipt.watermark.clone()).unwrap_or_default();
        let applied = !receipts.is_empty() && receipts.iter().all(|receipt| receipt.watermark.applied);
        let reason = reason.or((!applied).then_some(Reason::NoDraw));
        Self {
            applied,
            reason: reason.map(Reason::name),
            scheme: first.scheme,
            key_id: first.key_id,
            tokens: receipts.iter().map(|receipt| receipt.tokens.len()).sum(),
            marked_tokens: receipts.iter().map(|receipt| receipt.watermark.marked_tokens).sum(),
        }
    }

    /// Returns the value of the header `x-watermark`.
    pub(super) fn header(reason: Option<&'static str>) -> String {
        reason.map_or_else(|| "applied".into(), |reason| format!("none; reason={reason}"))
    }
}

/// Log-probabilities of some tokens of a text.
#[derive(Clone, Default, Debug)]
pub(super) struct LogprobsOf {
    tokens: Vec<Value>,
    /// For completions, the offset at which each token begins, in characters.
    offsets: Vec<usize>,
    characters: usize,
    /// Turns the tokens' bytes into the characters that are counted.
    decoder: Utf8Stream,
}

/// Value that stands for −∞, as in other servers: JSON has no infinity.
const LEAST_LOGPROB: f64 = -9999.0;

impl LogprobsOf {
    pub(super) fn push(&mut self, head: &Head, token: &Token) {
        let Some(logprobs) = &token.logprobs else { return };
        let bytes = |id: u32| head.tokenizer.token_bytes(id).unwrap_or_default();
        let entry = |id: u32, logprob: f64| {
            let name = token_name(bytes(id));
            json!({ "token": name, "logprob": logprob.max(LEAST_LOGPROB), "bytes": bytes(id) })
        };
        let mut chosen = entry(token.id, logprobs.chosen);
        let top: Vec<Value> = logprobs.top.iter().map(|(id, logprob)| entry(*id, *logprob)).collect();
        self.offsets.push(self.characters);
        self.characters += characters(&mut self.decoder, bytes(token.id));
        chosen["top_logprobs"] = Value::Array(top);
        self.tokens.push(chosen);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }

    /// Keeps only the first `count` tokens.
    pub(super) fn truncate(&mut self, count: usize) {
        self.tokens.truncate(count);
        self.offsets.truncate(count);
    }

    /// Takes the tokens that begin before this character and were not taken before.
    pub(super) fn take(&mut self, end: usize) -> Self {
        let count = self.offsets.partition_point(|&offset| offset < end);
        Self {
            tokens: self.tokens.drain(..count).collect(),
            offsets: self.offsets.drain(..count).collect(),
            ..Self::default()
        }
    }

    fn json(self, interface: Interface) -> Value {
        if interface == Interface::Chat {
            return json!({ "content": self.tokens, "refusal": null });
        }
        let field =
            |name: &str| -> Vec<Value> { self.tokens.iter().map(|token| token[name].clone()).collect() };
        let top = |token: &Value| -> Value {
            let alternatives = token["top_logprobs"].as_array().into_iter().flatten();
            let pair = |other: &Value| {
                (other["token"].as_str().unwrap_or_default().to_owned(), other["logprob"].clone())
            };
            Value::Object(alternatives.map(pair).collect::<Map<_, _>>())
        };
        json!({
            "tokens": field("token"),
            "token_logprobs": field("logprob"),
            "top_logprobs": self.tokens.iter().map(top).collect::<Vec<_>>(),
            "text_offset": self.offsets,
        })
    }
}

/// Returns the name of a token: its text, or for a part of a character its bytes, as OpenAI writes them.
fn token_name(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes.iter().fold("bytes:".to_owned(), |name, byte| format!("{name}\\x{byte:02x}")),
    }
}

/// Returns how many characters of a text these bytes complete.
fn characters(decoder: &mut Utf8Stream, bytes: &[u8]) -> usize {
    let mut text = String::new();
    decoder.push(bytes, &mut text);
    text.chars().count()
}

/// One text of a complete answer.
pub(super) struct Choice {
    pub(super) text: String,
    pub(super) finish: Option<FinishReason>,
    pub(super) logprobs: Option<LogprobsOf>,
}

/// Returns the name of a finish reason. Clients know two of them.
fn finish_name(reason: FinishReason) -> &'static str {
    match reason {
        FinishReason::Stop => "stop",
        FinishReason::Length | FinishReason::Interrupted => "length",
    }
}

impl Head {
    pub(super) fn new(
        interface: Interface,
        request_id: &str,
        model: Arc<str>,
        tokenizer: Arc<Tokenizer>,
    ) -> Self {
        let prefix = if interface == Interface::Chat { "chatcmpl" } else { "cmpl" };
        let created = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        Self { interface, id: format!("{prefix}-{request_id}"), created, model, tokenizer }
    }

    fn object(&self, object: &str, choices: Value) -> Value {
        json!({
            "id": self.id, "object": object, "created": self.created, "model": &*self.model, "choices": choices,
        })
    }

    /// Returns the body of a complete answer.
    pub(super) fn whole(&self, choices: Vec<Choice>, usage: Usage, mark: &Mark) -> Value {
        let choice = |(index, choice): (usize, Choice)| {
            let logprobs = choice.logprobs.map(|logprobs| logprobs.json(self.interface));
            let finish = choice.finish.map(finish_name);
            if self.interface == Interface::Chat {
                let message = json!({ "role": "assistant", "content": choice.text, "refusal": null });
                json!({ "index": index, "message": message, "logprobs": logprobs, "finish_reason": finish })
            } else {
                json!({ "index": index, "text": choice.text, "logprobs": logprobs, "finish_reason": finish })
            }
        };
        let object = if self.interface == Interface::Chat { "chat.completion" } else { "text_completion" };
        let mut body = self.object(object, choices.into_iter().enumerate().map(choice).collect());
        body["usage"] = json!(usage);
        body["watermark"] = json!(mark);
        body
    }

    /// Returns a chunk of a stream. The first chunk of a chat's text says who speaks.
    pub(super) fn chunk(
        &self,
        index: usize,
        first: bool,
        text: &str,
        logprobs: Option<LogprobsOf>,
        finish: Option<FinishReason>,
    ) -> Value {
        let (logprobs, finish) =
            (logprobs.map(|logprobs| logprobs.json(self.interface)), finish.map(finish_name));
        if self.interface == Interface::Completions {
            let choice =
                json!({ "index": index, "text": text, "logprobs": logprobs, "finish_reason": finish });
            return self.object("text_completion", json!([choice]));
        }
        let mut delta = Map::new();
        if first {
            delta.insert("role".into(), "assistant".into());
        }
        if first || !text.is_empty() {
            delta.insert("content".into(), text.into());
        }
        let choice = json!({ "index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish });
        self.object("chat.completion.chunk", json!([choice]))
    }

    /// Returns the chunk after all choices, which contains the usage.
    pub(super) fn usage_chunk(&self, usage: Usage, mark: &Mark) -> Value {
        let object =
            if self.interface == Interface::Chat { "chat.completion.chunk" } else { "text_completion" };
        let mut chunk = self.object(object, json!([]));
        chunk["usage"] = json!(usage);
        chunk["watermark"] = json!(mark);
        chunk
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_character_count_once_they_are_whole() {
        let mut decoder = Utf8Stream::default();
        let counts = ["a".as_bytes(), b"\xC3", b"\xA9", b"\xE2\x82", b"b", "é".as_bytes()]
            .map(|bytes| characters(&mut decoder, bytes));
        // In the text, each of the two stray bytes before "b" is one replacement character.
        assert_eq!(counts, [1, 0, 1, 0, 3, 1]);
        assert_eq!(["é".as_bytes(), b"\xC3"].map(token_name), ["é", "bytes:\\xc3"]);
    }
}
