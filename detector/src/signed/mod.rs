//! Signed verdicts: a [`Statement`] of what the detector said of a text, signed by the operator.
//!
//! The signature is a JSON Web Signature (JWS, RFC 7515) in the compact serialisation, with Ed25519 (`alg` is `EdDSA`,
//! RFC 8037). Any JOSE library can check it with the public key. The key is a JSON Web Key (JWK, RFC 7517, of the type
//! `OKP` of RFC 8037), and `kid` is its thumbprint (RFC 7638).
//!
//! The payload is the statement as JSON, inside the signature. The text is not inside: the statement has its SHA-256,
//! so the text can be kept, sent or withheld apart from the signature. So neither a detached payload (RFC 7515,
//! appendix F) nor an unencoded one (RFC 7797, `b64`) is needed. A signature that asks for the latter is refused.
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use wmdetect::signed::{SigningKey, Statement};
//! use wmdetect::timestamp::Timestamp;
//! use wmdetect::{Detector, Input, Key};
//!
//! let ids: Vec<u32> = (0..100).collect();
//! let report = Detector::builder(Key::from_bytes(&[7; 32], "an example")?).build()?.score(Input::tokens(&ids))?;
//! let key = SigningKey::generate()?;
//! let signature = key.sign(&Statement::of(&report, [0; 32], Timestamp::now())); // the SHA-256 of the submitted bytes
//!
//! let statement = key.verifying_key().verify(&signature)?;
//! assert_eq!(statement.verdict, report.verdict);
//! # Ok(())
//! # }
//! ```

mod error;
mod jwk;
mod jws;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use error::{JwkError, SignatureError};
pub use jwk::{SigningKey, VerifyingKey, jwk_set};

use crate::hex;
use crate::report::{Report, SCHEMA_VERSION, WarningCode};
use crate::statistics::PKind;
use crate::timestamp::Timestamp;
use crate::verdict::Verdict;

/// The signed statement: what the detector said of a text, when, and how often it is wrong.
///
/// [`of`](Self::of) takes it from a report. It has no p-value and no score: anyone who sees those for their texts can
/// edit a text until they change. [`with_log10_p`](Self::with_log10_p) adds p for those who may see it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Statement {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// SHA-256 of the bytes of the text as they were submitted; in JSON 64 hexadecimal digits.
    #[serde(serialize_with = "digits", deserialize_with = "bytes")]
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub sha256: [u8; 32],
    /// The program that judged the text: `wmdetect`.
    pub detector: String,
    /// Its version.
    pub version: String,
    /// Name of the watermarking scheme, such as `synthid-sha256`.
    pub technique: String,
    /// Public id of the key that marked the text. If the text is not called watermarked, it is the key's id if only one
    /// key was tried and the caller may know it, else `None`.
    pub key_id: Option<String>,
    /// How many keys were tried.
    pub keys_tried: u64,
    /// Number of tokens of the text.
    pub tokens: u64,
    /// Number of tokens that count.
    pub scored_tokens: u64,
    /// The verdict.
    pub verdict: Verdict,
    /// The share of unmarked texts that may be called watermarked.
    pub error_rate: f64,
    /// What the p-value behind the verdict promises.
    pub p_kind: PKind,
    /// log₁₀ of the p-value, for those who may see it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log10_p: Option<f64>,
    /// The codes of the report's warnings.
    #[serde(default)]
    pub warning_codes: Vec<WarningCode>,
    /// When the statement was made.
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub time: Timestamp,
}

impl Statement {
    /// Returns what `report` says of the text with this SHA-256, as a statement made at `time` by this version of this
    /// program. It leaves out p.
    pub fn of(report: &Report, sha256: [u8; 32], time: Timestamp) -> Self {
        let names_key =
            report.verdict == Verdict::Watermarked || report.keys_tried.is_none_or(|keys| keys == 1);
        Self {
            schema_version: SCHEMA_VERSION,
            sha256,
            detector: env!("CARGO_PKG_NAME").into(),
            version: env!("CARGO_PKG_VERSION").into(),
            technique: report.scheme.clone(),
            key_id: names_key.then(|| report.key_id.clone()),
            keys_tried: report.keys_tried.unwrap_or(1),
            tokens: report.tokens,
            scored_tokens: report.scored_tokens,
            verdict: report.verdict,
            error_rate: report.fpr,
            p_kind: report.p_kind,
            log10_p: None,
            warning_codes: report.warnings.iter().map(|warning| warning.code).collect(),
            time,
        }
    }

    /// Returns the statement with this p-value, for a reader who may see it.
    #[must_use]
    pub fn with_log10_p(self, log10_p: Option<f64>) -> Self {
        Self { log10_p, ..self }
    }
}

fn digits<S: Serializer>(bytes: &[u8; 32], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&hex::encode(bytes))
}

fn bytes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<[u8; 32], D::Error> {
    let digits = String::deserialize(deserializer)?;
    let bytes = hex::decode(&digits).and_then(|bytes| bytes.try_into().ok());
    bytes.ok_or_else(|| serde::de::Error::custom("expected 64 hexadecimal digits"))
}
