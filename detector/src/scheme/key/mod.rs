//! Keys: what a scheme needs to know, the secret, its public name, and keys derived from a master.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::hex;

use super::{KeyError, SamplingTable, Scheme, Secret};

mod file;

pub use file::{permission_warning, write_private};

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
            let mut keys = secret.layer_keys();
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
        self.secret
            .expand(&[b"key-id/", self.scheme.name().as_bytes(), b"/", &parameters.finalize()], &mut id);
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
        self.secret.expand(&[b"derive/", label.as_bytes()], &mut secret);
        Ok(Self::new(self.scheme.clone(), Secret::new(secret))?.with_tokenizer(self.tokenizer.clone()))
    }
}
