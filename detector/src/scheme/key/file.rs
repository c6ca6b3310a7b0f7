//! Key files: the `k.bin` container, raw 32-byte files, and the JSON of the reference libraries.
//!
//! # Container, version 1
//! All numbers are little-endian.
//!
//! | bytes | what |
//! |---|---|
//! | 8 | `WMGENKEY` |
//! | 2 | format version, 1 |
//! | 4 | length of the body |
//! | … | body: scheme (1 byte), depth (1), ngram_len (1), then for the compat schemes context_history_size (4), then for `synthid-hf` the table: 0, size (4), seed (8), or 1, size (4), one byte an entry; then the secret's length (2) and bytes; then 0, or 1 with the tokenizer's fingerprint (32), the length of its name (2) and the name in UTF-8 |
//! | 8 | the first bytes of SHA-256 over all before |

use std::fmt::Write as _;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use serde::Deserialize;
use sha2::{Digest, Sha256};
use zeroize::{Zeroize, Zeroizing};

use super::{Key, TokenizerBinding};
use crate::scheme::{KeyError, SamplingTable, Scheme, Secret};

use crate::atomic_file;

const MAGIC: &[u8; 8] = b"WMGENKEY";
const VERSION: u16 = 1;
const HEADER: usize = 14;
const CHECKSUM: usize = 8;
/// No key file is larger: an explicit table of 2^24 entries and some change.
const MAX_BYTES: u64 = (1 << 24) + 4096;

impl Key {
    /// Reads a key file: the container, or exactly 32 raw bytes (a `synthid-sha256` key with default parameters).
    pub fn read(path: impl AsRef<Path>) -> Result<Self, KeyError> {
        let path = path.as_ref();
        let bytes = read_limited(path)?;
        Self::from_bytes(&bytes, &path.display().to_string())
    }

    /// Writes the container with mode 0600, whole or not at all: under another name first, then renamed.
    ///
    /// # Errors
    /// [`KeyError::Exists`] where there is a file already, unless `overwrite` says that it may go.
    pub fn write(&self, path: impl AsRef<Path>, overwrite: bool) -> Result<(), KeyError> {
        write_private(path.as_ref(), &self.to_bytes(), overwrite)
    }

    /// Parses the contents of a key file; `path` is for messages.
    pub fn from_bytes(bytes: &[u8], path: &str) -> Result<Self, KeyError> {
        if bytes.len() == 32 && !bytes.starts_with(MAGIC) {
            return Self::new(Scheme::default(), Secret::new(Zeroizing::new(bytes.to_vec())));
        }
        if !bytes.starts_with(MAGIC) {
            // A container cut inside its mark is a truncated one.
            if !bytes.is_empty() && bytes.len() < MAGIC.len() && MAGIC.starts_with(bytes) {
                return Err(KeyError::Truncated { path: path.into(), expected: HEADER, found: bytes.len() });
            }
            return Err(KeyError::NotAKey { path: path.into(), found: bytes.len() });
        }
        let truncated = |expected| KeyError::Truncated { path: path.into(), expected, found: bytes.len() };
        let corrupted = |what| KeyError::Corrupted { path: path.into(), what };
        if bytes.len() < HEADER {
            return Err(truncated(HEADER));
        }
        let version = u16::from_le_bytes([bytes[8], bytes[9]]);
        if version > VERSION {
            return Err(KeyError::FutureVersion { path: path.into(), found: version, supported: VERSION });
        }
        if version == 0 {
            return Err(corrupted("its format version is 0"));
        }
        let body_len = u32::from_le_bytes([bytes[10], bytes[11], bytes[12], bytes[13]]) as usize;
        let expected = HEADER.saturating_add(body_len).saturating_add(CHECKSUM);
        if bytes.len() < expected {
            return Err(truncated(expected));
        }
        if bytes.len() > expected {
            return Err(corrupted("there are bytes after its end"));
        }
        let (content, checksum) = bytes.split_at(expected - CHECKSUM);
        if Sha256::digest(content)[..CHECKSUM] != *checksum {
            return Err(corrupted("its checksum does not fit"));
        }
        let mut body = Body { rest: &content[HEADER..], path };
        let key = body.key()?;
        if body.rest.is_empty() { Ok(key) } else { Err(corrupted("its body is longer than its fields")) }
    }

