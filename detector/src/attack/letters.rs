//! Edits of single characters, and how words look to a reader after them.

use super::edit::Random;

/// Latin letters and the Cyrillic letters that have the same glyph in common fonts.
const TWINS: [(char, char); 26] = [
    ('a', 'а'),
    ('c', 'с'),
    ('e', 'е'),
    ('i', 'і'),
    ('j', 'ј'),
    ('o', 'о'),
    ('p', 'р'),
    ('s', 'ѕ'),
    ('x', 'х'),
    ('y', 'у'),
    ('A', 'А'),
    ('B', 'В'),
    ('C', 'С'),
    ('E', 'Е'),
    ('H', 'Н'),
    ('I', 'І'),
    ('J', 'Ј'),
    ('K', 'К'),
    ('M', 'М'),
    ('O', 'О'),
    ('P', 'Р'),
    ('S', 'Ѕ'),
    ('T', 'Т'),
    ('X', 'Х'),
    ('h', 'һ'),
    ('d', 'ԁ'),
];

/// Returns the look-alike of a Latin letter, if it has one.
pub(super) fn twin(letter: char) -> Option<char> {
    TWINS.iter().find(|(latin, _)| *latin == letter).map(|(_, twin)| *twin)
}

/// Turns letters into their look-alikes.
pub(super) fn homoglyphs(text: &str, rate: f64, random: &mut Random) -> String {
    text.chars().map(|c| twin(c).filter(|_| random.hits(rate)).unwrap_or(c)).collect()
}

/// Makes quotes, dashes, ellipses and spaces typographic.
pub(super) fn typography(text: &str, rate: f64, random: &mut Random) -> String {
    let (mut out, mut rest, mut before) = (String::with_capacity(text.len()), text, None);
    while let Some(c) = rest.chars().next() {
        let found = typographic(rest, c, before);
        let len = found.map_or(c.len_utf8(), |(len, _)| len);
        match found.filter(|_| random.hits(rate)) {
            Some((_, with)) => out.push(with),
            None => out.push_str(&rest[..len]),
        }
        before = rest[..len].chars().last();
        rest = &rest[len..];
    }
    out
}

/// Returns the length of the characters at the start of `rest` that can be typographic, and what they become. `before`
/// is the character in front of them.
fn typographic(rest: &str, c: char, before: Option<char>) -> Option<(usize, char)> {
    let opens = before.is_none_or(|before| before.is_whitespace() || "([{\u{2014}-".contains(before));
    Some(match c {
        '.' if rest.starts_with("...") => (3, '\u{2026}'),
        '-' if rest.starts_with("--") => (2, '\u{2014}'),
        '-' if before == Some(' ') && rest[1..].starts_with(' ') => (1, '\u{2013}'),
        '-' => (1, '\u{2010}'),
        '"' if opens => (1, '\u{201C}'),
        '"' => (1, '\u{201D}'),
        '\'' if opens => (1, '\u{2018}'),
        '\'' => (1, '\u{2019}'),
        ' ' => (1, '\u{A0}'),
        _ => return None,
    })
}

/// Returns a word as a reader sees it: in small letters, with look-alikes replaced, and with plain quotes and dashes.
pub(super) fn folded(word: &str) -> String {
    let mut folded = String::with_capacity(word.len());
    for c in word.chars().flat_map(char::to_lowercase) {
        match c {
            '\u{2018}' | '\u{2019}' => folded.push('\''),
            '\u{201C}' | '\u{201D}' => folded.push('"'),
            '\u{2026}' => folded.push_str("..."),
            // Two hyphens stand for a dash.
            '-' | '\u{2010}'..='\u{2014}' if folded.ends_with('-') => {}
            '\u{2010}'..='\u{2014}' => folded.push('-'),
            '\u{400}'..='\u{52F}' => {
                let latin =
                    TWINS.iter().find(|(_, twin)| twin.to_lowercase().eq([c])).map(|(latin, _)| *latin);
                folded.extend(latin.unwrap_or(c).to_lowercase());
            }
            c => folded.push(c),
        }
    }
    folded
}
