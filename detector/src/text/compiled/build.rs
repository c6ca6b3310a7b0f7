//! Compiles a tokenizer that `tokenizers` has read into tables, if the tables can handle its kind.

use std::collections::{HashMap, HashSet};

use serde::Deserialize;
use tokenizers::{ModelWrapper, NormalizerWrapper, PreTokenizerWrapper};

use super::super::pieces::{Pieces, TokenKind};
use super::super::vocabulary::Parts;
use super::encode::{Scratch, merged};
use super::store::{SECTIONS, Store};
use super::trie::{PASSED_OVER, build as build_trie};
use super::{
    Compiled, EMPTY, ID_BITS, NONE, PAIR_BITS, RANK_BITS, code_of, hash, merge_key, merge_slot, pair_bit,
    section,
};
use crate::cache::Key;

/// Byte-pair encoding as `tokenizers` writes it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Model {
    #[serde(rename = "type")]
    kind: String,
    dropout: Option<f32>,
    #[serde(rename = "unk_token")]
    _unk_token: Option<String>,
    continuing_subword_prefix: Option<String>,
    end_of_word_suffix: Option<String>,
    #[serde(rename = "fuse_unk")]
    _fuse_unk: bool,
    byte_fallback: bool,
    ignore_merges: bool,
    vocab: HashMap<String, u32>,
    /// In order of rank.
    merges: Vec<(String, String)>,
}

/// Returns the tables of `parts`, named by `key`, or `None` if the tokenizer is not of Gemma's kind:
///
/// - byte-pair encoding of the whole text, without dropout, prefix, suffix or whole words before the merges;
/// - the normaliser only writes a space as `▁`; the pre-tokenizer, if any, splits at spaces, and none are left by then;
/// - a byte token for every byte that no character of the vocabulary covers, so that no text has an unknown token, and
///   no merge of a byte token;
/// - added tokens that are found whatever stands around them;
/// - one spelling an id, fewer than 2^22 ids and fewer than 2^20 merges.
pub(in super::super) fn compile(parts: &Parts, key: &Key) -> Option<Compiled> {
    let ModelWrapper::BPE(model) = parts.inner.get_model() else { return None };
    if !writes_blocks(parts.inner.get_normalizer()?) || !splits_nothing(parts.inner.get_pre_tokenizer()) {
        return None;
    }
    let model: Model = serde_json::from_str(&serde_json::to_string(model).ok()?).ok()?;
    let plain = model.kind == "BPE"
        && model.dropout.is_none_or(|dropout| dropout == 0.0)
        && model.continuing_subword_prefix.is_none()
        && model.end_of_word_suffix.is_none()
        && model.byte_fallback
        && !model.ignore_merges
        // In the written form each id has one spelling.
        && model.vocab.len() == parts.inner.get_vocab_size(false);
    if !plain
        || parts.pieces.len() >= 1 << ID_BITS
        || model.merges.len() >= (1 << RANK_BITS) - 1
        || model.vocab.contains_key("")
        || model.vocab.values().any(|&id| id as usize >= parts.pieces.len())
    {
        return None;
    }
    let byte_ids = byte_ids(&model.vocab)?;
    let mut sections: [Vec<u8>; SECTIONS] = Default::default();
    merges(&model, &byte_ids, &mut sections)?;
    characters(&model.vocab, &mut sections);
    put(&mut sections[section::BYTE_IDS], &byte_ids);
    sections[section::META] = meta(parts);
    pieces(&parts.pieces, &mut sections);
    added(parts, &mut sections)?;

    let names = parts.inner.get_vocab(true);
    let named = names.iter().filter(|(text, id)| {
        !text.contains(' ') && matches!(parts.pieces.kind(**id), TokenKind::Ordinary | TokenKind::UserDefined)
    });
    let mut ids: Vec<u32> = named.map(|(_, &id)| id).collect();
    // So that the same source gives the same bytes.
    ids.sort_unstable();
    // First with no piece marked as its own encoding, to find out which ones are.
    sections[section::PIECES] = piece_table(&parts.pieces, &ids, |_| false);
    let draft = Compiled::new(Store::join(key, &sections));
    let (view, mut scratch) = (draft.view(), Scratch::default());
    let own: HashSet<u32> = ids
        .iter()
        .copied()
        .filter(|&id| {
            let bytes = parts.pieces.bytes(id).unwrap_or_default();
            !bytes.is_empty() && matches!(merged(&view, &mut scratch, bytes), [symbol] if symbol.id == id)
        })
        .collect();
    sections[section::PIECES] = piece_table(&parts.pieces, &ids, |id| own.contains(&id));
    Some(Compiled::new(Store::join(key, &sections)))
}

