//! Key files: the `k.bin` container and raw 32-byte files.
//!
//! # Container, versions 1 and 2
//! All numbers are little-endian.
//!
//! | bytes | what |
//! |---|---|
//! | 8 | `WMGENKEY` |
//! | 2 | format version: 2 with a label or with the tokenizer's rules, else 1 |
//! | 4 | length of the body |
//! | … | body: scheme (1 byte), its parameters; then the secret's length (2) and bytes; then 0; or 1, the tokenizer's fingerprint (32), the length of its name (2) and the name in UTF-8; or 2 and the same with the digest of its rules (32) after the fingerprint; then, if there is a label, its length (2) and the label in UTF-8 |
//! | 8 | the first bytes of SHA-256 over all before |
//!
//! | scheme | parameters |
//! |---|---|
//! | 1, `synthid-sha256` | depth (1), ngram_len (1) |
//! | 2, `synthid-hf` | depth (1), ngram_len (1), context_history_size (4); then the table: 0, size (4), seed (8), or 1, size (4), one byte an entry |
//! | 3, `synthid-deepmind` | depth (1), ngram_len (1), context_history_size (4) |
//! | 4, `synthid-sha256-v2` | depth (1), shortest and longest context (1 each), channels (2) |
//! | 5, `vllm-gumbel` | context_width (1) |
//! | 6, `vllm-gumbel-dual` | context_width (1), alpha (8) |
//! | 7, `sglang-gumbel` | context_window (1) |
//! | 8, `sglang-gumbel-dual` | context_window (1), mixing_probability (8) |
//! | 9, `textseal` | ngram (1), 0 (1); or ngram (1), 1 (1), mixing_alpha (8) |
//! | 10, `kgw-hf` | seeding scheme (1), context_width (1), greenlist_ratio (8), vocab_size (4) |
//! | 11, `kgw` | function (1), context_width (1), select_green_tokens (1), gamma (8), vocab_size (4) |
//! | 12, `kgw-tgi` | gamma (8), vocab_size (4) |

use std::fs::{self, File};
use std::io::{ErrorKind, Read as _};
use std::path::Path;

use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::{Key, TokenizerBinding};
use crate::atomic_file;
use crate::scheme::KeyError;
use crate::scheme::fields::Fields;
use crate::scheme::schemes::Scheme;
use crate::scheme::secret::Secret;
use crate::scheme::synthid;

const MAGIC: &[u8; 8] = b"WMGENKEY";
/// The newest version that is read. A key is written in the oldest version that can hold it, so that older programs can
/// read it.
const VERSION: u16 = 2;
const HEADER: usize = 14;
const CHECKSUM: usize = 8;
/// Size of the largest key file: an explicit table of 2^24 entries and a little more.
const MAX_BYTES: u64 = (1 << 24) + 4096;

impl Key {
    /// Reads a key file: the container, or exactly 32 raw bytes (a `synthid-sha256` key with default parameters).
    ///
    /// # Errors
    /// Returns an error if the file cannot be read, is not a key file, is damaged, or comes from a newer version.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, KeyError> {
        let path = path.as_ref();
        let bytes = read_limited(path)?;
        Self::from_bytes(&bytes, &path.display().to_string())
    }

    /// Reads a key file that is a container.
    ///
    /// # Errors
    /// Returns an error if [`read`](Self::read) would, or if the file is 32 raw bytes ([`KeyError::RawInKeyring`]).
    pub(crate) fn read_container(path: impl AsRef<Path>) -> Result<Self, KeyError> {
        let path = path.as_ref();
        let bytes = read_limited(path)?;
        let name = path.display().to_string();
        if is_raw(&bytes) {
            return Err(KeyError::RawInKeyring { path: name });
        }
        Self::from_bytes(&bytes, &name)
    }

    /// Writes the container with mode 0600, whole or not at all: under another name first, then renamed.
    ///
    /// # Errors
    /// Returns an error if the file cannot be written, or if it exists and `overwrite` is false: [`KeyError::Exists`].
    pub fn write(&self, path: impl AsRef<Path>, overwrite: bool) -> Result<(), KeyError> {
        write_private(path.as_ref(), &self.to_bytes(), overwrite)
    }

    /// Parses the content of a key file: a container, or 32 raw bytes, which are the secret of a `synthid-sha256` key with the
    /// default parameters. `path` stands for the file in error messages.
    ///
    /// # Errors
    /// Returns an error if the bytes are not a key file, are damaged, or come from a newer version.
    pub fn from_bytes(bytes: &[u8], path: &str) -> Result<Self, KeyError> {
        if is_raw(bytes) {
            return Self::new(synthid::Sha256::default(), Secret::new(Zeroizing::new(bytes.to_vec())));
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
        let mut fields = Fields::new(&content[HEADER..], path);
        let key = from_fields(&mut fields, version)?;
        if fields.is_empty() { Ok(key) } else { Err(corrupted("its body is longer than its fields")) }
    }

    /// Returns the container, which holds the secret. It is wiped when it is dropped.
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        // Filled without growing, so that no copy of the secret stays behind in freed memory.
        let parameters = self.scheme().to_fields();
        let name_len = self.tokenizer().map_or(0, |binding| cut(&binding.name, u16::MAX.into()));
        let label = self.label().unwrap_or_default();
        let capacity = 128 + parameters.len() + name_len + label.len() + self.secret().expose().len();
        let mut out = Zeroizing::new(Vec::with_capacity(capacity));
        out.extend_from_slice(MAGIC);
        let rules = self.tokenizer().and_then(|binding| binding.rules);
        let version = if label.is_empty() && rules.is_none() { 1 } else { VERSION };
        out.extend_from_slice(&version.to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        out.push(self.scheme().tag());
        out.extend_from_slice(&parameters);
        let secret = self.secret().expose();
        out.extend_from_slice(&(secret.len() as u16).to_le_bytes());
        out.extend_from_slice(secret);
        match self.tokenizer() {
            None => out.push(0),
            Some(binding) => {
                out.push(if rules.is_some() { 2 } else { 1 });
                out.extend_from_slice(&binding.fingerprint);
                out.extend_from_slice(rules.as_ref().map_or(&[], <[u8; 32]>::as_slice));
                let name = &binding.name.as_bytes()[..name_len];
                out.extend_from_slice(&(name.len() as u16).to_le_bytes());
                out.extend_from_slice(name);
            }
        }
        if !label.is_empty() {
            out.extend_from_slice(&(label.len() as u16).to_le_bytes());
            out.extend_from_slice(label.as_bytes());
        }
        let body_len = (out.len() - HEADER) as u32;
        out[10..14].copy_from_slice(&body_len.to_le_bytes());
        let checksum = Sha256::digest(&out[..]);
        out.extend_from_slice(&checksum[..CHECKSUM]);
        debug_assert!(out.len() <= capacity, "the capacity covers all fields");
        out
    }
}

