//! Composes decomposed characters.
//!
//! Unicode's NFC does two things. It composes: a letter and its accent become one code point. And it replaces single
//! code points that have another normal form, such as U+0958 to U+095F of Devanagari, and U+212B. Systems that
//! decompose text undo only the first, and authors write the second by hand. So the default does the first.

use unicode_normalization::char::canonical_combining_class;
use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick};

use super::Changes;
use super::map::Pass;

/// Applies NFC to every sequence whose code points are each in NFC alone.
pub(super) fn compose(text: &str, pass: &mut Pass<'_>, changes: &mut Changes) {
    normalise(text, pass, changes, |sequence| sequence.chars().all(|c| std::iter::once(c).nfc().eq([c])));
}

/// Applies NFC to the whole text.
pub(super) fn nfc(text: &str, pass: &mut Pass<'_>, changes: &mut Changes) {
    normalise(text, pass, changes, |_| true);
}

fn normalise(text: &str, pass: &mut Pass<'_>, changes: &mut Changes, wanted: impl Fn(&str) -> bool) {
    if text.is_ascii() {
        return;
    }
    // Sequences start at characters that compose with nothing before them; NFC acts within one.
    let mut start = 0;
    let mut quick = true;
    let mut previous_class = 0;
    let mut chars = text.char_indices();
    loop {
        let next = chars.next();
        let (pos, class, yes) = match next {
            Some((pos, c)) if c.is_ascii() => (pos, 0, true),
            Some((pos, c)) => {
                (pos, canonical_combining_class(c), is_nfc_quick(std::iter::once(c)) == IsNormalized::Yes)
            }
            None => (text.len(), 0, true),
        };
        if class == 0 && yes {
            if !quick {
                let sequence = &text[start..pos];
                let normal: String = sequence.nfc().collect();
                if normal != sequence && wanted(sequence) {
                    pass.replace(start..pos, &normal);
                    changes.composed += 1;
                }
            }
            start = pos;
            quick = true;
        } else {
            // Marks out of order need work even if each is in NFC.
            quick &= yes && (class == 0 || class >= previous_class);
        }
        previous_class = class;
        if next.is_none() {
            return;
        }
    }
}
