//! Reports on many texts, as objects and as an Arrow table.

use std::fmt::Write as _;
use std::sync::Arc;

use arrow_array::builder::{FixedSizeListBuilder, ListBuilder, StringBuilder, UInt64Builder};
use arrow_array::{
    Array, ArrayRef, FixedSizeListArray, Float64Array, ListArray, StringArray, StructArray, UInt16Array,
    UInt64Array,
};
use arrow_buffer::{NullBuffer, OffsetBuffer};
use arrow_schema::{Field, FieldRef, Fields};
use pyo3::exceptions::{PyImportError, PyIndexError};
use pyo3::prelude::*;
use pyo3::types::{PyCapsule, PyList, PyTuple};
use pyo3_arrow::ffi::{ArrayIterator, to_array_pycapsules, to_schema_pycapsule, to_stream_pycapsule};
use wmdetect::render::html::parts::Escaped;
use wmdetect::report::{self, Changes, Span};

use crate::json::name;
use crate::report::{Failure, Report};

/// Number of texts that a notebook shows.
const SHOWN: usize = 20;

/// What `Detector.score_batch` says of many texts, in their order: a sequence of reports, and an Arrow table.
///
/// pyarrow, polars, pandas, DuckDB and others read it through `__arrow_c_stream__`: `pyarrow.table(table)`,
/// `polars.DataFrame(table)`. The columns are the fields of docs/reference/json.md, and `error`, which is null except
/// for texts that could not be scored.
#[pyclass(frozen, sequence, module = "wmdetect")]
pub(crate) struct ScoreTable {
    pub(crate) rows: Vec<Result<report::Report, String>>,
}

