//! Files as texts: standard input, gzip and zstd, and files that are not text.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use flate2::read::MultiGzDecoder;
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

/// Number of bytes that are looked at to know what a file is.
const HEAD_LEN: usize = 8 << 10;
/// Number of bytes that are waited for. That is more than any signature has, so that the bytes after it show whether it
/// is a word.
const ENOUGH: usize = 16;

/// Signatures of formats that are not text: how they start, what they are, and how they become text.
const SIGNATURES: [(&[u8], &str, &str); 11] = [
    (b"%PDF-", "a PDF document", "take its text out first, for instance with pdftotext"),
    (b"{\\rtf", "a document in RTF", "save it as plain text"),
    (b"\xFF\xFE", "text in UTF-16", "convert it, for instance with `iconv -f UTF-16 -t UTF-8`"),
    (b"\xFE\xFF", "text in UTF-16", "convert it, for instance with `iconv -f UTF-16 -t UTF-8`"),
    (b"PK\x03\x04", "a ZIP archive, such as .docx, .xlsx and .epub are", "take its text out first"),
    (b"\xFD7zXZ\0", "a file compressed with xz", "decompress it with `xz -d`"),
    (b"BZh91AY&SY", "a file compressed with bzip2", "decompress it with `bzip2 -d`"),
    (b"\xD0\xCF\x11\xE0", "an old Office document", "save it as plain text"),
    (b"\x89PNG", "a picture", "name a file with text"),
    (b"PAR1", "a Parquet file", "write its texts as JSON lines"),
    (b"GGUF", "a model in GGUF", "name a file with text"),
];
/// This many of them, at the end, are words with which a text may also begin.
const WORDS: usize = 2;

/// Returns bytes without the byte order mark in front of them.
pub(super) fn without_mark(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes)
}

/// A file that is open, decompressed if need be.
pub(super) struct Opened {
    /// The content.
    pub input: Box<dyn BufRead>,
    /// The first bytes: all that came at once, at least [`ENOUGH`] if there are as many.
    pub head: Vec<u8>,
}

/// The kind of a file that is not text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotText {
    /// What it is, with its article.
    pub found: &'static str,
    /// How it becomes text.
    pub remedy: &'static str,
}

/// Opens a file, or standard input if `path` is `-`. Open standard input once, since it is empty for a second reader.
pub(super) fn open(path: &Path) -> io::Result<Opened> {
    static STDIN_IS_READ: AtomicBool = AtomicBool::new(false);
    if path != Path::new("-") {
        return read(File::open(path)?);
    }
    if STDIN_IS_READ.swap(true, Ordering::Relaxed) {
        return Err(io::Error::other("standard input was read for another input"));
    }
    read(io::stdin().lock())
}

fn read(input: impl Read + 'static) -> io::Result<Opened> {
    let Opened { input, head } = plain(input)?;
    if head.starts_with(b"\x1F\x8B") {
        return plain(Damaged { format: "gzip", inner: MultiGzDecoder::new(input) });
    }
    let skippable = head.get(1..4) == Some(b"\x2A\x4D\x18") && head[0] & 0xF0 == 0x50;
    if head.starts_with(b"\x28\xB5\x2F\xFD") || skippable {
        let inner = Zstd { input, decoder: FrameDecoder::new(), open: false };
        return plain(Damaged { format: "zstd", inner });
    }
    Ok(Opened { input, head })
}

/// Looks at the first bytes, and waits for no more than a signature needs.
fn plain(mut input: impl Read + 'static) -> io::Result<Opened> {
    let (mut head, mut len) = (vec![0; HEAD_LEN], 0);
    while len < ENOUGH {
        match input.read(&mut head[len..]) {
            Ok(0) => break,
            Ok(read) => len += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    head.truncate(len);
    let input = Box::new(BufReader::with_capacity(64 << 10, Cursor::new(head.clone()).chain(input)));
    Ok(Opened { input, head })
}

impl NotText {
    /// Returns what a file with this head is, if it is certainly not text.
    pub(super) fn of(head: &[u8]) -> Option<Self> {
        let certain = if is_plain(head) { &SIGNATURES[..SIGNATURES.len() - WORDS] } else { &SIGNATURES[..] };
        let by_signature = certain.iter().find(|(signature, ..)| head.starts_with(signature));
        // Without a byte order mark: every second byte of Latin text in UTF-16 is 0.
        let zeros = |from: usize| head.iter().skip(from).step_by(2).filter(|&&byte| byte == 0).count();
        let (even, odd) = (zeros(0), zeros(1));
        // If all bytes are 0, it is something else.
        let utf16 = head.len() >= 4 && even.max(odd) * 3 > head.len() && even.min(odd) * 8 < even.max(odd);
        if head.get(257..262) == Some(b"ustar") {
            return Some(Self { found: "a tar archive", remedy: "take its texts out first" });
        }
        let (_, found, remedy) = by_signature.or(utf16.then_some(&SIGNATURES[2]))?;
        Some(Self { found, remedy })
    }
}

/// Returns whether the only control characters among the first bytes are white space.
fn is_plain(head: &[u8]) -> bool {
    head.iter().take(ENOUGH).all(|byte| !byte.is_ascii_control() || byte.is_ascii_whitespace())
}

/// A decompressor whose errors say what they are about.
struct Damaged<R> {
    format: &'static str,
    inner: R,
}

impl<R: Read> Read for Damaged<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.inner.read(buffer).map_err(|error| {
            io::Error::new(
                error.kind(),
                format!(
                    "the {} data cannot be decompressed, perhaps since it is damaged or cut off: {error}",
                    self.format
                ),
            )
        })
    }
}

