//! What a key remembers of the tokenizer that it is bound to.
//!
//! A key remembers two digests: the [fingerprint](super::TokenizerFingerprint) of the vocabulary, and one of everything
//! that decides which of its tokens a text becomes. Without the second, a tokenizer with the same vocabulary and no
//! merges would pass for the right one and find no mark. `docs/concepts/scheme.md` defines both byte for byte.
//!
//! The rules are put in a form in which a tokenizer.json and the GGUF file of the same model agree:
//!
//! - Control tokens are left out, because text never becomes one. So are user-defined tokens with names such as
//!   `<unused7>`, which one file may call control tokens.
//! - Merges that make a user-defined token are left out. Such a piece is cut out of the text before any merge, and only the
//!   tokenizer.json has these merges.
//! - A vocabulary of Gemma's kind has scores in one file and merges in the other, and they list different ways to split a
//!   piece. So the vocabulary is bound by the order in which merges make the pieces, and by which pieces their own bytes
//!   become.

use serde_json::Value;
use sha2::{Digest, Sha256};
use tokenizers::ModelWrapper;

use super::pieces::TokenKind;
use super::{Engine, Library, Tokenizer};
use crate::scheme::{Key, KeyError, TokenizerBinding};

impl Tokenizer {
    /// Returns what a key that is bound to this tokenizer remembers of it, for
    /// [`Key::with_tokenizer`](crate::Key::with_tokenizer).
    pub fn binding(&self) -> TokenizerBinding {
        TokenizerBinding { rules: Some(self.rules()), ..self.vocabulary_binding() }
    }

    /// Checks that `key` may be used with this tokenizer. A key that is bound to none may be used with any.
    ///
    /// # Errors
    /// Returns an error if the key is bound to another tokenizer.
    pub fn check_key(&self, key: &Key) -> Result<(), KeyError> {
        match key.tokenizer() {
            None => Ok(()),
            // The rules take some milliseconds.
            Some(bound) if bound.rules.is_none() => key.check_tokenizer(&self.vocabulary_binding()),
            Some(_) => key.check_tokenizer(&self.binding()),
        }
    }

    fn vocabulary_binding(&self) -> TokenizerBinding {
        TokenizerBinding { name: self.name().to_owned(), fingerprint: self.fingerprint().0, rules: None }
    }

    /// Returns SHA-256 over everything that decides which tokens a text becomes.
    fn rules(&self) -> [u8; 32] {
        *self.rules.get_or_init(|| match &self.engine {
            Engine::Compiled(compiled) => {
                // Every compiled tokenizer has the same normaliser and settings; see `compiled::build`.
                let made = compiled.made().into_iter().filter(|&(id, _)| self.is_ordinary(id));
                let made: Vec<_> = made.map(|(id, own)| [id, own.into()]).collect();
                self.digest(&made, &[], "sentencepiece-bpe")
            }
            Engine::Library(library) => {
                let Model { merges, scores, settings } = Model::of(library);
                let merges = merges.into_iter().filter(|merge| merge.iter().all(|&id| self.is_ordinary(id)));
                let merges: Vec<_> = merges.map(|[left, right, _]| [left, right]).collect();
                self.digest(&merges, &scores, &settings)
            }
        })
    }

    fn is_ordinary(&self, id: u32) -> bool {
        self.token_kind(id) == TokenKind::Ordinary
    }

    /// Returns the digest. `merges` are in order of rank, `scores` are those of a Unigram model by id.
    fn digest(&self, merges: &[[u32; 2]], scores: &[f64], settings: &str) -> [u8; 32] {
        let end = u32::MAX.to_le_bytes();
        let mut bytes = b"wmdetect tokenizer rules 1\0".to_vec();
        for id in 0..self.vocab_size() as u32 {
            let kind = match self.token_kind(id) {
                TokenKind::Ordinary => 0,
                TokenKind::Byte => 1,
                TokenKind::UserDefined => 2,
                TokenKind::Control | TokenKind::Unused => continue,
            };
            let piece = self.token_bytes(id).unwrap_or_default();
            if kind == 2 && is_name(piece) {
                continue;
            }
            bytes.extend(id.to_le_bytes());
            bytes.push(kind);
            bytes.extend((piece.len() as u32).to_le_bytes());
            bytes.extend(piece);
        }
        bytes.extend(end);
        bytes.extend(merges.iter().flatten().flat_map(|id| id.to_le_bytes()));
        bytes.extend(end);
        bytes.extend(scores.iter().flat_map(|score| score.to_bits().to_le_bytes()));
        bytes.extend(end);
        bytes.extend(settings.as_bytes());
        Sha256::digest(bytes).into()
    }
}

