//! Turns the bytes of tokens into text, a piece at a time.

/// U+FFFD, which stands for one byte that belongs to no character.
const REPLACEMENT: char = '\u{FFFD}';

/// Joins byte strings that may break inside a character, and gives back only complete characters.
///
/// Each byte that is not part of a character becomes U+FFFD, as in SentencePiece's decoder. So the text does not depend
/// on how the bytes were cut.
///
/// ```
/// let mut utf8 = wmdetect::text::Utf8Stream::default();
/// let mut text = String::new();
/// utf8.push(b"caf\xC3", &mut text);
/// assert_eq!(text, "caf");
/// utf8.push(b"\xA9", &mut text);
/// utf8.finish(&mut text);
/// assert_eq!(text, "café");
/// ```
#[derive(Debug, Clone, Default)]
pub struct Utf8Stream {
    /// The start of a character that is not complete yet: at most 3 bytes.
    pending: Vec<u8>,
}

impl Utf8Stream {
    /// Takes the next bytes and appends to `text` the characters that they complete.
    pub fn push(&mut self, bytes: &[u8], text: &mut String) {
        if self.pending.is_empty() {
            let used = append(bytes, text);
            self.pending.extend_from_slice(&bytes[used..]);
        } else {
            self.pending.extend_from_slice(bytes);
            let used = append(&self.pending, text);
            self.pending.drain(..used);
        }
    }

    /// Ends the text. Bytes that still wait for the rest of their character become U+FFFD. Afterwards the stream is
    /// like a new one.
    pub fn finish(&mut self, text: &mut String) {
        text.extend(std::iter::repeat_n(REPLACEMENT, self.pending.len()));
        self.pending.clear();
    }
}

/// Appends the characters of `bytes` to `text` and returns how many bytes that used: all except the start of an
/// incomplete last character.
fn append(bytes: &[u8], text: &mut String) -> usize {
    let mut used = 0;
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        used += chunk.valid().len();
        let invalid = chunk.invalid();
        // Only the last chunk can be incomplete rather than wrong.
        if used + invalid.len() == bytes.len()
            && std::str::from_utf8(invalid).is_err_and(|error| error.error_len().is_none())
        {
            return used;
        }
        text.extend(std::iter::repeat_n(REPLACEMENT, invalid.len()));
        used += invalid.len();
    }
    used
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn whole(bytes: &[u8]) -> String {
        let (mut stream, mut text) = (Utf8Stream::default(), String::new());
        stream.push(bytes, &mut text);
        stream.finish(&mut text);
        text
    }

    /// The expected values are what `sentencepiece.decode` gives for these byte pieces.
    #[test]
    fn each_stray_byte_is_one_replacement() {
        for (bytes, text) in [
            (&b"\xE2\x82\xAC"[..], "€"),
            (b"\xE2\x82", "\u{FFFD}\u{FFFD}"),
            (b"\xE2\x82a", "\u{FFFD}\u{FFFD}a"),
            (b"\xE2\x82\xC3\xA9", "\u{FFFD}\u{FFFD}é"),
            (b"\xF0\x9F\x98\x80\x80", "😀\u{FFFD}"),
            (b"\xFF\xFEa", "\u{FFFD}\u{FFFD}a"),
            (b"\xED\xA0\x80", "\u{FFFD}\u{FFFD}\u{FFFD}"), // a surrogate
            (b"\xC0\x80", "\u{FFFD}\u{FFFD}"),             // overlong
            (b"", ""),
        ] {
            assert_eq!(whole(bytes), text, "{bytes:02X?}");
        }
    }

    proptest! {
        #[test]
        fn cuts_do_not_matter(
            bytes in proptest::collection::vec(
                prop_oneof![any::<u8>(), Just(0xF0), Just(0x9F), Just(0x80), Just(b'a'), Just(0xC3)], 0..40),
            cuts in proptest::collection::vec(0..6_usize, 0..20),
        ) {
            let (mut stream, mut text, mut rest) = (Utf8Stream::default(), String::new(), &bytes[..]);
            for cut in cuts {
                let (head, tail) = rest.split_at(cut.min(rest.len()));
                stream.push(head, &mut text);
                rest = tail;
            }
            stream.push(rest, &mut text);
            stream.finish(&mut text);
            prop_assert_eq!(text, whole(&bytes));
        }

        #[test]
        fn text_is_itself(text in ".*") {
            prop_assert_eq!(whole(text.as_bytes()), text);
        }
    }
}