/// The kinds of changes, in the order of docs/reference/json.md.
type Kind = (&'static str, fn(&Changes) -> u64);
const CHANGES: [Kind; 15] = [
    ("zero_width", |changes| changes.zero_width),
    ("soft_hyphens", |changes| changes.soft_hyphens),
    ("bidi_controls", |changes| changes.bidi_controls),
    ("variation_selectors", |changes| changes.variation_selectors),
    ("tags", |changes| changes.tags),
    ("controls", |changes| changes.controls),
    ("composed", |changes| changes.composed),
    ("spaces", |changes| changes.spaces),
    ("line_ends", |changes| changes.line_ends),
    ("quotes", |changes| changes.quotes),
    ("dashes", |changes| changes.dashes),
    ("ellipses", |changes| changes.ellipses),
    ("confusables", |changes| changes.confusables),
    ("markup", |changes| changes.markup),
    ("invalid_utf8", |changes| changes.invalid_utf8),
];

fn column(name: &str, array: impl Array + 'static) -> (FieldRef, ArrayRef) {
    (Arc::new(Field::new(name, array.data_type().clone(), true)), Arc::new(array))
}

fn structure(columns: Vec<(FieldRef, ArrayRef)>, nulls: Option<NullBuffer>, len: usize) -> StructArray {
    let (fields, arrays): (Vec<_>, Vec<_>) = columns.into_iter().unzip();
    StructArray::try_new_with_length(Fields::from(fields), arrays, nulls, len)
        .expect("columns are as long as the table and of their fields' types")
}

/// Returns what `pair` gives for each passage, as an array.
fn pairs(spans: &[&Span], pair: fn(&Span) -> Option<[u64; 2]>) -> FixedSizeListArray {
    let mut pairs = FixedSizeListBuilder::new(UInt64Builder::new(), 2);
    for span in spans {
        let pair = pair(span);
        pairs.values().append_slice(&pair.unwrap_or_default());
        pairs.append(pair.is_some());
    }
    pairs.finish()
}

impl ScoreTable {
    fn each<'a, T>(
        &'a self,
        value: impl Fn(&'a report::Report) -> Option<T>,
    ) -> impl Iterator<Item = Option<T>> {
        self.rows.iter().map(move |row| row.as_ref().ok().and_then(&value))
    }

    fn strings<'a, T: AsRef<str>>(&'a self, value: impl Fn(&'a report::Report) -> Option<T>) -> StringArray {
        self.each(value).collect()
    }

    fn integers(&self, value: impl Fn(&report::Report) -> Option<u64>) -> UInt64Array {
        self.each(value).collect()
    }

    fn numbers(&self, value: impl Fn(&report::Report) -> Option<f64>) -> Float64Array {
        self.each(value).collect()
    }

    fn lists(&self, values: impl Fn(&report::Report) -> Vec<String>) -> ListArray {
        let mut lists = ListBuilder::new(StringBuilder::new());
        for row in &self.rows {
            if let Ok(report) = row {
                for value in values(report) {
                    lists.values().append_value(value);
                }
            }
            lists.append(row.is_ok());
        }
        lists.finish()
    }

    fn ok(&self) -> NullBuffer {
        self.rows.iter().map(Result::is_ok).collect()
    }

    /// Returns all reports as one array, one row for each text.
    fn to_struct(&self) -> StructArray {
        let len = self.rows.len();
        let scores = vec![
            column("mean", self.numbers(|report| report.scores.mean)),
            column("weighted_mean", self.numbers(|report| report.scores.weighted_mean)),
            column("llr", self.numbers(|report| report.scores.llr)),
            column("bayesian", self.numbers(|report| report.scores.bayesian)),
        ];
        let changed =
            self.rows.iter().map(|row| row.as_ref().is_ok_and(|report| report.normalisation.is_some()));
        let changes = CHANGES.iter().map(|(name, count)| {
            column(name, self.integers(|report| report.normalisation.as_ref().map(count)))
        });
        let columns = vec![
            column("scheme", self.strings(|report| Some(&report.scheme))),
            column("key_id", self.strings(|report| Some(&report.key_id))),
            column("tokenizer", self.strings(|report| report.tokenizer.as_ref())),
            column("tokens", self.integers(|report| Some(report.tokens))),
            column("scored_tokens", self.integers(|report| Some(report.scored_tokens))),
            column("detector", self.strings(|report| Some(report.detector.name()))),
            column("score", self.numbers(|report| report.score)),
            column("p_value", self.numbers(|report| report.p_value)),
            column("log10_p", self.numbers(|report| report.log10_p)),
            column("p_kind", self.strings(|report| Some(name(&report.p_kind)))),
            column("fpr", self.numbers(|report| Some(report.fpr))),
            column("verdict", self.strings(|report| Some(report.verdict.name()))),
            column("effective_tokens", self.integers(|report| report.effective_tokens)),
            column("required_tokens", self.integers(|report| report.required_tokens)),
            column("scores", structure(scores, Some(self.ok()), len)),
            column(
                "warnings",
                self.lists(|report| report.warnings.iter().map(|warning| warning.message.clone()).collect()),
            ),
            column(
                "warning_codes",
                self.lists(|report| report.warnings.iter().map(|warning| name(&warning.code)).collect()),
            ),
            column("spans", self.spans()),
            column("keys_tried", self.integers(|report| report.keys_tried)),
            column("channel", self.each(|report| report.channel).collect::<UInt16Array>()),
            column("channels_tried", self.integers(|report| report.channels_tried)),
            column("forms_tried", self.integers(|report| report.forms_tried)),
            column("ignored_tokens", self.integers(|report| report.ignored_tokens)),
            column("normalisation", structure(changes.collect(), Some(changed.collect()), len)),
            column("error", self.rows.iter().map(|row| row.as_ref().err()).collect::<StringArray>()),
        ];
        structure(columns, None, len)
    }

    fn spans(&self) -> ListArray {
        let of_row =
            |row: &'_ Result<report::Report, String>| row.as_ref().map_or(0, |report| report.spans.len());
        let spans: Vec<&Span> =
            self.rows.iter().filter_map(|row| row.as_ref().ok()).flat_map(|report| &report.spans).collect();
        let integers = |value: fn(&Span) -> Option<u64>| -> UInt64Array {
            spans.iter().map(|span| value(span)).collect()
        };
        let numbers = |value: fn(&Span) -> f64| -> Float64Array {
            spans.iter().map(|span| Some(value(span))).collect()
        };
        let columns = vec![
            column("bytes", pairs(&spans, |span| span.bytes)),
            column("tokens", pairs(&spans, |span| Some(span.tokens))),
            column("scored_tokens", integers(|span| Some(span.scored_tokens))),
            column("score", numbers(|span| span.score)),
            column("p_value", numbers(|span| span.p_value)),
            column("log10_p", numbers(|span| span.log10_p)),
            column("profile", spans.iter().map(|span| Some(&span.profile)).collect::<StringArray>()),
            column("key_id", spans.iter().map(|span| Some(&span.key_id)).collect::<StringArray>()),
            column("channel", spans.iter().map(|span| span.channel).collect::<UInt16Array>()),
        ];
        let items = structure(columns, None, spans.len());
        let field = Arc::new(Field::new("item", items.data_type().clone(), true));
        let offsets = OffsetBuffer::from_lengths(self.rows.iter().map(of_row));
        ListArray::try_new(field, offsets, Arc::new(items), Some(self.ok()))
            .expect("offsets are within the spans")
    }

    fn field(array: &StructArray) -> FieldRef {
        Arc::new(Field::new("", array.data_type().clone(), false))
    }

    fn row<'py>(&self, py: Python<'py>, at: usize) -> PyResult<Bound<'py, PyAny>> {
        Ok(match &self.rows[at] {
            Ok(report) => Bound::new(py, Report(report.clone()))?.into_any(),
            Err(error) => Bound::new(py, Failure { error: error.clone() })?.into_any(),
        })
    }
}

#[pymethods]
impl ScoreTable {
    fn __len__(&self) -> usize {
        self.rows.len()
    }

