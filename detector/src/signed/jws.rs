//! The compact serialisation of JWS: header, payload and signature in base64url, with dots between them.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::{Signature, Signer as _};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::{SignatureError, SigningKey, Statement, VerifyingKey};
use crate::report::SCHEMA_VERSION;

const ALGORITHM: &str = "EdDSA";
/// The type of a verdict. The same key's signature of something else cannot pass for a verdict.
const TYPE: &str = "wmdetect-verdict+jws";
/// Length of the longest signature that is accepted.
const MAX_LEN: usize = 64 << 10;

/// The header's parameters that are used. Parameters that say which key to trust (`jwk`, `jku`, `x5c`, `x5u`) are
/// ignored.
#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    typ: Option<String>,
    #[serde(default, deserialize_with = "present")]
    crit: Option<Value>,
    #[serde(default, deserialize_with = "present")]
    b64: Option<Value>,
}

/// Returns a parameter that is present, even if it is null.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

impl SigningKey {
    /// Signs a statement, and returns a compact JWS.
    pub fn sign(&self, statement: &Statement) -> String {
        let header = serde_json::json!({ "alg": ALGORITHM, "kid": self.verifying_key().kid(), "typ": TYPE });
        let payload = serde_json::to_vec(statement).expect("a statement has no maps and no failing fields");
        self.sign_bytes(header.to_string().as_bytes(), &payload)
    }

    pub(super) fn sign_bytes(&self, header: &[u8], payload: &[u8]) -> String {
        let mut jws = URL_SAFE_NO_PAD.encode(header) + "." + &URL_SAFE_NO_PAD.encode(payload);
        let signature = self.inner().sign(jws.as_bytes());
        jws.push('.');
        URL_SAFE_NO_PAD.encode_string(signature.to_bytes(), &mut jws);
        jws
    }
}

impl VerifyingKey {
    /// Checks a compact JWS, and returns the statement that this key signed.
    ///
    /// # Errors
    /// Returns an error if the text is not a JWS of this key with the algorithm `EdDSA`, or if anything in it was
    /// changed. Also returns an error if it asks for an extension (`crit`, `b64`), or does not sign a statement of this
    /// version.
    pub fn verify(&self, jws: &str) -> Result<Statement, SignatureError> {
        let (header, payload) = self.verify_bytes(jws)?;
        if header.typ.as_deref() != Some(TYPE) {
            let found = header.typ.map_or_else(|| "none".into(), |found| format!("{found:?}"));
            return Err(SignatureError::Type { expected: TYPE, found });
        }
        let other = |found| SignatureError::Statement { expected: SCHEMA_VERSION, found };
        let statement: Statement =
            serde_json::from_slice(&payload).map_err(|error| other(error.to_string()))?;
        if statement.schema_version != SCHEMA_VERSION {
            return Err(other(format!("version {}", statement.schema_version)));
        }
        Ok(statement)
    }

    /// Checks a compact JWS, and returns its header and its payload.
    fn verify_bytes(&self, jws: &str) -> Result<(Header, Vec<u8>), SignatureError> {
        let malformed = |found: &str| SignatureError::Malformed { found: found.into() };
        if jws.len() > MAX_LEN {
            return Err(malformed("one that is longer than any of ours"));
        }
        let parts: Vec<&str> = jws.split('.').collect();
        let [header, payload, signature] = parts[..] else {
            return Err(malformed(&format!("{} parts between dots, not three", parts.len())));
        };
        let decode =
            |part| URL_SAFE_NO_PAD.decode(part).map_err(|_| malformed("a part that is not base64url"));
        let (header, payload_bytes) = (decode(header)?, decode(payload)?);
        let header: Header = serde_json::from_slice(&header)
            .map_err(|error| malformed(&format!("a header that is not JSON with an alg: {error}")))?;
        if header.alg != ALGORITHM {
            return Err(SignatureError::Algorithm { found: header.alg });
        }
        for (name, value) in [("crit", &header.crit), ("b64", &header.b64)] {
            if let Some(value) = value {
                return Err(SignatureError::Extension { found: format!("{name}: {value}") });
            }
        }
        if let Some(found) = header.kid.as_ref().filter(|kid| *kid != self.kid()) {
            return Err(SignatureError::OtherKey { expected: self.kid().into(), found: found.clone() });
        }
        let wrong = || SignatureError::Wrong { key: self.kid().into() };
        let signature = Signature::from_slice(&decode(signature)?).map_err(|_| wrong())?;
        let signed = &jws[..jws.rfind('.').unwrap_or_default()];
        self.inner().verify_strict(signed.as_bytes(), &signature).map_err(|_| wrong())?;
        Ok((header, payload_bytes))
    }

    #[cfg(test)]
    pub(super) fn payload(&self, jws: &str) -> Result<Vec<u8>, SignatureError> {
        self.verify_bytes(jws).map(|(_, payload)| payload)
    }
}
