//! JSON between Python and the library. Numbers keep all their digits.

use pyo3::exceptions::PyTypeError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyFloat, PyInt, PyList, PyString};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::errors::error;

/// Returns an object as one line of JSON.
pub(crate) fn to_json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("reports have text keys and finite numbers")
}

/// Returns an object as Python's dictionaries and lists, in the order of the JSON.
pub(crate) fn to_dict<'py>(py: Python<'py>, value: &impl Serialize) -> PyResult<Bound<'py, PyAny>> {
    py.import(intern!(py, "json"))?.call_method1(intern!(py, "loads"), (to_json(value),))
}

/// Returns a report from the JSON that a program printed, or from what [`to_dict`] made of it.
pub(crate) fn from_py<T: DeserializeOwned>(object: &Bound<'_, PyAny>, what: &str) -> PyResult<T> {
    let py = object.py();
    let bad = |found: String| error(py, format!("the JSON is not that of {what}: {found}"));
    let object = if object.is_instance_of::<PyString>() {
        let parsed = py.import(intern!(py, "json"))?.call_method1(intern!(py, "loads"), (object,));
        parsed.map_err(|found| bad(found.value(py).to_string()))?
    } else {
        object.clone()
    };
    serde_json::from_value(value(&object)?).map_err(|found| bad(found.to_string()))
}

/// Converts an object to a JSON value. Python writes its floats without loss, which `serde_json` alone does not
/// promise.
fn value(object: &Bound<'_, PyAny>) -> PyResult<Value> {
    if object.is_none() {
        return Ok(Value::Null);
    }
    if object.is_instance_of::<PyBool>() {
        return Ok(Value::Bool(object.extract()?));
    }
    if object.is_instance_of::<PyInt>() {
        return Ok(match object.extract::<u64>() {
            Ok(number) => number.into(),
            Err(_) => object.extract::<i64>()?.into(),
        });
    }
    if object.is_instance_of::<PyFloat>() {
        return Ok(object.extract::<f64>()?.into());
    }
    if object.is_instance_of::<PyString>() {
        return Ok(Value::String(object.extract()?));
    }
    if let Ok(list) = object.cast::<PyList>() {
        return list.iter().map(|item| value(&item)).collect::<PyResult<Vec<_>>>().map(Value::Array);
    }
    if let Ok(dict) = object.cast::<PyDict>() {
        let pairs = dict.iter().map(|(name, item)| Ok((name.extract::<String>()?, value(&item)?)));
        return pairs.collect::<PyResult<Map<_, _>>>().map(Value::Object);
    }
    Err(PyTypeError::new_err(format!("expected JSON, found {}", object.get_type().name()?)))
}

/// Returns the name of a kind in JSON.
pub(crate) fn name(kind: &impl Serialize) -> String {
    match serde_json::to_value(kind) {
        Ok(Value::String(name)) => name,
        _ => unreachable!("kinds are names in JSON"),
    }
}
