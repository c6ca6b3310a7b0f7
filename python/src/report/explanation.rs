//! A report with the evidence of each token.

use pyo3::prelude::*;
use wmdetect::render::html::{self, Scored};
use wmdetect::report;

use super::frame;
use super::score::Report;

/// What `Detector.explain` says of one text: a report, and what each token adds to it.
#[pyclass(frozen, module = "wmdetect")]
pub(crate) struct Explanation {
    pub(crate) explanation: report::Explanation,
    /// The text, if the input was a text.
    pub(crate) text: Option<Vec<u8>>,
}

/// One token and its evidence, in nats under the built-in profile.
#[pyclass(frozen, eq, get_all, module = "wmdetect")]
#[derive(PartialEq)]
pub(crate) struct TokenEvidence {
    /// The token.
    id: u32,
    /// First byte that it covers in the UTF-8 of the text and the one after the last; both 0 if the input was token
    /// ids.
    bytes: (usize, usize),
    /// The evidence of the token alone; `None` if it does not count.
    evidence: Option<f64>,
    /// The sum over the token and up to seven tokens that count on either side; `None` if it does not count.
    local: Option<f64>,
    /// Whether it is in a marked passage.
    in_span: bool,
}

#[pymethods]
impl TokenEvidence {
    fn __repr__(&self) -> String {
        match self.evidence {
            Some(evidence) => format!("TokenEvidence(id={}, evidence={evidence:.3})", self.id),
            None => format!("TokenEvidence(id={}, evidence=None)", self.id),
        }
    }
}

#[pymethods]
impl Explanation {
    /// The report, as `Detector.score` gives it.
    #[getter]
    fn report(&self) -> Report {
        Report(self.explanation.report.clone())
    }

    /// Every token of the text, in order.
    #[getter]
    fn tokens(&self) -> Vec<TokenEvidence> {
        let token = |token: &report::TokenEvidence| TokenEvidence {
            id: token.id,
            bytes: (token.bytes.start, token.bytes.end),
            evidence: token.evidence,
            local: token.local,
            in_span: token.in_span,
        };
        self.explanation.tokens.iter().map(token).collect()
    }

    /// Returns a page for people, as `wmdetect score --html` writes it: one file, no network, no script.
    fn to_html(&self) -> String {
        html::score(&[Scored::Text {
            input: "Text".into(),
            bytes: self.text.clone(),
            explanation: Box::new(self.explanation.clone()),
        }])
    }

    fn __repr__(&self) -> String {
        format!("Explanation(report={}, tokens={})", self.report().shown(), self.explanation.tokens.len())
    }

    fn _repr_html_(&self) -> String {
        frame(&self.to_html(), 48)
    }
}
