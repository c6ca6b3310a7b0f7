//! Many texts: lists, numpy arrays and Arrow columns, scored on all cores without the interpreter.

use std::time::{Duration, Instant};

use arrow_array::cast::AsArray;
use arrow_array::types::UInt32Type;
use arrow_array::{Array, ArrayRef};
use arrow_schema::DataType;
use numpy::{PyArrayDescrMethods, PyUntypedArray, PyUntypedArrayMethods};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes, PyDict, PyFrozenSet, PySet, PyString};
use pyo3_arrow::input::AnyArray;
use wmdetect::pool::{self, Stopped};

use crate::input::{Cell, Item, as_ids, ids_of_numpy};

/// Time between two checks for Ctrl-C.
const SIGNALS: Duration = Duration::from_millis(50);

/// A column of texts.
pub(crate) enum Column {
    Items(Vec<Option<Result<Item, String>>>),
    Arrow(Vec<Chunk>),
}

/// A piece of an Arrow column.
pub(crate) struct Chunk {
    /// Its first row in the column.
    start: usize,
    values: Values,
}

enum Values {
    /// Text or bytes.
    Text(ArrayRef),
    /// Lists of token ids, and their items as `uint32`.
    Ids(ArrayRef, ArrayRef),
    Null(usize),
}

impl Column {
    /// Takes a column. An error in one row is reported later, for that row.
    pub(crate) fn of(object: &Bound<'_, PyAny>, what: &str) -> PyResult<Self> {
        let py = object.py();
        let found = || object.get_type().name().map_or_else(|_| "an object".into(), |name| name.to_string());
        let one = object.is_instance_of::<PyString>()
            || object.is_instance_of::<PyBytes>()
            || object.is_instance_of::<PyByteArray>();
        let unordered = object.is_instance_of::<PyDict>()
            || object.is_instance_of::<PySet>()
            || object.is_instance_of::<PyFrozenSet>();
        if one || unordered {
            let hint = if one { "\nhint: score() takes one text" } else { "" };
            return Err(PyTypeError::new_err(format!(
                "{what}: expected a list, a numpy array or an Arrow array, found {}{hint}",
                found()
            )));
        }
        if object.hasattr(intern!(py, "__arrow_c_array__"))?
            || object.hasattr(intern!(py, "__arrow_c_stream__"))?
        {
            return Self::of_arrow(object, what);
        }
        if object.hasattr(intern!(py, "__array__"))? {
            let array = py.import(intern!(py, "numpy"))?.call_method1(intern!(py, "asarray"), (object,))?;
            return Self::of_numpy(array.cast::<PyUntypedArray>()?, what);
        }
        let Ok(items) = object.try_iter() else {
            return Err(PyTypeError::new_err(format!(
                "{what}: expected a list, a numpy array or an Arrow array, found {}",
                found()
            )));
        };
        let mut column = Vec::with_capacity(object.len().unwrap_or(0));
        for item in items {
            let item = item?;
            column.push((!item.is_none()).then(|| Item::of(&item).map_err(|error| words(py, &error))));
        }
        Ok(Self::Items(column))
    }

    fn of_numpy(array: &Bound<'_, PyUntypedArray>, what: &str) -> PyResult<Self> {
        let py = array.py();
        match (array.dtype().kind(), array.ndim()) {
            (b'i' | b'u', 2) => {
                let rows = array.try_iter()?.map(|row| {
                    let row = row?;
                    Ok(Some(
                        ids_of_numpy(row.cast::<PyUntypedArray>()?)
                            .map(Item::Ids)
                            .map_err(|error| words(py, &error)),
                    ))
                });
                Ok(Self::Items(rows.collect::<PyResult<_>>()?))
            }
            (b'O' | b'U' | b'S' | b'T', 1) => Self::of(&array.call_method0(intern!(py, "tolist"))?, what),
            (_, dimensions) => Err(PyTypeError::new_err(format!(
                "{what}: expected an array of texts in one dimension, or of token ids in two, found dtype {} in \
                 {dimensions}",
                array.dtype()
            ))),
        }
    }

    fn of_arrow(object: &Bound<'_, PyAny>, what: &str) -> PyResult<Self> {
        let (chunks, field) = object.extract::<AnyArray>()?.into_chunked_array()?.into_inner();
        let mut start = 0;
        let mut column = Vec::with_capacity(chunks.len());
        for chunk in chunks {
            let len = chunk.len();
            let values = values(chunk).map_err(|found| {
                let hint = match field.data_type() {
                    DataType::Struct(_) => "\nhint: take one column of the table",
                    _ => "",
                };
                PyTypeError::new_err(format!(
                    "{what}: expected an Arrow array of strings, binaries or lists of integers, found {found}{hint}"
                ))
            })?;
            column.push(Chunk { start, values });
            start += len;
        }
        Ok(Self::Arrow(column))
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Items(items) => items.len(),
            Self::Arrow(chunks) => chunks.last().map_or(0, |chunk| chunk.start + chunk.values.len()),
        }
    }

    pub(crate) fn cell(&self, row: usize) -> Cell<'_> {
        match self {
            Self::Items(items) => match &items[row] {
                None => Cell::Null,
                Some(Ok(item)) => item.cell(),
                Some(Err(why)) => Cell::Bad(why),
            },
            Self::Arrow(chunks) => {
                let chunk = &chunks[chunks.partition_point(|chunk| chunk.start <= row) - 1];
                chunk.values.cell(row - chunk.start)
            }
        }
    }
}

