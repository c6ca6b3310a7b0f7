//! Secrets, and what a scheme asks of them.

use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::Zeroizing;

use super::KeyError;

/// The salt of every HKDF extraction here; a new format version gets a new one.
const HKDF_SALT: &[u8] = b"wmgen/v1";

/// Bytes that must not leak: wiped on drop, no `Debug`, no `Display`, no `Clone`.
///
/// ```compile_fail
/// let secret = wmdetect::scheme::Secret::generate().unwrap();
/// println!("{secret:?}");
/// ```
pub struct Secret(Zeroizing<Vec<u8>>);

/// What the secret of a scheme looks like.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct SecretShape {
    /// Length in bytes.
    pub len: usize,
    /// Whether it is a list of 64-bit layer keys, which must all differ.
    pub distinct_layer_keys: bool,
    /// Whether it can be a master, from which keys for tenants and epochs are derived.
    pub derivable: bool,
}

impl SecretShape {
    /// Checks that `secret` has this shape; `scheme` is the scheme's name.
    pub(super) fn check(self, scheme: &'static str, secret: &Secret) -> Result<(), KeyError> {
        let (expected, found) = (self.len, secret.0.len());
        if found != expected {
            return Err(KeyError::SecretLength { scheme, expected, found });
        }
        if self.distinct_layer_keys {
            let mut keys = secret.layer_keys();
            keys.sort_unstable();
            if keys.windows(2).any(|pair| pair[0] == pair[1]) {
                return Err(KeyError::DuplicateLayerKeys);
            }
        }
        Ok(())
    }
}

impl Secret {
    /// Takes over `bytes`. The caller wipes any other copies.
    pub fn new(bytes: Zeroizing<Vec<u8>>) -> Self {
        Self(bytes)
    }

    /// Returns 32 bytes from the operating system's generator.
    ///
    /// # Errors
    /// Returns an error if the generator fails: [`KeyError::Randomness`].
    pub fn generate() -> Result<Self, KeyError> {
        let mut bytes = Zeroizing::new(vec![0; 32]);
        getrandom::fill(&mut bytes).map_err(|error| KeyError::Randomness(error.to_string()))?;
        Ok(Self(bytes))
    }

    /// Returns the bytes themselves. Keep the borrow short and copy nothing out of it that is not wiped again.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// Fills `out` with HKDF-SHA256 over the secret. The parts of `info` are concatenated.
    pub(crate) fn expand(&self, info: &[&[u8]], out: &mut [u8]) {
        Hkdf::<Sha256>::new(Some(HKDF_SALT), &self.0)
            .expand_multi_info(info, out)
            .expect("HKDF-SHA256 gives up to 8,160 bytes and no caller asks for more than 32");
    }

    /// Returns the secret as a list of 64-bit layer keys, in layer order.
    pub(crate) fn layer_keys(&self) -> Zeroizing<Vec<i64>> {
        let (keys, _) = self.0.as_chunks::<8>();
        Zeroizing::new(keys.iter().map(|bytes| i64::from_le_bytes(*bytes)).collect())
    }
}
