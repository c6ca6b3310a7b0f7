//! Finds text that no step of the default form changes, faster than a character at a time. Most texts are such.

/// Code points that can be seen or are white space, are not combining marks, have class 0, and are in NFC whatever
/// stands around them. These are not all of them, but blocks without exceptions that cover common writing.
const PLAIN: [(u32, u32); 17] = [
    (0xA0, 0xAC),
    (0xAE, 0x2FF),
    (0x388, 0x38A),
    (0x38E, 0x3A1),
    (0x3A3, 0x482),
    (0x48A, 0x52F),
    (0x5D0, 0x5EA),
    (0x620, 0x64A),
    (0x905, 0x928),
    (0xE01, 0xE30),
    (0x1E00, 0x1EFF),
    (0x2010, 0x2027),
    (0x2030, 0x205E),
    (0x20A0, 0x20C0),
    (0x3041, 0x3096),
    (0x4E00, 0x9FFF),
    (0xAC00, 0xD7A3),
];

/// Returns whether the byte is an ASCII character that is not a control character other than white space.
fn is_plain_ascii(byte: u8) -> bool {
    byte.wrapping_sub(0x20) < 0x5F || byte.wrapping_sub(b'\t') < 5
}

/// Returns whether neither step changes `c` or what stands around it.
fn is_plain(c: char) -> bool {
    let c = u32::from(c);
    if c < 0x80 {
        return is_plain_ascii(c as u8);
    }
    let at = PLAIN.partition_point(|&(_, last)| last < c);
    PLAIN.get(at).is_some_and(|&(first, _)| first <= c)
}

/// Returns the length of the longest start of `text` that has only plain characters.
pub(super) fn plain_prefix(text: &str) -> usize {
    /// Number of bytes that are looked at together.
    const BLOCK: usize = 32;
    let bytes = text.as_bytes();
    let mut at = 0;
    loop {
        while let Some(block) = bytes.get(at..at + BLOCK)
            && block.iter().fold(true, |plain, &byte| plain & is_plain_ascii(byte))
        {
            at += BLOCK;
        }
        let end = (at + BLOCK).min(bytes.len());
        if at == end {
            return at;
        }
        while at < end {
            let byte = bytes[at];
            if byte < 0x80 {
                if !is_plain_ascii(byte) {
                    return at;
                }
                at += 1;
                continue;
            }
            match text[at..].chars().next() {
                Some(c) if is_plain(c) => at += c.len_utf8(),
                _ => return at,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use unicode_normalization::char::{canonical_combining_class, is_combining_mark};
    use unicode_normalization::{IsNormalized, is_nfc_quick};

    use super::super::invisible;
    use super::*;

    #[test]
    fn plain_characters_are_what_the_steps_pass_over() {
        let mut count = 0;
        for c in '\0'..=char::MAX {
            if is_plain(c) {
                count += 1;
                assert!(invisible::kind(c).is_none(), "{c:?}");
                assert!(canonical_combining_class(c) == 0 && !is_combining_mark(c), "{c:?}");
                assert_eq!(is_nfc_quick(std::iter::once(c)), IsNormalized::Yes, "{c:?}");
            }
        }
        assert!(count > 30_000, "{count}");
    }

    #[test]
    fn the_prefix_ends_at_the_first_other_character() {
        let plain =
            "It’s “plain” — naïve, Ψυχή, слово, 漢字, 한글.\n\tAnd so on, and so on, and so on, and so on, ";
        for repeat in [1, 2, 5] {
            let text = plain.repeat(repeat);
            assert_eq!(plain_prefix(&text), text.len());
            for other in ["\u{200B}", "\u{301}", "\u{AD}", "\0", "\u{7F}", "\u{1F600}"] {
                for (at, _) in text.char_indices().step_by(7) {
                    let text = format!("{}{other}{}", &text[..at], &text[at..]);
                    assert_eq!(plain_prefix(&text), at, "{text:?}");
                }
            }
        }
        assert_eq!([plain_prefix(""), plain_prefix("\u{301}")], [0, 0]);
    }
}
