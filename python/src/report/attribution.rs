//! Which of many keys.

use pyo3::prelude::*;
use pyo3::types::PyTuple;
use wmdetect::render::html::parts::Escaped;
use wmdetect::render::people;
use wmdetect::report::{self, Row};

use super::again;
use super::score::{changes, codes, messages};
use crate::json::{from_py, name, to_dict, to_json};

/// What `Detector.attribute` says of one text. The fields are those of docs/reference/json.md.
#[pyclass(frozen, eq, module = "wmdetect")]
#[derive(PartialEq)]
pub(crate) struct Attribution(pub(crate) report::Attribution);

/// The result of a text under one of many keys.
#[pyclass(frozen, eq, module = "wmdetect")]
#[derive(PartialEq)]
pub(crate) struct KeyReport(report::KeyReport);

#[pymethods]
impl KeyReport {
    /// The key's public id.
    #[getter]
    fn key_id(&self) -> &str {
        &self.0.key_id
    }

    /// Its label in a ring of derived keys, or its file's name in one of a directory.
    #[getter]
    fn name(&self) -> Option<&str> {
        self.0.name.as_deref()
    }

    /// Its scheme.
    #[getter]
    fn scheme(&self) -> &str {
        &self.0.scheme
    }

    /// The channel in which its evidence is strongest; `None` if it has only one.
    #[getter]
    fn channel(&self) -> Option<u16> {
        self.0.channel
    }

    /// Tokens that count under its scheme.
    #[getter]
    fn scored_tokens(&self) -> u64 {
        self.0.scored_tokens
    }

    /// The usual statistic of its scheme.
    #[getter]
    fn detector(&self) -> &'static str {
        self.0.detector.name()
    }

    /// The value of that statistic.
    #[getter]
    fn score(&self) -> f64 {
        self.0.score
    }

    /// The p-value, corrected for the number of keys, channels and forms.
    #[getter]
    fn p_value(&self) -> f64 {
        self.0.p_value
    }

    /// The decimal logarithm of the p-value.
    #[getter]
    fn log10_p(&self) -> f64 {
        self.0.log10_p
    }

    /// The decimal logarithm of the p-value as if this key alone had been tried.
    #[getter]
    fn log10_p_alone(&self) -> f64 {
        self.0.log10_p_alone
    }

    /// What the p-value promises.
    #[getter]
    fn p_kind(&self) -> String {
        name(&self.0.p_kind)
    }

    fn __repr__(&self) -> String {
        let name = self.0.name.as_ref().map(|name| format!(", name={name:?}")).unwrap_or_default();
        format!("KeyReport(key_id='{}'{name}, log10_p={:.2})", self.0.key_id, self.0.log10_p)
    }
}

#[pymethods]
impl Attribution {
    /// Returns a report from a line that `wmdetect attribute --json` printed, or from what `to_dict` returned.
    #[staticmethod]
    fn from_json(json: &Bound<'_, PyAny>) -> PyResult<Self> {
        from_py(json, "a report on keys").map(Self)
    }

    /// Name of the tokenizer that split the text; `None` if the input was token ids.
    #[getter]
    fn tokenizer(&self) -> Option<&str> {
        self.0.tokenizer.as_deref()
    }

    /// Tokens of the text.
    #[getter]
    fn tokens(&self) -> u64 {
        self.0.tokens
    }

    /// The usual statistic of the scheme of the key with the least p.
    #[getter]
    fn detector(&self) -> &'static str {
        self.0.detector.name()
    }

    /// The number of different keys that could have been named.
    #[getter]
    fn keys_tried(&self) -> u64 {
        self.0.keys_tried
    }

    /// How many channels were tried; `None` if each key has one.
    #[getter]
    fn channels_tried(&self) -> Option<u64> {
        self.0.channels_tried
    }

    /// The largest probability that a key is named which did not mark the text.
    #[getter]
    fn fpr(&self) -> f64 {
        self.0.fpr
    }

    /// `watermarked` if the keys in `keys` marked the text. Otherwise `not_detected` or `too_short`.
    #[getter]
    fn verdict(&self) -> &'static str {
        self.0.verdict.name()
    }

    /// The keys that marked the text, least p first.
    #[getter]
    fn keys(&self) -> Vec<KeyReport> {
        self.0.keys.iter().cloned().map(KeyReport).collect()
    }

    /// The key with the least p among the others.
    #[getter]
    fn runner_up(&self) -> Option<KeyReport> {
        self.0.runner_up.clone().map(KeyReport)
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

    /// Returns the line that `wmdetect attribute --json` prints of the text, if its name is `input`.
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
        let keys: Vec<String> = self.keys().iter().map(KeyReport::__repr__).collect();
        format!("Attribution(verdict='{}', keys=[{}])", self.verdict(), keys.join(", "))
    }

    fn __str__(&self) -> String {
        people::attribution("text", &self.0).trim_end().to_owned()
    }

    fn _repr_html_(&self) -> String {
        format!("<pre>{}</pre>", Escaped(&self.__str__()))
    }

    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        again::<Self>(py, to_dict(py, &self.0)?)
    }
}
