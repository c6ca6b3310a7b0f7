//! The report on one text.

use pyo3::prelude::*;
use pyo3::types::PyTuple;
use wmdetect::render::{html, people};
use wmdetect::report::{self, Changes, Row, Warning};
use wmdetect::verdict::Strength;

use super::{again, frame};
use crate::json::{from_py, name, to_dict, to_json};

/// What `Detector.score` says of one text. The fields are those of docs/reference/json.md.
#[pyclass(frozen, eq, module = "wmdetect")]
#[derive(PartialEq)]
pub(crate) struct Report(pub(crate) report::Report);

/// The statistics of one text. A mean is a share, 0.5 on average without the mark.
#[pyclass(frozen, eq, get_all, module = "wmdetect")]
#[derive(PartialEq)]
pub(crate) struct Scores {
    /// The share of ones among the g-values.
    mean: Option<f64>,
    /// The share of ones among the g-values, with more weight on early layers.
    weighted_mean: Option<f64>,
    /// The log likelihood ratio in nats; `None` unless it decides.
    llr: Option<f64>,
    /// The posterior probability of the mark; `None` unless it decides.
    bayesian: Option<f64>,
}

/// A passage that carries a key's mark.
#[pyclass(frozen, eq, module = "wmdetect")]
#[derive(PartialEq)]
pub(crate) struct Span(pub(crate) report::Span);

#[pymethods]
impl Span {
    /// First byte in the UTF-8 of the text and the one after the last; `None` if the input was token ids.
    #[getter]
    fn bytes(&self) -> Option<(u64, u64)> {
        self.0.bytes.map(Into::into)
    }

    /// First token and the one after the last.
    #[getter]
    fn tokens(&self) -> (u64, u64) {
        self.0.tokens.into()
    }

    /// Tokens of the window that the scan found; 0 for a repetition of another passage.
    #[getter]
    fn scored_tokens(&self) -> u64 {
        self.0.scored_tokens
    }

    /// The natural logarithm of the likelihood ratio over these tokens.
    #[getter]
    fn score(&self) -> f64 {
        self.0.score
    }

    /// The p-value, corrected for all windows, profiles, keys, channels and forms.
    #[getter]
    fn p_value(&self) -> f64 {
        self.0.p_value
    }

    /// The decimal logarithm of the p-value.
    #[getter]
    fn log10_p(&self) -> f64 {
        self.0.log10_p
    }

    /// The profile that found it.
    #[getter]
    fn profile(&self) -> &str {
        &self.0.profile
    }

    /// The key that found it.
    #[getter]
    fn key_id(&self) -> &str {
        &self.0.key_id
    }

    /// The channel of the key in which it was found; `None` if the key has only one.
    #[getter]
    fn channel(&self) -> Option<u16> {
        self.0.channel
    }

    fn __repr__(&self) -> String {
        self.shown()
    }
}

impl Span {
    pub(super) fn shown(&self) -> String {
        let [start, end] = self.0.tokens;
        format!("Span(tokens=({start}, {end}), log10_p={:.2}, key_id='{}')", self.0.log10_p, self.0.key_id)
    }
}

impl Report {
    pub(super) fn shown(&self) -> String {
        let p = self.0.log10_p.map_or_else(|| "None".into(), |log10_p| format!("{log10_p:.2}"));
        format!(
            "Report(verdict='{}', log10_p={p}, scored_tokens={}, key_id='{}')",
            self.0.verdict.name(),
            self.0.scored_tokens,
            self.0.key_id
        )
    }
}

pub(crate) fn spans(spans: &[report::Span]) -> Vec<Span> {
    spans.iter().cloned().map(Span).collect()
}

pub(crate) fn messages(warnings: &[Warning]) -> Vec<&str> {
    warnings.iter().map(|warning| warning.message.as_str()).collect()
}

pub(crate) fn codes(warnings: &[Warning]) -> Vec<String> {
    warnings.iter().map(|warning| name(&warning.code)).collect()
}

pub(crate) fn changes<'py>(
    py: Python<'py>,
    changes: Option<&Changes>,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    changes.map(|changes| to_dict(py, changes)).transpose()
}

#[pymethods]
impl Report {
    /// Returns a report from a line that `wmdetect score --json` printed, or from what `to_dict` returned.
    #[staticmethod]
    fn from_json(json: &Bound<'_, PyAny>) -> PyResult<Self> {
        from_py(json, "a report on a text").map(Self)
    }

    /// Name of the key's scheme, such as `synthid-sha256-v2`.
    #[getter]
    fn scheme(&self) -> &str {
        &self.0.scheme
    }

    /// Public id of the key; with several keys, of the one with the least p.
    #[getter]
    fn key_id(&self) -> &str {
        &self.0.key_id
    }

