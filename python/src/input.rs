//! One text: a string, bytes or token ids.

use arrow_array::cast::AsArray;
use arrow_array::types::UInt32Type;
use arrow_array::{Array, ArrayRef};
use arrow_schema::DataType;
use numpy::{PyArray1, PyArrayMethods, PyUntypedArray, PyUntypedArrayMethods};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::pybacked::{PyBackedBytes, PyBackedStr};
use pyo3::types::{PyByteArray, PyBytes, PyString};
use pyo3_arrow::input::AnyArray;
use wmdetect::Input;
use wmdetect::detect::Prompt;

/// A text that Python gave. Texts and bytes stay where they are.
pub(crate) enum Item {
    Text(PyBackedStr),
    Bytes(PyBackedBytes),
    Ids(Vec<u32>),
}

/// A text in a batch.
#[derive(Clone, Copy)]
pub(crate) enum Cell<'a> {
    Text(&'a str),
    Bytes(&'a [u8]),
    Ids(&'a [u32]),
    /// The cell is null.
    Null,
    /// The cell is not a text, and why.
    Bad(&'a str),
}

impl Item {
    /// Takes a `str`, `bytes` or token ids.
    pub(crate) fn of(object: &Bound<'_, PyAny>) -> PyResult<Self> {
        if object.is_instance_of::<PyString>() {
            return object.extract().map(Self::Text).map_err(|_| {
                PyValueError::new_err(
                    "the text is not valid Unicode: expected a str that can be written as UTF-8, found a lone \
                     surrogate\nhint: pass bytes, whose invalid sequences are replaced",
                )
            });
        }
        if object.is_instance_of::<PyBytes>() || object.is_instance_of::<PyByteArray>() {
            return Ok(Self::Bytes(object.extract()?));
        }
        ids_of(object).map(Self::Ids)
    }

    pub(crate) fn cell(&self) -> Cell<'_> {
        match self {
            Self::Text(text) => Cell::Text(text),
            Self::Bytes(bytes) => Cell::Bytes(bytes),
            Self::Ids(ids) => Cell::Ids(ids),
        }
    }

    /// Returns the bytes of a text, or `None` for token ids.
    pub(crate) fn bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Text(text) => Some(text.as_bytes()),
            Self::Bytes(bytes) => Some(bytes),
            Self::Ids(_) => None,
        }
    }
}

impl<'a> Cell<'a> {
    /// Returns the detector's input for a text after a prompt.
    pub(crate) fn input(self, prompt: Cell<'a>) -> Result<Input<'a>, String> {
        let input = match self {
            Self::Text(text) => Input::text(text),
            Self::Bytes(bytes) => Input::bytes(bytes),
            Self::Ids(ids) => Input::tokens(ids),
            Self::Null => {
                return Err("there is no text: expected text, bytes or token ids, found null".into());
            }
            Self::Bad(why) => return Err(why.into()),
        };
        Ok(match prompt {
            Self::Null => input,
            Self::Text(text) => input.after_prompt(Prompt::Text(text)),
            Self::Ids(ids) => input.after_prompt(Prompt::Tokens(ids)),
            Self::Bytes(_) => return Err("the prompt: expected text or token ids, found bytes".into()),
            Self::Bad(why) => return Err(format!("the prompt: {why}")),
        })
    }
}

/// Returns a prompt, if there is one.
pub(crate) fn prompt_of(prompt: Option<&Bound<'_, PyAny>>) -> PyResult<Option<Item>> {
    prompt.filter(|prompt| !prompt.is_none()).map(Item::of).transpose()
}

/// Returns token ids from a list or another sequence of integers, an integer array of numpy or torch, or an Arrow
/// array.
pub(crate) fn ids_of(object: &Bound<'_, PyAny>) -> PyResult<Vec<u32>> {
    let py = object.py();
    if object.is_instance_of::<PyString>() || object.is_none() {
        return Err(not_ids(object));
    }
    if object.hasattr(intern!(py, "__arrow_c_array__"))? {
        let AnyArray::Array(array) = object.extract::<AnyArray>()? else { return Err(not_ids(object)) };
        return ids_of_arrow(array.array()).map_err(PyTypeError::new_err);
    }
    if object.hasattr(intern!(py, "__array__"))? {
        let array = py.import(intern!(py, "numpy"))?.call_method1(intern!(py, "asarray"), (object,))?;
        return ids_of_numpy(array.cast::<PyUntypedArray>()?);
    }
    let Ok(items) = object.try_iter() else { return Err(not_ids(object)) };
    let mut ids = Vec::with_capacity(object.len().unwrap_or(0));
    for (at, item) in items.enumerate() {
        let item = item?;
        ids.push(item.extract().map_err(|_| {
            let found = item.repr().and_then(|repr| repr.extract::<String>()).unwrap_or_default();
            // The object may be long when it is printed.
            let found: String = found.chars().take(40).collect();
            PyTypeError::new_err(format!(
                "token ids: expected integers from 0 to 4294967295, found {found} at position {at}"
            ))
        })?);
    }
    Ok(ids)
}

fn not_ids(object: &Bound<'_, PyAny>) -> PyErr {
    let found = object.get_type().name().map_or_else(|_| "an object".into(), |name| name.to_string());
    PyTypeError::new_err(format!("expected text, bytes or token ids, found {found}"))
}

/// Returns the token ids in an array of one dimension.
pub(crate) fn ids_of_numpy(array: &Bound<'_, PyUntypedArray>) -> PyResult<Vec<u32>> {
    macro_rules! of_type {
        ($($type:ty),*) => {$(
            if let Ok(array) = array.cast::<PyArray1<$type>>() {
                let array = array.try_readonly().map_err(|error| PyValueError::new_err(error.to_string()))?;
                let id = |&id: &$type| u32::try_from(i128::from(id)).map_err(|_| out_of_range(i128::from(id)));
                return array.as_array().iter().map(id).collect();
            }
        )*};
    }
    of_type!(i64, u32, i32, u64, u16, i16, u8, i8);
    Err(PyTypeError::new_err(format!(
        "token ids: expected an integer array of one dimension, found dtype {} in {} dimensions",
        array.dtype(),
        array.ndim()
    )))
}

fn out_of_range(found: i128) -> PyErr {
    PyValueError::new_err(format!("token ids: expected integers from 0 to 4294967295, found {found}"))
}

/// Returns the token ids in an Arrow array of integers.
pub(crate) fn ids_of_arrow(array: &ArrayRef) -> Result<Vec<u32>, String> {
    let ids = as_ids(array)?;
    let ids = ids.as_primitive::<UInt32Type>();
    if ids.null_count() > array.null_count() {
        return Err("token ids: expected integers from 0 to 4294967295, found one outside".into());
    }
    if ids.null_count() > 0 {
        return Err("token ids: expected integers, found null".into());
    }
    Ok(ids.values().to_vec())
}

/// Returns an array of integers as one of `uint32`, in which integers outside its range are null.
pub(crate) fn as_ids(array: &ArrayRef) -> Result<ArrayRef, String> {
    if !array.data_type().is_integer() && *array.data_type() != DataType::Null {
        return Err(format!("token ids: expected an array of integers, found {}", array.data_type()));
    }
    arrow_cast::cast(array, &DataType::UInt32).map_err(|error| format!("token ids: {error}"))
}
