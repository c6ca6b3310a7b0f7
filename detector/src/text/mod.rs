//! From text to token ids and back.
//!
//! A watermark is a statement about token ids, so the detector must cut a text as the generator's model does. This
//! module reads the tokenizer from a Hugging Face tokenizer.json or from the metadata of a GGUF file, and keeps for
//! each token the bytes of the text that it covers, so that a finding can be shown in place.
//!
//! ```no_run
//! # fn main() -> Result<(), wmdetect::text::TextError> {
//! let tokenizer = wmdetect::text::Tokenizer::open("gemma-2-2b-it")?;
//! let encoded = tokenizer.encode("some text")?;
//! assert_eq!(tokenizer.decode(&encoded.ids), "some text");
//! # Ok(())
//! # }
//! ```

pub mod blocks;
mod error;
pub mod gguf;
mod json;
pub mod normalise;
mod pieces;
mod utf8;
mod vocabulary;

use std::fmt;
use std::fs::File;
use std::io::{BufReader, Read};
use std::ops::Range;
use std::path::Path;
use std::sync::OnceLock;

pub use error::TextError;
pub use pieces::{TokenKind, TokenizerFingerprint};
pub use utf8::Utf8Stream;

use gguf::Metadata;
use pieces::Pieces;
use vocabulary::{Parts, Problem};

/// Names of vocabularies that are known whatever file they come from.
const KNOWN: [(&str, &str); 2] = [
    ("413263ae3a3ddeb00192b96a3fe6c5ef8def2d07a366ef4adef489202c46832e", "gemma-2"),
    ("ece761fefbb2179579fd7bd411d6bf8bab479d60b99d9c6652b1cb6feaa29709", "gemma-3"),
];

/// A text as tokens.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Encoded {
    /// The token ids, in order.
    pub ids: Vec<u32>,
    /// For each token the bytes of the text that it covers, always whole characters. The byte tokens of one character
    /// share its range. Starts and ends never decrease, and together the ranges cover the text (but for characters that
    /// a vocabulary without byte tokens cannot write).
    pub offsets: Vec<Range<usize>>,
}

/// A tokenizer: text to ids, ids to text, and which vocabulary it is.
///
/// Text is only ever text: a `<bos>` or `<end_of_turn>` that somebody wrote is cut into ordinary tokens. Control tokens
/// are asked for by [`bos`](Self::bos) or [`control_id`](Self::control_id) and put between the ids by whoever means
/// them.
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    pieces: Pieces,
    bos: Option<u32>,
    eos: Option<u32>,
    /// What the file calls itself, or where it lies.
    file_name: String,
    fingerprint: OnceLock<TokenizerFingerprint>,
}

