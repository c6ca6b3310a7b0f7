//! What `wmdetect calibrate` says of a corpus.

use serde::{Deserialize, Serialize};

use super::{SCHEMA_VERSION, Warning};
use crate::calibration::{self, Calibration};
pub use crate::calibration::{Bucket, Rate};
use crate::statistics::Method;

/// The deployed key on the user's own unmarked texts, among random keys on the same texts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct CalibrationReport {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// The key's scheme.
    pub scheme: String,
    /// The deployed key's public id.
    pub key_id: String,
    /// Name of the tokenizer; null if the corpus was token ids.
    pub tokenizer: Option<String>,
    /// The statistic that decides.
    pub detector: Method,
    /// The level that it was asked for.
    pub fpr: f64,
    /// Documents of the corpus, or only the first ones if the run was interrupted.
    pub documents: u64,
    /// Documents of the whole corpus, if the run was interrupted; absent if it was not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub documents_given: Option<u64>,
    /// Documents that could not be read.
    pub failed: u64,
    /// Tokens of all documents.
    pub tokens: u64,
    /// Positions that count.
    pub scored_tokens: u64,
    /// Positions that would count without the ignore list.
    pub ignored_tokens: u64,
    /// R: random keys of the same scheme.
    pub random_keys: u64,
    /// The seed of the random keys.
    pub seed: u64,
    /// X: documents that the deployed key flags.
    pub flagged: u64,
    /// X_r, in order of r: documents that each random key flags.
    pub random_flagged: Vec<u64>,
    /// Random keys with X_r ≥ X.
    pub keys_at_least: u64,
    /// (1 + `keys_at_least`) / (R + 1): exact, however the documents depend on each other.
    pub rank_p: f64,
    /// Whether the deployed key is worse than chance allows: `rank_p` ≤ 0.001 with R ≥ 999.
    pub worse_than_chance: bool,
    /// The false positive rate over the whole corpus.
    pub rate: Rate,
    /// The same rates by scored tokens; buckets without a document are left out.
    pub buckets: Vec<Bucket>,
    /// The n-grams that many documents share.
    pub shared: Shared,
    /// What the reader should know before trusting the above.
    #[serde(flatten, with = "crate::warning")]
    #[cfg_attr(feature = "schema", schemars(with = "crate::warning::Written<'static>"))]
    pub warnings: Vec<Warning>,
}

impl CalibrationReport {
    /// Returns the report on `calibration` of the key with this scheme and public id. The caller fills in the rest: the
    /// tokenizer, the documents that failed, and the passages' texts.
    pub fn new(calibration: Calibration, scheme: &str, key_id: &str) -> Self {
        Self {
            schema_version: SCHEMA_VERSION,
            scheme: scheme.into(),
            key_id: key_id.into(),
            tokenizer: None,
            detector: calibration.method,
            fpr: calibration.fpr,
            documents: calibration.documents,
            documents_given: Some(calibration.documents_given).filter(|&given| given > calibration.documents),
            failed: 0,
            tokens: calibration.tokens,
            scored_tokens: calibration.scored_tokens,
            ignored_tokens: calibration.ignored_tokens,
            random_keys: calibration.random_keys,
            seed: calibration.seed,
            flagged: calibration.flagged,
            random_flagged: calibration.random_flagged,
            keys_at_least: calibration.keys_at_least,
            rank_p: calibration.rank_p,
            worse_than_chance: calibration.worse_than_chance,
            rate: calibration.rate,
            buckets: calibration.buckets,
            shared: calibration.shared.into(),
            warnings: calibration.warnings,
        }
    }
}

/// N-grams that many documents share.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Shared {
    /// Number of documents from which on an n-gram is listed.
    pub least_documents: u64,
    /// Distinct n-grams that are listed.
    pub ngrams: u64,
    /// Share of all scored positions that they fill, 0 to 1.
    pub scored_share: f64,
    /// Number of passages that they form.
    pub passages_found: u64,
    /// The commonest of these passages.
    pub passages: Vec<SharedPassage>,
}

/// A passage that many documents share.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct SharedPassage {
    /// Its text; null if the corpus was token ids.
    pub text: Option<String>,
    /// Its tokens.
    pub tokens: Vec<u32>,
    /// In how many documents the rarest of its n-grams counts.
    pub documents: u64,
    /// Where its sum under the deployed key lies between the least and the largest possible sum, 0 to 1. For the two
    /// means that is a share, 0.5 on average.
    pub score: f64,
    /// log₁₀ of the p-value of that passage alone.
    pub log10_p: f64,
}

impl From<calibration::Shared> for Shared {
    fn from(shared: calibration::Shared) -> Self {
        let passage = |passage: calibration::SharedPassage| SharedPassage {
            text: None,
            tokens: passage.tokens,
            documents: passage.documents,
            score: passage.score,
            log10_p: passage.p.log10,
        };
        Self {
            least_documents: shared.least_documents,
            ngrams: shared.ngrams,
            scored_share: shared.scored_share,
            passages_found: shared.passages_found,
            passages: shared.passages.into_iter().map(passage).collect(),
        }
    }
}
