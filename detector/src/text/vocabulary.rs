//! Turns a GGUF file's vocabulary into a `tokenizers` pipeline.
//!
//! SentencePiece's BPE merges the neighbours whose joined piece has the best score. GGUF has the scores and not the
//! merges, so the merges are rebuilt: one for each way to split an ordinary piece into two ordinary pieces. They are
//! ranked by the score of the whole. Among the splits of one piece, the longer left part comes first. The published
//! tokenizer.json files of Gemma have this order. User-defined pieces never take part in a merge. They are cut out of
//! the text first, the longest at each place, as SentencePiece does it.

use std::collections::HashMap;

use tokenizers::models::bpe::{BPE, Merges, Vocab};
use tokenizers::normalizers::Replace;
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::digits::Digits;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::{AddedToken, NormalizerWrapper};

use crate::gguf::names::{GENERAL_ARCHITECTURE, GENERAL_NAME, token_type};
use crate::gguf::{GgufError, Metadata};

use super::TextError;
use super::pieces::{MAX_ID, Pieces, Spelling, TokenKind};

/// The longest piece that is accepted, in bytes. Real ones stay under 100. The work for a piece grows with the square
/// of its length.
const MAX_PIECE: usize = 512;

/// A tokenizer as a model file describes it.
pub(super) struct Parts {
    pub(super) inner: tokenizers::Tokenizer,
    pub(super) pieces: Pieces,
    pub(super) bos: Option<u32>,
    pub(super) eos: Option<u32>,
}

/// An error of the metadata or of the vocabulary in it.
#[derive(Debug)]
pub(super) enum Problem {
    Gguf(GgufError),
    Text(TextError),
}

impl From<GgufError> for Problem {
    fn from(error: GgufError) -> Self {
        Self::Gguf(error)
    }
}

impl From<TextError> for Problem {
    fn from(error: TextError) -> Self {
        Self::Text(error)
    }
}

/// Returns whether [`build`] reads this key, or it is the name.
pub(super) fn is_needed(key: &str) -> bool {
    key == GENERAL_NAME || is_rule(key)
}

/// Returns whether this key decides how texts are cut.
pub(super) fn is_rule(key: &str) -> bool {
    if let Some(key) = key.strip_prefix("tokenizer.ggml.") {
        return matches!(
            key,
            "model"
                | "pre"
                | "tokens"
                | "token_type"
                | "scores"
                | "merges"
                | "bos_token_id"
                | "eos_token_id"
                | "add_bos_token"
                | "unknown_token_id"
                | "add_space_prefix"
                | "remove_extra_whitespaces"
        );
    }
    key == GENERAL_ARCHITECTURE
}

/// Builds the tokenizer that the metadata describes.
pub(super) fn build(meta: &Metadata) -> Result<Parts, Problem> {
    let model = meta.string("tokenizer.ggml.model")?.ok_or_else(|| missing("tokenizer.ggml.model"))?;
    let spelling = match model {
        "llama" => Spelling::SentencePiece,
        "gpt2" => Spelling::ByteLevel,
        other => {
            return Err(unsupported(
                "tokenizer.ggml.model to be llama (SentencePiece BPE) or gpt2 (byte-level BPE)",
                other,
            ));
        }
    };
    let entries = entries(meta, spelling)?;
    let inner = match spelling {
        Spelling::SentencePiece => sentencepiece(meta, &entries)?,
        Spelling::ByteLevel => byte_level(meta, &entries)?,
    };
    let [bos, eos] = ["tokenizer.ggml.bos_token_id", "tokenizer.ggml.eos_token_id"].map(|key| meta.id(key));
    let (bos, eos) = (bos?, eos?);
    for (id, key) in [(bos, "bos_token_id"), (eos, "eos_token_id")] {
        if let Some(id) = id.filter(|&id| id as usize >= entries.len()) {
            return Err(TextError::Vocabulary {
                expected: format!("tokenizer.ggml.{key} below the {} tokens", entries.len()),
                found: id.to_string(),
            }
            .into());
        }
    }
    // A byte-level model was seldom trained with a token in front, even if the vocabulary names one.
    let in_front = meta.bool("tokenizer.ggml.add_bos_token")?.unwrap_or(spelling == Spelling::SentencePiece);
    Ok(Parts { inner, pieces: Pieces::new(entries, spelling)?, bos: bos.filter(|_| in_front), eos })
}