fn writes_blocks(normalizer: &NormalizerWrapper) -> bool {
    let written = serde_json::to_value(normalizer).unwrap_or_default();
    written == serde_json::json!({"type": "Replace", "pattern": {"String": " "}, "content": "▁"})
}

fn splits_nothing(pre_tokenizer: Option<&PreTokenizerWrapper>) -> bool {
    let Some(pre_tokenizer) = pre_tokenizer else { return true };
    let written = serde_json::to_value(pre_tokenizer).unwrap_or_default();
    written["type"] == "Split"
        && written["pattern"] == serde_json::json!({"String": " "})
        && written["invert"] == false
}

/// Returns the token of each byte, or `None` if a text could need one that is missing.
fn byte_ids(vocab: &HashMap<String, u32>) -> Option<Vec<u32>> {
    (0..=u8::MAX)
        .map(|byte| match vocab.get(&format!("<0x{byte:02X}>")) {
            Some(&id) => Some(id),
            // Spaces are `▁` by now.
            None if byte == b' ' => Some(NONE),
            None if byte < 0x80 && vocab.contains_key(char::from(byte).encode_utf8(&mut [0; 4])) => {
                Some(NONE)
            }
            // Bytes that UTF-8 does not have.
            None if matches!(byte, 0xC0 | 0xC1 | 0xF5..) => Some(NONE),
            None => None,
        })
        .collect()
}

/// Writes into `sections` the merges, and which characters may follow each other.
fn merges(model: &Model, byte_ids: &[u32], sections: &mut [Vec<u8>; SECTIONS]) -> Option<()> {
    let bytes: HashSet<u32> = byte_ids.iter().copied().collect();
    let mut table = vec![EMPTY; (model.merges.len() * 3 / 2 + 1).next_power_of_two()];
    let mut results = Vec::with_capacity(model.merges.len());
    let mut ascii = vec![0_u64; 256];
    let mut pairs = vec![0_u64; 1 << (PAIR_BITS - 6)];
    let mut joined = String::new();
    for (rank, (left, right)) in model.merges.iter().enumerate() {
        joined.clear();
        joined.push_str(left);
        joined.push_str(right);
        let [left, right, result] =
            [left, right, &joined].map(|text| model.vocab.get(text.as_str()).copied());
        let (left, right, result) = (left?, right?, result?);
        if bytes.contains(&left) || bytes.contains(&right) {
            return None;
        }
        results.push(result);
        let pair = merge_key(left, right);
        let mut slot = merge_slot(pair) & (table.len() - 1);
        while table[slot] != EMPTY {
            slot = (slot + 1) & (table.len() - 1);
        }
        table[slot] = pair << RANK_BITS | rank as u64;

        let codes = joined.chars().map(code);
        for (left, right) in codes.clone().zip(codes.skip(1)) {
            if left | right < 0x80 {
                ascii[(left << 1 | right >> 6) as usize] |= 1 << (right & 63);
            } else {
                let bit = pair_bit(left, right);
                pairs[bit >> 6] |= 1 << (bit & 63);
            }
        }
    }
    put(&mut sections[section::MERGES], &table);
    put(&mut sections[section::MERGED], &results);
    put(&mut sections[section::ASCII_PAIRS], &ascii);
    put(&mut sections[section::PAIRS], &pairs);
    Some(())
}

/// Returns the code point of a character of a piece, which has `▁` for a space.
fn code(c: char) -> u32 {
    if c == '▁' { 0x20 } else { c.into() }
}