    /// Name of the tokenizer that split the text; `None` if the input was token ids.
    #[getter]
    fn tokenizer(&self) -> Option<&str> {
        self.0.tokenizer.as_deref()
    }

    /// Tokens of the text, without any that a tokenizer adds.
    #[getter]
    fn tokens(&self) -> u64 {
        self.0.tokens
    }

    /// Tokens that count.
    #[getter]
    fn scored_tokens(&self) -> u64 {
        self.0.scored_tokens
    }

    /// The statistic that decides.
    #[getter]
    fn detector(&self) -> &'static str {
        self.0.detector.name()
    }

    /// Its value over the scored tokens; `None` if there are none.
    #[getter]
    fn score(&self) -> Option<f64> {
        self.0.score
    }

    /// The probability of a score at least this high if the text does not depend on the key; `None` if nothing was
    /// scored.
    #[getter]
    fn p_value(&self) -> Option<f64> {
        self.0.p_value
    }

    /// The decimal logarithm of the p-value, correct also where `p_value` is at its floor.
    #[getter]
    fn log10_p(&self) -> Option<f64> {
        self.0.log10_p
    }

    /// What the p-value promises: `exact`, `conservative` or `approximate`.
    #[getter]
    fn p_kind(&self) -> String {
        name(&self.0.p_kind)
    }

    /// The false positive rate that p is compared with.
    #[getter]
    fn fpr(&self) -> f64 {
        self.0.fpr
    }

    /// `watermarked`, `not_detected` or `too_short`.
    #[getter]
    fn verdict(&self) -> &'static str {
        self.0.verdict.name()
    }

    /// Whether the verdict is `watermarked`.
    #[getter]
    fn watermarked(&self) -> bool {
        self.0.verdict == wmdetect::Verdict::Watermarked
    }

    /// How strong the evidence is: `weak`, `moderate`, `strong` or `very_strong`; `None` unless `watermarked`.
    #[getter]
    fn strength(&self) -> Option<&'static str> {
        self.0.strength().map(Strength::name)
    }

    /// The statistics.
    #[getter]
    fn scores(&self) -> Scores {
        let report::Scores { mean, weighted_mean, llr, bayesian, .. } = self.0.scores;
        Scores { mean, weighted_mean, llr, bayesian }
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

    /// The marked passages of the key `key_id`.
    #[getter]
    fn spans(&self) -> Vec<Span> {
        spans(&self.0.spans)
    }

    /// How many keys the keyring has; `None` if the detector was made for one key.
    #[getter]
    fn keys_tried(&self) -> Option<u64> {
        self.0.keys_tried
    }

    /// The channel of the key that the report is about; `None` if the key has only one.
    #[getter]
    fn channel(&self) -> Option<u16> {
        self.0.channel
    }

    /// How many channels were tried; `None` if each key has one.
    #[getter]
    fn channels_tried(&self) -> Option<u64> {
        self.0.channels_tried
    }

    /// Number of scored tokens by which the text's length is judged; `None` if it is watermarked or nothing was scored.
    #[getter]
    fn effective_tokens(&self) -> Option<u64> {
        self.0.effective_tokens
    }

    /// Number of effective tokens below which the verdict is `too_short`; `None` if the text is watermarked or nothing was scored.
    #[getter]
    fn required_tokens(&self) -> Option<u64> {
        self.0.required_tokens
    }

    /// How many forms of the text were tried; `None` if it is one.
    #[getter]
    fn forms_tried(&self) -> Option<u64> {
        self.0.forms_tried
    }

    /// What was changed in the text before it was cut into tokens, as counts; `None` if nothing was.
    #[getter]
    fn normalisation<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        changes(py, self.0.normalisation.as_ref())
    }

    /// Positions that an ignore list took out; `None` without one.
    #[getter]
    fn ignored_tokens(&self) -> Option<u64> {
        self.0.ignored_tokens
    }

    /// Returns the line that `wmdetect score --json` prints of the text, if its name is `input`.
    #[pyo3(signature = (input = "-"))]
    fn to_json(&self, input: &str) -> String {
        to_json(&Row::new(input, &self.0))
    }

    /// Returns the same as a dictionary.
    #[pyo3(signature = (input = "-"))]
    fn to_dict<'py>(&self, py: Python<'py>, input: &str) -> PyResult<Bound<'py, PyAny>> {
        to_dict(py, &Row::new(input, &self.0))
    }

    fn __repr__(&self) -> String {
        self.shown()
    }

    fn __str__(&self) -> String {
        people::score("text", &self.0).trim_end().to_owned()
    }

    fn _repr_html_(&self) -> String {
        frame(&html::report(&self.0), 24)
    }

    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        again::<Self>(py, to_dict(py, &self.0)?)
    }
}