fn missing(key: &str) -> GgufError {
    GgufError::Missing { key: key.to_owned() }
}

fn unsupported(expected: &'static str, found: impl Into<String>) -> Problem {
    TextError::Unsupported { expected, found: found.into() }.into()
}

/// Returns id, spelling and kind of every token. SentencePiece's user-defined pieces are spelled with `▁`, whatever the
/// file has.
fn entries(meta: &Metadata, spelling: Spelling) -> Result<Vec<(u32, String, TokenKind)>, Problem> {
    let tokens = meta.strings("tokenizer.ggml.tokens")?.ok_or_else(|| missing("tokenizer.ggml.tokens"))?;
    let types =
        meta.integers("tokenizer.ggml.token_type")?.ok_or_else(|| missing("tokenizer.ggml.token_type"))?;
    if tokens.len() != types.len() {
        return Err(mismatch("token_type", tokens.len(), types.len()).into());
    }
    if tokens.is_empty() || tokens.len() > MAX_ID as usize {
        return Err(TextError::Vocabulary {
            expected: format!("1 to {MAX_ID} tokens"),
            found: tokens.len().to_string(),
        }
        .into());
    }
    let mut entries = Vec::with_capacity(tokens.len());
    for (id, (token, number)) in tokens.iter().zip(types).enumerate() {
        if token.len() > MAX_PIECE {
            return Err(TextError::Vocabulary {
                expected: format!("tokens of at most {MAX_PIECE} bytes"),
                found: format!("token {id} with {} bytes", token.len()),
            }
            .into());
        }
        let kind = match i32::try_from(number) {
            Ok(token_type::UNDEFINED | token_type::NORMAL) => TokenKind::Ordinary,
            Ok(token_type::UNKNOWN | token_type::CONTROL) => TokenKind::Control,
            Ok(token_type::USER_DEFINED) => TokenKind::UserDefined,
            Ok(token_type::UNUSED) => TokenKind::Unused,
            Ok(token_type::BYTE) => TokenKind::Byte,
            _ => {
                return Err(TextError::Vocabulary {
                    expected: "token types from 0 to 6".to_owned(),
                    found: format!("type {number} for token {id}"),
                }
                .into());
            }
        };
        let text = if kind == TokenKind::UserDefined && spelling == Spelling::SentencePiece {
            token.replace(' ', "▁")
        } else {
            token.clone()
        };
        entries.push((id as u32, text, kind));
    }
    Ok(entries)
}

fn mismatch(key: &str, expected: usize, found: usize) -> TextError {
    TextError::Vocabulary {
        expected: format!("as many tokenizer.ggml.{key} as tokens, {expected}"),
        found: found.to_string(),
    }
}