impl Tokenizer {
    /// Reads a tokenizer.json, the tokenizer.json in a directory, or the tokenizer inside a GGUF file.
    ///
    /// # Errors
    /// [`TextError`], with the path, if there is none, it is damaged, or it is of a kind that is not supported.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, TextError> {
        let path = path.as_ref();
        let read = |source| TextError::Read { path: path.to_owned(), source };
        if path.is_dir() {
            let file = path.join("tokenizer.json");
            return if file.is_file() {
                Self::open(file)
            } else {
                Err(TextError::NoTokenizer { path: path.to_owned() })
            };
        }
        let mut file = File::open(path).map_err(read)?;
        let len = file.metadata().map_err(read)?.len();
        let mut start = Vec::new();
        (&mut file).take(64).read_to_end(&mut start).map_err(read)?;
        if start.starts_with(b"GGUF") {
            let input = BufReader::with_capacity(1 << 16, start.as_slice().chain(file));
            return Self::from_gguf(input, len, path);
        }
        // A byte order mark is not JSON, but it is not another kind of file either: serde_json names it.
        if start.trim_ascii_start().first() != Some(&b'{') && !start.starts_with(b"\xEF\xBB\xBF") {
            let found = format!("'{}'", start.iter().take(8).copied().collect::<Vec<_>>().escape_ascii());
            return Err(TextError::Unrecognised { path: path.to_owned(), found });
        }
        file.read_to_end(&mut start).map_err(read)?;
        let inner = tokenizers::Tokenizer::from_bytes(&start).map_err(|error| TextError::Json {
            path: path.to_owned(),
            message: json::short(&error.to_string()),
        })?;
        Ok(Self::new(json::build(inner)?, place_name(path)))
    }

    fn from_gguf(input: impl Read, len: u64, path: &Path) -> Result<Self, TextError> {
        let gguf = |source| TextError::Gguf { path: path.to_owned(), source };
        let metadata = Metadata::read(input, len, vocabulary::is_needed).map_err(gguf)?;
        let parts = vocabulary::build(&metadata).map_err(|problem| match problem {
            Problem::Gguf(source) => gguf(source),
            Problem::Text(error) => error,
        })?;
        let name = metadata.string("general.name").map_err(gguf)?;
        Ok(Self::new(parts, name.map_or_else(|| place_name(path), str::to_owned)))
    }

    fn new(parts: Parts, file_name: String) -> Self {
        let Parts { mut inner, pieces, bos, eos } = parts;
        // "Encode" them as the text that they are, that is, do not look for them.
        inner.set_encode_special_tokens(true);
        Self { inner, pieces, bos, eos, file_name, fingerprint: OnceLock::new() }
    }

    /// Cuts a text into tokens. No control token is added or recognised.
    ///
    /// # Errors
    /// [`TextError::Encode`] if the pipeline fails, which no supported vocabulary does.
    pub fn encode(&self, text: &str) -> Result<Encoded, TextError> {
        let encoding = self
            .inner
            .encode(text, false)
            .map_err(|error| TextError::Encode { message: error.to_string() })?;
        let offsets = encoding.get_offsets().iter().map(|&(start, end)| start..end).collect();
        Ok(Encoded { ids: encoding.get_ids().to_vec(), offsets })
    }

    /// The text of `ids`, without control tokens and unknown ids. Bytes that form no character become U+FFFD; see
    /// [`Utf8Stream`]. A space in front stays.
    pub fn decode(&self, ids: &[u32]) -> String {
        let (mut stream, mut text) = (Utf8Stream::default(), String::new());
        for &id in ids {
            stream.push(self.token_bytes(id).unwrap_or_default(), &mut text);
        }
        stream.finish(&mut text);
        text
    }

    /// The bytes that a token stands for; none for control tokens and for ids outside the vocabulary. They need not
    /// be UTF-8: a byte token is one byte.
    pub fn token_bytes(&self, id: u32) -> Option<&[u8]> {
        self.pieces.bytes(id)
    }

    /// What a token is for.
    pub fn token_kind(&self, id: u32) -> TokenKind {
        self.pieces.kind(id)
    }

    /// The token in front of every text, if the model was trained with one.
    pub fn bos(&self) -> Option<u32> {
        self.bos
    }

    /// The token that ends a text, if the vocabulary has one.
    pub fn eos(&self) -> Option<u32> {
        self.eos
    }

    /// The control token with this name, such as `<end_of_turn>`.
    pub fn control_id(&self, name: &str) -> Option<u32> {
        self.pieces.control_id(name)
    }

    /// The token that is spelled like this in the vocabulary (a space as `▁` or `Ġ`).
    pub fn token_to_id(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token).or_else(|| self.control_id(token))
    }

    /// One more than the largest id. The model's head may have more rows (padding) or fewer (Gemma 3's tokenizer.json
    /// lists an image token beyond the text model's vocabulary).
    pub fn vocab_size(&self) -> usize {
        self.pieces.len()
    }

    /// A name for people: the vocabulary's own if it is known, else the file's.
    pub fn name(&self) -> &str {
        let fingerprint = self.fingerprint().to_string();
        KNOWN.iter().find(|known| known.0 == fingerprint).map_or(self.file_name.as_str(), |known| known.1)
    }

    /// Which vocabulary it is, whatever file it was read from.
    pub fn fingerprint(&self) -> TokenizerFingerprint {
        *self.fingerprint.get_or_init(|| self.pieces.fingerprint())
    }
}

impl fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokenizer")
            .field("name", &self.file_name)
            .field("vocab_size", &self.vocab_size())
            .finish_non_exhaustive()
    }
}

/// A name from where a file lies: `gemma-2-2b-it/tokenizer.json` is gemma-2-2b-it, and so is that model in the hub's
/// cache (`models--google--gemma-2-2b-it/snapshots/<commit>/tokenizer.json`); any other file is its stem.
fn place_name(path: &Path) -> String {
    let text = |part: &std::ffi::OsStr| part.to_string_lossy().into_owned();
    let stem = path.file_stem().map(text).unwrap_or_default();
    if stem != "tokenizer" {
        return stem;
    }
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let directories: Vec<String> =
        absolute.ancestors().skip(1).filter_map(Path::file_name).map(text).collect();
    directories
        .iter()
        .find_map(|name| name.strip_prefix("models--")?.rsplit("--").next())
        .or(directories.first().map(String::as_str))
        .map_or(stem, str::to_owned)
}

#[cfg(test)]
mod tests;
