//! What the reader of a report should know before trusting it.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A remark on a report, for programs ([`code`](Self::code)) and for people ([`message`](Self::message)).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Warning {
    /// The kind of the remark.
    pub code: WarningCode,
    /// A sentence.
    pub message: String,
}

impl Warning {
    /// Returns the remark `message` of the kind `code`.
    pub fn new(code: WarningCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// The kinds of [`Warning`]. In JSON the name is in snake case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum WarningCode {
    /// p is approximate, because the g-values of the key's scheme are not independent without the mark.
    ApproximateP,
    /// Fewer than half of the positions count, because the others repeat an earlier context.
    RepeatedContexts,
    /// The statistic was fitted to texts of this key, so p is approximate for texts that share passages with those.
    FittedToThisKey,
    /// A key does not name a tokenizer, so nothing checks that it belongs to the one in use. Fix it with
    /// [`Key::with_tokenizer`](crate::Key::with_tokenizer).
    UnboundKey,
    /// A key is bound only to its tokenizer's vocabulary, so nothing checks that texts are cut in the same way. Fix it
    /// with [`Key::with_tokenizer`](crate::Key::with_tokenizer).
    WeakBinding,
    /// The mark that was found belongs to a key that its owner marked as leaked, so others may have written it.
    LeakedKey,
    /// Bytes that are not UTF-8 were replaced by U+FFFD.
    InvalidUtf8,
    /// The mark was not found, but would be with another normalisation. Neither p nor the verdict counts that trial.
    /// Only the program `wmdetect` makes such trials.
    OtherNormalisation,
    /// The text has more contexts than are remembered exactly, so some new positions do not count.
    BoundedHistory,
    /// In calibration: there are too few random keys to call a key worse than chance.
    FewKeys,
    /// In calibration and in attacks: the run was stopped before everything was judged.
    Interrupted,
    /// In calibration: there are so few documents that most keys flag none of them. In attacks: a length has no text,
    /// or there are too few human texts to check a rate.
    FewDocuments,
    /// In receipts, which say how `wmgen` made a text: the draws had too little choice to carry the mark.
    LittleChoice,
    /// The receipt is from a model other than the one that read the text.
    OtherModel,
    /// The receipt names another key than the one whose mark was looked for, or no key.
    OtherKey,
    /// The receipt is for another text than the one that was given.
    OtherText,
    /// The receipt's counts do not agree with its tokens.
    OtherCounts,
    /// The model would not have drawn most of the tokens with these settings.
    UnlikelyTokens,
    /// A code of a newer version, read from JSON.
    #[serde(other)]
    Unknown,
}

/// In JSON warnings are two arrays: `warnings`, the sentences, and `warning_codes`, the code of each.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(crate) struct Written<'a> {
    /// What the reader should know before trusting the rest, as sentences for people.
    warnings: Vec<&'a str>,
    /// The code of each of these sentences, for programs.
    warning_codes: Vec<WarningCode>,
}

#[derive(Deserialize)]
struct Read {
    warnings: Vec<String>,
    #[serde(default)]
    warning_codes: Vec<WarningCode>,
}

/// Writes warnings for `#[serde(flatten, with = "warning")]`.
pub(crate) fn serialize<S: Serializer>(warnings: &[Warning], serializer: S) -> Result<S::Ok, S::Error> {
    Written {
        warnings: warnings.iter().map(|warning| warning.message.as_str()).collect(),
        warning_codes: warnings.iter().map(|warning| warning.code).collect(),
    }
    .serialize(serializer)
}

/// Reads warnings for `#[serde(flatten, with = "warning")]`. A sentence without a code gets [`WarningCode::Unknown`].
pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Warning>, D::Error> {
    let Read { warnings, warning_codes } = Read::deserialize(deserializer)?;
    let codes = warning_codes.into_iter().chain(std::iter::repeat(WarningCode::Unknown));
    Ok(warnings.into_iter().zip(codes).map(|(message, code)| Warning { code, message }).collect())
}