    /// The container.
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        // Filled without growing, so that no copy of the secret stays behind in freed memory.
        let table_len = if let Scheme::Hf { table: SamplingTable::Explicit(t), .. } = self.scheme() {
            t.len()
        } else {
            0
        };
        let name_len = self.tokenizer().map_or(0, |binding| cut(&binding.name, u16::MAX.into()));
        let capacity = 128 + table_len + name_len + self.secret().expose().len();
        let mut out = Zeroizing::new(Vec::with_capacity(capacity));
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        let scheme = self.scheme();
        let tag = match scheme {
            Scheme::Sha256 { .. } => 1,
            Scheme::Hf { .. } => 2,
            Scheme::DeepMind { .. } => 3,
        };
        out.extend_from_slice(&[tag, scheme.depth() as u8, scheme.ngram_len() as u8]);
        if let Scheme::Hf { context_history_size, .. } | Scheme::DeepMind { context_history_size, .. } =
            scheme
        {
            out.extend_from_slice(&context_history_size.to_le_bytes());
        }
        if let Scheme::Hf { table, .. } = scheme {
            match table {
                SamplingTable::Seeded { size, seed } => {
                    out.push(0);
                    out.extend_from_slice(&size.to_le_bytes());
                    out.extend_from_slice(&seed.to_le_bytes());
                }
                SamplingTable::Explicit(entries) => {
                    out.push(1);
                    out.extend_from_slice(&(entries.len() as u32).to_le_bytes());
                    out.extend_from_slice(entries);
                }
            }
        }
        let secret = self.secret().expose();
        out.extend_from_slice(&(secret.len() as u16).to_le_bytes());
        out.extend_from_slice(secret);
        match self.tokenizer() {
            None => out.push(0),
            Some(binding) => {
                out.push(1);
                out.extend_from_slice(&binding.fingerprint);
                let name = &binding.name.as_bytes()[..name_len];
                out.extend_from_slice(&(name.len() as u16).to_le_bytes());
                out.extend_from_slice(name);
            }
        }
        let body_len = (out.len() - HEADER) as u32;
        out[10..14].copy_from_slice(&body_len.to_le_bytes());
        let checksum = Sha256::digest(&out[..]);
        out.extend_from_slice(&checksum[..CHECKSUM]);
        debug_assert!(out.len() <= capacity, "the capacity covers all fields");
        out
    }

    /// A compat key from the JSON that its library reads, with notes on the fields that play no part here.
    ///
    /// `deepmind` chooses `synthid-deepmind`, otherwise it is `synthid-hf`. An additional field `sampling_table`, a
    /// list of 0 and 1, gives the table of `synthid-hf` explicitly.
    pub fn import_json(path: impl AsRef<Path>, deepmind: bool) -> Result<(Self, Vec<String>), KeyError> {
        let path = path.as_ref();
        let shown = path.display().to_string();
        let bytes = read_limited(path)?;
        // serde_json's messages quote offending values, which may be keys: keep the position only.
        let config: ReferenceConfig = serde_json::from_slice(&bytes).map_err(|error| KeyError::Json {
            path: shown.clone(),
            why: format!(
                "a {} problem at line {}, column {}",
                if error.is_data() { "field" } else { "syntax" },
                error.line(),
                error.column()
            ),
        })?;
        let keys = Zeroizing::new(config.keys);
        let mut notes = Vec::new();
        for (name, value) in &config.other {
            notes.push(if name == "skip_first_ngram_calls" && value == &serde_json::Value::Bool(true) {
                format!("{name:?} was ignored: responses are marked from their first token, as without it")
            } else {
                format!("the field {name:?} plays no part in the mark and was ignored")
            });
        }
        let depth = u8::try_from(keys.len()).map_err(|_| KeyError::Depth { found: keys.len() })?;
        let ngram_len = u8::try_from(config.ngram_len)
            .map_err(|_| KeyError::NgramLen { found: config.ngram_len as usize })?;
        let context_history_size = config.context_history_size;
        let scheme = if deepmind {
            for (name, used) in [
                ("sampling_table_size", config.sampling_table_size.is_some()),
                ("sampling_table_seed", config.sampling_table_seed.is_some()),
                ("sampling_table", config.sampling_table.is_some()),
            ] {
                if used {
                    notes.push(format!("synthid-deepmind has no sampling table: {name:?} was ignored"));
                }
            }
            Scheme::DeepMind { depth, ngram_len, context_history_size }
        } else {
            let table = match config.sampling_table {
                Some(entries) => SamplingTable::Explicit(entries),
                None => SamplingTable::Seeded {
                    size: config.sampling_table_size.unwrap_or(1 << 16),
                    seed: config.sampling_table_seed.unwrap_or(0),
                },
            };
            Scheme::Hf { depth, ngram_len, context_history_size, table }
        };
        let mut secret = Zeroizing::new(Vec::with_capacity(8 * keys.len()));
        for key in keys.iter() {
            secret.extend_from_slice(&key.to_le_bytes());
        }
        Ok((Self::new(scheme, Secret::new(secret))?, notes))
    }

    /// The JSON that the scheme's own library reads. It holds the secret: write it where only its owner reads.
    ///
    /// # Errors
    /// [`KeyError::ExportNative`] for `synthid-sha256`, which those libraries do not know.
    pub fn export_json(&self) -> Result<Zeroizing<String>, KeyError> {
        let (Scheme::Hf { context_history_size, .. } | Scheme::DeepMind { context_history_size, .. }) =
            self.scheme()
        else {
            return Err(KeyError::ExportNative);
        };
        let keys = self.secret().layer_keys();
        let mut json = Zeroizing::new(String::with_capacity(256 + 24 * keys.len()));
        json.push_str("{\"ngram_len\": ");
        json.push_str(&self.scheme().ngram_len().to_string());
        json.push_str(", \"keys\": [");
        for (i, key) in keys.iter().enumerate() {
            if i > 0 {
                json.push_str(", ");
            }
            let mut digits = key.to_string();
            json.push_str(&digits);
            digits.zeroize();
        }
        json.push_str("], \"context_history_size\": ");
        json.push_str(&context_history_size.to_string());
        if let Scheme::Hf { table, .. } = self.scheme() {
            match table {
                SamplingTable::Seeded { size, seed } => {
                    let _ =
                        write!(*json, ", \"sampling_table_size\": {size}, \"sampling_table_seed\": {seed}");
                }
                SamplingTable::Explicit(entries) => {
                    let _ = write!(*json, ", \"sampling_table\": {entries:?}");
                }
            }
        }
        json.push('}');
        Ok(json)
    }
}

