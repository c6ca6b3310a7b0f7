//! Turns a body into a request to the engine, and checks every value.

use wmdetect::service::ApiError;
use wmgen::respond::Options;
use wmgen::sample::Sampling;
use wmgen::text::Prompt;

use super::body::{Body, Logprobs, OneOrMore, Prompts};
use super::messages::turns;

/// The called interface: chat or completions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Interface {
    Chat,
    Completions,
}

/// A request that can be fulfilled, unless the tenant, the model or the queue rules it out.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) model: Option<String>,
    pub(super) prompts: Vec<Prompt>,
    /// Options without mark, tenant and names.
    pub(super) options: Options,
    /// Maximum number of tokens in an answer; `None` for as many as allowed.
    pub(super) max_tokens: Option<usize>,
    pub(super) seed: Option<u64>,
    pub(super) watermarking: Option<bool>,
    pub(super) stream: bool,
    pub(super) include_usage: bool,
}

/// Maximum number of answers of one request.
const MOST_ANSWERS: usize = 8;
/// Maximum number of strings that end an answer, and maximum number of bytes in each.
const MOST_STOPS: (usize, usize) = (4, 256);
/// Maximum number of alternatives that are reported with a token.
const MOST_ALTERNATIVES: u32 = 20;
/// Default length of a completion, the same as OpenAI's.
const COMPLETION_TOKENS: u32 = 16;

impl Asked {
    /// Checks a body.
    ///
    /// # Errors
    /// Returns an error that names the first field that cannot be fulfilled.
    pub(super) fn new(interface: Interface, body: Body) -> Result<Self, ApiError> {
        body.check_neutral()?;
        let sampling = sampling(&body)?;
        let logprobs = logprobs(interface, &body)?;
        let n = match body.n {
            None => 1,
            Some(n) if (1..=MOST_ANSWERS as u32).contains(&n) => n as usize,
            Some(n) => return Err(expected("n", "a number from 1 to 8", n)),
        };
        let prompts = prompts(interface, body.messages, body.prompt)?;
        if prompts.len() * n > MOST_ANSWERS {
            return Err(expected("prompt", "at most 8 answers, n for each prompt", prompts.len() * n));
        }
        let max_tokens = match (body.max_completion_tokens.or(body.max_tokens), interface) {
            (Some(0), _) => return Err(expected("max_tokens", "at least 1", 0)),
            (None, Interface::Completions) => Some(COMPLETION_TOKENS as usize),
            (tokens, _) => tokens.map(|tokens| tokens as usize),
        };
        Ok(Self {
            model: body.model,
            prompts,
            options: Options {
                n,
                sampling,
                stop: stop(body.stop)?,
                logprobs,
                ignore_stops: body.ignore_eos.unwrap_or(false),
                ..Options::default()
            },
            max_tokens,
            seed: body.seed.map(i64::cast_unsigned),
            watermarking: body.watermarking,
            stream: body.stream.unwrap_or(false),
            include_usage: body.stream_options.unwrap_or_default().include_usage.unwrap_or(false),
        })
    }
}

fn expected(param: &str, expected: &str, found: impl std::fmt::Display) -> ApiError {
    ApiError::field(param, format!("{param}: expected {expected}, found {found}"))
}

/// Returns the value of a field that must be in a range.
fn within(param: &str, value: Option<f64>, default: f64, range: [f64; 2]) -> Result<f64, ApiError> {
    let value = value.unwrap_or(default);
    let [least, most] = range;
    if (least..=most).contains(&value) {
        Ok(value)
    } else {
        Err(expected(param, &format!("a number from {least} to {most}"), value))
    }
}

fn sampling(body: &Body) -> Result<Sampling, ApiError> {
    let default = Sampling::default();
    let top_k = match body.top_k {
        None => default.top_k,
        Some(-1) => 0,
        Some(k) => usize::try_from(k).map_err(|_| expected("top_k", "-1 or a number from 0", k))?,
    };
    let top_p = within("top_p", body.top_p, default.top_p, [0.0, 1.0])?;
    if top_p == 0.0 {
        return Err(expected("top_p", "a number above 0", 0));
    }
    let repeat_penalty = within("repetition_penalty", body.repetition_penalty, 1.0, [0.01, 100.0])? as f32;
    let sampling = Sampling {
        temperature: within("temperature", body.temperature, default.temperature, [0.0, 2.0])?,
        top_k,
        top_p,
        min_p: within("min_p", body.min_p, 0.0, [0.0, 1.0])?,
        frequency_penalty: within("frequency_penalty", body.frequency_penalty, 0.0, [-2.0, 2.0])?,
        presence_penalty: within("presence_penalty", body.presence_penalty, 0.0, [-2.0, 2.0])?,
        repeat_penalty,
        ..default
    };
    sampling.check(false).map_err(|error| ApiError::field("temperature", error.to_string()))?;
    Ok(sampling)
}

