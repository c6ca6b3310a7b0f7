//! Receipts: how a text was written, as one JSON object a line. The generator writes them and the verifier reads them.

use std::f64::consts::LN_2;

use serde::{Deserialize, Serialize};
use wmdetect::counted::counted;
use wmdetect::report::{SCHEMA_VERSION, WarningCode};
use wmdetect::scheme::{Key, PositionKind};
use wmdetect::text::{Tokenizer, Utf8Stream};

use crate::engine::FinishReason;
use crate::sample::Sampling;

/// How one text was written.
///
/// A reader ignores fields that it does not know. It requires only the fields that a verifier needs: tokens, prompt,
/// sampling, model and the key's id. Other fields count as empty if they are absent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Receipt {
    /// Version of this structure: [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// The text.
    #[serde(default)]
    pub text: String,
    /// Token ids of the text. After a stop string, the last token may extend a few characters beyond the text.
    pub tokens: Vec<u32>,
    /// Token ids of the prompt.
    pub prompt_tokens: Vec<u32>,
    /// Reason why the text ended.
    pub finish_reason: Option<FinishReason>,
    /// Mark of the text.
    pub watermark: WatermarkReceipt,
    /// Settings with which the tokens were drawn.
    pub sampling: Sampling,
    /// Model that wrote the text.
    pub model: ModelReceipt,
    /// Times of writing.
    #[serde(default)]
    pub timing: Timing,
    /// What to know before relying on the text being detected.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// Code of each of these warnings.
    #[serde(default)]
    pub warning_codes: Vec<WarningCode>,
    /// Id of the request, if a server gave it one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// Name of the tenant, if a server knows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
}

/// Mark of a text, with counts from writing it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
#[serde(default)]
pub struct WatermarkReceipt {
    /// Whether any token was drawn with the mark.
    pub applied: bool,
    /// Scheme of the key; null without a key, and so are the next three fields.
    pub scheme: Option<String>,
    /// Public id of the key.
    pub key_id: Option<String>,
    /// Length of the longest context plus one.
    pub ngram_len: Option<usize>,
    /// Number of tournament layers.
    pub depth: Option<usize>,
    /// Channel of the key; absent if the key has only one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channel: Option<u16>,
    /// Number of tokens that were drawn with the mark.
    pub marked_tokens: usize,
    /// Number of tokens that were not marked because their context had occurred before.
    pub repeated_contexts: usize,
    /// Choice that the marked draws had: the entropy of their candidates before the mark, in bits.
    pub entropy_bits: f64,
    /// Maximum ln e-value that a verifier with this model, key and receipt can expect, for any key.
    pub expected_evidence: f64,
    /// Reason why no mark was asked for, if the caller gives one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// The model that wrote a text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct ModelReceipt {
    /// Name by which the model was requested.
    pub name: String,
    /// Digest of the model's files; null for a model without files.
    pub fingerprint: Option<String>,
    /// Dtype of the activations.
    #[serde(default)]
    pub dtype: String,
    /// Whether any soft cap was in effect.
    #[serde(default)]
    pub softcap: bool,
}

/// Times of one prompt, shared by its texts. Texts of other prompts that were decoded together share the time of
/// decoding too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
#[allow(clippy::struct_field_names)] // the unit is part of a JSON field's name
pub struct Timing {
    /// Seconds of reading the prompt.
    pub prefill_s: f64,
    /// Seconds from the first token to the last.
    pub decode_s: f64,
    /// Tokens per second over all texts of the prompt, without the first token of each; null if there are no others.
    pub tokens_per_s: Option<f64>,
}

/// Errors from reading a receipt.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReceiptError {
    /// The line is not a receipt.
    #[error("not a receipt: {0}")]
    Json(#[from] serde_json::Error),
    /// The receipt has another version.
    #[error("the receipt has schema_version {found}, expected {SCHEMA_VERSION}; use the wmgen that wrote it")]
    Version {
        /// Version of the receipt.
        found: u32,
    },
    /// The tokens do not spell the text.
    #[error(
        "the receipt contradicts itself: its text is not what its tokens spell, from byte {at} on; expected a receipt \
         as it was written"
    )]
    Text {
        /// First byte that differs.
        at: usize,
    },
}

/// Evidence for p ≤ 0.001, the default rate: ln 1000.
const ENOUGH: f64 = 6.907_755_278_982_137;

impl WatermarkReceipt {
    /// Returns a warning if the draws of a marked text had too little choice to carry the mark.
    pub(super) fn too_little_choice(&self) -> Option<String> {
        (self.key_id.is_some() && self.expected_evidence < ENOUGH).then(|| {
            // Rounded down, so that too little never looks like enough.
            let bits = (self.expected_evidence / LN_2 * 10.0).floor() / 10.0;
            format!(
                "the {} had {bits:.1} bits of choice, and p <= 0.001 takes 10 bits at least, so the mark can hardly be \
                 found; expected a longer text, or a larger temperature, top-k or top-p",
                counted(self.marked_tokens as u64, "marked draw"),
            )
        })
    }
}

impl Receipt {
    /// Returns the tokens that spell the text: all of them, except those of a stop string after it. If the text is
    /// empty, as in a receipt without one, returns all.
    ///
    /// # Errors
    /// Returns an error if the tokens spell a different text.
    pub fn tokens_of_text(&self, tokenizer: &Tokenizer) -> Result<&[u32], ReceiptError> {
        if self.text.is_empty() {
            return Ok(&self.tokens);
        }
        let spelled = tokenizer.decode(&self.tokens);
        let at = first_difference(spelled.as_bytes(), self.text.as_bytes());
        let is_start = at == Some(self.text.len()) && self.finish_reason == Some(FinishReason::Stop);
        match at {
            Some(at) if !is_start => Err(ReceiptError::Text { at }),
            Some(_) => {
                // The text of the first n tokens grows with n.
                let (mut decoder, mut length) = (Utf8Stream::default(), String::new());
                let mut covers = |id: &u32| {
                    let before = length.len();
                    decoder.push(tokenizer.token_bytes(*id).unwrap_or_default(), &mut length);
                    before < self.text.len()
                };
                Ok(&self.tokens[..self.tokens.iter().take_while(|id| covers(id)).count()])
            }
            None => Ok(&self.tokens),
        }
    }

