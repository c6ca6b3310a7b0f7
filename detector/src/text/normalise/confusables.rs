//! Look-alikes of Latin letters.
//!
//! Full-width and mathematical letters and digits, and spaces of other widths, are always folded. Cyrillic, Greek and
//! Armenian letters that look Latin are folded in words that have Latin letters too. They are folded in every word if
//! no word of the text needs their script. So text in those scripts stays as it is. The table is our own, of pairs that
//! are the same glyph in common fonts; Unicode's confusables.txt has thousands that merely resemble each other.

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

use super::Changes;
use super::map::Pass;

/// The pairs of a script, the look-alike first.
const CYRILLIC: &str = "аaеeоoрpсcуyхxіiјjѕsһhԁdԛqԝwӏlАAВBЕEКKМMНHОOРPСCТTУYХXІIЈJЅSԌGԚQԜWӀIҮYҺHёëЁËїïЇÏ";
const GREEK: &str = "οoνvαaρpιiκkυuϲcϳjΑAΒBΕEΖZΗHΙIΚKΜMΝNΟOΡPΤTΥYΧXϹC";
const ARMENIAN: &str = "օoսuհhոnցgօoՍUՕO";

/// Scripts that have look-alikes.
const SCRIPTS: [&str; 3] = [CYRILLIC, GREEK, ARMENIAN];

/// Returns the script of a letter, as an index into [`SCRIPTS`].
fn script(c: char) -> Option<usize> {
    match c {
        '\u{400}'..='\u{52F}' => Some(0),
        '\u{370}'..='\u{3FF}' | '\u{1F00}'..='\u{1FFF}' => Some(1),
        '\u{530}'..='\u{58F}' => Some(2),
        _ => None,
    }
}

/// Returns the Latin letter that `c` of script `s` looks like.
fn latin_twin(s: usize, c: char) -> Option<char> {
    let mut pairs = SCRIPTS[s].chars();
    while let (Some(twin), Some(latin)) = (pairs.next(), pairs.next()) {
        if twin == c {
            return Some(latin);
        }
    }
    None
}

/// Returns what a full-width or mathematical letter or digit, or an unusual space, stands for.
fn plain(c: char) -> Option<char> {
    match c {
        '\u{A0}' | '\u{2000}'..='\u{200A}' | '\u{202F}' | '\u{205F}' => Some(' '),
        '\u{FF10}'..='\u{FF19}'
        | '\u{FF21}'..='\u{FF3A}'
        | '\u{FF41}'..='\u{FF5A}'
        | '\u{1D400}'..='\u{1D7FF}' => std::iter::once(c).nfkc().next().filter(char::is_ascii_alphanumeric),
        _ => None,
    }
}

fn is_latin(c: char) -> bool {
    c.is_ascii_alphabetic()
        || matches!(c, '\u{C0}'..='\u{24F}' | '\u{1E00}'..='\u{1EFF}' | '\u{212A}' | '\u{212B}')
        || plain(c).is_some_and(|c| c != ' ')
}

/// Folds the look-alikes.
pub(super) fn fold(text: &str, pass: &mut Pass<'_>, changes: &mut Changes) {
    if text.is_ascii() {
        return;
    }
    let mut used = [false; SCRIPTS.len()];
    words(text, |_, word| {
        let word = Word::of(word);
        if !word.latin {
            (0..used.len()).for_each(|s| used[s] |= word.own[s]);
        }
    });
    words(text, |start, word| {
        let kind = Word::of(word);
        // A word that has only look-alikes, in a text that does not need their scripts.
        let disguised = !kind.own.contains(&true) && !(0..used.len()).any(|s| kind.has[s] && used[s]);
        for (at, c) in word.char_indices() {
            let twin = || script(c).filter(|_| kind.latin || disguised).and_then(|s| latin_twin(s, c));
            if let Some(with) = plain(c).or_else(twin) {
                let pos = start + at;
                pass.replace(pos..pos + c.len_utf8(), with.encode_utf8(&mut [0; 4]));
                changes.confusables += 1;
            }
        }
    });
}

/// Which letters a word has.
#[derive(Default)]
struct Word {
    latin: bool,
    /// Whether it has any letter of each script with look-alikes.
    has: [bool; SCRIPTS.len()],
    /// Whether it has one that does not look Latin.
    own: [bool; SCRIPTS.len()],
}

impl Word {
    fn of(word: &str) -> Self {
        let mut this = Self::default();
        for c in word.chars() {
            this.latin |= is_latin(c);
            if let Some(s) = script(c) {
                this.has[s] = true;
                this.own[s] |= latin_twin(s, c).is_none();
            }
        }
        this
    }
}

/// Calls `each` with the start and the text of every maximal run of letters, digits and marks, and of every run of
/// other characters.
fn words(text: &str, mut each: impl FnMut(usize, &str)) {
    let of_word = |c: char| c.is_alphanumeric() || !c.is_ascii() && is_combining_mark(c);
    let mut start = 0;
    while let Some(first) = text[start..].chars().next() {
        let kind = of_word(first);
        let rest = &text[start..];
        let len = rest.find(|c: char| of_word(c) != kind).unwrap_or(rest.len());
        each(start, &rest[..len]);
        start += len;
    }
}
