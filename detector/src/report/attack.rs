//! What `wmdetect attack` says of edited texts.

use serde::{Deserialize, Serialize};

use super::{Report, SCHEMA_VERSION, Warning};
use crate::attack::Edit;
pub use crate::attack::{Found, Summary};
use crate::statistics::{Method, PKind};

/// How many texts are found after edits, and how many human texts are taken for marked after the same edits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct AttackReport {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// The key's scheme; with a keyring, that of its first key.
    pub scheme: String,
    /// Public id of the key; null with a keyring.
    pub key_id: Option<String>,
    /// How many keys the keyring has; absent without one. p is corrected for them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keys_tried: Option<u64>,
    /// Name of the tokenizer.
    pub tokenizer: Option<String>,
    /// The statistic that decides.
    pub detector: Method,
    /// What the p-values promise for a text of one form.
    pub p_kind: PKind,
    /// The seed of the edits' random numbers.
    pub seed: u64,
    /// The rates at which texts are found, the largest first.
    pub fprs: Vec<f64>,
    /// Lengths in tokens of the unedited text, the shortest first.
    pub lengths: Vec<u64>,
    /// The field of a JSON line that says which texts belong together; null if each text stands alone.
    pub cluster: Option<String>,
    /// Texts that were read, of any length.
    pub texts: u64,
    /// Human texts that were read, of any length.
    pub human_texts: u64,
    /// Inputs that could not be read.
    pub failed: u64,
    /// How many times a text of one length was judged after one edit.
    pub judged: u64,
    /// How many would have been judged without an interruption; absent if the run was not interrupted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub judged_of: Option<u64>,
    /// A row for each edit with its rate and each length, in this order.
    pub rows: Vec<AttackRow>,
    /// What the reader should know before trusting the above.
    #[serde(flatten, with = "crate::warning")]
    #[cfg_attr(feature = "schema", schemars(with = "crate::warning::Written<'static>"))]
    pub warnings: Vec<Warning>,
}

impl AttackReport {
    /// Returns a report without rows by the detector that made `of`, a report on any text. The caller fills in the
    /// rest.
    pub fn new(of: &Report) -> Self {
        Self {
            schema_version: SCHEMA_VERSION,
            scheme: of.scheme.clone(),
            key_id: Some(of.key_id.clone()).filter(|_| of.keys_tried.is_none()),
            keys_tried: of.keys_tried,
            tokenizer: of.tokenizer.clone(),
            detector: of.detector,
            p_kind: of.p_kind,
            seed: 0,
            fprs: Vec::new(),
            lengths: Vec::new(),
            cluster: None,
            texts: 0,
            human_texts: 0,
            failed: 0,
            judged: 0,
            judged_of: None,
            rows: Vec::new(),
            warnings: of.warnings.clone(),
        }
    }
}

/// What is found in texts of one length after one edit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct AttackRow {
    /// The name of the edit; `none` for the unedited text and `program` for an external program.
    pub edit: String,
    /// Its rate; null if it has none.
    pub rate: Option<f64>,
    /// The name of the external program; absent if the edit is not one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub program: Option<String>,
    /// Tokens of the unedited text.
    pub length: u64,
    /// The results of the marked texts that the run is about.
    pub marked: Summary,
    /// The results of the human texts.
    pub human: Summary,
}

impl AttackRow {
    /// Returns the row of an edit and a length.
    pub fn new(edit: &Edit, length: u64, marked: Summary, human: Summary) -> Self {
        Self {
            edit: edit.name().into(),
            rate: edit.rate(),
            program: edit.program().map(Into::into),
            length,
            marked,
            human,
        }
    }

    /// Returns the edit with its rate or the name of its program, as people read it.
    pub fn label(&self) -> String {
        match (self.rate, &self.program) {
            (Some(rate), _) => format!("{} {rate}", self.edit),
            (None, Some(program)) => format!("{} {program}", self.edit),
            (None, None) => self.edit.clone(),
        }
    }
}
