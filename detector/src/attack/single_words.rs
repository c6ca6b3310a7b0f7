//! Edits of single words.

use super::edit::Random;
use super::material::Material;
use super::words::{core, words};

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

/// Replaces words by words of people.
pub(super) fn replace(text: &str, rate: f64, material: &Material, random: &mut Random) -> String {
    each(text, |out, word| {
        match random.hits(rate).then(|| material.word(random)).flatten().filter(|_| !core(word).is_empty()) {
            Some(new) => push_replaced(out, word, new),
            None => out.push_str(word),
        }
    })
}

/// Inserts words of people.
pub(super) fn insert(text: &str, rate: f64, material: &Material, random: &mut Random) -> String {
    each(text, |out, word| {
        if let Some(new) = random.hits(rate).then(|| material.word(random)).flatten() {
            out.push_str(new);
            out.push(' ');
        }
        out.push_str(word);
    })
}

/// Replaces words by their synonyms.
pub(super) fn synonyms(text: &str, rate: f64, material: &Material, random: &mut Random) -> String {
    each(text, |out, word| {
        let known = material.synonyms().of(&word[core(word)]);
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

/// Returns the text with each word as `put` writes it; white space stays.
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
