//! Trains a tokenizer like Gemma's: byte-pair encoding with byte fallback, spaces as `▁`, no prefix.
//!
//! The library learns the pieces. The merges are then written again in the way that SentencePiece and llama.cpp
//! understand a vocabulary. Every way to cut a piece into two pieces is a merge, ranked by the rank of the whole. So
//! tokenizer.json and GGUF, which holds ranks but no merges, cut a text in the same way.

use super::error::{Error, Result};
use serde_json::{Value, json};
use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap, HashSet};
use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::{AddedToken, Trainer};

/// Control tokens, in the order of their ids.
pub const CONTROL: [&str; 6] = ["<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>"];
/// Id of the padding token.
pub const PAD: u32 = 0;
/// Id of the token that ends a text.
pub const EOS: u32 = 1;
/// Id of the token that starts a text.
pub const BOS: u32 = 2;
/// Number of pieces that every vocabulary has: the control tokens and one for each byte.
const FIXED: usize = CONTROL.len() + 256;
/// A character that is rarer than one in this many is left to the byte tokens.
const RARE: u64 = 100_000;
/// Maximum number of characters in a piece.
const MAX_PIECE: usize = 16;
/// Number of occurrences that make a pair a piece.
const MIN_COUNT: u64 = 2;

/// Learns a vocabulary of `size` entries from paragraphs, and returns the text of its tokenizer.json. A short text may
/// give fewer entries.
///
/// # Errors
/// Returns an error if `size` is too small for the fixed entries, and the library's errors.
pub fn train(paragraphs: &[&str], size: usize) -> Result<String> {
    if size < FIXED + 64 {
        let expected = format!("at least {}: {FIXED} control and byte tokens, and characters", FIXED + 64);
        return Err(Error::Setting { name: "the vocabulary's size", found: size.to_string(), expected });
    }
    let failed = |error: tokenizers::Error| Error::Tokenizer { message: error.to_string() };
    let mut counts: BTreeMap<char, u64> = BTreeMap::new();
    for c in paragraphs.iter().flat_map(|p| p.chars()) {
        *counts.entry(c).or_default() += 1;
    }
    let total: u64 = counts.values().sum();
    let common = counts.values().filter(|count| **count * RARE >= total).count();
    // The characters are chosen here, with ties broken by code point. The library would leave ties to the order of a
    // hash map.
    let mut characters: Vec<(char, u64)> =
        counts.into_iter().filter(|(c, _)| !matches!(*c, ' ' | '\n' | SPACE)).collect();
    characters.sort_by_key(|(_, count)| Reverse(*count));
    characters.truncate(common.min(size - FIXED - 34));
    let alphabet: HashSet<char> = characters.iter().map(|(c, _)| *c).chain(['\n', SPACE]).collect();
    let fixed = CONTROL.iter().map(|name| (*name).to_owned()).chain((0..=255u8).map(byte_piece));
    let mut trainer = BpeTrainer::builder()
        .vocab_size(size)
        .min_frequency(MIN_COUNT)
        .show_progress(false)
        .special_tokens(fixed.map(|name| AddedToken::from(name, true)).collect())
        .limit_alphabet(alphabet.len())
        .initial_alphabet(alphabet)
        .max_token_length(Some(MAX_PIECE))
        .build();
    trainer.feed(paragraphs.iter(), |text| Ok(words(text))).map_err(failed)?;
    let mut model = BPE::default();
    trainer.train(&mut model).map_err(failed)?;
    let vocab: BTreeMap<u32, String> = model.get_vocab().into_iter().map(|(text, id)| (id, text)).collect();
    let pieces: Vec<String> = vocab.into_values().collect();
    Ok(to_json(&pieces).to_string())
}

const SPACE: char = '▁';

fn byte_piece(byte: u8) -> String {
    format!("<0x{byte:02X}>")
}

/// Splits a text into the words within which pieces are learned. A word is a run of letters, a run of marks or one
/// digit, with the space before it. A mark inside a word, as in `don't`, belongs to what follows.
fn words(text: &str) -> Vec<String> {
    #[derive(PartialEq, Clone, Copy)]
    enum Kind {
        Letter,
        Digit,
        Mark,
        Space,
    }
    let mut words: Vec<String> = Vec::new();
    let mut last = None;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let (c, mut kind) = match c {
            ' ' => (SPACE, Kind::Space),
            c if c.is_alphabetic() => (c, Kind::Letter),
            c if c.is_numeric() => (c, Kind::Digit),
            c if c.is_whitespace() => (c, Kind::Digit),
            c => (c, Kind::Mark),
        };
        let mut joins = match (last, kind) {
            (Some(Kind::Space), Kind::Space) | (None, _) => false,
            (Some(Kind::Space), _) => !c.is_whitespace(),
            (Some(last), kind) => last == kind && matches!(kind, Kind::Letter | Kind::Mark),
        };
        if matches!(c, '\'' | '’')
            && last == Some(Kind::Letter)
            && chars.peek().is_some_and(|c| c.is_alphabetic())
        {
            (kind, joins) = (Kind::Letter, false);
        }
        match words.last_mut().filter(|_| joins) {
            Some(word) => word.push(c),
            None => words.push(c.to_string()),
        }
        last = Some(kind);
    }
    words
}