#[derive(Deserialize)]
struct ReferenceConfig {
    keys: Vec<i64>,
    ngram_len: u64,
    #[serde(default = "default_history")]
    context_history_size: u32,
    sampling_table_size: Option<u32>,
    sampling_table_seed: Option<u64>,
    sampling_table: Option<Vec<u8>>,
    #[serde(flatten)]
    other: serde_json::Map<String, serde_json::Value>,
}

/// The longest prefix of `text` within `limit` bytes, as a length.
fn cut(text: &str, limit: usize) -> usize {
    (0..=limit.min(text.len())).rev().find(|&len| text.is_char_boundary(len)).unwrap_or(0)
}

fn default_history() -> u32 {
    1024
}

/// Cuts fields off a body whose checksum was right; a field that does not fit means a writer that we do not know.
struct Body<'a> {
    rest: &'a [u8],
    path: &'a str,
}

impl<'a> Body<'a> {
    fn corrupted(&self, what: &'static str) -> KeyError {
        KeyError::Corrupted { path: self.path.into(), what }
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], KeyError> {
        let (field, rest) = self
            .rest
            .split_at_checked(len)
            .ok_or_else(|| self.corrupted("its body is shorter than its fields"))?;
        self.rest = rest;
        Ok(field)
    }

    fn number<const N: usize>(&mut self) -> Result<[u8; N], KeyError> {
        Ok(self.take(N)?.try_into().expect("take returns as many bytes as asked for"))
    }

