//! One line of a model's answers.

use serde_json::{Map, Value};

use super::CompareError;

/// Fields in which a plain line may have its text; the first that is present counts. Receipts use `text`, samples of an
/// evaluation use `answer`.
const TEXTS: [&str; 5] = ["response", "text", "completion", "output", "answer"];

/// A model's response.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Response {
    /// Text of the response.
    pub text: String,
    /// Its length in the model's tokens.
    pub tokens: Option<u64>,
    /// Tokens per second at which it was written.
    pub tokens_per_s: Option<f64>,
    /// Its place: file and line.
    pub place: String,
}

/// A line of a model's answers.
///
/// It is a plain line such as `{"prompt": "Why is the sky blue?", "response": "Because …", "tags": ["science"]}`, a receipt of
/// `wmgen generate`, or a sample of `wmgen eval`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Row {
    /// Id as it was written, if there is one.
    pub id: Option<String>,
    /// Number of the prompt's line in the file of prompts, in a receipt.
    pub line: Option<u64>,
    /// The prompt; `None` in a receipt, which has its ids.
    pub prompt: Option<String>,
    /// Token ids of the prompt, in a receipt.
    pub prompt_tokens: Option<Vec<u32>>,
    /// Tags: the kinds of prompt that it belongs to.
    pub tags: Vec<String>,
    /// Whether the answer is marked, in a sample of an evaluation.
    pub marked: Option<bool>,
    /// The model, if the line names it.
    pub model: Option<String>,
    /// The answer.
    pub response: Response,
}

impl Row {
    /// Parses a line. `id` is the line's id as it was written.
    ///
    /// # Errors
    /// Returns an error if a required field is missing, or a field has the wrong type.
    pub fn parse(line: &Value, id: Option<String>, place: &str) -> Result<Self, CompareError> {
        let fields = Fields { fields: line.as_object(), place };
        let Some(object) = fields.fields else {
            return Err(fields.wrong("a JSON object", kind(line)));
        };
        let text = TEXTS.iter().find_map(|name| object.get(*name).map(|text| (*name, text)));
        let Some((name, text)) = text else {
            let names: Vec<&str> = object.keys().map(String::as_str).take(12).collect();
            let found =
                if names.is_empty() { "no field".into() } else { format!("the fields {}", names.join(", ")) };
            return Err(fields.wrong(&format!("an answer in one of the fields {}", TEXTS.join(", ")), &found));
        };
        let text = fields.string(name, text)?;
        let is_sample = ["task", "document", "marked", "run"].iter().all(|name| object.contains_key(*name));
        let (mut tags, mut id) = (fields.tags()?, id);
        if is_sample {
            let part = |name: &str| object[name].to_string();
            id = Some(format!(
                "{} document {} run {}",
                part("task").trim_matches('"'),
                part("document"),
                part("run")
            ));
            tags.extend(object["task"].as_str().map(str::to_owned));
        }
        let prompt = match object.get("prompt") {
            None | Some(Value::Null) => None,
            Some(prompt) => Some(fields.string("prompt", prompt)?),
        };
        let prompt_tokens: Option<Vec<u32>> = match object.get("prompt_tokens") {
            None | Some(Value::Null) => None,
            Some(ids) => {
                let read = serde_json::from_value(ids.clone());
                Some(read.map_err(|_| fields.wrong("an array of token ids in prompt_tokens", kind(ids)))?)
            }
        };
        if prompt.is_none() && prompt_tokens.is_none() {
            return Err(fields.wrong("the field prompt", "no such field"));
        }
        let tokens = match object.get("tokens") {
            None | Some(Value::Null) => None,
            Some(Value::Array(ids)) => Some(ids.len() as u64),
            Some(number) => Some(number.as_u64().ok_or_else(|| {
                fields.wrong("a number of tokens, or their ids, in tokens", &number.to_string())
            })?),
        };
        let speed = fields.number(object.get("timing").and_then(Value::as_object), "tokens_per_s")?;
        let speed = speed.or(fields.number(fields.fields, "tokens_per_s")?);
        let seconds = fields.number(fields.fields, "seconds")?.filter(|seconds| *seconds > 0.0);
        let of_seconds = || Some(tokens? as f64 / seconds?);
        let model = match object.get("model") {
            Some(Value::Object(model)) => model.get("name").and_then(Value::as_str),
            Some(Value::String(model)) => Some(model.as_str()),
            _ => None,
        };
        Ok(Self {
            id,
            line: object.get("line").and_then(Value::as_u64),
            prompt,
            prompt_tokens,
            tags,
            marked: is_sample.then(|| object["marked"].as_bool()).flatten(),
            model: model.map(str::to_owned),
            response: Response {
                text,
                tokens,
                tokens_per_s: speed.or_else(of_seconds),
                place: place.to_owned(),
            },
        })
    }
}

