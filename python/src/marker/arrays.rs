//! The arrays of numpy that a sampler passes. They are not converted: logits are changed in place, and a copy of either
//! array would cost more than the mark.

use numpy::ndarray::Dimension;
use numpy::{Element, PyArray, PyArrayMethods, PyReadonlyArray, PyReadwriteArray};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;

/// The type of an argument's numbers.
pub(super) trait Numbers: Element {
    /// Name of the argument.
    const ARGUMENT: &'static str;
    /// Numpy's name of the type.
    const NAME: &'static str;
    /// What to do with an array of another type.
    const HINT: &'static str;
}

impl Numbers for u32 {
    const ARGUMENT: &'static str = "tokens";
    const NAME: &'static str = "uint32";
    const HINT: &'static str = "tokens.astype(numpy.uint32)";
}

impl Numbers for f32 {
    const ARGUMENT: &'static str = "logits";
    const NAME: &'static str = "float32";
    const HINT: &'static str =
        "they are changed in place, so they are not converted; of a torch tensor take .float().numpy()";
}

/// Returns what an array is, for messages.
fn found(object: &Bound<'_, PyAny>) -> String {
    let shape = object.getattr("shape").and_then(|shape| shape.repr()).map(|shape| shape.to_string());
    let dtype = object.getattr("dtype").and_then(|dtype| dtype.str()).map(|dtype| dtype.to_string());
    match (dtype, shape) {
        (Ok(dtype), Ok(shape)) => format!("{dtype} in the shape {shape}"),
        _ => object.get_type().name().map_or_else(|_| "an object".into(), |name| name.to_string()),
    }
}

fn cast<'a, 'py, T: Numbers, D: Dimension>(
    object: &'a Bound<'py, PyAny>,
) -> PyResult<&'a Bound<'py, PyArray<T, D>>> {
    // numpy is imported only if the object may be an array.
    let may_be = object.hasattr("__array_interface__")?;
    may_be.then(|| object.cast().ok()).flatten().ok_or_else(|| {
        let dimensions = match D::NDIM {
            Some(1) => "one dimension",
            _ => "two dimensions",
        };
        PyTypeError::new_err(format!(
            "{}: expected a numpy array of {} in {dimensions}, found {}\nhint: {}",
            T::ARGUMENT,
            T::NAME,
            found(object),
            T::HINT
        ))
    })
}

/// Returns an argument as an array for reading.
pub(super) fn readable<'py, T: Numbers, D: Dimension>(
    object: &Bound<'py, PyAny>,
) -> PyResult<PyReadonlyArray<'py, T, D>> {
    let array = cast::<T, D>(object)?;
    array.try_readonly().map_err(|error| PyValueError::new_err(format!("{}: {error}", T::ARGUMENT)))
}

/// Returns the logits as an array for writing.
pub(super) fn writable<'py, D: Dimension>(
    object: &Bound<'py, PyAny>,
) -> PyResult<PyReadwriteArray<'py, f32, D>> {
    let array = cast::<f32, D>(object)?;
    array.try_readwrite().map_err(|error| {
        PyValueError::new_err(format!(
            "logits: expected an array that can be written, found another: {error}"
        ))
    })
}

const CONTIGUOUS: &str =
    "expected an array in C order without gaps, found another\nhint: numpy.ascontiguousarray";

pub(super) fn contiguous(what: &str) -> PyErr {
    PyValueError::new_err(format!("{what}: {CONTIGUOUS}"))
}

pub(super) fn check_lengths(tokens: usize, logits: usize) -> PyResult<()> {
    if tokens == logits {
        return Ok(());
    }
    Err(PyValueError::new_err(format!("logits: expected as many as tokens, {tokens}, found {logits}")))
}
