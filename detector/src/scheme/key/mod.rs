//! Keys: scheme, secret and tokenizer, the public name, and keys derived from a master.
//!
//! `file` has the container `k.bin`, `json` the forms of other libraries.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::KeyError;
use super::schemes::Scheme;
use super::secret::Secret;
use crate::hex;

mod file;
mod json;

pub use file::{permission_warning, write_private};

/// The tokenizer that a key is meant for.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TokenizerBinding {
    /// A name for messages, such as `gemma-2`.
    pub name: String,
    /// SHA-256 over the vocabulary, as the text module defines it.
    pub fingerprint: [u8; 32],
    /// SHA-256 over all that decides which tokens a text becomes. If a key has `None`, another tokenizer with the same
    /// vocabulary passes for this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rules: Option<[u8; 32]>,
}

impl TokenizerBinding {
    /// Checks that the key `key_id`, which is bound to this tokenizer, is used with it.
    ///
    /// # Errors
    /// Returns an error if the fingerprint of `found` differs: [`KeyError::WrongTokenizer`], which names both. If only
    /// the rules differ, the error is [`KeyError::OtherRules`]. If one of the two has no rules, they are not compared.
    pub fn check(&self, key_id: &str, found: &Self) -> Result<(), KeyError> {
        if self.fingerprint == found.fingerprint {
            let (Some(expected), Some(rules)) = (self.rules, found.rules) else { return Ok(()) };
            if expected == rules {
                return Ok(());
            }
            return Err(KeyError::OtherRules {
                key_id: key_id.into(),
                tokenizer: self.to_string(),
                expected: hex::encode(&expected[..4]),
                found: hex::encode(&rules[..4]),
            });
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
///
/// [`Key::read`] reads one from a file, [`Key::generate`] makes a new one, and [`Key::derive`] makes one for a tenant
/// or an epoch. [`Key::with_tokenizer`] binds it to a tokenizer. The secret is wiped from memory when the key is
/// dropped. `Debug` does not show it.
pub struct Key {
    scheme: Scheme,
    secret: Secret,
    tokenizer: Option<TokenizerBinding>,
    label: Option<String>,
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
    /// Makes a key from the given parts.
    ///
    /// # Errors
    /// Returns an error if the parameters cannot work, or if the secret does not have the
    /// [shape](Scheme::secret_shape) that the scheme asks for.
    pub fn new(scheme: impl Into<Scheme>, secret: Secret) -> Result<Self, KeyError> {
        let scheme = scheme.into();
        scheme.check()?;
        scheme.secret_shape().check(scheme.name(), &secret)?;
        Ok(Self { scheme, secret, tokenizer: None, label: None })
    }

    /// Makes a fresh key from the system's randomness, for one of our own schemes. [`Preset`](super::Preset) has the usual
    /// parameters.
    ///
    /// # Errors
    /// Returns an error if the parameters cannot work, if the scheme's secrets do not have 32 bytes, or if the system gives
    /// no randomness.
    pub fn generate(scheme: impl Into<Scheme>) -> Result<Self, KeyError> {
        Self::new(scheme, Secret::generate()?)
    }

    /// Returns the same key, meant for the tokenizer with this binding, or for any if there is none. With the feature
    /// `text` a tokenizer's `binding()` gives it.
    pub fn with_tokenizer(mut self, binding: Option<TokenizerBinding>) -> Self {
        self.tokenizer = binding;
        self
    }

    /// Returns the same key with this label, or without one. The label says to people what the key is for. The mark does
    /// not depend on it.
    pub(crate) fn with_label(mut self, label: Option<String>) -> Self {
        self.label = label;
        self
    }

    /// Returns the label that this key was derived for, if it was. For a key that was derived from a derived key it is
    /// both labels, with a slash between them.
    pub fn label(&self) -> Option<&str> {
        self.label.as_deref()
    }

    /// Returns the scheme and its parameters.
    pub fn scheme(&self) -> &Scheme {
        &self.scheme
    }

    /// Returns the tokenizer that this key is meant for, if it says so.
    pub fn tokenizer(&self) -> Option<&TokenizerBinding> {
        self.tokenizer.as_ref()
    }

    /// Checks that the key may be used with the tokenizer `found`. A key that is bound to none may be used with any.
    ///
    /// # Errors
    /// Returns an error if the key is bound to another tokenizer.
    pub fn check_tokenizer(&self, found: &TokenizerBinding) -> Result<(), KeyError> {
        self.tokenizer.as_ref().map_or(Ok(()), |binding| binding.check(&self.id(), found))
    }

    /// Returns the secret part, for writing it to a key file.
    pub(crate) fn secret(&self) -> &Secret {
        &self.secret
    }

    /// Returns the public name of this key: 16 hexadecimal digits. They depend on the secret and on all parameters that
    /// values depend on, and reveal nothing about the secret. Keys with different values have different ids.
    pub fn id(&self) -> String {
        let mut parameters = Sha256::new();
        self.scheme.update_id(&mut parameters);
        let mut id = [0; 8];
        self.secret
            .expand(&[b"key-id/", self.scheme.name().as_bytes(), b"/", &parameters.finalize()], &mut id);
        hex::encode(&id)
    }

    /// Returns the key for `label` (a tenant, an epoch). Neither this key nor the key of another label follows from it.
    /// Its parameters and tokenizer are this key's.
    ///
    /// # Errors
    /// Returns an error if the scheme follows another library, which does not have derivation
    /// ([`KeyError::NotDerivable`]), or if the label is empty or too long for a key file ([`KeyError::Label`]).
    pub fn derive(&self, label: &str) -> Result<Self, KeyError> {
        let shape = self.scheme.secret_shape();
        if !shape.derivable {
            return Err(KeyError::NotDerivable { scheme: self.scheme.name() });
        }
        let whole = self.label.as_ref().map_or_else(|| label.to_owned(), |own| format!("{own}/{label}"));
        if label.is_empty() || whole.len() > u16::MAX.into() {
            return Err(KeyError::Label { found: label.len() });
        }
        let mut secret = Zeroizing::new(vec![0; shape.len]);
        self.secret.expand(&[b"derive/", label.as_bytes()], &mut secret);
        let key = Self::new(self.scheme.clone(), Secret::new(secret))?;
        Ok(key.with_tokenizer(self.tokenizer.clone()).with_label(Some(whole)))
    }
}
