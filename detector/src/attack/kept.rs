//! How many words an edit leaves.

use std::collections::HashMap;

use super::letters::folded;
use super::words::{core, words};

/// Returns the share of the words of `text` that `edited` has as well, 0 to 1; `None` if `text` has no word.
///
/// A word that `text` has twice counts twice if `edited` has it twice. Order does not matter. That is the recall of
/// ROUGE-1 (Lin, "ROUGE: A Package for Automatic Evaluation of Summaries", 2004). Words are compared as a reader sees
/// them: without the punctuation around them, without case, and with look-alikes and typographic characters made plain.
/// So edits that a reader hardly notices keep all words. A replaced word counts as lost even if a synonym keeps its
/// meaning.
pub fn words_kept(text: &str, edited: &str) -> Option<f64> {
    let mut left: HashMap<String, u64> = HashMap::new();
    let mut total = 0_u64;
    for word in readable(text) {
        *left.entry(word).or_default() += 1;
        total += 1;
    }
    let mut kept = 0_u64;
    for word in readable(edited) {
        if let Some(count) = left.get_mut(&word).filter(|count| **count > 0) {
            *count -= 1;
            kept += 1;
        }
    }
    (total > 0).then(|| kept as f64 / total as f64)
}

fn readable(text: &str) -> impl Iterator<Item = String> {
    let of = |word: &str| Some(folded(&word[core(word)])).filter(|word| !word.is_empty());
    words(text).0.into_iter().filter_map(move |word| of(word.text))
}