/// Returns whether a file's bytes are a secret without a container.
fn is_raw(bytes: &[u8]) -> bool {
    bytes.len() == 32 && !bytes.starts_with(MAGIC)
}

/// Reads the body of a container.
fn from_fields(fields: &mut Fields<'_>, version: u16) -> Result<Key, KeyError> {
    let [tag] = fields.array()?;
    let scheme = Scheme::from_fields(tag, fields)?;
    let secret_len = u16::from_le_bytes(fields.array()?);
    let secret = Secret::new(Zeroizing::new(fields.take(secret_len.into())?.to_vec()));
    let [bound] = fields.array()?;
    let tokenizer = if bound == 0 {
        None
    } else {
        let fingerprint = fields.array()?;
        let rules = match bound {
            1 => None,
            2 => Some(fields.array()?),
            _ => return Err(fields.corrupted("its tokenizer is of an unknown form")),
        };
        let name_len = u16::from_le_bytes(fields.array()?);
        let name = std::str::from_utf8(fields.take(name_len.into())?)
            .map_err(|_| fields.corrupted("its tokenizer's name is not UTF-8"))?;
        Some(TokenizerBinding { name: name.into(), fingerprint, rules })
    };
    let key = Key::new(scheme, secret)?.with_tokenizer(tokenizer);
    if version < 2 || fields.is_empty() {
        return Ok(key);
    }
    let label_len = u16::from_le_bytes(fields.array()?);
    let label = std::str::from_utf8(fields.take(label_len.into())?)
        .map_err(|_| fields.corrupted("its label is not UTF-8"))?;
    Ok(key.with_label(Some(label.into())))
}

/// Returns the longest prefix of `text` within `limit` bytes, as a length.
fn cut(text: &str, limit: usize) -> usize {
    (0..=limit.min(text.len())).rev().find(|&len| text.is_char_boundary(len)).unwrap_or(0)
}

/// Returns a warning for the owner of a key file that others can read. It is `None` if only the owner can read the
/// file, if it is not a regular file, and on systems other than Unix.
pub fn permission_warning(path: impl AsRef<Path>) -> Option<String> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let path = path.as_ref();
        let metadata = fs::metadata(path).ok().filter(fs::Metadata::is_file)?;
        let mode = metadata.permissions().mode() & 0o777;
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

pub(super) fn read_limited(path: &Path) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let io = |source: std::io::Error| match source.kind() {
        ErrorKind::NotFound => KeyError::Missing { path: path.display().to_string() },
        _ => KeyError::Read { path: path.display().to_string(), source },
    };
    let file = File::open(path).map_err(io)?;
    // A buffer with room for the whole file never grows, so it leaves no copy of the secret behind. What is not a
    // regular file has no length and may have no end.
    let metadata = file.metadata().map_err(io)?;
    if metadata.is_dir() {
        return Err(KeyError::Directory { path: path.display().to_string() });
    }
    let len = metadata.len().min(MAX_BYTES);
    let mut bytes = Zeroizing::new(Vec::with_capacity((len as usize + 1).max(4096)));
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(io)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(KeyError::TooLarge { path: path.display().to_string(), limit: MAX_BYTES });
    }
    Ok(bytes)
}

/// Writes `bytes` whole or not at all, with mode 0600; see [`atomic_file`](crate::atomic_file).
///
/// # Errors
/// Returns an error if the file cannot be written, or if it exists and `overwrite` is false: [`KeyError::Exists`].
pub fn write_private(path: &Path, bytes: &[u8], overwrite: bool) -> Result<(), KeyError> {
    let options = atomic_file::Options::new().private(true).create_new(!overwrite);
    options.write(path, bytes).map_err(|source| match source.kind() {
        ErrorKind::AlreadyExists => KeyError::Exists { path: path.display().to_string() },
        _ => KeyError::Write { path: path.display().to_string(), source },
    })
}