/// Returns a chunk in the form that rows are taken from, or the name of a type without such a form.
fn values(chunk: ArrayRef) -> Result<Values, String> {
    let kind = chunk.data_type().clone();
    match &kind {
        DataType::Utf8
        | DataType::LargeUtf8
        | DataType::Utf8View
        | DataType::Binary
        | DataType::LargeBinary
        | DataType::BinaryView => Ok(Values::Text(chunk)),
        DataType::Dictionary(_, inner) => {
            values(arrow_cast::cast(&chunk, inner).map_err(|error| error.to_string())?)
        }
        DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(..) => {
            let items = match &kind {
                DataType::List(_) => chunk.as_list::<i32>().values(),
                DataType::LargeList(_) => chunk.as_list::<i64>().values(),
                _ => chunk.as_fixed_size_list().values(),
            };
            let ids = as_ids(items).map_err(|_| kind.to_string())?;
            Ok(Values::Ids(chunk, ids))
        }
        DataType::Null => Ok(Values::Null(chunk.len())),
        _ => Err(kind.to_string()),
    }
}

impl Values {
    fn len(&self) -> usize {
        match self {
            Self::Text(array) | Self::Ids(array, _) => array.len(),
            Self::Null(len) => *len,
        }
    }

    fn cell(&self, row: usize) -> Cell<'_> {
        match self {
            Self::Null(_) => Cell::Null,
            Self::Text(array) | Self::Ids(array, _) if array.is_null(row) => Cell::Null,
            Self::Text(array) => match array.data_type() {
                DataType::Utf8 => Cell::Text(array.as_string::<i32>().value(row)),
                DataType::LargeUtf8 => Cell::Text(array.as_string::<i64>().value(row)),
                DataType::Utf8View => Cell::Text(array.as_string_view().value(row)),
                DataType::Binary => Cell::Bytes(array.as_binary::<i32>().value(row)),
                DataType::LargeBinary => Cell::Bytes(array.as_binary::<i64>().value(row)),
                _ => Cell::Bytes(array.as_binary_view().value(row)),
            },
            Self::Ids(array, ids) => {
                let range = match array.data_type() {
                    DataType::List(_) => {
                        let offsets = array.as_list::<i32>().value_offsets();
                        offsets[row] as usize..offsets[row + 1] as usize
                    }
                    DataType::LargeList(_) => {
                        let offsets = array.as_list::<i64>().value_offsets();
                        offsets[row] as usize..offsets[row + 1] as usize
                    }
                    _ => {
                        let list = array.as_fixed_size_list();
                        let (start, len) = (list.value_offset(row) as usize, list.value_length() as usize);
                        start..start + len
                    }
                };
                let ids = ids.as_primitive::<UInt32Type>();
                if ids.nulls().is_some_and(|nulls| range.clone().any(|at| nulls.is_null(at))) {
                    return Cell::Bad(
                        "token ids: expected integers from 0 to 4294967295, found another or null",
                    );
                }
                Cell::Ids(&ids.values()[range])
            }
        }
    }
}

/// Returns an exception in words, without its type.
fn words(py: Python<'_>, error: &PyErr) -> String {
    error.value(py).str().map_or_else(|_| error.to_string(), |message| message.to_string())
}

/// Why a batch ends early.
pub(crate) enum Halt {
    Stopped,
    /// A row failed, and `errors="raise"` was asked for.
    Row(usize, String),
    /// An exception of Python, such as `KeyboardInterrupt`.
    Python(PyErr),
}

impl From<Stopped> for Halt {
    fn from(_: Stopped) -> Self {
        Self::Stopped
    }
}

/// Calls `work` for each row below `len` on `threads` threads, and returns the results in order. `keep_going` is false
/// if the first failure ends it. Meanwhile the interpreter is free, except for checks for Ctrl-C.
pub(crate) fn each<R: Send>(
    py: Python<'_>,
    len: usize,
    threads: usize,
    keep_going: bool,
    work: impl Fn(usize) -> Result<R, String> + Sync + Send,
) -> Result<Vec<Result<R, String>>, Halt> {
    py.detach(|| {
        let mut rows = Vec::with_capacity(len);
        let emit = |result: Result<R, String>| {
            if let (Err(why), false) = (&result, keep_going) {
                return Err(Halt::Row(rows.len(), why.clone()));
            }
            rows.push(result);
            Ok(())
        };
        let mut asked = Instant::now();
        pool::ordered(threads.min(len), work, emit, |feed| {
            for row in 0..len {
                feed.push(row)?;
                if asked.elapsed() > SIGNALS {
                    signals().map_err(Halt::Python)?;
                    asked = Instant::now();
                }
            }
            Ok(())
        })?;
        Ok(rows)
    })
}

/// Raises the program's exception for Ctrl-C, from a thread that has released the interpreter.
pub(crate) fn signals() -> PyResult<()> {
    #[expect(clippy::redundant_closure_for_method_calls, reason = "the method's type has one lifetime only")]
    Python::attach(|py| py.check_signals())
}

/// Returns the number of threads that the caller asked for, or that the machine runs at once.
pub(crate) fn threads_of(threads: Option<usize>) -> PyResult<usize> {
    match threads {
        Some(0) => Err(PyValueError::new_err("threads: expected at least 1, found 0")),
        Some(threads) => Ok(threads),
        None => Ok(pool::available_threads()),
    }
}
