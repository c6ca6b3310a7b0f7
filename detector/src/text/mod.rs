//! From text to token ids and back.
//!
//! A watermark is a statement about token ids, so the detector must cut a text as the generator's model does. This
//! module reads the tokenizer from a Hugging Face tokenizer.json or from the metadata of a GGUF file. For each token it
//! keeps which bytes of the text it covers, so that a finding can be shown in place.
//!
//! ```no_run
//! # fn main() -> Result<(), wmdetect::text::TextError> {
//! let tokenizer = wmdetect::text::Tokenizer::open("gemma-2-2b-it")?;
//! let encoded = tokenizer.encode("some text")?;
//! assert_eq!(tokenizer.decode(&encoded.ids), "some text");
//! # Ok(())
//! # }
//! ```

mod binding;
pub mod blocks;
mod compiled;
mod default_tokenizer;
mod error;
mod hashing;
mod json;
mod library;
mod mmap;
pub mod normalise;
mod pieces;
mod utf8;
mod vocabulary;

use std::fmt;
use std::fs::File;
use std::io::{BufReader, Read, Seek};
use std::ops::Range;
use std::path::Path;
use std::sync::OnceLock;

use sha2::{Digest, Sha256};

pub use default_tokenizer::DEFAULT_MODEL;
pub use error::TextError;
pub use pieces::{TokenKind, TokenizerFingerprint};
pub use utf8::Utf8Stream;

use compiled::Compiled;
use pieces::Pieces;
use vocabulary::{Parts, Problem};

use crate::cache::{Cache, Key};
use crate::gguf::names::GENERAL_NAME;
use crate::gguf::{GgufError, Metadata};

/// Tokenizers in smaller files are compiled faster than they are looked up in the cache.
const WORTH_IT: u64 = 64 << 10;

/// Names of vocabularies that are known whatever file they come from.
const KNOWN: [(&str, &str); 3] = [
    ("9154acd0ff2da18d1f1a5d60def37ae0d88aae330c25127c1ddcf3b0cbd7ded9", DEFAULT_MODEL),
    ("413263ae3a3ddeb00192b96a3fe6c5ef8def2d07a366ef4adef489202c46832e", "gemma-2"),
    ("ece761fefbb2179579fd7bd411d6bf8bab479d60b99d9c6652b1cb6feaa29709", "gemma-3"),
];

/// A text as tokens.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Encoded {
    /// The token ids, in order.
    pub ids: Vec<u32>,
    /// For each token the bytes of the text that it covers, always whole characters. The byte tokens of one character
    /// share its range. Starts and ends never decrease. Together the ranges cover the text, except for characters that
    /// a vocabulary without byte tokens cannot write.
    pub offsets: Vec<Range<usize>>,
}

/// A tokenizer: text to ids, ids to text, and which vocabulary it is.
///
/// Text is always text: a `<bos>` or `<end_of_turn>` that somebody wrote is cut into ordinary tokens.
/// [`bos`](Self::bos) and [`control_id`](Self::control_id) give control tokens, and the caller puts them between the
/// ids.
pub struct Tokenizer {
    engine: Engine,
    /// The name that the file gives itself, or the name of its place.
    file_name: String,
    /// The vocabulary's own name, if it is known, once somebody asks.
    known: OnceLock<Option<&'static str>>,
    /// What a key is bound to, once somebody asks.
    rules: OnceLock<[u8; 32]>,
}

enum Engine {
    Compiled(Box<Compiled>),
    Library(Box<Library>),
}

/// A tokenizer that only the `tokenizers` library can handle.
struct Library {
    inner: tokenizers::Tokenizer,
    pieces: Pieces,
    bos: Option<u32>,
    eos: Option<u32>,
    fingerprint: OnceLock<TokenizerFingerprint>,
}

