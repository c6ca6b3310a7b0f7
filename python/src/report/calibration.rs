//! The key among random keys on unmarked texts.

use pyo3::prelude::*;
use pyo3::types::PyTuple;
use wmdetect::render::{html, people};
use wmdetect::report;

use super::score::{codes, messages};
use super::{again, frame};
use crate::json::{from_py, to_dict, to_json};

/// What `Detector.calibrate` says of a corpus of unmarked texts. The fields are those of docs/reference/json.md.
#[pyclass(frozen, eq, module = "wmdetect")]
#[derive(PartialEq)]
pub(crate) struct CalibrationReport(pub(crate) report::CalibrationReport);

/// A false positive rate: that of the key on this corpus, and the rate over random keys.
#[pyclass(frozen, eq, get_all, module = "wmdetect")]
#[derive(PartialEq)]
pub(crate) struct Rate {
    /// Share of the texts that the key flags.
    key: f64,
    /// Mean over the random keys.
    mean: f64,
    /// Ends of the 95 % interval of that mean.
    mean_interval: (f64, f64),
    /// The middle 95 % of single random keys.
    keys_range: (f64, f64),
    /// The mean that the null distribution predicts.
    expected: f64,
}

impl From<report::Rate> for Rate {
    fn from(rate: report::Rate) -> Self {
        Self {
            key: rate.key,
            mean: rate.mean,
            mean_interval: rate.mean_interval.into(),
            keys_range: rate.keys_range.into(),
            expected: rate.expected,
        }
    }
}

/// Texts of similar length.
#[pyclass(frozen, eq, module = "wmdetect")]
#[derive(PartialEq)]
pub(crate) struct Bucket(report::Bucket);

#[pymethods]
impl Bucket {
    /// Fewest scored tokens.
    #[getter(from_)]
    fn fewest(&self) -> u64 {
        self.0.from
    }

    /// Most scored tokens; `None` in the last bucket.
    #[getter]
    fn to(&self) -> Option<u64> {
        self.0.to
    }

    /// Number of texts.
    #[getter]
    fn documents(&self) -> u64 {
        self.0.documents
    }

    /// Number of texts that the key flags.
    #[getter]
    fn flagged(&self) -> u64 {
        self.0.flagged
    }

    /// Their rate.
    #[getter]
    fn rate(&self) -> Rate {
        self.0.rate.into()
    }
}

/// A passage that many texts share.
#[pyclass(frozen, eq, module = "wmdetect")]
#[derive(PartialEq)]
pub(crate) struct SharedPassage(report::SharedPassage);

#[pymethods]
impl SharedPassage {
    /// Its text; `None` if the corpus was token ids.
    #[getter]
    fn text(&self) -> Option<&str> {
        self.0.text.as_deref()
    }

    /// Its tokens.
    #[getter]
    fn tokens(&self) -> &[u32] {
        &self.0.tokens
    }

    /// In how many texts the rarest of its n-grams counts.
    #[getter]
    fn documents(&self) -> u64 {
        self.0.documents
    }

    /// Where its sum lies between the least and the largest possible sum, 0 to 1.
    #[getter]
    fn score(&self) -> f64 {
        self.0.score
    }

    /// The decimal logarithm of the p-value of that passage alone.
    #[getter]
    fn log10_p(&self) -> f64 {
        self.0.log10_p
    }
}

#[pymethods]
impl CalibrationReport {
    /// Returns a report from the line that `wmdetect calibrate --json` printed, or from what `to_dict` returned.
    #[staticmethod]
    fn from_json(json: &Bound<'_, PyAny>) -> PyResult<Self> {
        from_py(json, "a calibration").map(Self)
    }

    /// The key's scheme.
    #[getter]
    fn scheme(&self) -> &str {
        &self.0.scheme
    }

    /// The key's public id.
    #[getter]
    fn key_id(&self) -> &str {
        &self.0.key_id
    }

    /// Name of the tokenizer; `None` if the corpus was token ids.
    #[getter]
    fn tokenizer(&self) -> Option<&str> {
        self.0.tokenizer.as_deref()
    }

    /// The statistic that decides.
    #[getter]
    fn detector(&self) -> &'static str {
        self.0.detector.name()
    }

    /// The rate that it was asked for.
    #[getter]
    fn fpr(&self) -> f64 {
        self.0.fpr
    }

    /// Texts of the corpus.
    #[getter]
    fn documents(&self) -> u64 {
        self.0.documents
    }

    /// Texts that could not be read.
    #[getter]
    fn failed(&self) -> u64 {
        self.0.failed
    }

    /// Tokens of all texts.
    #[getter]
    fn tokens(&self) -> u64 {
        self.0.tokens
    }

    /// Tokens that count.
    #[getter]
    fn scored_tokens(&self) -> u64 {
        self.0.scored_tokens
    }

    /// Tokens that would count without the ignore list.
    #[getter]
    fn ignored_tokens(&self) -> u64 {
        self.0.ignored_tokens
    }

    /// How many random keys of the same scheme were tried.
    #[getter]
    fn random_keys(&self) -> u64 {
        self.0.random_keys
    }

    /// The seed of the random keys.
    #[getter]
    fn seed(&self) -> u64 {
        self.0.seed
    }

    /// Texts that the key flags.
    #[getter]
    fn flagged(&self) -> u64 {
        self.0.flagged
    }

    /// Texts that each random key flags.
    #[getter]
    fn random_flagged(&self) -> &[u64] {
        &self.0.random_flagged
    }

    /// Random keys that flag at least as many.
    #[getter]
    fn keys_at_least(&self) -> u64 {
        self.0.keys_at_least
    }

    /// The rank of the key among the random keys as a p-value: exact, however the texts depend on each other.
    #[getter]
    fn rank_p(&self) -> f64 {
        self.0.rank_p
    }

    /// Whether the key is worse than chance allows.
    #[getter]
    fn worse_than_chance(&self) -> bool {
        self.0.worse_than_chance
    }

    /// The false positive rate over the whole corpus.
    #[getter]
    fn rate(&self) -> Rate {
        self.0.rate.into()
    }

    /// The rates by scored tokens.
    #[getter]
    fn buckets(&self) -> Vec<Bucket> {
        self.0.buckets.iter().copied().map(Bucket).collect()
    }

    /// The commonest passages that many texts share.
    #[getter]
    fn shared_passages(&self) -> Vec<SharedPassage> {
        self.0.shared.passages.iter().cloned().map(SharedPassage).collect()
    }

    /// What to know before trusting the above, as sentences.
    #[getter]
    fn warnings(&self) -> Vec<&str> {
        messages(&self.0.warnings)
    }

    /// The code of each of these sentences, for programs.
    #[getter]
    fn warning_codes(&self) -> Vec<String> {
        codes(&self.0.warnings)
    }

    /// Returns the line that `wmdetect calibrate --json` prints.
    fn to_json(&self) -> String {
        to_json(&self.0)
    }

    /// Returns the same as a dictionary.
    fn to_dict<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        to_dict(py, &self.0)
    }

    fn __repr__(&self) -> String {
        format!(
            "CalibrationReport(documents={}, flagged={}, rank_p={}, worse_than_chance={})",
            self.0.documents,
            self.0.flagged,
            self.0.rank_p,
            if self.0.worse_than_chance { "True" } else { "False" }
        )
    }

    fn __str__(&self) -> String {
        people::calibration(&self.0).trim_end().to_owned()
    }

    fn _repr_html_(&self) -> String {
        frame(&html::calibration(&self.0), 48)
    }

    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        again::<Self>(py, to_dict(py, &self.0)?)
    }
}
