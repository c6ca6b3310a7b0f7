//! Examples of answers: JSON lines, each a conversation in Gemma's chat template whose answers are learned.

use super::error::{Error, Result};
use super::rows::{FixedRows, Row};
use crate::text::{Chat, Role, Turn};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::path::Path;
use wmdetect::text::Tokenizer;

/// One example in this many is held out.
const HELD_OUT: usize = 100;

#[derive(Deserialize)]
struct Message {
    role: String,
    content: String,
}

enum Side {
    Text(String),
    Messages(Vec<Message>),
}

impl<'de> Deserialize<'de> for Side {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let found = match &value {
            Value::String(text) => return Ok(Self::Text(text.clone())),
            Value::Array(_) => {
                let messages = Vec::deserialize(value).map_err(D::Error::custom)?;
                return Ok(Self::Messages(messages));
            }
            Value::Null => "null",
            Value::Bool(_) => "a boolean",
            Value::Number(_) => "a number",
            Value::Object(_) => "an object",
        };
        Err(D::Error::custom(format!("expected a string or a list of messages, found {found}")))
    }
}

/// A line: `messages`, or `prompt` and `completion`. Further fields are ignored.
#[derive(Deserialize)]
struct Line {
    messages: Option<Vec<Message>>,
    prompt: Option<Side>,
    completion: Option<Side>,
}

/// Examples as tokens.
#[derive(Debug, Clone, PartialEq)]
pub struct Examples {
    train: Vec<Row>,
    held_out: Vec<Row>,
    /// Number of examples that are left out because they have more tokens than a row.
    pub too_long: usize,
}

impl Side {
    fn turns(self, role: Role) -> Result<Vec<Turn>, String> {
        match self {
            Self::Text(text) => Ok(vec![Turn { role, text }]),
            Self::Messages(messages) => messages.into_iter().map(turn).collect(),
        }
    }
}

fn turn(message: Message) -> Result<Turn, String> {
    let role = match message.role.as_str() {
        "system" => Role::System,
        "user" => Role::User,
        "assistant" | "model" => Role::Model,
        other => return Err(format!("expected the role system, user or assistant, found {other:?}")),
    };
    Ok(Turn { role, text: message.content })
}

/// Returns the conversation of a line.
pub(crate) fn turns(line: &str) -> Result<Vec<Turn>, String> {
    let line: Line = serde_json::from_str(line).map_err(|e| match e.to_string() {
        message if message.starts_with("expected a string or a list") => message,
        message => format!(
            "expected a JSON object with \"messages\", or with \"prompt\" and \"completion\", found {message}"
        ),
    })?;
    match (line.messages, line.prompt, line.completion) {
        (Some(messages), None, None) => messages.into_iter().map(turn).collect(),
        (None, Some(prompt), Some(completion)) => {
            Ok([prompt.turns(Role::User)?, completion.turns(Role::Model)?].concat())
        }
        (messages, prompt, completion) => {
            let fields = [
                ("messages", messages.is_some()),
                ("prompt", prompt.is_some()),
                ("completion", completion.is_some()),
            ];
            let found: Vec<&str> = fields.iter().filter(|f| f.1).map(|f| f.0).collect();
            let found = if found.is_empty() { "none of them".into() } else { found.join(", ") };
            Err(format!("expected either \"messages\", or \"prompt\" and \"completion\", found {found}"))
        }
    }
}

