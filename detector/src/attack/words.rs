//! The words of a text.

use std::ops::Range;

/// A word with its punctuation, and the white space in front of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Word<'a> {
    pub space: &'a str,
    pub text: &'a str,
    /// Where in the text it begins.
    pub start: usize,
}

/// Returns the words of a text, and the white space after the last of them.
pub(super) fn words(text: &str) -> (Vec<Word<'_>>, &str) {
    let (mut words, mut rest) = (Vec::new(), text);
    loop {
        let start = rest.find(|c: char| !c.is_whitespace()).unwrap_or(rest.len());
        let (space, from_word) = rest.split_at(start);
        if from_word.is_empty() {
            return (words, space);
        }
        let end = from_word.find(char::is_whitespace).unwrap_or(from_word.len());
        words.push(Word { space, text: &from_word[..end], start: text.len() - from_word.len() });
        rest = &from_word[end..];
    }
}

/// Returns the range of a word from its first to its last letter or digit; empty if it has none.
pub(super) fn core(word: &str) -> Range<usize> {
    let start = word.find(char::is_alphanumeric).unwrap_or(word.len());
    let last = word.char_indices().rfind(|(_, c)| c.is_alphanumeric());
    start..last.map_or(start, |(at, c)| at + c.len_utf8())
}