/// Returns whether a user-defined token is a name such as `<unused7>`: files of one model disagree on whether it is a
/// control token.
fn is_name(piece: &[u8]) -> bool {
    piece.starts_with(b"<") && piece.ends_with(b">")
}

/// The model of a tokenizer that only the library can handle.
struct Model {
    /// Left, right and resulting id, in order of rank.
    merges: Vec<[u32; 3]>,
    scores: Vec<f64>,
    settings: String,
}

impl Model {
    fn of(library: &Library) -> Self {
        let inner = &library.inner;
        let value = |part: serde_json::Result<Value>| part.unwrap_or_default();
        let mut model = value(serde_json::to_value(inner.get_model()));
        let mut take = |name: &str| model.as_object_mut().and_then(|model| model.remove(name));
        // They decide only which control token an unknown character becomes.
        for name in ["unk_token", "unk_id", "fuse_unk"] {
            take(name);
        }
        let (mut merges, mut scores) = (Vec::new(), Vec::new());
        let (vocab, pairs) = (take("vocab"), take("merges"));
        if let ModelWrapper::BPE(bpe) = inner.get_model() {
            let ids = bpe.get_vocab();
            for pair in pairs.iter().filter_map(Value::as_array).flatten() {
                let (Some(left), Some(right)) = (pair[0].as_str(), pair[1].as_str()) else { continue };
                let ids = [left, right, &format!("{left}{right}")].map(|text| ids.get(text).copied());
                if let [Some(left), Some(right), Some(whole)] = ids {
                    merges.push([left, right, whole]);
                }
            }
        } else {
            let entries = vocab.iter().filter_map(Value::as_array).flatten();
            scores.extend(entries.map(|entry| entry[1].as_f64().unwrap_or_default()));
        }
        let mut added: Vec<_> = inner.get_added_tokens_decoder().into_iter().collect();
        added.sort_unstable_by_key(|(id, _)| *id);
        let added: Vec<Value> = added
            .into_iter()
            .filter(|(_, token)| !token.special && (token.lstrip || token.rstrip || token.single_word))
            .map(|(id, token)| serde_json::json!([id, token.lstrip, token.rstrip, token.single_word]))
            .collect();
        let mut settings = String::new();
        let parts = serde_json::json!({
            "added": added,
            "model": model,
            "normalizer": value(serde_json::to_value(inner.get_normalizer())),
            "pre_tokenizer": value(serde_json::to_value(inner.get_pre_tokenizer())),
        });
        write_canonical(&parts, &mut settings);
        Self { merges, scores, settings }
    }
}

