//! Keys: what a scheme needs to know, the secret, its public name, and keys derived from a master.

use std::fmt;

use hkdf::Hkdf;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::hex;

use super::{DEFAULT_DEPTH, DEFAULT_NGRAM_LEN, KeyError, MAX_DEPTH, MAX_NGRAM_LEN};

/// The salt of every HKDF extraction here; a new format version gets a new one.
const HKDF_SALT: &[u8] = b"wmgen/v1";

/// Bytes that must not leak: wiped on drop, no `Debug`, no `Display`, no `Clone`.
///
/// ```compile_fail
/// let secret = wmdetect::scheme::Secret::generate().unwrap();
/// println!("{secret:?}");
/// ```
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Takes over `bytes`; the caller's other copies are the caller's to wipe.
    pub fn new(bytes: Zeroizing<Vec<u8>>) -> Self {
        Self(bytes)
    }

    /// 32 bytes from the operating system's generator.
    pub fn generate() -> Result<Self, KeyError> {
        let mut bytes = Zeroizing::new(vec![0; 32]);
        getrandom::fill(&mut bytes).map_err(|error| KeyError::Randomness(error.to_string()))?;
        Ok(Self(bytes))
    }

    /// The bytes themselves. Keep the borrow short and copy nothing out of it that is not wiped again.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

/// The table of `synthid-hf`, from which its g-values are read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SamplingTable {
    /// What torch's CPU generator draws: `size` bits from `seed` (of which torch uses the low 32 bits).
    Seeded {
        /// Number of entries.
        size: u32,
        /// `sampling_table_seed`.
        seed: u64,
    },
    /// The entries themselves, each 0 or 1: for texts that were marked on a device whose generator differs.
    Explicit(Vec<u8>),
}

impl SamplingTable {
    /// Number of entries.
    pub fn size(&self) -> usize {
        match self {
            Self::Seeded { size, .. } => *size as usize,
            Self::Explicit(entries) => entries.len(),
        }
    }
}

/// A scheme and its public parameters.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Scheme {
    /// Our own: SHA-256 as the keyed function, complete context history.
    Sha256 {
        /// Layers of the tournament, m.
        depth: u8,
        /// Context length plus one, H + 1.
        ngram_len: u8,
    },
    /// `transformers.SynthIDTextWatermarkLogitsProcessor` and `synthid-text` 0.2.1.
    Hf {
        /// Layers, one key each.
        depth: u8,
        /// H + 1.
        ngram_len: u8,
        /// How many past contexts the generator remembers.
        context_history_size: u32,
        /// Where g-values are read.
        table: SamplingTable,
    },
    /// `synthid_text` on its main branch since June 2025.
    DeepMind {
        /// Layers, one key each.
        depth: u8,
        /// H + 1.
        ngram_len: u8,
        /// How many past contexts the generator remembers.
        context_history_size: u32,
    },
}

impl Default for Scheme {
    fn default() -> Self {
        Self::Sha256 { depth: DEFAULT_DEPTH as u8, ngram_len: DEFAULT_NGRAM_LEN as u8 }
    }
}

