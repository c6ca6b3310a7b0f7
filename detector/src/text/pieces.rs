//! The vocabulary as a table: the kind of token of each id, and the bytes that it stands for.

use std::collections::HashMap;
use std::fmt;

use sha2::{Digest, Sha256};

use super::TextError;

/// The largest id that is accepted. Real vocabularies have under 300,000 entries; the limit keeps a broken file from
/// asking for gigabytes.
pub(super) const MAX_ID: u32 = (1 << 22) - 1;

/// What a token is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenKind {
    /// A piece of text that the model learned.
    Ordinary,
    /// One byte, for characters that no piece covers.
    Byte,
    /// A piece of text that was added by hand, such as a run of newlines.
    UserDefined,
    /// Steers the model (`<bos>`, `<end_of_turn>`) and does not stand for text.
    Control,
    /// The id is not in the vocabulary.
    Unused,
}

/// Identifies a vocabulary, whatever file it was read from.
///
/// It is SHA-256 over all [ordinary](TokenKind::Ordinary) and [byte](TokenKind::Byte) tokens, in ascending order of id.
/// Each gives its id (u32, little-endian), the number of its bytes (u32, little-endian), and its bytes as in the
/// decoded text: `▁` is a space, `<0x0A>` is one byte. Control, unused and user-defined tokens are left out, since
/// tokenizer.json and GGUF disagree about them even for the same model. The first has an `<image_soft_token>` beyond
/// Gemma 3's vocabulary, and writes runs of spaces with `▁` where the second has spaces.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TokenizerFingerprint(pub [u8; 32]);

impl fmt::Display for TokenizerFingerprint {
    /// Writes 64 hexadecimal digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        crate::hex::write(f, &self.0)
    }
}

impl fmt::Debug for TokenizerFingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenizerFingerprint({self})")
    }
}

/// How a vocabulary writes the bytes of its pieces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spelling {
    /// SentencePiece: `▁` for a space, `<0xXX>` for a byte.
    SentencePiece,
    /// GPT-2: a printable character for each byte.
    ByteLevel,
}

/// Kind and bytes of every id from 0 to the largest.
#[derive(Debug, Clone)]
pub(super) struct Pieces {
    kinds: Vec<TokenKind>,
    /// `bytes[ends[id - 1]..ends[id]]` belong to `id`.
    ends: Vec<u32>,
    bytes: Vec<u8>,
    /// Control tokens by name.
    control: HashMap<String, u32>,
}

impl Pieces {
    /// Builds the table from (id, spelling, kind) in any order.
    ///
    /// # Errors
    /// Returns an error if an id is above [`MAX_ID`] or comes twice, or if the pieces have more than 4 GiB.
    pub(super) fn new(
        mut entries: Vec<(u32, String, TokenKind)>,
        spelling: Spelling,
    ) -> Result<Self, TextError> {
        entries.sort_unstable_by_key(|entry| entry.0);
        if let Some(entry) = entries.last().filter(|entry| entry.0 > MAX_ID) {
            return Err(TextError::Vocabulary {
                expected: format!("ids up to {MAX_ID}"),
                found: format!("id {}", entry.0),
            });
        }
        let len = entries.last().map_or(0, |entry| entry.0 as usize + 1);
        let mut pieces = Self {
            kinds: Vec::with_capacity(len),
            ends: Vec::with_capacity(len),
            bytes: Vec::new(),
            control: HashMap::new(),
        };
        for (id, text, kind) in entries {
            if (id as usize) < pieces.kinds.len() {
                return Err(TextError::Vocabulary {
                    expected: "one token for each id".to_owned(),
                    found: format!("a second token, {text:?}, for id {id}"),
                });
            }
            while pieces.kinds.len() < id as usize {
                pieces.push(TokenKind::Unused)?;
            }
            match kind {
                TokenKind::Unused => {}
                TokenKind::Control => {
                    pieces.control.entry(text).or_insert(id);
                }
                TokenKind::Byte => {
                    pieces.bytes.push(byte_piece(&text).ok_or_else(|| TextError::Vocabulary {
                        expected: "a byte token to be spelled like <0x0A>".to_owned(),
                        found: format!("{text:?}"),
                    })?);
                }
                // Added pieces are plain text even in a byte-level vocabulary.
                TokenKind::UserDefined if spelling == Spelling::ByteLevel => {
                    pieces.bytes.extend_from_slice(text.as_bytes());
                }
                TokenKind::Ordinary | TokenKind::UserDefined => spelling.decode(&text, &mut pieces.bytes),
            }
            pieces.push(kind)?;
        }
        Ok(pieces)
    }

