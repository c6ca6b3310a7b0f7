//! Turns the messages of a chat into the turns of Gemma's template.

use serde::Deserialize;
use serde::de::IgnoredAny;
use wmdetect::service::ApiError;
use wmgen::text::{Role, Turn};

/// A message in the form that clients send.
#[derive(Deserialize, Clone, Debug)]
#[serde(deny_unknown_fields)]
pub(super) struct Message {
    role: String,
    content: Option<Content>,
    tool_calls: Option<Vec<IgnoredAny>>,
    #[serde(rename = "name")]
    _name: Option<IgnoredAny>,
    #[serde(rename = "refusal")]
    _refusal: Option<IgnoredAny>,
    #[serde(rename = "annotations")]
    _annotations: Option<IgnoredAny>,
    /// Part of an earlier answer that a client sends back unchanged.
    #[serde(rename = "watermark")]
    _watermark: Option<IgnoredAny>,
}

#[derive(Deserialize, Clone, Debug)]
#[serde(
    untagged,
    expecting = "expected a text or a list of parts such as {\"type\": \"text\", \"text\": \"…\"}"
)]
enum Content {
    Text(String),
    Parts(Vec<Part>),
}

#[derive(Deserialize, Clone, Debug)]
struct Part {
    #[serde(rename = "type")]
    kind: String,
    text: Option<String>,
}

/// Turns messages into turns. Leading system and developer messages become one, and parts are joined. Adjacent
/// messages of one role become one turn, with an empty line between them.
///
/// # Errors
/// Returns an error that names the message if it has another role, no text, or parts that are not text. Also returns
/// an error if a system message comes after the first turn, or the last message is not the user's.
pub(super) fn turns(messages: Vec<Message>) -> Result<Vec<Turn>, ApiError> {
    let mut turns: Vec<Turn> = Vec::new();
    for (index, message) in messages.into_iter().enumerate() {
        let at = |field: &str| format!("messages[{index}].{field}");
        let refuse =
            |field: &str, why: &str| Err(ApiError::field(at(field), format!("{}: {why}", at(field))));
        let role = match message.role.as_str() {
            "system" | "developer" => Role::System,
            "user" => Role::User,
            "assistant" => Role::Model,
            _ => return refuse("role", "expected system, developer, user or assistant"),
        };
        if message.tool_calls.is_some_and(|calls| !calls.is_empty()) {
            return refuse("tool_calls", "expected none: the model calls no tools");
        }
        let text = match message.content {
            Some(Content::Text(text)) => text,
            Some(Content::Parts(parts)) => {
                let mut texts = Vec::with_capacity(parts.len());
                for part in parts {
                    match part.text {
                        Some(text) if part.kind == "text" => texts.push(text),
                        _ => return refuse("content", "expected parts of type \"text\", each with a text"),
                    }
                }
                texts.join("\n")
            }
            None => return refuse("content", "expected a text"),
        };
        match turns.last_mut() {
            Some(last) if last.role == role => {
                last.text.push_str("\n\n");
                last.text.push_str(&text);
            }
            Some(_) if role == Role::System => {
                return refuse("role", "a system message can only stand before all others");
            }
            None if role == Role::Model => {
                return refuse("role", "expected the first message to be the user's");
            }
            Some(Turn { role: Role::System, .. }) if role == Role::Model => {
                return refuse("role", "expected a user's message after the system's");
            }
            _ => turns.push(Turn { role, text }),
        }
    }
    match turns.last().map(|turn| turn.role) {
        Some(Role::User) => Ok(turns),
        Some(_) => Err(ApiError::field("messages", "messages: expected the last message to be the user's")),
        None => Err(ApiError::field("messages", "messages: expected at least one message")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(messages: serde_json::Value) -> Result<Vec<(Role, String)>, String> {
        let messages: Vec<Message> = serde_json::from_value(messages).unwrap();
        let turns =
            turns(messages).map_err(|error| error.body()["error"]["param"].as_str().unwrap().to_owned())?;
        Ok(turns.into_iter().map(|turn| (turn.role, turn.text)).collect())
    }

    #[test]
    fn neighbours_of_one_role_are_one_turn() {
        let turns = of(json!([
            {"role": "system", "content": "be brief"},
            {"role": "developer", "content": "be kind"},
            {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
            {"role": "user", "content": "c", "name": "x"},
            {"role": "assistant", "content": "d", "refusal": null},
            {"role": "user", "content": ""},
        ]));
        let expected = [
            (Role::System, "be brief\n\nbe kind"),
            (Role::User, "a\nb\n\nc"),
            (Role::Model, "d"),
            (Role::User, ""),
        ];
        assert_eq!(turns.unwrap(), expected.map(|(role, text)| (role, text.to_owned())));
    }

    #[test]
    fn what_the_template_cannot_say_is_refused_by_name() {
        let user = json!({"role": "user", "content": "a"});
        for (messages, param) in [
            (json!([]), "messages"),
            (json!([user, {"role": "assistant", "content": "b"}]), "messages"),
            (json!([{"role": "assistant", "content": "b"}, user]), "messages[0].role"),
            (
                json!([{"role": "system", "content": "b"}, {"role": "assistant", "content": "b"}]),
                "messages[1].role",
            ),
            (json!([user, {"role": "system", "content": "b"}, user]), "messages[1].role"),
            (json!([{"role": "tool", "content": "b"}]), "messages[0].role"),
            (json!([{"role": "user"}]), "messages[0].content"),
            (json!([{"role": "user", "content": [{"type": "image_url"}]}]), "messages[0].content"),
            (
                json!([user, {"role": "assistant", "content": "", "tool_calls": [1]}, user]),
                "messages[1].tool_calls",
            ),
        ] {
            assert_eq!(of(messages.clone()), Err(param.to_owned()), "{messages}");
        }
    }
}