/// The content of the frames of a zstd file, one after the other.
struct Zstd<R> {
    input: R,
    decoder: FrameDecoder,
    /// Whether a frame was begun.
    open: bool,
}

impl<R: BufRead> Zstd<R> {
    /// Begins the next frame with content. Returns false at the end of the file.
    fn next_frame(&mut self) -> io::Result<bool> {
        while !self.input.fill_buf()?.is_empty() {
            match self.decoder.reset(&mut self.input) {
                Ok(()) => return Ok(true),
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                    length,
                    ..
                })) => {
                    io::copy(&mut (&mut self.input).take(length.into()), &mut io::sink())?;
                }
                Err(error) => return Err(io::Error::other(error)),
            }
        }
        Ok(false)
    }
}

impl<R: BufRead> Read for Zstd<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        // In addition to its window, the decoder holds as much as is asked for.
        let len = buffer.len().min(128 << 10);
        loop {
            if !self.open && !self.next_frame()? {
                return Ok(0);
            }
            self.open = true;
            while !self.decoder.is_finished() && self.decoder.can_collect() < len {
                let strategy = BlockDecodingStrategy::UptoBytes(len - self.decoder.can_collect());
                self.decoder.decode_blocks(&mut self.input, strategy).map_err(io::Error::other)?;
            }
            let read = self.decoder.read(&mut buffer[..len])?;
            if read > 0 || len == 0 {
                return Ok(read);
            }
            let expected = self.decoder.get_checksum_from_data();
            if expected.is_some() && expected != self.decoder.get_calculated_checksum() {
                return Err(io::Error::other("the checksum of a frame does not fit"));
            }
            self.open = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use ruzstd::encoding::{CompressionLevel, compress_to_vec};

    use super::*;

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    fn zstd(text: &[u8]) -> Vec<u8> {
        compress_to_vec(text, CompressionLevel::Fastest)
    }

    fn all(bytes: Vec<u8>) -> io::Result<Vec<u8>> {
        let mut content = Vec::new();
        read(Cursor::new(bytes))?.input.read_to_end(&mut content)?;
        Ok(content)
    }

    #[test]
    fn members_and_frames_follow_each_other() {
        let (a, b) = (b"The old man\n".repeat(40_000), b"went down.".to_vec());
        let both = [a.clone(), b.clone()].concat();
        assert_eq!(all([gzip(&a), gzip(&b)].concat()).unwrap(), both);
        let skipped = [&b"\x53\x2A\x4D\x18\x03\0\0\0"[..], b"abc"].concat();
        for frames in [vec![zstd(&a), zstd(&b)], vec![skipped.clone(), zstd(&a), skipped, zstd(&b)]] {
            assert_eq!(all(frames.concat()).unwrap(), both);
        }
        assert_eq!(all(b"ab".to_vec()).unwrap(), b"ab");
        assert_eq!(all(Vec::new()).unwrap(), b"");
    }

    #[test]
    fn a_file_that_is_cut_off_or_damaged_is_not_a_shorter_text() {
        for packed in [gzip(&b"The old man ".repeat(400)), zstd(&b"The old man ".repeat(400))] {
            for cut in [packed.len() - 1, packed.len() / 2, 5] {
                let error = all(packed[..cut].to_vec()).unwrap_err().to_string();
                assert!(error.contains("damaged or cut off"), "{cut}: {error}");
            }
            let mut damaged = packed;
            let last = damaged.len() - 1;
            damaged[last] ^= 1;
            all(damaged).unwrap_err();
        }
    }

    #[test]
    fn what_is_not_text_is_named() {
        let utf16: Vec<u8> = "The old man".encode_utf16().flat_map(u16::to_le_bytes).collect();
        let big: Vec<u8> = "The old man".encode_utf16().flat_map(u16::to_be_bytes).collect();
        let mut tar = vec![0; 512];
        tar[..5].copy_from_slice(b"a.txt");
        tar[257..262].copy_from_slice(b"ustar");
        assert_eq!(NotText::of(&[0; 512]), None);
        for (head, found) in [
            (&b"%PDF-1.7"[..], "PDF"),
            (b"PK\x03\x04\0\0", "ZIP"),
            (&utf16, "UTF-16"),
            (&big, "UTF-16"),
            (b"\xFF\xFEa\0", "UTF-16"),
            (b"GGUF\x03\0\0\0\x20\0\0\0\0\0\0\0", "GGUF"),
            (b"BZh91AY&SY\x04\x05", "bzip2"),
            (b"PAR1\x15\x04", "Parquet"),
            (&tar, "tar"),
        ] {
            assert!(NotText::of(head).unwrap().found.contains(found), "{found}");
        }
        for text in [
            "",
            "a",
            "The old man",
            "a\0b",
            "\u{feff}old",
            "{\"a\": 1}",
            "日本語",
            "GGUF is a format",
            "PAR1\tfor",
            "BZh",
        ] {
            assert_eq!(NotText::of(text.as_bytes()), None, "{text:?}");
        }
    }
}