/// Fields of a line, for errors.
struct Fields<'a> {
    fields: Option<&'a Map<String, Value>>,
    place: &'a str,
}

impl Fields<'_> {
    fn wrong(&self, expected: &str, found: &str) -> CompareError {
        CompareError::Row {
            place: self.place.to_owned(),
            expected: expected.to_owned(),
            found: found.to_owned(),
        }
    }

    fn string(&self, name: &str, value: &Value) -> Result<String, CompareError> {
        let text = value.as_str().map(str::to_owned);
        text.ok_or_else(|| self.wrong(&format!("a string in {name}"), kind(value)))
    }

    fn number(&self, fields: Option<&Map<String, Value>>, name: &str) -> Result<Option<f64>, CompareError> {
        match fields.and_then(|fields| fields.get(name)) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => {
                let number = value.as_f64().filter(|number| *number >= 0.0 && number.is_finite());
                let wrong = || self.wrong(&format!("a number from 0 in {name}"), &value.to_string());
                number.map(Some).ok_or_else(wrong)
            }
        }
    }

    /// Returns the tags: `tags` is an array or a string; `tag` and `category` are strings.
    fn tags(&self) -> Result<Vec<String>, CompareError> {
        let mut tags = Vec::new();
        for name in ["tags", "tag", "category"] {
            match self.fields.and_then(|fields| fields.get(name)) {
                None | Some(Value::Null) => {}
                Some(Value::Array(all)) => {
                    for tag in all {
                        tags.push(self.string(name, tag)?);
                    }
                }
                Some(tag) => tags.push(self.string(name, tag)?),
            }
        }
        let mut once: Vec<String> = Vec::with_capacity(tags.len());
        for tag in tags {
            if !once.contains(&tag) {
                once.push(tag);
            }
        }
        Ok(once)
    }
}

/// Returns the type of a value, with its article.
fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn three_kinds_of_line_are_read() {
        let read = |line: Value| Row::parse(&line, None, "a.jsonl:3");
        let plain = read(
            json!({"prompt": "p", "response": "r", "text": "t", "tags": ["x", "y", "x"], "tokens": 8, "seconds": 2}),
        );
        let plain = plain.unwrap();
        assert_eq!((plain.response.text.as_str(), plain.tags.len()), ("r", 2));
        assert_eq!((plain.response.tokens, plain.response.tokens_per_s), (Some(8), Some(4.0)));
        let receipt = json!({"text": "t", "tokens": [1, 2], "prompt_tokens": [2, 5], "line": 4, "model": {"name": "m"}, "timing": {"tokens_per_s": 9.5}});
        let receipt = read(receipt).unwrap();
        assert_eq!((receipt.response.tokens, receipt.response.tokens_per_s), (Some(2), Some(9.5)));
        assert_eq!(
            (receipt.model.as_deref(), receipt.line, receipt.prompt_tokens),
            (Some("m"), Some(4), Some(vec![2, 5]))
        );
        let sample = json!({"task": "free_text", "marked": true, "run": 0, "document": 7, "prompt": "p", "answer": "t", "tokens": 3});
        let sample = read(sample).unwrap();
        assert_eq!(sample.id.as_deref(), Some("free_text document 7 run 0"));
        assert_eq!((sample.marked, sample.tags), (Some(true), vec!["free_text".to_owned()]));
    }

    #[test]
    fn what_is_wrong_with_a_line_is_said() {
        for (line, expected) in [
            (json!(5), "a.jsonl:3: expected a JSON object, found a number"),
            (
                json!({"prompt": "p", "body": 1}),
                "fields response, text, completion, output, answer, found the fields body, prompt",
            ),
            (json!({"response": "p"}), "expected the field prompt, found no such field"),
            (json!({"prompt": 5, "response": "p"}), "expected a string in prompt, found a number"),
            (json!({"prompt": "p", "response": ["p"]}), "expected a string in response, found an array"),
            (
                json!({"prompt": "p", "response": "p", "tags": [1]}),
                "expected a string in tags, found a number",
            ),
            (
                json!({"prompt": "p", "response": "p", "seconds": -1}),
                "expected a number from 0 in seconds, found -1",
            ),
            (json!({"prompt": "p", "response": "p", "tokens": "x"}), "found \"x\""),
        ] {
            let error = Row::parse(&line, None, "a.jsonl:3").unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