fn logprobs(interface: Interface, body: &Body) -> Result<Option<usize>, ApiError> {
    let alternatives = |param: &str, count: u32| {
        if count <= MOST_ALTERNATIVES {
            Ok(Some(count as usize))
        } else {
            Err(expected(param, "a number from 0 to 20", count))
        }
    };
    match (interface, body.logprobs, body.top_logprobs) {
        (Interface::Chat, Some(Logprobs::Switch(true)), top) => {
            alternatives("top_logprobs", top.unwrap_or(0))
        }
        (_, None | Some(Logprobs::Switch(false)), None)
        | (Interface::Chat, None | Some(Logprobs::Switch(false)), Some(0)) => Ok(None),
        (Interface::Chat, None | Some(Logprobs::Switch(false)), Some(_)) => {
            Err(ApiError::field("top_logprobs", "top_logprobs: expected only with \"logprobs\": true"))
        }
        (Interface::Chat, Some(Logprobs::Alternatives(_)), _) => {
            Err(ApiError::field("logprobs", "logprobs: expected true or false, found a number"))
        }
        (Interface::Completions, _, Some(_)) => Err(ApiError::field(
            "top_logprobs",
            "top_logprobs: expected only for chat; logprobs has the number",
        )),
        (Interface::Completions, Some(Logprobs::Alternatives(count)), None) => {
            alternatives("logprobs", count)
        }
        (Interface::Completions, Some(Logprobs::Switch(true)), None) => {
            Err(ApiError::field("logprobs", "logprobs: expected a number, found true"))
        }
    }
}

fn stop(stop: Option<OneOrMore<String>>) -> Result<Vec<String>, ApiError> {
    let stop = stop.map(OneOrMore::into_vec).unwrap_or_default();
    let (most, bytes) = MOST_STOPS;
    if stop.len() > most {
        return Err(expected("stop", "at most 4 strings", stop.len()));
    }
    match stop.iter().find(|string| string.is_empty() || string.len() > bytes) {
        Some(string) => Err(expected("stop", "strings of 1 to 256 bytes", format!("{} bytes", string.len()))),
        None => Ok(stop),
    }
}

