//! Words, and the edits of single words.

use std::ops::Range;

use super::edit::Random;
use super::editor::Editor;

/// A word with its punctuation, and the white space in front of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Word<'a> {
    pub space: &'a str,
    pub text: &'a str,
    /// Where in the text it begins.
    pub start: usize,
}

/// Returns the words of a text, and the white space behind the last of them.
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

/// Returns where in a word its letters and digits are, from the first to the last of them; an empty range if it has none.
pub(super) fn core(word: &str) -> Range<usize> {
    let start = word.find(char::is_alphanumeric).unwrap_or(word.len());
    let last = word.char_indices().rfind(|(_, c)| c.is_alphanumeric());
    start..last.map_or(start, |(at, c)| at + c.len_utf8())
}

/// Returns a word with a capital first letter.
fn capitalised(word: &str) -> String {
    let mut chars = word.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

/// Returns `new` with a capital first letter if `old` has one.
fn in_case_of(old: &str, new: &str) -> String {
    if old.chars().next().is_some_and(char::is_uppercase) { capitalised(new) } else { new.to_owned() }
}

/// Puts `new` in the place of the letters of `word`, and keeps the punctuation around them.
fn push_replaced(out: &mut String, word: &str, new: &str) {
    let core = core(word);
    out.push_str(&word[..core.start]);
    out.push_str(&in_case_of(&word[core.clone()], new));
    out.push_str(&word[core.end..]);
}

/// Deletes words. A line break in front of a deleted word stays.
pub(super) fn delete(text: &str, rate: f64, random: &mut Random) -> String {
    let (words, behind) = words(text);
    let mut out = String::with_capacity(text.len());
    let mut line_break = None;
    for word in &words {
        if random.hits(rate) {
            line_break = line_break.or(Some(word.space).filter(|space| space.contains('\n')));
            continue;
        }
        let space = line_break.take().unwrap_or(word.space);
        out.push_str(if out.is_empty() { words[0].space } else { space });
        out.push_str(word.text);
    }
    out.push_str(behind);
    out
}

/// Replaces words by those of people.
pub(super) fn replace(text: &str, rate: f64, editor: &Editor, random: &mut Random) -> String {
    each(text, |out, word| {
        match random.hits(rate).then(|| editor.word(random)).flatten().filter(|_| !core(word).is_empty()) {
            Some(new) => push_replaced(out, word, new),
            None => out.push_str(word),
        }
    })
}

/// Inserts words of people.
pub(super) fn insert(text: &str, rate: f64, editor: &Editor, random: &mut Random) -> String {
    each(text, |out, word| {
        if let Some(new) = random.hits(rate).then(|| editor.word(random)).flatten() {
            out.push_str(new);
            out.push(' ');
        }
        out.push_str(word);
    })
}

/// Replaces words by their synonyms.
pub(super) fn synonyms(text: &str, rate: f64, editor: &Editor, random: &mut Random) -> String {
    each(text, |out, word| {
        let known = editor.synonyms().of(&word[core(word)]);
        match known.filter(|_| random.hits(rate)) {
            Some(known) => push_replaced(out, word, &known[random.below(known.len())]),
            None => out.push_str(word),
        }
    })
}

/// Writes words in another case.
pub(super) fn case(text: &str, rate: f64, random: &mut Random) -> String {
    each(text, |out, word| {
        let lower = word.to_lowercase();
        let forms = [word.to_uppercase(), capitalised(&lower), lower];
        let others: Vec<&String> = forms.iter().filter(|form| *form != word).collect();
        if random.hits(rate) && !others.is_empty() {
            out.push_str(others[random.below(others.len())]);
        } else {
            out.push_str(word);
        }
    })
}

/// Returns the text with what `put` makes of each word; white space stays.
fn each(text: &str, mut put: impl FnMut(&mut String, &str)) -> String {
    let (words, behind) = words(text);
    let mut out = String::with_capacity(text.len());
    for word in words {
        out.push_str(word.space);
        put(&mut out, word.text);
    }
    out.push_str(behind);
    out
}