impl Scheme {
    /// `synthid-sha256`, `synthid-hf` or `synthid-deepmind`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Sha256 { .. } => "synthid-sha256",
            Self::Hf { .. } => "synthid-hf",
            Self::DeepMind { .. } => "synthid-deepmind",
        }
    }

    /// Layers of the tournament, m.
    pub fn depth(&self) -> usize {
        match *self {
            Self::Sha256 { depth, .. } | Self::Hf { depth, .. } | Self::DeepMind { depth, .. } => {
                depth.into()
            }
        }
    }

    /// Context length plus one.
    pub fn ngram_len(&self) -> usize {
        match *self {
            Self::Sha256 { ngram_len, .. }
            | Self::Hf { ngram_len, .. }
            | Self::DeepMind { ngram_len, .. } => ngram_len.into(),
        }
    }

    /// H: how many tokens before a position decide its g-values.
    pub fn context_len(&self) -> usize {
        self.ngram_len() - 1
    }

    /// True for the schemes that follow a reference implementation; their p-values are approximate.
    pub fn is_compat(&self) -> bool {
        !matches!(self, Self::Sha256 { .. })
    }

    /// Refuses parameters that cannot work.
    pub fn check(&self) -> Result<(), KeyError> {
        let (depth, ngram_len) = (self.depth(), self.ngram_len());
        if !(1..=MAX_DEPTH).contains(&depth) {
            return Err(KeyError::Depth { found: depth });
        }
        if !(2..=MAX_NGRAM_LEN).contains(&ngram_len) {
            return Err(KeyError::NgramLen { found: ngram_len });
        }
        if let Self::Hf { context_history_size, .. } | Self::DeepMind { context_history_size, .. } = self
            && !(1..=1 << 24).contains(context_history_size)
        {
            return Err(KeyError::ContextHistorySize { found: *context_history_size });
        }
        if let Self::Hf { table, .. } = self {
            if !(2..=1 << 24).contains(&table.size()) {
                return Err(KeyError::TableSize { found: table.size() });
            }
            if let SamplingTable::Explicit(entries) = table
                && let Some(entry) = entries.iter().find(|&&entry| entry > 1)
            {
                return Err(KeyError::TableEntry { found: *entry });
            }
        }
        Ok(())
    }
}

/// The tokenizer that a key is meant for.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TokenizerBinding {
    /// A name for messages, such as `gemma-2`.
    pub name: String,
    /// SHA-256 over the vocabulary, as the text module defines it.
    pub fingerprint: [u8; 32],
}

impl TokenizerBinding {
    /// Checks that the key `key_id`, which is bound to this tokenizer, is used with it.
    ///
    /// # Errors
    /// Returns [`KeyError::WrongTokenizer`], which names both, if the fingerprint of `found` is another one.
    pub fn check(&self, key_id: &str, found: &Self) -> Result<(), KeyError> {
        if self.fingerprint == found.fingerprint {
            return Ok(());
        }
        let (expected, found) = (self.to_string(), found.to_string());
        Err(KeyError::WrongTokenizer { key_id: key_id.into(), expected, found })
    }
}

impl fmt::Display for TokenizerBinding {
    /// Writes the name and the start of the fingerprint: `gemma-2 (413263ae)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (", self.name)?;
        hex::write(f, &self.fingerprint[..4])?;
        f.write_str(")")
    }
}

/// A watermark key: scheme, secret and, optionally, the tokenizer that it belongs to.
pub struct Key {
    scheme: Scheme,
    secret: Secret,
    tokenizer: Option<TokenizerBinding>,
}

/// Shows what is public; never the secret.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key")
            .field("scheme", &self.scheme.name())
            .field("key_id", &self.id())
            .finish_non_exhaustive()
    }
}

impl Key {
    /// A key of the given parts.
    ///
    /// # Errors
    /// Parameters that cannot work, a secret of the wrong length (32 bytes for `synthid-sha256`, 8 bytes a layer
    /// for the compat schemes), or two equal layer keys.
    pub fn new(scheme: Scheme, secret: Secret) -> Result<Self, KeyError> {
        scheme.check()?;
        let expected = if scheme.is_compat() { 8 * scheme.depth() } else { 32 };
        let found = secret.expose().len();
        if found != expected {
            return Err(KeyError::SecretLength { scheme: scheme.name(), expected, found });
        }
        if scheme.is_compat() {
            let mut keys = layer_keys(&secret);
            keys.sort_unstable();
            if keys.windows(2).any(|pair| pair[0] == pair[1]) {
                return Err(KeyError::DuplicateLayerKeys);
            }
        }
        Ok(Self { scheme, secret, tokenizer: None })
    }

