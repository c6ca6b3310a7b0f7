//! Keys for signatures, as JSON Web Keys.

use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::JwkError;
use crate::scheme::KeyError;
use crate::scheme::key::write_private;

/// Size of the largest file of keys.
const MAX_BYTES: u64 = 1 << 20;

/// A private key that signs verdicts. It is wiped from memory when it is dropped, and `Debug` does not show it.
pub struct SigningKey {
    secret: ed25519_dalek::SigningKey,
    public: VerifyingKey,
}

/// A public key that checks signatures of verdicts.
#[derive(Clone, PartialEq, Eq)]
pub struct VerifyingKey {
    key: ed25519_dalek::VerifyingKey,
    kid: String,
}

/// A JWK as it was read. In a private key `d` is the secret.
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    crv: Option<String>,
    x: Option<String>,
    #[serde(default)]
    d: Option<SecretText>,
    #[serde(rename = "use")]
    usage: Option<String>,
    alg: Option<String>,
}

#[derive(Deserialize)]
struct JwkSet {
    keys: Vec<serde_json::Value>,
}

/// A text that is wiped when it is dropped.
struct SecretText(Zeroizing<String>);

impl<'de> Deserialize<'de> for SecretText {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self(Zeroizing::new(text)))
    }
}

/// Shows the thumbprint of the public key; never the secret.
impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("kid", &self.public.kid).finish_non_exhaustive()
    }
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifyingKey").field("kid", &self.kid).finish_non_exhaustive()
    }
}

impl SigningKey {
    /// Makes a fresh key from the system's randomness.
    ///
    /// # Errors
    /// Returns an error if the system gives no randomness.
    pub fn generate() -> Result<Self, JwkError> {
        let mut secret = Zeroizing::new([0; 32]);
        getrandom::fill(&mut *secret).map_err(|error| KeyError::Randomness(error.to_string()))?;
        Ok(Self::new(&secret))
    }

    fn new(secret: &[u8; 32]) -> Self {
        let secret = ed25519_dalek::SigningKey::from_bytes(secret);
        let public = VerifyingKey::new(secret.verifying_key());
        Self { secret, public }
    }

    /// Reads a private key from a file: a JWK of the type `OKP` with the curve `Ed25519`, and with `d`.
    ///
    /// # Errors
    /// Returns an error if the file cannot be read or holds something else.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, JwkError> {
        let path = path.as_ref();
        Self::from_jwk(&read(path)?, &path.display().to_string())
    }

    /// Parses a private key, as [`read`](Self::read) does. `path` stands for the file in error messages.
    ///
    /// # Errors
    /// Returns an error if the bytes are not such a key, or if its public part belongs to another key.
    pub fn from_jwk(bytes: &[u8], path: &str) -> Result<Self, JwkError> {
        let expected = "a private key for Ed25519 as a JWK (kty OKP, with d)";
        let other = |found: &str| JwkError::Other { path: path.into(), expected, found: found.into() };
        let jwk: Jwk = serde_json::from_slice(bytes).map_err(|error| other(&no_json(&error)))?;
        jwk.check().map_err(|found| other(&found))?;
        let Some(SecretText(d)) = &jwk.d else { return Err(other("a public key")) };
        let mut secret = Zeroizing::new([0; 33]);
        // With room to spare, so that a secret that is too long is noticed.
        if URL_SAFE_NO_PAD.decode_slice(d.as_bytes(), &mut *secret).ok() != Some(32) {
            return Err(other("a d that is not 32 bytes in base64url"));
        }
        let mut bytes = Zeroizing::new([0; 32]);
        bytes.copy_from_slice(&secret[..32]);
        let key = Self::new(&bytes);
        if jwk.x.as_ref().is_some_and(|x| *x != key.public.x()) {
            return Err(other("an x that does not belong to its d"));
        }
        Ok(key)
    }

    /// Writes the private key as a JWK with mode 0600, whole or not at all.
    ///
    /// # Errors
    /// Returns an error if the file cannot be written, or if it exists and `overwrite` is false:
    /// [`KeyError::Exists`].
    pub fn write(&self, path: impl AsRef<Path>, overwrite: bool) -> Result<(), JwkError> {
        Ok(write_private(path.as_ref(), self.to_jwk().as_bytes(), overwrite)?)
    }

    /// Returns the private key as a JWK, which is wiped when it is dropped.
    pub fn to_jwk(&self) -> Zeroizing<String> {
        // Filled without growing, so that no copy of the secret stays behind.
        let mut jwk = Zeroizing::new(String::with_capacity(512));
        let public = self.public.to_jwk();
        jwk.push_str(public.trim_end_matches('}'));
        jwk.push_str(",\"d\":\"");
        URL_SAFE_NO_PAD.encode_string(self.secret.as_bytes(), &mut jwk);
        jwk.push_str("\"}\n");
        jwk
    }

    /// Returns the public key, for those who check signatures.
    pub fn verifying_key(&self) -> &VerifyingKey {
        &self.public
    }

    pub(super) fn inner(&self) -> &ed25519_dalek::SigningKey {
        &self.secret
    }
}