fn prompts(
    interface: Interface,
    messages: Option<Vec<super::messages::Message>>,
    prompt: Option<Prompts>,
) -> Result<Vec<Prompt>, ApiError> {
    let prompts = match (interface, messages, prompt) {
        (Interface::Chat, Some(messages), None) => return Ok(vec![Prompt::Chat(turns(messages)?)]),
        (Interface::Chat, None, _) => return Err(ApiError::field("messages", "messages is missing")),
        (Interface::Chat, Some(_), Some(_)) => {
            return Err(ApiError::field("prompt", "prompt: expected only at /v1/completions"));
        }
        (Interface::Completions, Some(_), _) => {
            return Err(ApiError::field("messages", "messages: expected only at /v1/chat/completions"));
        }
        (Interface::Completions, None, None) => vec![Prompt::Text(String::new())],
        (Interface::Completions, None, Some(Prompts::Text(text))) => vec![Prompt::Text(text)],
        (Interface::Completions, None, Some(Prompts::Texts(texts))) => {
            texts.into_iter().map(Prompt::Text).collect()
        }
        (Interface::Completions, None, Some(Prompts::Ids(ids))) => vec![Prompt::Tokens(ids)],
        (Interface::Completions, None, Some(Prompts::ManyIds(lists))) => {
            lists.into_iter().map(Prompt::Tokens).collect()
        }
    };
    let is_empty = |prompt: &Prompt| matches!(prompt, Prompt::Tokens(ids) if ids.is_empty());
    if prompts.is_empty() || prompts.iter().any(is_empty) {
        return Err(ApiError::field(
            "prompt",
            "prompt: expected at least one text, or at least one token id",
        ));
    }
    Ok(prompts)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn param(interface: Interface, mut body: Value) -> Option<String> {
        match interface {
            Interface::Chat if body.get("messages").is_none() => {
                body["messages"] = json!([{"role": "user", "content": "a"}]);
            }
            _ => {}
        }
        let body: Body = serde_json::from_value(body).unwrap();
        let error = Asked::new(interface, body).err()?;
        assert_eq!(error.status(), 400);
        Some(error.body()["error"]["param"].as_str().unwrap().to_owned())
    }

    #[test]
    fn what_cannot_be_honoured_is_named() {
        for (name, bad) in [
            ("n", json!(0)),
            ("n", json!(9)),
            ("temperature", json!(2.1)),
            ("temperature", json!(1e-9)),
            ("top_p", json!(0)),
            ("top_k", json!(-2)),
            ("min_p", json!(1.5)),
            ("frequency_penalty", json!(-3)),
            ("presence_penalty", json!(3)),
            ("repetition_penalty", json!(0)),
            ("max_tokens", json!(0)),
            ("stop", json!(["a", "b", "c", "d", "e"])),
            ("stop", json!("")),
            ("logit_bias", json!({"5": 1})),
            ("tools", json!([{}])),
            ("tool_choice", json!("required")),
            ("response_format", json!({"type": "json_object"})),
            ("echo", json!(true)),
            ("suffix", json!("x")),
            ("best_of", json!(2)),
            ("stream_options", json!({"include_usage": true})),
        ] {
            for interface in [Interface::Chat, Interface::Completions] {
                assert_eq!(param(interface, json!({name: bad})).as_deref(), Some(name), "{bad}");
            }
        }
        let chat = |body| param(Interface::Chat, body);
        assert_eq!(chat(json!({"logprobs": 3})).as_deref(), Some("logprobs"));
        assert_eq!(chat(json!({"top_logprobs": 3})).as_deref(), Some("top_logprobs"));
        assert_eq!(chat(json!({"logprobs": true, "top_logprobs": 21})).as_deref(), Some("top_logprobs"));
        assert_eq!(chat(json!({"prompt": "x"})).as_deref(), Some("prompt"));
        let completions = |body| param(Interface::Completions, body);
        assert_eq!(completions(json!({"logprobs": true})).as_deref(), Some("logprobs"));
        assert_eq!(completions(json!({"prompt": []})).as_deref(), Some("prompt"));
        assert_eq!(completions(json!({"prompt": ["a", "b"], "n": 5})).as_deref(), Some("prompt"));
    }

    #[test]
    fn what_clients_send_by_default_is_taken() {
        let neutral = json!({
            "model": "m", "temperature": 1, "top_p": 1, "n": 1, "stop": null, "presence_penalty": 0,
            "frequency_penalty": 0, "logit_bias": {}, "user": "u", "tools": [], "tool_choice": "none",
            "response_format": {"type": "text"}, "logprobs": false, "stream": true,
            "stream_options": {"include_usage": true}, "metadata": {"a": "b"}, "store": false, "top_k": -1,
        });
        assert_eq!(param(Interface::Chat, neutral), None);
        for prompt in [json!("a"), json!(["a", "b"]), json!([1, 2]), json!([[1], [2, 3]]), Value::Null] {
            let body = json!({"prompt": prompt, "best_of": 1, "echo": false, "suffix": null, "logprobs": 5});
            assert_eq!(param(Interface::Completions, body), None, "{prompt}");
        }
    }
    /// Values of every kind that JSON has, with those at the edges of what fields take.
    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            (-2_i64..10).prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            (0.0..2.5).prop_map(Value::from),
            ".{0,9}".prop_map(Value::from),
            Just(Value::from("user")),
        ];
        leaf.prop_recursive(3, 12, 5, |inner| {
            let name = prop_oneof![Just("role"), Just("content"), Just("type"), Just("include_usage")];
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::btree_map(name, inner, 0..3).prop_map(|map| json!(map)),
            ]
        })
    }

    /// Some of the fields that bodies have, with any values.
    fn any_body() -> impl Strategy<Value = Value> {
        const FIELDS: [&str; 22] = [
            "messages",
            "prompt",
            "temperature",
            "top_p",
            "top_k",
            "min_p",
            "frequency_penalty",
            "presence_penalty",
            "repetition_penalty",
            "seed",
            "watermarking",
            "max_tokens",
            "max_completion_tokens",
            "n",
            "stop",
            "ignore_eos",
            "stream",
            "stream_options",
            "logprobs",
            "top_logprobs",
            "best_of",
            "no_such_field",
        ];
        prop::collection::btree_map(prop::sample::select(&FIELDS[..]), any_value(), 0..5)
            .prop_map(|map| json!(map))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        /// Whatever a client sends is refused, or asks for what the engine can do.
        #[test]
        fn a_body_is_refused_or_within_the_limits(mut body in any_body()) {
            // As it comes: from bytes.
            let parse = |body: &Value| serde_json::from_slice::<Body>(&serde_json::to_vec(body).unwrap());
            for interface in [Interface::Chat, Interface::Completions] {
                if interface == Interface::Chat {
                    body["messages"] = json!([{"role": "user", "content": "a"}]);
                }
                let Ok(parsed) = parse(&body) else { continue };
                match Asked::new(interface, parsed) {
                    Err(error) => prop_assert_eq!(error.status(), 400),
                    Ok(asked) => {
                        let Options { n, sampling, stop, logprobs, .. } = &asked.options;
                        prop_assert!((1..=MOST_ANSWERS).contains(&(n * asked.prompts.len())));
                        prop_assert!(sampling.check(false).is_ok() && asked.max_tokens != Some(0));
                        prop_assert!(stop.len() <= MOST_STOPS.0 && stop.iter().all(|stop| !stop.is_empty()));
                        prop_assert!(logprobs.is_none_or(|count| count <= MOST_ALTERNATIVES as usize));
                    }
                }
                body.as_object_mut().unwrap().remove("messages");
            }
        }
    }
}