fn sentencepiece(
    meta: &Metadata,
    entries: &[(u32, String, TokenKind)],
) -> Result<tokenizers::Tokenizer, Problem> {
    let scores = meta.floats("tokenizer.ggml.scores")?.ok_or_else(|| missing("tokenizer.ggml.scores"))?;
    if scores.len() != entries.len() {
        return Err(mismatch("scores", entries.len(), scores.len()).into());
    }
    if let Some(id) = scores.iter().position(|score| score.is_nan()) {
        return Err(TextError::Vocabulary {
            expected: "numbers as scores".to_owned(),
            found: format!("NaN for token {id}"),
        }
        .into());
    }
    // Without the key, llama.cpp puts a space in front; the converters of Gemma have always written it.
    let gemma = meta.string(GENERAL_ARCHITECTURE)?.is_some_and(|name| name.starts_with("gemma"));
    if meta.bool("tokenizer.ggml.add_space_prefix")?.unwrap_or(!gemma) {
        return Err(unsupported(
            "a SentencePiece vocabulary without a space in front of the text (Gemma)",
            "tokenizer.ggml.add_space_prefix = true",
        ));
    }
    if meta.bool("tokenizer.ggml.remove_extra_whitespaces")?.unwrap_or(false) {
        return Err(unsupported(
            "a SentencePiece vocabulary that keeps whitespace as it is (Gemma)",
            "tokenizer.ggml.remove_extra_whitespaces = true",
        ));
    }

    let bytes = entries.iter().filter(|entry| entry.2 == TokenKind::Byte).count();
    if bytes != 0 && bytes != 256 {
        return Err(TextError::Vocabulary {
            expected: "256 byte tokens or none".to_owned(),
            found: bytes.to_string(),
        }
        .into());
    }
    let mut vocab = vocab(entries);
    let mut builder = BPE::builder().byte_fallback(bytes == 256).fuse_unk(true);
    let unknown = meta.id("tokenizer.ggml.unknown_token_id")?;
    if let Some((id, text, _)) = unknown.and_then(|id| entries.get(id as usize)) {
        vocab.entry(text.clone()).or_insert(*id);
        builder = builder.unk_token(text.clone());
    }
    builder = builder.vocab_and_merges(vocab, merges(entries, &scores));
    let space = NormalizerWrapper::Replace(Replace::new(" ", "▁").map_err(library)?);
    let mut inner = tokenizers::Tokenizer::new(builder.build().map_err(library)?);
    inner.with_normalizer(Some(space)).map_err(library)?;
    add_user_defined(&mut inner, entries)?;
    Ok(inner)
}

fn byte_level(
    meta: &Metadata,
    entries: &[(u32, String, TokenKind)],
) -> Result<tokenizers::Tokenizer, Problem> {
    let byte_level: PreTokenizerWrapper = ByteLevel::new(false, true, true).into();
    let pre = meta.string("tokenizer.ggml.pre")?.unwrap_or("default");
    let pre_tokenizer = match pre {
        "default" | "gpt-2" => byte_level,
        "smollm" => Sequence::new(vec![Digits::new(true).into(), byte_level]).into(),
        other => {
            return Err(unsupported(
                "tokenizer.ggml.pre to be gpt-2 or smollm for a byte-level vocabulary",
                other,
            ));
        }
    };
    let lines = meta.strings("tokenizer.ggml.merges")?.ok_or_else(|| missing("tokenizer.ggml.merges"))?;
    let merges = lines
        .iter()
        .map(|line| {
            // A piece may hold no space, but the separator follows at least one character.
            let (left, right) = line
                .split_once(' ')
                .filter(|(left, right)| !left.is_empty() && !right.is_empty() && !right.contains(' '))
                .ok_or_else(|| TextError::Vocabulary {
                    expected: "merges of two pieces".to_owned(),
                    found: format!("{line:?}"),
                })?;
            Ok((left.to_owned(), right.to_owned()))
        })
        .collect::<Result<Merges, TextError>>()?;
    let model = BPE::builder().vocab_and_merges(vocab(entries), merges).build().map_err(library)?;
    let mut inner = tokenizers::Tokenizer::new(model);
    inner.with_pre_tokenizer(Some(pre_tokenizer));
    add_user_defined(&mut inner, entries)?;
    Ok(inner)
}

/// Returns the ids by spelling, without control tokens, so that no text can become one. Of two tokens with the same
/// spelling the first counts.
fn vocab(entries: &[(u32, String, TokenKind)]) -> Vocab {
    // Backwards, so that the first of two overwrites the second.
    entries
        .iter()
        .rev()
        .filter(|entry| !matches!(entry.2, TokenKind::Control | TokenKind::Unused))
        .map(|(id, text, _)| (text.clone(), *id))
        .collect()
}

/// Returns the merges, as the head of this file says.
fn merges(entries: &[(u32, String, TokenKind)], scores: &[f32]) -> Merges {
    let ordinary: HashMap<&str, u32> = entries
        .iter()
        .rev()
        .filter(|entry| entry.2 == TokenKind::Ordinary)
        .map(|(id, text, _)| (text.as_str(), *id))
        .collect();
    let mut ranked: Vec<(f32, &str, &str)> = Vec::new();
    for (&text, &id) in &ordinary {
        for (at, _) in text.char_indices().skip(1) {
            let (left, right) = text.split_at(at);
            if ordinary.contains_key(left) && ordinary.contains_key(right) {
                ranked.push((scores[id as usize], left, right));
            }
        }
    }
    // Sorted down to the spelling, so that the order does not depend on the map's.
    ranked.sort_unstable_by(|a, b| {
        b.0.total_cmp(&a.0).then_with(|| b.1.len().cmp(&a.1.len())).then_with(|| (a.1, a.2).cmp(&(b.1, b.2)))
    });
    ranked.into_iter().map(|(_, left, right)| (left.to_owned(), right.to_owned())).collect()
}

