//! Reports as objects of Python.

mod attribution;
mod calibration;
mod explanation;
mod score;
mod segments;

use pyo3::PyTypeInfo;
use pyo3::prelude::*;
use pyo3::types::PyTuple;
use wmdetect::report::{self, Row};

use crate::json::{to_dict, to_json};

pub(crate) use attribution::{Attribution, KeyReport};
pub(crate) use calibration::{Bucket, CalibrationReport, Rate, SharedPassage};
pub(crate) use explanation::{Explanation, TokenEvidence};
pub(crate) use score::{Report, Scores, Span};
pub(crate) use segments::SegmentsReport;

/// The result for a text that could not be scored.
#[pyclass(frozen, eq, get_all, module = "wmdetect")]
#[derive(PartialEq)]
pub(crate) struct Failure {
    /// What was expected, what was found, what to do.
    pub(crate) error: String,
}

#[pymethods]
impl Failure {
    /// Returns the line that `wmdetect score --json` prints of the text, if its name is `input`.
    #[pyo3(signature = (input = "-"))]
    fn to_json(&self, input: &str) -> String {
        to_json(&Row::new(input, report::Failure::new(self.error.as_str())))
    }

    /// Returns the same as a dictionary.
    #[pyo3(signature = (input = "-"))]
    fn to_dict<'py>(&self, py: Python<'py>, input: &str) -> PyResult<Bound<'py, PyAny>> {
        to_dict(py, &Row::new(input, report::Failure::new(self.error.as_str())))
    }

    fn __repr__(&self) -> String {
        format!("Failure(error={:?})", self.error)
    }
}

/// Returns what a pickle needs to make an object from its JSON again.
fn again<'py, T: PyTypeInfo>(py: Python<'py>, json: Bound<'py, PyAny>) -> PyResult<Bound<'py, PyTuple>> {
    (py.get_type::<T>().getattr("from_json")?, (json,)).into_pyobject(py)
}

/// Returns a page in a frame of a notebook, so that the notebook's style does not affect it. `height` is in lines.
fn frame(page: &str, height: u32) -> String {
    let page = page.replace('&', "&amp;").replace('"', "&quot;");
    format!(
        "<iframe sandbox srcdoc=\"{page}\" style=\"width:100%;height:{height}em;border:0\" title=\"wmdetect\"></iframe>"
    )
}