    /// Returns the number of tokens that are marked, and of those that repeat a context, counted again under the
    /// scheme of `key`.
    pub fn counted(&self, key: &Key) -> (usize, usize) {
        let mut tracker = key.prf().marked_positions(&self.prompt_tokens);
        let kinds: Vec<PositionKind> = self.tokens.iter().map(|id| tracker.advance(*id)).collect();
        let count = |kind| kinds.iter().filter(|other| **other == kind).count();
        (count(PositionKind::Marked), count(PositionKind::RepeatedContext))
    }

    /// Parses a receipt.
    ///
    /// # Errors
    /// Returns an error if `json` is not a receipt, or has another version.
    pub fn parse(json: &str) -> Result<Self, ReceiptError> {
        let receipt: Self = serde_json::from_str(json)?;
        match receipt.schema_version {
            SCHEMA_VERSION => Ok(receipt),
            found => Err(ReceiptError::Version { found }),
        }
    }

    /// Returns whether `other` has the same prompt, sampling settings, model and key. Seeds may differ, because a
    /// reader does not need them.
    pub fn is_like(&self, other: &Self) -> bool {
        let settings = |receipt: &Self| Sampling { seed: 0, ..receipt.sampling };
        self.prompt_tokens == other.prompt_tokens
            && settings(self) == settings(other)
            && self.model.fingerprint == other.model.fingerprint
            && self.watermark.key_id == other.watermark.key_id
    }
}

/// Returns the first place where two texts differ, or `None` if they are equal.
pub(crate) fn first_difference(a: &[u8], b: &[u8]) -> Option<usize> {
    let common = a.iter().zip(b).take_while(|(a, b)| a == b).count();
    (common < a.len().max(b.len())).then_some(common)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = concat!(
        r#"{"schema_version":1,"text":"a b","tokens":[5,6],"prompt_tokens":[2],"finish_reason":"length","#,
        r#""watermark":{"applied":true,"scheme":"synthid-sha256","key_id":"7c41e2ea1e5c6796","ngram_len":5,"depth":30,"#,
        r#""marked_tokens":2,"repeated_contexts":0,"entropy_bits":3.5,"expected_evidence":2.426},"sampling":{"temperature":0.7,"top_k":100,"top_p":0.95,"#,
        r#""repeat_penalty":1.1,"seed":18446744073709551615},"model":{"name":"m","fingerprint":null,"dtype":"f32","#,
        r#""softcap":true},"timing":{"prefill_s":0.25,"decode_s":0.5,"tokens_per_s":2.0},"warnings":[],"warning_codes":[]}"#
    );

    /// Fixes the contract: names, order and numbers.
    #[test]
    fn what_is_read_is_written_again_to_the_byte() {
        let receipt = Receipt::parse(LINE).unwrap();
        assert_eq!((receipt.sampling.seed, receipt.finish_reason), (u64::MAX, Some(FinishReason::Length)));
        assert_eq!(serde_json::to_string(&receipt).unwrap(), LINE);
        // These fields are left out if they have nothing to say.
        let more = LINE
            .replace("2.426}", r#"2.426,"reason":"opted_out"}"#)
            .replace(r#""depth":30,"#, r#""depth":30,"channel":5,"#)
            .replace("1.1,", r#"1.1,"frequency_penalty":-0.5,"presence_penalty":2.0,"min_p":0.05,"#)
            .replace(r#""warning_codes":[]"#, r#""warning_codes":[],"request_id":"r-1","tenant":"t""#);
        let receipt = Receipt::parse(&more).unwrap();
        assert_eq!(receipt.watermark.reason.as_deref(), Some("opted_out"));
        assert_eq!(serde_json::to_string(&receipt).unwrap(), more);
    }

    #[test]
    fn a_reader_takes_unknown_fields_and_refuses_other_versions() {
        let more =
            LINE.replacen('{', r#"{"channel":3,"#, 1).replace(r#""seed""#, r#""typical_p":0.1,"seed""#);
        assert_eq!(Receipt::parse(&more).unwrap(), Receipt::parse(LINE).unwrap());
        let other = LINE.replace(r#""schema_version":1"#, r#""schema_version":2"#);
        assert!(matches!(Receipt::parse(&other), Err(ReceiptError::Version { found: 2 })));
        assert!(matches!(Receipt::parse("{}"), Err(ReceiptError::Json(_))));
    }

    #[test]
    fn what_a_verifier_needs_is_enough() {
        let line = r#"{"schema_version":1,"tokens":[5],"prompt_tokens":[2],"watermark":{"key_id":null},"sampling":
            {"temperature":1,"top_k":0,"top_p":1,"repeat_penalty":1},"model":{"name":"m","fingerprint":"00"}}"#;
        assert_eq!(Receipt::parse(line).unwrap().finish_reason, None);
    }

    #[test]
    fn texts_of_one_prompt_are_alike_whatever_their_seeds() {
        let one = Receipt::parse(LINE).unwrap();
        let mut other = Receipt { tokens: vec![7], ..one.clone() };
        other.sampling.seed = 1;
        assert!(one.is_like(&other));
        other.sampling.min_p = 0.1;
        assert!(!one.is_like(&other));
    }
}
