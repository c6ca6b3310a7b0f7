//! Secrets.

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

    /// HKDF-SHA256 over the secret, `info` being the concatenation of its parts.
    pub(crate) fn expand(&self, info: &[&[u8]], out: &mut [u8]) {
        Hkdf::<Sha256>::new(Some(HKDF_SALT), &self.0)
            .expand_multi_info(info, out)
            .expect("HKDF-SHA256 gives up to 8,160 bytes and no caller asks for more than 32");
    }

    /// The secret as a list of 64-bit layer keys, in layer order.
    pub(crate) fn layer_keys(&self) -> Zeroizing<Vec<i64>> {
        let (keys, _) = self.0.as_chunks::<8>();
        Zeroizing::new(keys.iter().map(|bytes| i64::from_le_bytes(*bytes)).collect())
    }
}