fn characters(vocab: &HashMap<String, u32>, sections: &mut [Vec<u8>; SECTIONS]) {
    let mut pages = vec![0_u32; 0x1100];
    let mut chars = vec![NONE; 256];
    let mut entries: Vec<_> = vocab.iter().collect();
    entries.sort_unstable();
    for (text, &id) in entries {
        let mut codes = text.chars();
        let (Some(c), None) = (codes.next(), codes.next()) else { continue };
        // The text has none when characters are looked up.
        if c == ' ' {
            continue;
        }
        let page = &mut pages[(code(c) >> 8) as usize];
        if *page == 0 {
            *page = (chars.len() / 256) as u32;
            chars.resize(chars.len() + 256, NONE);
        }
        chars[(*page << 8 | code(c) & 0xFF) as usize] = id;
    }
    put(&mut sections[section::CHAR_PAGES], &pages);
    put(&mut sections[section::CHARS], &chars);
}

fn meta(parts: &Parts) -> Vec<u8> {
    let mut meta = Vec::new();
    put(&mut meta, &[parts.bos.unwrap_or(NONE), parts.eos.unwrap_or(NONE)]);
    meta.extend(parts.pieces.fingerprint().0);
    meta
}

fn pieces(pieces: &Pieces, sections: &mut [Vec<u8>; SECTIONS]) {
    let mut bytes = Vec::new();
    let mut ends = Vec::with_capacity(pieces.len());
    for id in 0..pieces.len() as u32 {
        sections[section::KINDS].push(code_of(pieces.kind(id)));
        bytes.extend_from_slice(pieces.bytes(id).unwrap_or_default());
        ends.push(bytes.len() as u32);
    }
    sections[section::BYTES] = bytes;
    put(&mut sections[section::ENDS], &ends);
    for (name, id) in pieces.controls() {
        put(&mut sections[section::CONTROL], &[id, name.len() as u32]);
        sections[section::CONTROL].extend_from_slice(name.as_bytes());
    }
}

/// Returns a table from the bytes of `ids` to them.
fn piece_table(pieces: &Pieces, ids: &[u32], own: impl Fn(u32) -> bool) -> Vec<u8> {
    let mut table = vec![EMPTY; (2 * ids.len()).next_power_of_two().max(2)];
    for &id in ids {
        let hash = hash(pieces.bytes(id).unwrap_or_default());
        let mut slot = hash as usize & (table.len() - 1);
        while table[slot] != EMPTY {
            slot = (slot + 1) & (table.len() - 1);
        }
        table[slot] = hash >> 32 << 32 | u64::from(id) << 1 | u64::from(own(id));
    }
    let mut section = Vec::new();
    put(&mut section, &table);
    section
}

fn added(parts: &Parts, sections: &mut [Vec<u8>; SECTIONS]) -> Option<()> {
    let tokens = parts.inner.get_added_tokens_decoder();
    let special: HashSet<&str> =
        tokens.values().filter(|token| token.special).map(|token| token.content.as_str()).collect();
    let (mut added, mut normalised) = (Vec::new(), Vec::new());
    for (&id, token) in &tokens {
        if token.single_word || token.lstrip || token.rstrip || token.content.is_empty() {
            return None;
        }
        let value = if special.contains(token.content.as_str()) { PASSED_OVER } else { id };
        if token.normalized {
            normalised.push((token.content.replace('▁', " ").into_bytes(), value));
        } else {
            added.push((token.content.clone().into_bytes(), value));
        }
    }
    for (start, strings) in [(section::ADDED, added), (section::NORMALISED, normalised)] {
        let distinct: HashSet<&[u8]> = strings.iter().map(|(string, _)| string.as_slice()).collect();
        if distinct.len() < strings.len() {
            return None;
        }
        let (first, edges, bytes, values) = build_trie(&strings);
        sections[start] = first;
        put(&mut sections[start + 1], &edges);
        sections[start + 2] = bytes;
        put(&mut sections[start + 3], &values);
    }
    Some(())
}

fn put<T: bytemuck::NoUninit>(section: &mut Vec<u8>, integers: &[T]) {
    section.extend_from_slice(bytemuck::cast_slice(integers));
}
