//! One response that is being marked.

use numpy::PyUntypedArrayMethods;
use numpy::ndarray::Ix1;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use wmdetect::scheme::{Distribution, DistributionError, PositionKind, Watermark};

use super::arrays::{check_lengths, contiguous, readable, writable};
use crate::errors::error;

/// One response being marked: `apply` for the candidates of each position, then `push` for the token that was drawn.
#[pyclass(module = "wmdetect")]
pub(crate) struct Marking(pub(super) Row);

/// A response, and what the rule said of its positions.
pub(super) struct Row {
    marking: wmdetect::scheme::Marking,
    pub(super) channel: Option<u16>,
    candidates: Distribution,
    entries: Vec<(u32, f32)>,
    kinds: Vec<PositionKind>,
    /// What the rule said of the next position, if it was asked.
    next: Option<PositionKind>,
}

/// Returns the name of what the rule says of a position.
pub(super) fn kind_name(kind: PositionKind) -> &'static str {
    match kind {
        PositionKind::Marked => "marked",
        PositionKind::IncompleteContext => "incomplete_context",
        PositionKind::RepeatedContext => "repeated_context",
    }
}

impl Row {
    pub(super) fn new(watermark: &Watermark, prompt: &[u32], random: u64) -> Self {
        let one = Distribution::from_probabilities(vec![0], vec![1.0]);
        Self {
            marking: watermark.start(prompt, random),
            channel: watermark.channel(random),
            candidates: one.expect("one candidate is a distribution"),
            entries: Vec::new(),
            kinds: Vec::new(),
            next: None,
        }
    }

    /// Makes the marked distribution of the candidates that can be drawn.
    fn mark(&mut self, tokens: &[u32], logits: &[f32]) -> Result<PositionKind, DistributionError> {
        self.entries.clear();
        // A token that cannot be drawn costs no hash.
        let entries = tokens.iter().zip(logits).map(|(&token, &logit)| (token, logit));
        self.entries.extend(entries.filter(|(_, logit)| *logit != f32::NEG_INFINITY));
        if self.entries.is_empty() {
            return Err(if tokens.is_empty() { DistributionError::Empty } else { DistributionError::NoMass });
        }
        self.candidates.set_logits(&self.entries)?;
        let kind = self.marking.apply(&mut self.candidates);
        self.next = Some(kind);
        Ok(kind)
    }

    /// Replaces logits by the logarithms of the marked probabilities, if the position carries the mark.
    pub(super) fn apply(
        &mut self,
        tokens: &[u32],
        logits: &mut [f32],
    ) -> Result<PositionKind, DistributionError> {
        let kind = self.mark(tokens, logits)?;
        if kind == PositionKind::Marked {
            let finite = logits.iter_mut().filter(|logit| **logit != f32::NEG_INFINITY);
            for (logit, p) in finite.zip(self.candidates.probabilities()) {
                *logit = p.ln() as f32;
            }
        }
        Ok(kind)
    }

    pub(super) fn push(&mut self, token: u32) {
        self.marking.push(token);
        // A position that was not asked about is not marked, whatever the rule says.
        self.kinds.push(self.next.take().unwrap_or(PositionKind::IncompleteContext));
    }

    pub(super) fn mask(&self) -> Vec<bool> {
        self.kinds.iter().map(|&kind| kind == PositionKind::Marked).collect()
    }
}

#[pymethods]
impl Marking {
    /// Puts the mark on the candidates of the next position, if it carries one, and returns what the rule says of it.
    ///
    /// `tokens` are the candidates, a `uint32` array; `logits` is a `float32` array as long, which is changed in place.
    /// If the position is marked, it gets the natural logarithms of the marked probabilities; otherwise it stays as it
    /// is. A logit of minus infinity excludes its token. Returns `marked`, `repeated_context` or `incomplete_context`.
    fn apply(
        &mut self,
        py: Python<'_>,
        tokens: &Bound<'_, PyAny>,
        logits: &Bound<'_, PyAny>,
    ) -> PyResult<&'static str> {
        let (tokens, mut logits) = (readable::<u32, Ix1>(tokens)?, writable::<Ix1>(logits)?);
        check_lengths(tokens.len(), logits.len())?;
        let tokens = tokens.as_slice().map_err(|_| contiguous("tokens"))?;
        let logits = logits.as_slice_mut().map_err(|_| contiguous("logits"))?;
        let row = &mut self.0;
        let kind = py.detach(|| row.apply(tokens, logits));
        kind.map(kind_name).map_err(|found| error(py, found.to_string()))
    }

    /// Puts the mark on the candidates of the next position, as `apply` does, and returns the token that `u` draws.
    ///
    /// `u` is a uniform random number of [0, 1), from your generator. The logits stay as they are, and the token is not
    /// appended: `push` does that.
    fn draw(
        &mut self,
        py: Python<'_>,
        tokens: &Bound<'_, PyAny>,
        logits: &Bound<'_, PyAny>,
        u: f64,
    ) -> PyResult<u32> {
        if !(0.0..1.0).contains(&u) {
            return Err(PyValueError::new_err(format!("u: expected a number of [0, 1), found {u}")));
        }
        let (tokens, logits) = (readable::<u32, Ix1>(tokens)?, readable::<f32, Ix1>(logits)?);
        check_lengths(tokens.len(), logits.len())?;
        let tokens = tokens.as_slice().map_err(|_| contiguous("tokens"))?;
        let logits = logits.as_slice().map_err(|_| contiguous("logits"))?;
        let row = &mut self.0;
        let token = py.detach(|| row.mark(tokens, logits).map(|_| row.candidates.draw(u)));
        token.map_err(|found| error(py, found.to_string()))
    }

    /// Appends the token that was drawn.
    fn push(&mut self, token: u32) {
        self.0.push(token);
    }

    /// How many tokens were appended.
    fn __len__(&self) -> usize {
        self.0.kinds.len()
    }

    /// How many positions carry the mark so far.
    #[getter]
    fn marked_tokens(&self) -> usize {
        self.0.mask().iter().filter(|&&marked| marked).count()
    }

    /// How many positions were left alone because their context had come up before.
    #[getter]
    fn repeated_contexts(&self) -> usize {
        self.0.kinds.iter().filter(|&&kind| kind == PositionKind::RepeatedContext).count()
    }

    /// For each token so far, whether its position carries the mark.
    #[getter]
    fn mask(&self) -> Vec<bool> {
        self.0.mask()
    }

    /// The channel of the response; `None` if the key has only one.
    #[getter]
    fn channel(&self) -> Option<u16> {
        self.0.channel
    }
}
