//! Edits of a text's words, as the power studies make them.

use std::str::FromStr;

use rand::Rng;
use rand::seq::IndexedRandom;

/// Words taken out, put in the place of others, or put in between, with this probability a word.
#[derive(Clone, Copy, Debug)]
pub struct Edit {
    kind: Kind,
    rate: f64,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Delete,
    Replace,
    Insert,
}

/// Reads `delete-N`, `replace-N` or `insert-N`, with N in percent.
impl FromStr for Edit {
    type Err = String;

    fn from_str(mode: &str) -> Result<Self, String> {
        let wrong =
            || format!("expected ids, text, delete-N, replace-N or insert-N with N in percent, found {mode}");
        let (kind, percent) = mode.split_once('-').ok_or_else(wrong)?;
        let kind = match kind {
            "delete" => Kind::Delete,
            "replace" => Kind::Replace,
            "insert" => Kind::Insert,
            _ => return Err(wrong()),
        };
        let percent: f64 = percent.parse().map_err(|_| wrong())?;
        Ok(Self { kind, rate: percent / 100.0 })
    }
}

impl Edit {
    /// Edits `text`, leaving the white space between words as it is; new words come from `words`.
    pub fn apply(&self, text: &str, words: &[&str], rng: &mut impl Rng) -> String {
        let mut edited = String::new();
        for piece in text.split_inclusive(char::is_whitespace) {
            let word = piece.trim_end_matches(char::is_whitespace);
            let space = &piece[word.len()..];
            if word.is_empty() || !rng.random_bool(self.rate) {
                edited.push_str(piece);
                continue;
            }
            let new = words.choose(rng).copied().unwrap_or_default();
            match self.kind {
                Kind::Delete => {}
                Kind::Replace => edited.extend([new, space]),
                Kind::Insert => edited.extend([word, " ", new, space]),
            }
        }
        edited
    }
}

/// Returns a seed for each text and mode.
pub fn seed(label: &str, mode: &str) -> u64 {
    // FNV-1a (Fowler, Noll, Vo).
    label
        .bytes()
        .chain(mode.bytes())
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}
