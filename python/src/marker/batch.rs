//! Several responses that are being marked side by side.

use numpy::PyUntypedArrayMethods;
use numpy::ndarray::Ix2;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use wmdetect::pool;
use wmdetect::scheme::{DistributionError, PositionKind};

use super::arrays::{contiguous, readable, writable};
use super::marking::{Row, kind_name};
use crate::errors::error;
use crate::input::ids_of;

/// Number of candidates in all rows from which on the rows are shared among threads. With fewer, a thread costs more
/// than it saves.
const WORTH_THREADS: usize = 4096;

/// Several responses being marked side by side, a row each.
#[pyclass(module = "wmdetect")]
pub(crate) struct MarkingBatch {
    pub(super) rows: Vec<Row>,
}

/// A row's part of a step.
struct Job<'a> {
    row: &'a mut Row,
    tokens: &'a [u32],
    logits: &'a mut [f32],
    active: bool,
}

/// Returns the rows that take part, all by default.
fn active_of(active: Option<Vec<bool>>, rows: usize) -> PyResult<Vec<bool>> {
    let active = active.unwrap_or_else(|| vec![true; rows]);
    if active.len() == rows {
        return Ok(active);
    }
    Err(PyValueError::new_err(format!("active: expected {rows} rows, found {}", active.len())))
}

#[pymethods]
impl MarkingBatch {
    /// Puts the mark on the candidates of each row, as `Marking.apply` does.
    ///
    /// `tokens` is a `uint32` array and `logits` a `float32` array, rows by candidates. Rows with fewer candidates have
    /// minus infinity in the rest. A row that is false in `active` is left alone. Returns what the rule says of each
    /// row's position, `None` for those left alone.
    #[pyo3(signature = (tokens, logits, *, active = None))]
    fn apply(
        &mut self,
        py: Python<'_>,
        tokens: &Bound<'_, PyAny>,
        logits: &Bound<'_, PyAny>,
        active: Option<Vec<bool>>,
    ) -> PyResult<Vec<Option<&'static str>>> {
        let (tokens, mut logits) = (readable::<u32, Ix2>(tokens)?, writable::<Ix2>(logits)?);
        let active = active_of(active, self.rows.len())?;
        if tokens.shape() != logits.shape() || tokens.shape()[0] != self.rows.len() {
            return Err(PyValueError::new_err(format!(
                "tokens and logits: expected {} rows and as many candidates, found {:?} and {:?}",
                self.rows.len(),
                tokens.shape(),
                logits.shape()
            )));
        }
        let candidates = tokens.shape()[1];
        if candidates == 0 {
            return Err(error(py, DistributionError::Empty.to_string()));
        }
        let tokens = tokens.as_slice().map_err(|_| contiguous("tokens"))?;
        let logits = logits.as_slice_mut().map_err(|_| contiguous("logits"))?;
        let threads = if tokens.len() < WORTH_THREADS { 1 } else { pool::available_threads() };
        let rows = &mut self.rows;
        let kinds = py.detach(|| {
            let rows =
                rows.iter_mut().zip(tokens.chunks(candidates)).zip(logits.chunks_mut(candidates)).zip(active);
            let mut kinds = Vec::with_capacity(tokens.len() / candidates);
            let work = |job: Job<'_>| job.active.then(|| job.row.apply(job.tokens, job.logits)).transpose();
            let emit = |kind: Result<Option<PositionKind>, DistributionError>| {
                kinds.push(kind);
                Ok::<(), pool::Stopped>(())
            };
            let fed = pool::ordered(threads, work, emit, |feed| {
                for (((row, tokens), logits), active) in rows {
                    feed.push(Job { row, tokens, logits, active })?;
                }
                Ok(())
            });
            fed.map(|()| kinds)
        });
        let kinds = kinds.map_err(|stopped| error(py, stopped.to_string()))?;
        let name = |(row, kind): (usize, Result<Option<PositionKind>, DistributionError>)| match kind {
            Ok(kind) => Ok(kind.map(kind_name)),
            Err(found) => Err(error(py, format!("row {row}: {found}"))),
        };
        kinds.into_iter().enumerate().map(name).collect()
    }

    /// Appends the token that was drawn in each row. A row that is false in `active` stays as it is.
    #[pyo3(signature = (tokens, *, active = None))]
    fn push(&mut self, tokens: &Bound<'_, PyAny>, active: Option<Vec<bool>>) -> PyResult<()> {
        let tokens = ids_of(tokens)?;
        let active = active_of(active, self.rows.len())?;
        if tokens.len() != self.rows.len() {
            return Err(PyValueError::new_err(format!(
                "tokens: expected one for each of {} rows, found {}",
                self.rows.len(),
                tokens.len()
            )));
        }
        for ((row, token), active) in self.rows.iter_mut().zip(tokens).zip(active) {
            if active {
                row.push(token);
            }
        }
        Ok(())
    }

    /// For each row and each token in it, whether its position carries the mark.
    #[getter]
    fn masks(&self) -> Vec<Vec<bool>> {
        self.rows.iter().map(Row::mask).collect()
    }

    /// The channel of each row; `None` if the key has only one.
    #[getter]
    fn channels(&self) -> Vec<Option<u16>> {
        self.rows.iter().map(|row| row.channel).collect()
    }

    fn __len__(&self) -> usize {
        self.rows.len()
    }
}
