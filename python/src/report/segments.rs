//! Marked passages.

use pyo3::prelude::*;
use pyo3::types::PyTuple;
use wmdetect::render::html::{self, Segmented};
use wmdetect::render::people;
use wmdetect::report::{self, Row};

use super::score::{Span, changes, codes, messages, spans};
use super::{again, frame};
use crate::json::{from_py, name, to_dict, to_json};

/// What `Detector.segments` says of one text. The fields are those of docs/reference/json.md.
#[pyclass(frozen, eq, module = "wmdetect")]
pub(crate) struct SegmentsReport {
    pub(crate) report: report::SegmentsReport,
    /// The text, if it is to be shown.
    pub(crate) text: Option<Vec<u8>>,
}

/// The text is only for notebooks, so it is not compared.
impl PartialEq for SegmentsReport {
    fn eq(&self, other: &Self) -> bool {
        self.report == other.report
    }
}

#[pymethods]
impl SegmentsReport {
    /// Returns a report from a line that `wmdetect segments --json` printed, or from what `to_dict` returned.
    #[staticmethod]
    fn from_json(json: &Bound<'_, PyAny>) -> PyResult<Self> {
        Ok(Self { report: from_py(json, "a report on passages")?, text: None })
    }

    /// Name of the tokenizer that split the text; `None` if the input was token ids.
    #[getter]
    fn tokenizer(&self) -> Option<&str> {
        self.report.tokenizer.as_deref()
    }

    /// Tokens of the text.
    #[getter]
    fn tokens(&self) -> u64 {
        self.report.tokens
    }

    /// Tokens that count; with several keys, the largest number.
    #[getter]
    fn scored_tokens(&self) -> u64 {
        self.report.scored_tokens
    }

    /// What the passages' p-values promise: `conservative` or `approximate`.
    #[getter]
    fn p_kind(&self) -> String {
        name(&self.report.p_kind)
    }

    /// The share of unmarked texts that may have any passage.
    #[getter]
    fn fpr(&self) -> f64 {
        self.report.fpr
    }

    /// How many keys were tried.
    #[getter]
    fn keys_tried(&self) -> u64 {
        self.report.keys_tried
    }

    /// How many channels were tried; `None` if each key has one.
    #[getter]
    fn channels_tried(&self) -> Option<u64> {
        self.report.channels_tried
    }

    /// How many forms of the text were tried; `None` if it is one.
    #[getter]
    fn forms_tried(&self) -> Option<u64> {
        self.report.forms_tried
    }

    /// The passages, in order of the text.
    #[getter]
    fn segments(&self) -> Vec<Span> {
        spans(&self.report.segments)
    }

    /// What to know before trusting the above, as sentences.
    #[getter]
    fn warnings(&self) -> Vec<&str> {
        messages(&self.report.warnings)
    }

    /// The code of each of these sentences, for programs.
    #[getter]
    fn warning_codes(&self) -> Vec<String> {
        codes(&self.report.warnings)
    }

    /// What was changed in the text before it was cut into tokens, as counts; `None` if nothing was.
    #[getter]
    fn normalisation<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        changes(py, self.report.normalisation.as_ref())
    }

    /// Returns the line that `wmdetect segments --json` prints of the text, if its name is `input`.
    #[pyo3(signature = (input = "-"))]
    fn to_json(&self, input: &str) -> String {
        to_json(&Row::new(input, &self.report))
    }

    /// Returns the same as a dictionary.
    #[pyo3(signature = (input = "-"))]
    fn to_dict<'py>(&self, py: Python<'py>, input: &str) -> PyResult<Bound<'py, PyAny>> {
        to_dict(py, &Row::new(input, &self.report))
    }

    fn __repr__(&self) -> String {
        let segments: Vec<String> = spans(&self.report.segments).iter().map(Span::shown).collect();
        format!("SegmentsReport(segments=[{}])", segments.join(", "))
    }

    fn __str__(&self) -> String {
        people::segments("text", &self.report).trim_end().to_owned()
    }

    fn _repr_html_(&self) -> String {
        let report = Box::new(self.report.clone());
        let text = Segmented::Text { input: "Text".into(), bytes: self.text.clone(), report };
        frame(&html::segments(&[text]), 36)
    }

    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        again::<Self>(py, to_dict(py, &self.report)?)
    }
}