/// Returns a tokenizer.json with the parts that Gemma's has; `pieces` are in the order of their ids.
fn to_json(pieces: &[String]) -> Value {
    let ordinary: HashMap<&str, usize> =
        pieces.iter().enumerate().skip(FIXED).map(|(id, piece)| (piece.as_str(), id)).collect();
    let mut merges: Vec<[&str; 2]> = Vec::new();
    for piece in pieces.iter().skip(FIXED) {
        let mut cuts: Vec<usize> = piece.char_indices().skip(1).map(|(at, _)| at).collect();
        cuts.reverse();
        let halves = cuts.into_iter().map(|at| piece.split_at(at));
        merges.extend(
            halves.filter(|(l, r)| ordinary.contains_key(l) && ordinary.contains_key(r)).map(|(l, r)| [l, r]),
        );
    }
    let added: Vec<Value> = CONTROL
        .iter()
        .enumerate()
        .map(|(id, name)| {
            json!({"id": id, "content": name, "single_word": false, "lstrip": false, "rstrip": false,
                "normalized": false, "special": true})
        })
        .collect();
    let vocab: serde_json::Map<String, Value> =
        pieces.iter().enumerate().map(|(id, piece)| (piece.clone(), json!(id))).collect();
    let bos = json!({"SpecialToken": {"id": "<bos>", "type_id": 0}});
    json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": added,
        "normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
        "pre_tokenizer": {
            "type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious", "invert": false
        },
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [bos, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [
                bos, {"Sequence": {"id": "A", "type_id": 0}},
                {"SpecialToken": {"id": "<bos>", "type_id": 1}}, {"Sequence": {"id": "B", "type_id": 1}}
            ],
            "special_tokens": {"<bos>": {"id": "<bos>", "ids": [BOS], "tokens": ["<bos>"]}}
        },
        "decoder": {
            "type": "Sequence",
            "decoders": [
                {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
                {"type": "ByteFallback"},
                {"type": "Fuse"}
            ]
        },
        "model": {
            "type": "BPE", "dropout": null, "unk_token": "<unk>", "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": true, "byte_fallback": true, "ignore_merges": false,
            "vocab": vocab, "merges": merges
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use wmdetect::text::Tokenizer;

    #[test]
    fn words_are_cut_at_spaces_marks_and_digits() {
        let cut = |text| words(text).join("|");
        assert_eq!(cut("\"Well,\" he didn't say--1871."), "\"|Well|,\"|▁he|▁didn|'t|▁say|--|1|8|7|1|.");
        assert_eq!(cut("a  b '\n"), "a|▁|▁b|▁'|\n");
    }

    #[test]
    fn characters_that_do_not_fit_are_the_last_of_the_rarest() {
        let letters: String = ('\u{c0}'..='\u{d6}').chain('A'..='Z').collect();
        let json: Value = serde_json::from_str(&train(&[letters.as_str(); 4], FIXED + 64).unwrap()).unwrap();
        let piece = |c: char| json["model"]["vocab"].get(c.to_string()).is_some();
        assert!(('A'..='Z').chain('\u{c0}'..='\u{c3}').all(piece));
        assert!(!('\u{c4}'..='\u{d6}').any(piece));
    }

    #[test]
    fn a_trained_tokenizer_reads_everything_back() {
        let text = "The old man went down to the river, and the old river went down to the sea.";
        let json = train(&[text; 4], 400).unwrap();
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("tokenizer.json"), &json).unwrap();
        let tokenizer = Tokenizer::open(dir.path()).unwrap();
        assert_eq!((tokenizer.bos(), tokenizer.eos()), (Some(BOS), Some(EOS)));
        assert_eq!(tokenizer.control_id("<end_of_turn>"), Some(5));
        for text in [text, " the  sea \n\n", "na\u{ef}ve \u{1f600} 42 <bos> \t", ""] {
            let ids = tokenizer.encode(text).unwrap().ids;
            assert_eq!(tokenizer.decode(&ids), text);
            assert!(ids.iter().all(|id| !(0..6).contains(id)), "{ids:?}");
        }
        // A frequent word is one piece.
        assert_eq!(tokenizer.encode(" river").unwrap().ids.len(), 1);
        assert_eq!(train(&[text; 4], 400).unwrap(), json);
        assert!(train(&[text], 100).is_err());
    }
}
