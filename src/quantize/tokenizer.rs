//! Converts a tokenizer.json to GGUF's vocabulary: pieces, scores and kinds.
//!
//! The file has no merges. SentencePiece's rule is to merge first the neighbours whose joined piece has the best score.
//! The score of a piece is minus the rank of the first merge that makes it.

use super::{Error, Result};
use crate::model::Config;
use serde_json::Value as Json;
use std::collections::HashMap;
use std::fs;
use std::path::Path;
use wmdetect::gguf::names::{token_type, tokenizer_key as key};
use wmdetect::gguf::{Array, Value};
use wmdetect::text::{TextError, Tokenizer};

/// Score that llama.cpp's converter gives to pieces that take part in no merge.
const NO_SCORE: f32 = -1000.0;

fn refuse<T>(reason: impl Into<String>) -> Result<T> {
    Err(Error::Tokenizer { reason: reason.into() })
}

/// Returns the `tokenizer.ggml` keys for a tokenizer.json, with as many entries as the embedding has rows.
pub(super) fn metadata(path: &Path, config: &Config) -> Result<Vec<(String, Value)>> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(e) => return refuse(format!("cannot read {}: {e}", path.display())),
    };
    let json: Json = match serde_json::from_str(&text) {
        Ok(json) => json,
        Err(e) => return refuse(format!("{} is not JSON: {e}", path.display())),
    };
    let model = &json["model"];
    if model["type"] != "BPE" || model["byte_fallback"] != true || !json["decoder"].to_string().contains('▁')
    {
        return refuse("expected BPE with byte fallback and ▁ for spaces, as Gemma has it");
    }
    let mut pieces: Vec<Option<String>> = vec![None; config.vocab];
    let mut kinds = vec![token_type::UNUSED; config.vocab];
    let mut place = |id: &Json, text: &str, kind: i32| -> Result<()> {
        match id.as_u64().and_then(|id| usize::try_from(id).ok()).filter(|id| *id < config.vocab) {
            Some(id) => {
                pieces[id] = Some(text.to_owned());
                kinds[id] = kind;
                Ok(())
            }
            None => refuse(format!("token {text:?} has id {id}, expected one below {}", config.vocab)),
        }
    };
    let empty = serde_json::Map::new();
    for (text, id) in model["vocab"].as_object().unwrap_or(&empty) {
        place(id, text, if is_byte(text) { token_type::BYTE } else { token_type::NORMAL })?;
    }
    let unknown = model["unk_token"].as_str();
    for token in json["added_tokens"].as_array().into_iter().flatten() {
        let text = token["content"].as_str().unwrap_or_default();
        let kind = match token["special"].as_bool() {
            Some(true) if Some(text) == unknown => token_type::UNKNOWN,
            Some(true) => token_type::CONTROL,
            _ => token_type::USER_DEFINED,
        };
        // The model has no row for this token, so it is neither read nor drawn: Gemma 3's token for images in a text
        // model.
        if kind == token_type::CONTROL && token["id"].as_u64().is_some_and(|id| id >= config.vocab as u64) {
            continue;
        }
        // llama.cpp looks for these in the text before it replaces spaces by ▁.
        let text = if kind == token_type::USER_DEFINED { text.replace('▁', " ") } else { text.to_owned() };
        place(&token["id"], &text, kind)?;
    }
    let ranks = ranks(model)?;
    let last = ranks.len() as f32;
    let scores = pieces.iter().zip(&kinds).enumerate().map(|(id, (piece, kind))| match (piece, *kind) {
        (Some(piece), token_type::NORMAL) => match ranks.get(piece.as_str()) {
            Some(rank) => -(*rank as f32),
            None => -last - id as f32,
        },
        (_, token_type::BYTE) => 0.0,
        _ => NO_SCORE,
    });
    let scores = scores.collect();
    let id = |name: &str| pieces.iter().position(|p| p.as_deref() == Some(name)).map(|id| id as u32);
    let mut out = vec![
        (key("model"), "llama".into()),
        (key("pre"), "default".into()),
        (key("scores"), Value::Array(Array::F32(scores))),
        (key("token_type"), Value::Array(Array::I32(kinds))),
        (key("add_bos_token"), Value::Bool(true)),
        (key("add_eos_token"), Value::Bool(false)),
        (key("add_space_prefix"), Value::Bool(false)),
    ];
    for (name, id) in [
        ("bos_token_id", config.bos.or_else(|| id("<bos>"))),
        ("eos_token_id", config.eos.first().copied().or_else(|| id("<eos>"))),
        ("unknown_token_id", unknown.and_then(id)),
        ("padding_token_id", id("<pad>")),
        ("eot_token_id", id("<end_of_turn>")),
    ] {
        if let Some(id) = id {
            out.push((key(name), Value::U32(id)));
        }
    }
    let tokens = pieces.into_iter().enumerate();
    let tokens = tokens.map(|(id, piece)| piece.unwrap_or_else(|| format!("[PAD{id}]")));
    out.push((key("tokens"), Value::Array(Array::String(tokens.collect()))));
    Ok(out)
}

fn is_byte(piece: &str) -> bool {
    piece.len() == 6 && piece.starts_with("<0x") && piece.ends_with('>')
}

/// Returns, for each piece that a merge makes, how many pieces were made before it.
fn ranks(model: &Json) -> Result<HashMap<String, usize>> {
    let mut ranks = HashMap::new();
    for merge in model["merges"].as_array().into_iter().flatten() {
        let pair = match merge {
            Json::String(pair) => pair.split_once(' '),
            Json::Array(pair) => pair.first().and_then(Json::as_str).zip(pair.get(1).and_then(Json::as_str)),
            _ => None,
        };
        let Some((left, right)) = pair else {
            return refuse(format!("a merge is {merge}, expected two pieces"));
        };
        let next = ranks.len();
        ranks.entry(format!("{left}{right}")).or_insert(next);
    }
    Ok(ranks)
}

/// Returns whether the tokenizer of a file with this header splits text as the tokenizer.json does: every piece alone,
/// and all pieces in a row.
pub(super) fn check(json: &Path, header: &[u8]) -> Result<()> {
    let reason = |e: TextError| Error::Tokenizer { reason: e.to_string() };
    let json = Tokenizer::open(json).map_err(reason)?;
    let gguf = Tokenizer::from_gguf_bytes(header, "the file").map_err(reason)?;
    if json.fingerprint() != gguf.fingerprint() {
        return refuse("the vocabulary in the file differs from tokenizer.json's");
    }
    let ids = 0..json.vocab_size() as u32;
    let texts: Vec<String> =
        ids.filter_map(|id| Some(String::from_utf8_lossy(json.token_bytes(id)?).into_owned())).collect();
    let rows = texts.chunks(64).map(<[String]>::concat);
    for text in texts.iter().cloned().chain(rows) {
        let encode = |t: &Tokenizer| t.encode(&text).map_err(reason);
        if encode(&json)?.ids != encode(&gguf)?.ids {
            return refuse(format!(
                "by its scores {text:?} is cut otherwise than by tokenizer.json's merges"
            ));
        }
    }
    Ok(())
}
