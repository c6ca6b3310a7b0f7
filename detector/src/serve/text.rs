//! Texts and prompts as callers send them in JSON, and how long they may be.

use serde::de::value::SeqAccessDeserializer;
use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use utoipa::ToSchema;

/// Largest number of bytes of a text that the public may ask about.
pub(super) const PUBLIC_TEXT: usize = 256 << 10;
/// Largest number of bytes of a text that experts may ask about.
pub(super) const EXPERT_TEXT: usize = 1 << 20;
/// Largest number of bytes of a body by the public. Most characters of a text take at most three times as many bytes in
/// JSON as in UTF-8, since two bytes become six (`\u00e9`).
pub(super) const PUBLIC_BODY: usize = 3 * PUBLIC_TEXT + (16 << 10);
/// Largest number of bytes of a form by somebody whose token, if there is one, is in the form. A byte of a text can
/// become three.
pub(super) const FORM_BODY: usize = 3 * EXPERT_TEXT + (16 << 10);

/// A text in JSON. Half of a surrogate pair is read as U+FFFD. Python and JavaScript write one where a text was cut
/// inside a character.
#[derive(Clone)]
pub(super) struct Text(pub(super) String);

impl Text {
    /// Takes the bytes of a JSON string, which are UTF-8 except for halves of surrogate pairs.
    fn of(bytes: &[u8]) -> Self {
        Self(match str::from_utf8(bytes) {
            Ok(text) => text.to_owned(),
            Err(_) => without_halves(bytes.to_vec()),
        })
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes;
        impl Visitor<'_> for Bytes {
            type Value = Text;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a string")
            }

            fn visit_str<E>(self, text: &str) -> Result<Text, E> {
                Ok(Text(text.to_owned()))
            }

            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Text, E> {
                Ok(Text::of(bytes))
            }
        }
        deserializer.deserialize_bytes(Bytes)
    }
}

/// Replaces each half of a surrogate pair by U+FFFD. Both take three bytes. Everything else is UTF-8, as bodies are.
fn without_halves(mut bytes: Vec<u8>) -> String {
    let mut at = 0;
    while at + 2 < bytes.len() {
        if matches!(bytes[at..at + 3], [0xED, 0xA0..=0xBF, 0x80..=0xBF]) {
            bytes[at..at + 3].copy_from_slice("\u{FFFD}".as_bytes());
            at += 2;
        }
        at += 1;
    }
    String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

/// A prompt, as text or as token ids
#[derive(Clone, ToSchema)]
#[serde(untagged)]
pub(super) enum Prompt {
    /// Text
    Text(String),
    /// Token ids
    Tokens(Vec<u32>),
}

impl<'de> Deserialize<'de> for Prompt {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Prompt;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a string or an array of token ids")
            }

            fn visit_str<E>(self, text: &str) -> Result<Prompt, E> {
                Ok(Prompt::Text(text.to_owned()))
            }

            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Prompt, E> {
                Ok(Prompt::Text(Text::of(bytes).0))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, ids: A) -> Result<Prompt, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(ids)).map(Prompt::Tokens)
            }
        }
        // For JSON this means a string or an array.
        deserializer.deserialize_bytes(Either)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_a_pair_is_one_character_and_its_neighbours_stay() {
        let text = |json: &str| serde_json::from_str::<Text>(json).unwrap().0;
        assert_eq!(text(r#""é\ud800é\udc00\ud83d\ude00""#), "é\u{fffd}é\u{fffd}\u{1f600}");
        // These begin with the same byte as a half.
        assert_eq!(text(r#""\ud800\ud7ff\ud000""#), "\u{fffd}\u{d7ff}\u{d000}");
        let prompt = |json: &str| serde_json::from_str::<Prompt>(json);
        assert!(matches!(prompt(r#""a\ud800""#), Ok(Prompt::Text(text)) if text == "a\u{fffd}"));
        assert!(matches!(prompt("[1, 2]"), Ok(Prompt::Tokens(ids)) if ids == [1, 2]));
        for wrong in ["1", "{}", "true", "[-1]", "[\"a\"]"] {
            assert!(prompt(wrong).is_err(), "{wrong}");
        }
    }
}