    fn key(&mut self) -> Result<Key, KeyError> {
        let [tag, depth, ngram_len] = self.number()?;
        let scheme = match tag {
            1 => Scheme::Sha256 { depth, ngram_len },
            2 => {
                let context_history_size = u32::from_le_bytes(self.number()?);
                let [explicit] = self.number()?;
                let size = u32::from_le_bytes(self.number()?);
                let table = match explicit {
                    0 => SamplingTable::Seeded { size, seed: u64::from_le_bytes(self.number()?) },
                    1 => SamplingTable::Explicit(self.take(size as usize)?.to_vec()),
                    _ => return Err(self.corrupted("its sampling table is of an unknown kind")),
                };
                Scheme::Hf { depth, ngram_len, context_history_size, table }
            }
            3 => Scheme::DeepMind {
                depth,
                ngram_len,
                context_history_size: u32::from_le_bytes(self.number()?),
            },
            _ => return Err(self.corrupted("its scheme is unknown")),
        };
        let secret_len = u16::from_le_bytes(self.number()?);
        let secret = Secret::new(Zeroizing::new(self.take(secret_len.into())?.to_vec()));
        let [bound] = self.number()?;
        let tokenizer = if bound == 0 {
            None
        } else {
            let fingerprint = self.number()?;
            let name_len = u16::from_le_bytes(self.number()?);
            let name = std::str::from_utf8(self.take(name_len.into())?)
                .map_err(|_| self.corrupted("its tokenizer's name is not UTF-8"))?;
            Some(TokenizerBinding { name: name.into(), fingerprint })
        };
        Ok(Key::new(scheme, secret)?.with_tokenizer(tokenizer))
    }
}

/// A sentence for the owner of a key file that others can read; none where only the owner can, or off Unix.
pub fn permission_warning(path: impl AsRef<Path>) -> Option<String> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let path = path.as_ref();
        let mode = fs::metadata(path).ok()?.permissions().mode() & 0o777;
        (mode & 0o077 != 0).then(|| {
            format!(
                "{0}: other users can read or change this key (mode {mode:03o}, expected 600); run `chmod 600 {0}`",
                path.display()
            )
        })
    }
    #[cfg(not(unix))]
    {
        let _ = path;
        None
    }
}

fn read_limited(path: &Path) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let io = |source: std::io::Error| match source.kind() {
        ErrorKind::NotFound => KeyError::Missing { path: path.display().to_string() },
        _ => KeyError::Io { path: path.display().to_string(), source },
    };
    let len = fs::metadata(path).map_err(io)?.len();
    if len > MAX_BYTES {
        return Err(KeyError::NotAKey { path: path.display().to_string(), found: len as usize });
    }
    fs::read(path).map(Zeroizing::new).map_err(io)
}

/// Writes `bytes` whole or not at all, with mode 0600; see [`atomic_file`](crate::atomic_file).
pub fn write_private(path: &Path, bytes: &[u8], overwrite: bool) -> Result<(), KeyError> {
    let options = atomic_file::Options::new().private(true).create_new(!overwrite);
    options.write(path, bytes).map_err(|source| match source.kind() {
        ErrorKind::AlreadyExists => KeyError::Exists { path: path.display().to_string() },
        _ => KeyError::Io { path: path.display().to_string(), source },
    })
}