impl Examples {
    /// Reads JSON lines. One example in a hundred is held out, at least one: those whose SHA-256 is smallest.
    ///
    /// # Errors
    /// Returns an error if a line is not an example, or fewer than two examples fit into `context` + 1 tokens.
    pub fn new(text: &str, path: &Path, tokenizer: &Tokenizer, context: usize) -> Result<Self> {
        let failed =
            |line: usize, message: String| Error::Example { path: path.into(), line: line + 1, message };
        let chat = Chat::new(tokenizer).map_err(|e| failed(0, e.to_string()))?;
        let (mut rows, mut too_long) = (Vec::new(), 0);
        for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let turns = turns(line).map_err(|message| failed(number, message))?;
            if turns.iter().any(|turn| turn.role == Role::Model && turn.text.trim().is_empty()) {
                return Err(failed(number, "expected an answer to learn, found an empty one".into()));
            }
            let (ids, said) = chat.example(&turns).map_err(|e| failed(number, e.to_string()))?;
            if ids.len() > context + 1 {
                too_long += 1;
                continue;
            }
            let prompt = said.iter().rposition(|said| !said).map_or(0, |at| at + 1);
            let row = Row { ids, mask: said[1..].to_vec(), prompt: Some(prompt), listed: None };
            rows.push((Sha256::digest(line.trim().as_bytes()), row));
        }
        if rows.is_empty() && too_long == 0 {
            return Err(failed(
                0,
                "expected at least 2 examples, found no examples: the file is empty".into(),
            ));
        }
        if rows.len() < 2 {
            let found = format!("{} of at most {} tokens, {too_long} longer ones", rows.len(), context + 1);
            let message = format!("expected at least 2 examples, of which one is held out, found {found}");
            return Err(failed(0, message));
        }
        let mut digests: Vec<_> = rows.iter().map(|(digest, _)| *digest).collect();
        digests.sort_unstable();
        // If a line occurs twice, both are on one side.
        let last = digests[rows.len().div_ceil(HELD_OUT) - 1];
        let (held_out, train): (Vec<_>, Vec<_>) = rows.into_iter().partition(|(digest, _)| *digest <= last);
        let rows = |rows: Vec<(_, Row)>| rows.into_iter().map(|(_, row)| row).collect::<Vec<_>>();
        let examples = Self { train: rows(train), held_out: rows(held_out), too_long };
        if examples.train.is_empty() {
            return Err(failed(0, "expected at least 2 different examples, found one".into()));
        }
        Ok(examples)
    }
}

impl FixedRows for Examples {
    fn train(&self) -> &[Row] {
        &self.train
    }

    fn held_out(&self) -> &[Row] {
        &self.held_out
    }

    fn name(&self) -> &'static str {
        "examples"
    }

    fn fingerprint(&self) -> String {
        let mut hash = Sha256::new();
        for rows in [&self.train, &self.held_out] {
            hash.update((rows.len() as u64).to_le_bytes());
            for row in rows {
                hash.update((row.ids.len() as u64).to_le_bytes());
                for id in &row.ids {
                    hash.update(id.to_le_bytes());
                }
                for learned in &row.mask {
                    hash.update([u8::from(*learned)]);
                }
            }
        }
        wmdetect::hex::encode(&hash.finalize())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Examples> {
        let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/tiny-gemma2");
        Examples::new(text, Path::new("e.jsonl"), &Tokenizer::open(dir).unwrap(), 60)
    }

    #[test]
    fn both_forms_are_one_and_bad_lines_are_named() {
        let both = r#"{"prompt": "Hi", "completion": "Yes"}
            {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yes"}], "id": 3}"#;
        let examples = read(both).unwrap();
        let (a, b) = (&examples.train[0], &examples.held_out[0]);
        assert_eq!(a, b);
        assert!(a.count() >= 2 && a.mask.last() == Some(&true));
        assert_eq!(a.prompt, Some(a.ids.len() - a.count()));
        let good = r#"{"prompt": "Hi", "completion": "Yes"}"#;
        let bad = [
            ("{}", "found none of them"),
            (r#"{"prompt": "Hi"}"#, "found prompt"),
            (r#"{"messages": [{"role": "judge", "content": "x"}]}"#, "\"judge\""),
            (r#"{"messages": [{"role": "user", "content": "x"}]}"#, "last turn"),
            ("no JSON", "line 2"),
            (
                r#"{"prompt": 5, "completion": "x"}"#,
                ": expected a string or a list of messages, found a number",
            ),
            (r#"{"prompt": [{"role": 5}], "completion": "x"}"#, "expected a string"),
            (r#"{"prompt": "Hi", "completion": ""}"#, "found an empty one"),
        ];
        for (line, expected) in bad {
            let message = read(&format!("{good}\n{line}")).unwrap_err().to_string();
            assert!(message.contains("e.jsonl, line 2") && message.contains(expected), "{message}");
        }
        assert!(read(good).is_err());
        assert!(read("\n").unwrap_err().to_string().contains("no examples"));
        let long = format!("{both}\n{{\"prompt\": \"{}\", \"completion\": \"b\"}}", "word ".repeat(200));
        assert_eq!(read(&long).unwrap().too_long, 1);
    }
}