    fn __getitem__<'py>(&self, py: Python<'py>, index: isize) -> PyResult<Bound<'py, PyAny>> {
        let len = self.rows.len() as isize;
        let at = if index < 0 { index + len } else { index };
        if (0..len).contains(&at) {
            return self.row(py, at as usize);
        }
        Err(PyIndexError::new_err(format!("the table has {len} rows, found index {index}")))
    }

    fn __iter__(slf: Bound<'_, Self>) -> Rows {
        Rows { table: slf.unbind(), at: 0 }
    }

    /// The texts that could not be scored: the number of each, from 0, and its failure.
    #[getter]
    fn failures(&self) -> Vec<(usize, Failure)> {
        let failure = |(at, row): (usize, &Result<_, String>)| {
            row.as_ref().err().map(|error| (at, Failure { error: error.clone() }))
        };
        self.rows.iter().enumerate().filter_map(failure).collect()
    }

    /// Returns a pyarrow table of the rows. It needs pyarrow.
    fn to_arrow(slf: Bound<'_, Self>) -> PyResult<Bound<'_, PyAny>> {
        let pyarrow = slf.py().import("pyarrow").map_err(|_| {
            PyImportError::new_err(
                "to_arrow: expected pyarrow, found no such package\nhint: pip install pyarrow; polars, DuckDB and \
                 others read the table without it",
            )
        })?;
        pyarrow.call_method1("table", (slf,))
    }

    /// Returns the rows as dictionaries, as `wmdetect score --json` prints them. The name of an input is its number.
    fn to_dicts<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let rows: Vec<_> = (0..self.rows.len())
            .map(|at| self.row(py, at)?.call_method1("to_dict", (at.to_string(),)))
            .collect::<PyResult<_>>()?;
        PyList::new(py, rows)
    }

    #[expect(clippy::unused_self, reason = "it is a method for Python")]
    fn __arrow_c_schema__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyCapsule>> {
        let empty = Self { rows: Vec::new() }.to_struct();
        Ok(to_schema_pycapsule(py, Self::field(&empty).as_ref())?)
    }

    #[pyo3(signature = (requested_schema = None))]
    fn __arrow_c_array__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<Bound<'py, PyCapsule>>,
    ) -> PyResult<Bound<'py, PyTuple>> {
        let array = py.detach(|| self.to_struct());
        Ok(to_array_pycapsules(py, Self::field(&array), &array, requested_schema)?)
    }

    #[pyo3(signature = (requested_schema = None))]
    fn __arrow_c_stream__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<Bound<'py, PyCapsule>>,
    ) -> PyResult<Bound<'py, PyCapsule>> {
        let array = py.detach(|| self.to_struct());
        let field = Self::field(&array);
        let reader = ArrayIterator::new([Ok(Arc::new(array) as ArrayRef)], field);
        Ok(to_stream_pycapsule(py, Box::new(reader), requested_schema)?)
    }

    fn __repr__(&self) -> String {
        let count = |verdict: &str| {
            self.rows.iter().flatten().filter(|report| report.verdict.name() == verdict).count()
        };
        let failed = self.rows.iter().filter(|row| row.is_err()).count();
        format!(
            "ScoreTable(rows={}, watermarked={}, not_detected={}, too_short={}, failed={failed})",
            self.rows.len(),
            count("watermarked"),
            count("not_detected"),
            count("too_short")
        )
    }

    fn _repr_html_(&self) -> String {
        let mut html = String::from(
            "<table><thead><tr><th></th><th>verdict</th><th>log10 p</th><th>scored tokens</th><th>key</th></tr></thead><tbody>",
        );
        for (at, row) in self.rows.iter().enumerate().take(SHOWN) {
            let _ = match row {
                Ok(report) => write!(
                    html,
                    "<tr><th>{at}</th><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
                    report.verdict,
                    report.log10_p.map_or_else(String::new, |log10_p| format!("{log10_p:.2}")),
                    report.scored_tokens,
                    Escaped(&report.key_id)
                ),
                Err(error) => {
                    write!(html, "<tr><th>{at}</th><td colspan=\"4\">{}</td></tr>", Escaped(error))
                }
            };
        }
        html.push_str("</tbody></table>");
        if self.rows.len() > SHOWN {
            let _ = write!(html, "<p>and {} more</p>", self.rows.len() - SHOWN);
        }
        html
    }

    fn __reduce__(slf: Bound<'_, Self>) -> PyResult<Bound<'_, PyTuple>> {
        let py = slf.py();
        let again = py.import("wmdetect._core")?.getattr("_table_again")?;
        (again, (slf.call_method0("to_dicts")?,)).into_pyobject(py)
    }
}

/// One row after the other.
#[pyclass(module = "wmdetect")]
pub(crate) struct Rows {
    table: Py<ScoreTable>,
    at: usize,
}

#[pymethods]
impl Rows {
    fn __iter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __next__<'py>(&mut self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let table = self.table.get();
        if self.at >= table.rows.len() {
            return Ok(None);
        }
        self.at += 1;
        table.row(py, self.at - 1).map(Some)
    }
}

/// Returns the table of a pickle.
#[pyfunction]
pub(crate) fn _table_again(rows: &Bound<'_, PyList>) -> PyResult<ScoreTable> {
    let row = |row: Bound<'_, PyAny>| match row.cast::<pyo3::types::PyDict>()?.get_item("error")? {
        Some(error) => Ok(Err(error.extract()?)),
        None => crate::json::from_py(&row, "a report on a text").map(Ok),
    };
    Ok(ScoreTable { rows: rows.iter().map(row).collect::<PyResult<_>>()? })
}
