//! Tells which tokens end a response, and which never occur in one.

use wmdetect::text::{TokenKind, Tokenizer};

use super::stop_ids;

/// Names that tokenizer.json lists as text although they control the model: placeholders from Gemma's training.
const NAMES: [&str; 5] = ["<mask>", "<2mass>", "[@BOS@]", "[multimodal]", "[toxicity=0]"];

/// The tokens of a model that are not text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpecialTokens {
    /// Tokens that end a response.
    pub stops: Vec<u32>,
    /// Tokens that are never drawn: the other control tokens, unused tokens, and rows of the model's head that have no
    /// token.
    pub never: Vec<u32>,
}

impl SpecialTokens {
    /// Sorts the ids below `vocab`, the size of the model's vocabulary, by what `tokenizer` says about them. `eos` are
    /// the end tokens that the model's configuration names.
    pub fn new(tokenizer: &Tokenizer, vocab: usize, eos: &[u32]) -> Self {
        let mut stops = stop_ids(tokenizer);
        stops.extend(eos);
        let never = (0..vocab as u32).filter(|id| !stops.contains(id) && !is_text(tokenizer, *id)).collect();
        Self { stops, never }
    }
}

/// Returns whether a token stands for text.
fn is_text(tokenizer: &Tokenizer, id: u32) -> bool {
    match tokenizer.token_kind(id) {
        TokenKind::Ordinary | TokenKind::Byte => true,
        TokenKind::Control | TokenKind::Unused => false,
        TokenKind::UserDefined => {
            let name = tokenizer.token_bytes(id).and_then(|bytes| std::str::from_utf8(bytes).ok());
            !name.is_some_and(|name| NAMES.contains(&name) || is_unused(name))
        }
    }
}

/// Returns whether a name is that of a spare token, such as `<unused7>`.
fn is_unused(name: &str) -> bool {
    let number = name.strip_prefix("<unused").and_then(|name| name.strip_suffix('>'));
    number.is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns a tokenizer.json with these added tokens, from id 0 on, and two letters.
    fn tokenizer(added: &[(&str, bool)]) -> Tokenizer {
        let tokens: Vec<_> = (0u32..)
            .zip(added)
            .map(|(id, (content, special))| {
                serde_json::json!({"id": id, "content": content, "special": special, "single_word": false,
                    "lstrip": false, "rstrip": false, "normalized": false})
            })
            .collect();
        let mut vocab: serde_json::Map<String, serde_json::Value> =
            (0u32..).zip(added).map(|(id, (content, _))| ((*content).to_owned(), id.into())).collect();
        for letter in ["a", "b"] {
            vocab.insert(letter.to_owned(), vocab.len().into());
        }
        let json = serde_json::json!({"version": "1.0", "added_tokens": tokens,
            "normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
            "decoder": {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
            "model": {"type": "BPE", "vocab": vocab, "merges": [], "unk_token": "<unk>"}});
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tokenizer.json");
        std::fs::write(&path, json.to_string()).unwrap();
        Tokenizer::open(path).unwrap()
    }

    /// The added tokens are a selection from the published files, including whether `special` is set.
    #[test]
    fn of_gemmas_added_tokens_only_text_is_drawn_and_only_ends_end() {
        let gemma2: &[(&str, bool)] = &[
            ("<pad>", true),
            ("<eos>", true),
            ("<bos>", true),
            ("<unk>", true),
            ("<mask>", false),
            ("<2mass>", false),
            ("[@BOS@]", false),
            ("<unused0>", false),
            ("<unused99>", false),
            ("<start_of_turn>", true),
            ("<end_of_turn>", true),
            ("[toxicity=0]", false),
            ("\n\n", false),
            ("<table>", false),
            ("</code>", false),
            ("\t\t", false),
        ];
        let gemma3: &[(&str, bool)] = &[
            ("<pad>", true),
            ("<eos>", true),
            ("<bos>", true),
            ("<unk>", true),
            ("<mask>", false),
            ("[multimodal]", false),
            ("<unused6241>", false),
            ("<start_of_turn>", true),
            ("<end_of_turn>", true),
            ("<start_of_image>", true),
            ("<end_of_image>", true),
            ("<image_soft_token>", true),
            ("\n", false),
            ("▁▁", false),
            ("<strong>", false),
        ];
        let drawn = ["\n", "\n\n", "\t\t", "▁▁", "<table>", "</code>", "<strong>"];
        for added in [gemma2, gemma3] {
            let vocab = added.len() + 2;
            // Two rows of the head have no token.
            let special = SpecialTokens::new(&tokenizer(added), vocab + 2, &[1]);
            let of = |ids: &[u32]| -> Vec<&str> {
                ids.iter().filter_map(|id| added.get(*id as usize)).map(|token| token.0).collect()
            };
            assert_eq!(of(&special.stops), ["<eos>", "<end_of_turn>", "<eos>"]);
            let expected: Vec<&str> = added
                .iter()
                .map(|token| token.0)
                .filter(|name| !drawn.contains(name) && !["<eos>", "<end_of_turn>"].contains(name))
                .collect();
            assert_eq!(of(&special.never), expected);
            assert_eq!(special.never[expected.len()..], [vocab as u32, vocab as u32 + 1]);
        }
    }
}