impl Tokenizer {
    /// Reads a tokenizer.json, the tokenizer.json in a directory, or the tokenizer inside a GGUF file.
    ///
    /// Gemma's takes some seconds; [`open_with_cache`](Self::open_with_cache) is faster from the second time on.
    ///
    /// # Errors
    /// Returns an error if there is no tokenizer, if it is damaged, or if it is of a kind that is not supported. The
    /// error names the path.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, TextError> {
        Self::open_with_cache(path, None)
    }

    /// Opens a tokenizer as [`open`](Self::open) does, and keeps a vocabulary of Gemma's kind in compiled form in
    /// `cache`, so that it opens in milliseconds the next time. A cache that cannot be written is not an error.
    ///
    /// # Errors
    /// Returns an error if [`open`](Self::open) would.
    pub fn open_with_cache(path: impl AsRef<Path>, cache: Option<&Cache>) -> Result<Self, TextError> {
        // The tables are little-endian.
        Self::open_in(path.as_ref(), cache.filter(|_| cfg!(target_endian = "little")))
    }

    fn open_in(path: &Path, cache: Option<&Cache>) -> Result<Self, TextError> {
        let read = |source| TextError::Read { path: path.to_owned(), source };
        if path.is_dir() {
            let file = path.join("tokenizer.json");
            return if file.is_file() {
                Self::open_in(&file, cache)
            } else {
                Err(TextError::NoTokenizer { path: path.to_owned() })
            };
        }
        let mut file = File::open(path).map_err(read)?;
        let meta = file.metadata().map_err(read)?;
        // A file that cannot be read twice cannot be looked up either.
        let cache = cache.filter(|_| meta.is_file() && meta.len() >= WORTH_IT);
        let mut start = Vec::new();
        (&mut file).take(64).read_to_end(&mut start).map_err(read)?;
        if start.starts_with(b"GGUF") {
            return Self::open_gguf(file, start, meta.len(), path, cache);
        }
        // A byte order mark is not JSON, but it is not another kind of file either: serde_json names it.
        if start.trim_ascii_start().first() != Some(&b'{') && !start.starts_with(b"\xEF\xBB\xBF") {
            let found = format!("'{}'", start.iter().take(8).copied().collect::<Vec<_>>().escape_ascii());
            return Err(TextError::Unrecognised { path: path.to_owned(), found });
        }
        if let Some(cache) = cache {
            let key = hashing::key_of_all(start.as_slice().chain(&mut file)).map_err(read)?;
            if let Some(compiled) = Compiled::load(cache, &key) {
                return Ok(Self::with(Engine::Compiled(Box::new(compiled)), place_name(path)));
            }
            file.rewind().map_err(read)?;
            start.clear();
        }
        file.read_to_end(&mut start).map_err(read)?;
        Self::from_json(&start, path, cache)
    }

    /// Reads the content of a tokenizer.json; `name` stands for its path.
    ///
    /// # Errors
    /// Returns an error if the content is damaged or of a kind that is not supported. The error has the name.
    pub fn from_json_bytes(json: &[u8], name: &str) -> Result<Self, TextError> {
        Self::from_json(json, Path::new(name), None)
    }

    /// Returns the tokenizer that the content of a tokenizer.json describes; `path` is for names and errors.
    fn from_json(json: &[u8], path: &Path, cache: Option<&Cache>) -> Result<Self, TextError> {
        let inner = library::read(json, path)?;
        let source = cache.map(|cache| (cache, Sha256::digest(json).into()));
        library::fenced(|| Ok(Self::new(json::build(inner)?, place_name(path), source)))
            .map_err(|message| TextError::Json { path: path.to_owned(), message })?
    }

    fn open_gguf(
        file: File,
        mut start: Vec<u8>,
        len: u64,
        path: &Path,
        cache: Option<&Cache>,
    ) -> Result<Self, TextError> {
        let gguf = |source| TextError::Gguf { path: path.to_owned(), source };
        let mut file = BufReader::with_capacity(1 << 16, file);
        let mut source = None;
        if let Some(cache) = cache {
            let (key, metadata) =
                hashing::key_of_gguf(start.as_slice().chain(&mut file), len).map_err(gguf)?;
            if let Some(compiled) = Compiled::load(cache, &key) {
                let file_name = name_in(&metadata, path).map_err(gguf)?;
                return Ok(Self::with(Engine::Compiled(Box::new(compiled)), file_name));
            }
            source = Some((cache, key));
            file.rewind().map_err(|source| TextError::Read { path: path.to_owned(), source })?;
            start.clear();
        }
        let input = start.as_slice().chain(&mut file);
        let metadata = Metadata::read(input, len, vocabulary::is_needed).map_err(gguf)?;
        Self::from_metadata(&metadata, path, source)
    }

    /// Reads the tokenizer inside a GGUF file whose metadata are in memory; `name` stands for its path.
    ///
    /// # Errors
    /// Returns an error if the metadata are damaged or the tokenizer is of a kind that is not supported. The error has
    /// the name.
    pub fn from_gguf_bytes(bytes: &[u8], name: &str) -> Result<Self, TextError> {
        let path = Path::new(name);
        let metadata = Metadata::read(bytes, bytes.len() as u64, vocabulary::is_needed)
            .map_err(|source| TextError::Gguf { path: path.to_owned(), source })?;
        Self::from_metadata(&metadata, path, None)
    }

    fn from_metadata(
        metadata: &Metadata,
        path: &Path,
        source: Option<(&Cache, Key)>,
    ) -> Result<Self, TextError> {
        let gguf = |source| TextError::Gguf { path: path.to_owned(), source };
        let name = name_in(metadata, path).map_err(gguf)?;
        let built = library::fenced(|| {
            vocabulary::build(metadata).map(|parts| Self::new(parts, name, source)).map_err(|problem| {
                match problem {
                    Problem::Gguf(source) => gguf(source),
                    Problem::Text(error) => error,
                }
            })
        });
        built.map_err(|found| TextError::Vocabulary {
            expected: "a vocabulary that the tokenizers library accepts".to_owned(),
            found,
        })?
    }

    /// Compiles the tokenizer if that is possible, and stores it in the cache if there is one and a hash of the source.
    fn new(mut parts: Parts, file_name: String, source: Option<(&Cache, Key)>) -> Self {
        // "Encode" special tokens as text, that is, do not look for them.
        parts.inner.set_encode_special_tokens(true);
        let key = source.map_or_else(Key::default, |source| source.1);
        let engine = if let Some(compiled) = compiled::compile(&parts, &key) {
            if let Some((cache, key)) = source {
                compiled.save(cache, &key);
            }
            Engine::Compiled(Box::new(compiled))
        } else {
            let Parts { inner, pieces, bos, eos } = parts;
            Engine::Library(Box::new(Library { inner, pieces, bos, eos, fingerprint: OnceLock::new() }))
        };
        Self::with(engine, file_name)
    }

    fn with(engine: Engine, file_name: String) -> Self {
        Self { engine, file_name, known: OnceLock::new(), rules: OnceLock::new() }
    }

    /// Cuts a text into tokens. No control token is added or recognised.
    ///
    /// # Errors
    /// Returns an error if the pipeline fails, which does not happen with a supported vocabulary on a text below 4 GiB.
    pub fn encode(&self, text: &str) -> Result<Encoded, TextError> {
        #[cfg(test)]
        crate::work::encodes();
        match &self.engine {
            Engine::Compiled(compiled) => compiled.encode(text),
            Engine::Library(library) => encode_with(&library.inner, text),
        }
    }

    /// Returns the ids of [`encode`](Self::encode), without the memory that the offsets take.
    fn encode_ids(&self, text: &str) -> Result<Vec<u32>, TextError> {
        #[cfg(test)]
        crate::work::encodes();
        match &self.engine {
            Engine::Compiled(compiled) => compiled.encode_ids(text),
            Engine::Library(library) => Ok(encode_with(&library.inner, text)?.ids),
        }
    }

    /// Returns the text of `ids`, without control tokens and unknown ids. Bytes that form no character become U+FFFD;
    /// see [`Utf8Stream`]. A space in front stays.
    pub fn decode(&self, ids: &[u32]) -> String {
        let (mut stream, mut text) = (Utf8Stream::default(), String::new());
        for &id in ids {
            stream.push(self.token_bytes(id).unwrap_or_default(), &mut text);
        }
        stream.finish(&mut text);
        text
    }

    /// Returns the bytes that a token stands for, `None` for control tokens and for ids outside the vocabulary. They
    /// need not be UTF-8: a byte token is one byte.
    pub fn token_bytes(&self, id: u32) -> Option<&[u8]> {
        match &self.engine {
            Engine::Compiled(compiled) => compiled.token_bytes(id),
            Engine::Library(library) => library.pieces.bytes(id),
        }
    }

    /// Returns what a token is for.
    pub fn token_kind(&self, id: u32) -> TokenKind {
        match &self.engine {
            Engine::Compiled(compiled) => compiled.token_kind(id),
            Engine::Library(library) => library.pieces.kind(id),
        }
    }

    /// Returns the id of the token in front of every text, if the model was trained with one.
    pub fn bos(&self) -> Option<u32> {
        match &self.engine {
            Engine::Compiled(compiled) => compiled.bos(),
            Engine::Library(library) => library.bos,
        }
    }

    /// Returns the id of the token that ends a text, if the vocabulary has one.
    pub fn eos(&self) -> Option<u32> {
        match &self.engine {
            Engine::Compiled(compiled) => compiled.eos(),
            Engine::Library(library) => library.eos,
        }
    }

    /// Returns the id of the control token with this name, such as `<end_of_turn>`.
    pub fn control_id(&self, name: &str) -> Option<u32> {
        match &self.engine {
            Engine::Compiled(compiled) => compiled.control_id(name),
            Engine::Library(library) => library.pieces.control_id(name),
        }
    }

    /// Returns the id of the token that is spelled like this in the vocabulary (a space as `▁` or `Ġ`).
    pub fn token_to_id(&self, token: &str) -> Option<u32> {
        match &self.engine {
            Engine::Compiled(compiled) => compiled.token_to_id(token),
            Engine::Library(library) => {
                library.inner.token_to_id(token).or_else(|| library.pieces.control_id(token))
            }
        }
    }

    /// Returns one more than the largest id. The model's head may have more rows, for padding. It may have fewer: Gemma
    /// 3's tokenizer.json lists an image token beyond the text model's vocabulary.
    pub fn vocab_size(&self) -> usize {
        match &self.engine {
            Engine::Compiled(compiled) => compiled.vocab_size(),
            Engine::Library(library) => library.pieces.len(),
        }
    }

    /// Returns a name for people: the vocabulary's if it is a known one, else the file's.
    pub fn name(&self) -> &str {
        let known = self.known.get_or_init(|| {
            let fingerprint = self.fingerprint().to_string();
            KNOWN.iter().find(|known| known.0 == fingerprint).map(|known| known.1)
        });
        known.unwrap_or(&self.file_name)
    }

    /// Returns the fingerprint of the vocabulary, which does not depend on the file that it was read from.
    pub fn fingerprint(&self) -> TokenizerFingerprint {
        match &self.engine {
            Engine::Compiled(compiled) => compiled.fingerprint(),
            Engine::Library(library) => *library.fingerprint.get_or_init(|| library.pieces.fingerprint()),
        }
    }
}

fn name_in(metadata: &Metadata, path: &Path) -> Result<String, GgufError> {
    Ok(metadata.string(GENERAL_NAME)?.map_or_else(|| place_name(path), str::to_owned))
}

fn encode_with(inner: &tokenizers::Tokenizer, text: &str) -> Result<Encoded, TextError> {
    let encoding = library::fenced(|| inner.encode(text, false))
        .and_then(|encoding| encoding.map_err(|error| error.to_string()))
        .map_err(|message| TextError::Encode { message })?;
    let offsets = encoding.get_offsets().iter().map(|&(start, end)| start..end).collect();
    Ok(Encoded { ids: encoding.get_ids().to_vec(), offsets })
}

impl fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokenizer")
            .field("name", &self.file_name)
            .field("vocab_size", &self.vocab_size())
            .finish_non_exhaustive()
    }
}

/// Returns a name from a file's path: `gemma-2-2b-it/tokenizer.json` is gemma-2-2b-it, and so is that model in the
/// hub's cache (`models--google--gemma-2-2b-it/snapshots/<commit>/tokenizer.json`); any other file is its stem.
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