    /// Ends the entry whose bytes were just written.
    fn push(&mut self, kind: TokenKind) -> Result<(), TextError> {
        let end = u32::try_from(self.bytes.len()).map_err(|_| TextError::Vocabulary {
            expected: "under 4 GiB of pieces".to_owned(),
            found: format!("{} bytes", self.bytes.len()),
        })?;
        self.kinds.push(kind);
        self.ends.push(end);
        Ok(())
    }

    /// Returns one more than the largest id.
    pub(super) fn len(&self) -> usize {
        self.kinds.len()
    }

    /// Returns the control token with this name.
    pub(super) fn control_id(&self, name: &str) -> Option<u32> {
        self.control.get(name).copied()
    }

    /// Returns the name and id of each control token, by id.
    pub(super) fn controls(&self) -> Vec<(&str, u32)> {
        let mut all: Vec<_> = self.control.iter().map(|(name, &id)| (name.as_str(), id)).collect();
        all.sort_unstable_by_key(|&(_, id)| id);
        all
    }

    /// Returns the kind of `id`; [`TokenKind::Unused`] beyond the table.
    pub(super) fn kind(&self, id: u32) -> TokenKind {
        self.kinds.get(id as usize).copied().unwrap_or(TokenKind::Unused)
    }

    /// Returns the bytes of `id`, or `None` if it does not stand for text.
    pub(super) fn bytes(&self, id: u32) -> Option<&[u8]> {
        match self.kind(id) {
            TokenKind::Control | TokenKind::Unused => None,
            _ => {
                let id = id as usize;
                let start = if id == 0 { 0 } else { self.ends[id - 1] };
                Some(&self.bytes[start as usize..self.ends[id] as usize])
            }
        }
    }

    /// See [`TokenizerFingerprint`].
    pub(super) fn fingerprint(&self) -> TokenizerFingerprint {
        let mut hash = Sha256::new();
        for id in 0..self.kinds.len() as u32 {
            if let (TokenKind::Ordinary | TokenKind::Byte, Some(bytes)) = (self.kind(id), self.bytes(id)) {
                hash.update(id.to_le_bytes());
                hash.update((bytes.len() as u32).to_le_bytes());
                hash.update(bytes);
            }
        }
        TokenizerFingerprint(hash.finalize().into())
    }
}

impl Spelling {
    /// Appends the bytes that the piece `text` stands for.
    fn decode(self, text: &str, bytes: &mut Vec<u8>) {
        match self {
            Self::SentencePiece => {
                for (i, part) in text.split('▁').enumerate() {
                    if i > 0 {
                        bytes.push(b' ');
                    }
                    bytes.extend_from_slice(part.as_bytes());
                }
            }
            Self::ByteLevel => {
                let start = bytes.len();
                for c in text.chars() {
                    if let Some(byte) = byte_level(c) {
                        bytes.push(byte);
                    } else {
                        // Not in the alphabet, so the piece is literal, as the reference decoder has it.
                        bytes.truncate(start);
                        bytes.extend_from_slice(text.as_bytes());
                        return;
                    }
                }
            }
        }
    }
}

/// Returns the byte that a piece such as `<0x0A>` stands for.
pub(super) fn byte_piece(text: &str) -> Option<u8> {
    let digits = text.strip_prefix("<0x")?.strip_suffix('>')?;
    (digits.len() == 2 && digits.bytes().all(|b| b.is_ascii_digit() || (b'A'..=b'F').contains(&b)))
        .then(|| u8::from_str_radix(digits, 16).ok())
        .flatten()
}