impl VerifyingKey {
    fn new(key: ed25519_dalek::VerifyingKey) -> Self {
        // RFC 7638: the required members in order of name, without spaces.
        let x = URL_SAFE_NO_PAD.encode(key.as_bytes());
        let members = format!("{{\"crv\":\"Ed25519\",\"kty\":\"OKP\",\"x\":\"{x}\"}}");
        Self { key, kid: URL_SAFE_NO_PAD.encode(Sha256::digest(members)) }
    }

    /// Reads public keys from a file: a JWK or a JWK set. Keys of other types in a set are left out. Returns at least
    /// one key.
    ///
    /// # Errors
    /// Returns an error if the file cannot be read, has no key for Ed25519, or has a private one.
    pub fn read(path: impl AsRef<Path>) -> Result<Vec<Self>, JwkError> {
        let path = path.as_ref();
        Self::from_jwks(&read(path)?, &path.display().to_string())
    }

    /// Parses public keys, as [`read`](Self::read) does. `path` stands for the file in error messages.
    ///
    /// # Errors
    /// Returns an error if the bytes hold no key for Ed25519, or a private one.
    pub fn from_jwks(bytes: &[u8], path: &str) -> Result<Vec<Self>, JwkError> {
        let expected = "a public key for Ed25519 as a JWK (kty OKP), or a JWK set with one";
        let other = |found: &str| JwkError::Other { path: path.into(), expected, found: found.into() };
        if let Ok(set) = serde_json::from_slice::<JwkSet>(bytes) {
            let ours = |key: &serde_json::Value| key["kty"] == "OKP" && key["crv"] == "Ed25519";
            let jwk = |key| {
                let jwk: Jwk =
                    serde_json::from_value(key).map_err(|_| other("a key whose members are not texts"))?;
                jwk.public().map_err(|found| other(&found))
            };
            let keys = set.keys.into_iter().filter(ours).map(jwk).collect::<Result<Vec<_>, _>>()?;
            return if keys.is_empty() { Err(other("a JWK set without one")) } else { Ok(keys) };
        }
        let jwk: Jwk = serde_json::from_slice(bytes).map_err(|error| other(&no_json(&error)))?;
        Ok(vec![jwk.public().map_err(|found| other(&found))?])
    }

    /// Returns the thumbprint of the key, which the header of its signatures has as `kid`.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// Returns the public key as a JWK.
    pub fn to_jwk(&self) -> String {
        format!(
            "{{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"{}\",\"kid\":\"{}\",\"use\":\"sig\",\"alg\":\"EdDSA\"}}",
            self.x(),
            self.kid
        )
    }

    fn x(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.key.as_bytes())
    }

    pub(super) fn inner(&self) -> &ed25519_dalek::VerifyingKey {
        &self.key
    }
}

/// Returns public keys as a JWK set (RFC 7517), for publishing.
pub fn jwk_set<'k>(keys: impl IntoIterator<Item = &'k VerifyingKey>) -> String {
    let keys: Vec<String> = keys.into_iter().map(VerifyingKey::to_jwk).collect();
    format!("{{\"keys\":[{}]}}", keys.join(","))
}

impl Jwk {
    /// Checks that the key is for Ed25519 and for signatures.
    fn check(&self) -> Result<(), String> {
        if self.kty != "OKP" || self.crv.as_deref() != Some("Ed25519") {
            let crv = self.crv.as_deref().unwrap_or("none");
            return Err(format!("a key with the type {:?} and the curve {crv:?}", self.kty));
        }
        match (self.usage.as_deref(), self.alg.as_deref()) {
            (Some(other), _) if other != "sig" => Err(format!("a key for the use {other:?}")),
            (_, Some(other)) if other != "EdDSA" && other != "Ed25519" => {
                Err(format!("a key for the algorithm {other:?}"))
            }
            _ => Ok(()),
        }
    }

    fn public(self) -> Result<VerifyingKey, String> {
        self.check()?;
        if self.d.is_some() {
            return Err("a private key, which must not be given away".into());
        }
        let x =
            self.x.and_then(|x| URL_SAFE_NO_PAD.decode(x).ok()).and_then(|x| <[u8; 32]>::try_from(x).ok());
        let x = x.ok_or("no x of 32 bytes in base64url")?;
        let key = ed25519_dalek::VerifyingKey::from_bytes(&x).ok().filter(|key| !key.is_weak());
        key.map(VerifyingKey::new).ok_or_else(|| "an x that is not a public key".into())
    }
}

/// Returns what is wrong with JSON, without any of its content.
fn no_json(error: &serde_json::Error) -> String {
    format!("something that is not a JWK from line {}, column {} on", error.line(), error.column())
}

/// Returns the content of a file. It is wiped when it is dropped.
fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, JwkError> {
    let unreadable = |source| JwkError::Unreadable { path: path.display().to_string(), source };
    let file = File::open(path).map_err(unreadable)?;
    let len = file.metadata().map_err(unreadable)?.len().min(MAX_BYTES);
    let mut bytes = Zeroizing::new(Vec::with_capacity((len as usize + 1).max(4096)));
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > MAX_BYTES {
        let found = format!("more than {MAX_BYTES} bytes");
        return Err(JwkError::Other { path: path.display().to_string(), expected: "a JWK", found });
    }
    Ok(bytes)
}