/// Registers the pieces that are cut out of the text before the merges. Those with a space are looked for after the
/// spaces have become `▁`.
fn add_user_defined(
    inner: &mut tokenizers::Tokenizer,
    entries: &[(u32, String, TokenKind)],
) -> Result<(), Problem> {
    let added = entries
        .iter()
        .filter(|entry| entry.2 == TokenKind::UserDefined)
        .map(|(_, text, _)| AddedToken::from(text.clone(), false).normalized(text.contains('▁')));
    inner.add_tokens(added).map_err(library)?;
    Ok(())
}

fn library(error: tokenizers::Error) -> TextError {
    TextError::Vocabulary {
        expected: "a vocabulary that the tokenizers library accepts".to_owned(),
        found: error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gguf::{Array, Value};

    fn strings(values: Vec<String>) -> Value {
        Value::Array(Array::String(values))
    }

    fn floats(values: Vec<f32>) -> Value {
        Value::Array(Array::F32(values))
    }

    fn kinds(values: Vec<i32>) -> Value {
        Value::Array(Array::I32(values))
    }

    /// Returns a vocabulary of (spelling, score, type), as a converter would write it.
    fn metadata(model: &str, tokens: &[(&str, f32, i32)]) -> Vec<(String, Value)> {
        [
            ("model", Value::String(model.to_owned())),
            ("tokens", strings(tokens.iter().map(|t| t.0.to_owned()).collect())),
            ("scores", floats(tokens.iter().map(|t| t.1).collect())),
            ("token_type", kinds(tokens.iter().map(|t| t.2).collect())),
            ("add_space_prefix", Value::Bool(false)),
        ]
        .map(|(key, value)| (format!("tokenizer.ggml.{key}"), value))
        .into()
    }

    fn with(mut entries: Vec<(String, Value)>, key: &str, value: Option<Value>) -> Metadata {
        let key = if key.contains('.') { key.to_owned() } else { format!("tokenizer.ggml.{key}") };
        entries.retain(|entry| entry.0 != key);
        entries.extend(value.map(|value| (key, value)));
        entries.into_iter().collect()
    }

    fn spm() -> Vec<(String, Value)> {
        metadata(
            "llama",
            &[
                ("<unk>", -1000.0, 3),
                ("ab", -2.0, 1),
                ("bc", -1.0, 1),
                ("abc", -3.0, 1),
                ("a", -4.0, 1),
                ("b", -5.0, 1),
                ("c", -6.0, 1),
                ("<c>", -1000.0, 3),
                ("<", -7.0, 1),
                (">", -8.0, 1),
                ("c>", -9.0, 1),
                ("cc", -1000.0, 4),
                ("c", -1000.0, 3),
            ],
        )
    }

    fn ids(parts: &Parts, text: &str) -> Vec<u32> {
        parts.inner.encode(text, false).unwrap().get_ids().to_vec()
    }

    #[test]
    fn merges_follow_the_scores() {
        let parts = build(&spm().into_iter().collect()).unwrap();
        // "bc" (-1) before "ab" (-2); then "a" + "bc".
        assert_eq!(ids(&parts, "abc"), [3]);
        assert_eq!(ids(&parts, "abbc"), [1, 2]);
        // "cc" is cut out first although "bc" has a better score than its own.
        assert_eq!(ids(&parts, "bcc"), [5, 11]);
        // "<" + "c>" would spell a control token, which no merge makes. And "c" is the ordinary token, not its
        // namesake.
        assert_eq!(ids(&parts, "<c>"), [8, 10]);
        assert_eq!(ids(&parts, "c"), [6]);
        assert_eq!(parts.pieces.control_id("<c>"), Some(7));
    }

    #[test]
    fn byte_level_vocabularies() {
        let tokens =
            [("Ġ", 0.0, 1), ("a", 0.0, 1), ("1", 0.0, 1), ("2", 0.0, 1), ("Ġa", 0.0, 1), ("12", 0.0, 1)];
        let merges = strings(vec!["Ġ a".to_owned(), "1 2".to_owned()]);
        let mut entries = metadata("gpt2", &tokens);
        entries.push(("tokenizer.ggml.merges".to_owned(), merges));
        let parts = build(&with(entries.clone(), "pre", Some(Value::String("gpt-2".to_owned())))).unwrap();
        assert_eq!(ids(&parts, "a a12"), [1, 4, 5]);
        assert_eq!(parts.pieces.bytes(4), Some(&b" a"[..]));
        let parts = build(&with(entries.clone(), "pre", Some(Value::String("smollm".to_owned())))).unwrap();
        assert_eq!(ids(&parts, "a a12"), [1, 4, 2, 3], "smollm splits digits");
        for (key, value) in [
            ("pre", Some(Value::String("llama-bpe".to_owned()))),
            ("merges", None),
            ("merges", Some(strings(vec!["Ġa".to_owned()]))),
            ("merges", Some(strings(vec!["Ġ x".to_owned()]))),
            ("merges", Some(strings(vec!["a 1".to_owned()]))),
        ] {
            assert!(build(&with(entries.clone(), key, value)).is_err(), "{key}");
        }
    }

    #[test]
    fn bos_only_where_the_model_wants_it() {
        for (model, flag, expected) in [
            ("llama", None, Some(4)),
            ("llama", Some(Value::Bool(true)), Some(4)),
            ("llama", Some(Value::Bool(false)), None),
            ("gpt2", None, None),
            ("gpt2", Some(Value::Bool(true)), Some(4)),
        ] {
            let mut entries = spm();
            entries[0].1 = Value::String(model.to_owned());
            entries.push(("tokenizer.ggml.merges".to_owned(), strings(vec![])));
            entries.push(("tokenizer.ggml.bos_token_id".to_owned(), Value::U32(4)));
            assert_eq!(build(&with(entries, "add_bos_token", flag)).unwrap().bos, expected, "{model}");
        }
    }

    #[test]
    fn broken_vocabularies_are_errors() {
        let text = |value: &str| Some(Value::String(value.to_owned()));
        for (key, value, expected) in [
            ("model", None, "expected the key tokenizer.ggml.model, found none"),
            ("model", text("bert"), "found bert"),
            ("tokens", None, "tokenizer.ggml.tokens"),
            ("tokens", Some(strings(vec![])), "found 13"),
            ("tokens", Some(Value::Bool(true)), "an array of strings, found a boolean"),
            ("tokens", Some(strings(vec!["x".repeat(513); 13])), "token 0 with 513 bytes"),
            ("scores", None, "tokenizer.ggml.scores"),
            ("scores", Some(floats(vec![0.0; 12])), "as many tokenizer.ggml.scores as tokens, 13, found 12"),
            ("scores", Some(floats(vec![f32::NAN; 13])), "NaN for token 0"),
            ("token_type", None, "tokenizer.ggml.token_type"),
            ("token_type", Some(kinds(vec![7; 13])), "type 7 for token 0"),
            ("token_type", Some(kinds(vec![6; 13])), "found 13"),
            ("add_space_prefix", Some(Value::Bool(true)), "add_space_prefix = true"),
            ("add_space_prefix", None, "add_space_prefix = true"),
            ("bos_token_id", Some(Value::U32(13)), "bos_token_id below the 13 tokens"),
        ] {
            let problem = build(&with(spm(), key, value)).err().unwrap();
            let message = match problem {
                Problem::Gguf(error) => error.to_string(),
                Problem::Text(error) => error.to_string(),
            };
            assert!(message.contains(expected), "{key}: {message}");
        }
        // Gemma never has the space, and its oldest files do not say so.
        let mut entries = spm();
        entries.push(("general.architecture".to_owned(), Value::String("gemma2".to_owned())));
        assert!(build(&with(entries, "add_space_prefix", None)).is_ok());
    }
}