/// Writes JSON without spaces, the members of an object in order of name. Members that are null, false or empty are left
/// out, and so is `trim_offsets`, which changes no id: files of one tokenizer differ in them.
fn write_canonical(value: &Value, out: &mut String) {
    let is_said = |name: &str, value: &Value| {
        let is_empty = match value {
            Value::Null => true,
            Value::Bool(value) => !value,
            Value::String(text) => text.is_empty(),
            Value::Array(items) => items.is_empty(),
            Value::Object(members) => members.is_empty(),
            Value::Number(_) => false,
        };
        !is_empty && name != "trim_offsets"
    };
    match value {
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().filter(|(name, value)| is_said(name, value)).collect();
            members.sort_unstable_by_key(|(name, _)| *name);
            out.push('{');
            for (i, (name, value)) in members.into_iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                out.push_str(&Value::from(name.as_str()).to_string());
                out.push(':');
                write_canonical(value, out);
            }
            out.push('}');
        }
        Value::Array(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                write_canonical(item, out);
            }
            out.push(']');
        }
        value => out.push_str(&value.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn fixture(name: &str) -> std::path::PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tokenizer").join(name)
    }

    fn of_json(json: &Value) -> TokenizerBinding {
        Tokenizer::from_json(json.to_string().as_bytes(), Path::new("t.json"), None).unwrap().binding()
    }

    #[test]
    fn both_files_of_a_tokenizer_bind_alike() {
        let [json, gguf] = ["tokenizer.json", "tokenizer.gguf"]
            .map(|name| Tokenizer::open(fixture(name)).unwrap().binding());
        assert_eq!((json.fingerprint, json.rules), (gguf.fingerprint, gguf.rules));
    }

    /// What is changed in a tokenizer.json, and how.
    type Change<'a> = (&'a str, &'a dyn Fn(&mut Value));

    /// Each of these has the same vocabulary and cuts texts in another way.
    #[test]
    fn what_decides_the_ids_is_bound() {
        let json: Value = serde_json::from_slice(&std::fs::read(fixture("tokenizer.json")).unwrap()).unwrap();
        let makes = |merge: &Value, piece: &str| {
            let part = |i: usize| merge[i].as_str().unwrap_or_default().to_owned();
            part(0) + &part(1) == piece
        };
        let good = of_json(&json);
        let key = Key::from_bytes(&[7; 32], "k").unwrap().with_tokenizer(Some(good.clone()));
        let token = serde_json::json!({"id": 5000, "content": "er qu", "single_word": false, "lstrip": false,
            "rstrip": false, "normalized": false, "special": false});
        let changes: [Change<'_>; 6] = [
            ("no merges", &|json| json["model"]["merges"] = serde_json::json!([])),
            ("no way to a piece", &|json| {
                json["model"]["merges"].as_array_mut().unwrap().retain(|merge| !makes(merge, "▁the"));
            }),
            ("another order", &|json| {
                let merges = json["model"]["merges"].as_array_mut().unwrap();
                let at = merges.iter().position(|merge| makes(merge, "▁a")).unwrap();
                let merge = merges.remove(at);
                merges.push(merge);
            }),
            ("a normaliser", &|json| json["normalizer"] = serde_json::json!({"type": "Lowercase"})),
            ("a pre-tokenizer", &|json| {
                json["pre_tokenizer"] = serde_json::json!({"type": "Digits", "individual_digits": true});
            }),
            ("an added token", &|json| json["added_tokens"].as_array_mut().unwrap().push(token.clone())),
        ];
        for (name, change) in changes {
            let mut other = json.clone();
            change(&mut other);
            let tokenizer =
                Tokenizer::from_json(other.to_string().as_bytes(), Path::new("t.json"), None).unwrap();
            assert_eq!(tokenizer.fingerprint().0, good.fingerprint, "{name}");
            let error = tokenizer.check_key(&key).expect_err(name);
            assert!(matches!(error, KeyError::OtherRules { .. }), "{name}: {error}");
            // A binding without rules knows the vocabulary alone.
            let binding = TokenizerBinding { rules: None, ..good.clone() };
            let old = Key::from_bytes(&[7; 32], "k").unwrap().with_tokenizer(Some(binding));
            tokenizer.check_key(&old).unwrap();
        }
        Tokenizer::open(fixture("tokenizer.gguf")).unwrap().check_key(&key).unwrap();
    }

    #[test]
    fn what_says_nothing_is_not_bound() {
        let canonical = |json: &str| {
            let mut out = String::new();
            write_canonical(&serde_json::from_str(json).unwrap(), &mut out);
            out
        };
        let long =
            r#"{"b": [{"y": null, "x": "ä\""}, false], "a": {"trim_offsets": true, "n": 1.5}, "c": ""}"#;
        assert_eq!(canonical(long), r#"{"a":{"n":1.5},"b":[{"x":"ä\""},false]}"#);
    }
}