/// Returns the byte that GPT-2 writes as `c`: printable Latin-1 is itself, the other 68 bytes follow from U+0100 on, in
/// order (`bytes_to_unicode` of OpenAI's encoder.py).
fn byte_level(c: char) -> Option<u8> {
    let printable = |b: u8| matches!(b, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF);
    match u32::from(c) {
        code @ 0..=0xFF => Some(code as u8).filter(|&b| printable(b)),
        code @ 0x100..=0x143 => (0..=u8::MAX).filter(|&b| !printable(b)).nth(code as usize - 0x100),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(id: u32, text: &str, kind: TokenKind) -> (u32, String, TokenKind) {
        (id, text.to_owned(), kind)
    }

    #[test]
    fn bytes_of_pieces() {
        let pieces = Pieces::new(
            vec![
                entry(5, "▁▁", TokenKind::UserDefined),
                entry(0, "<bos>", TokenKind::Control),
                entry(1, "<0xE2>", TokenKind::Byte),
                entry(3, "▁a▁", TokenKind::Ordinary),
            ],
            Spelling::SentencePiece,
        )
        .unwrap();
        assert_eq!(pieces.len(), 6);
        assert_eq!(pieces.bytes(0), None);
        assert_eq!(pieces.bytes(1), Some(&b"\xE2"[..]));
        assert_eq!(pieces.bytes(2), None);
        assert_eq!(pieces.bytes(3), Some(&b" a "[..]));
        assert_eq!(pieces.bytes(5), Some(&b"  "[..]));
        assert_eq!(pieces.bytes(6), None);
        assert_eq!(pieces.bytes(u32::MAX), None);
    }

    #[test]
    fn byte_level_alphabet_is_a_bijection() {
        let mut seen: Vec<u8> = (0..0x200).filter_map(char::from_u32).filter_map(byte_level).collect();
        seen.sort_unstable();
        assert_eq!(seen, (0..=u8::MAX).collect::<Vec<_>>());
        assert_eq!(
            (byte_level('Ġ'), byte_level('Ċ'), byte_level('A')),
            (Some(b' '), Some(b'\n'), Some(b'A'))
        );
    }

    #[test]
    fn byte_pieces() {
        assert_eq!(byte_piece("<0x0A>"), Some(10));
        for not in ["<0x0a>", "<0x+A>", "<0xA>", "<0x0A", "0x0A", "<0x00A>", "<0x€>"] {
            assert_eq!(byte_piece(not), None, "{not}");
        }
    }

    /// Fixed by hand: SHA-256 of 01000000 01000000 E2, 03000000 02000000 20 61.
    #[test]
    fn fingerprint_is_the_documented_hash() {
        let base = vec![entry(1, "<0xE2>", TokenKind::Byte), entry(3, "▁a", TokenKind::Ordinary)];
        let mut more = base.clone();
        more.push(entry(2, "<bos>", TokenKind::Control));
        more.push(entry(4, "\n\n", TokenKind::UserDefined));
        let [a, b] = [base, more].map(|e| Pieces::new(e, Spelling::SentencePiece).unwrap().fingerprint());
        let expected = Sha256::digest([1, 0, 0, 0, 1, 0, 0, 0, 0xE2, 3, 0, 0, 0, 2, 0, 0, 0, 0x20, 0x61]);
        assert_eq!(a.0[..], expected[..]);
        assert_eq!(a, b, "control and user-defined tokens do not count");
        assert_eq!(a.to_string().len(), 64);
    }

    #[test]
    fn impossible_vocabularies_are_errors() {
        for entries in [
            vec![entry(MAX_ID + 1, "a", TokenKind::Ordinary)],
            vec![entry(u32::MAX, "a", TokenKind::Ordinary)],
            vec![entry(1, "a", TokenKind::Ordinary), entry(1, "b", TokenKind::Ordinary)],
            vec![entry(1, "a", TokenKind::Byte)],
        ] {
            assert!(matches!(
                Pieces::new(entries, Spelling::SentencePiece),
                Err(TextError::Vocabulary { .. })
            ));
        }
    }
}