    /// A fresh `synthid-sha256` key from the system's randomness.
    pub fn generate(depth: usize, ngram_len: usize) -> Result<Self, KeyError> {
        let depth = u8::try_from(depth).map_err(|_| KeyError::Depth { found: depth })?;
        let ngram_len = u8::try_from(ngram_len).map_err(|_| KeyError::NgramLen { found: ngram_len })?;
        Self::new(Scheme::Sha256 { depth, ngram_len }, Secret::generate()?)
    }

    /// The same key, meant for this tokenizer.
    pub fn with_tokenizer(mut self, binding: Option<TokenizerBinding>) -> Self {
        self.tokenizer = binding;
        self
    }

    /// Scheme and parameters.
    pub fn scheme(&self) -> &Scheme {
        &self.scheme
    }

    /// The tokenizer that this key is meant for, if it says so.
    pub fn tokenizer(&self) -> Option<&TokenizerBinding> {
        self.tokenizer.as_ref()
    }

    /// Checks that the key may be used with the tokenizer `found`. A key that is bound to none may be used with any.
    ///
    /// # Errors
    /// As [`TokenizerBinding::check`].
    pub fn check_tokenizer(&self, found: &TokenizerBinding) -> Result<(), KeyError> {
        self.tokenizer.as_ref().map_or(Ok(()), |binding| binding.check(&self.id(), found))
    }

    /// The secret part, for writing it to a key file.
    pub(crate) fn secret(&self) -> &Secret {
        &self.secret
    }

    /// The public name of this key: 16 hexadecimal digits that depend on the secret and on all parameters that
    /// g-values depend on, and tell nothing of the secret. Keys with different g-values have different ids.
    pub fn id(&self) -> String {
        let mut parameters = Sha256::new();
        let (depth, ngram_len) = (self.scheme.depth() as u8, self.scheme.ngram_len() as u8);
        parameters.update([depth, ngram_len]);
        if let Scheme::Hf { table, .. } = &self.scheme {
            match table {
                SamplingTable::Seeded { size, seed } => {
                    parameters.update([0]);
                    parameters.update(size.to_le_bytes());
                    parameters.update(seed.to_le_bytes());
                }
                SamplingTable::Explicit(entries) => {
                    parameters.update([1]);
                    parameters.update(entries);
                }
            }
        }
        let mut id = [0; 8];
        self.expand(&[b"key-id/", self.scheme.name().as_bytes(), b"/", &parameters.finalize()], &mut id);
        hex::encode(&id)
    }

    /// A key of its own for `label` (a tenant, an epoch), from which neither this key nor its siblings follow.
    /// Parameters and tokenizer are this key's.
    ///
    /// # Errors
    /// [`KeyError::DeriveCompat`] for compat keys: their libraries know no derivation.
    pub fn derive(&self, label: &str) -> Result<Self, KeyError> {
        if self.scheme.is_compat() {
            return Err(KeyError::DeriveCompat { scheme: self.scheme.name() });
        }
        let mut secret = Zeroizing::new(vec![0; 32]);
        self.expand(&[b"derive/", label.as_bytes()], &mut secret);
        Ok(Self::new(self.scheme.clone(), Secret(secret))?.with_tokenizer(self.tokenizer.clone()))
    }

    /// HKDF-SHA256 over the secret, `info` being the concatenation of its parts.
    pub(crate) fn expand(&self, info: &[&[u8]], out: &mut [u8]) {
        Hkdf::<Sha256>::new(Some(HKDF_SALT), self.secret.expose())
            .expand_multi_info(info, out)
            .expect("HKDF-SHA256 gives up to 8,160 bytes and no caller asks for more than 32");
    }

    /// The layer keys of a compat scheme, in layer order.
    pub(crate) fn layer_keys(&self) -> Zeroizing<Vec<i64>> {
        layer_keys(&self.secret)
    }
}

fn layer_keys(secret: &Secret) -> Zeroizing<Vec<i64>> {
    let (keys, _) = secret.expose().as_chunks::<8>();
    Zeroizing::new(keys.iter().map(|bytes| i64::from_le_bytes(*bytes)).collect())
}
