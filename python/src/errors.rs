//! Errors of the library as exceptions.

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyType;
use wmdetect::DetectError;
use wmdetect::scheme::KeyError;
use wmdetect::text::TextError;

/// `wmdetect.Error`, for everything that the library refuses.
static ERROR: PyOnceLock<Py<PyType>> = PyOnceLock::new();
/// `wmdetect.FileError`, for files that cannot be read or written.
static FILE_ERROR: PyOnceLock<Py<PyType>> = PyOnceLock::new();

/// Returns an exception with this message.
pub(crate) fn error(py: Python<'_>, message: impl Into<String>) -> PyErr {
    of_type(py, &ERROR, "Error", message.into())
}

/// Returns an exception about a file.
pub(crate) fn file_error(py: Python<'_>, message: impl Into<String>) -> PyErr {
    of_type(py, &FILE_ERROR, "FileError", message.into())
}

fn of_type(py: Python<'_>, cell: &PyOnceLock<Py<PyType>>, name: &str, message: String) -> PyErr {
    match cell.import(py, "wmdetect._errors", name) {
        Ok(class) => PyErr::from_type(class.clone(), (message,)),
        Err(error) => error,
    }
}

/// Errors of the library that become Python's exceptions.
pub(crate) trait ToPyErr {
    fn to_py(&self, py: Python<'_>) -> PyErr;
}

impl ToPyErr for KeyError {
    fn to_py(&self, py: Python<'_>) -> PyErr {
        match self {
            Self::Exists { .. } => file_error(py, format!("{self}\nhint: pass overwrite=True to replace it")),
            Self::Missing { .. } | Self::Directory { .. } | Self::Read { .. } | Self::Write { .. } => {
                file_error(py, self.to_string())
            }
            _ => error(py, self.to_string()),
        }
    }
}

impl ToPyErr for TextError {
    fn to_py(&self, py: Python<'_>) -> PyErr {
        match self {
            Self::Read { .. } | Self::NoTokenizer { .. } => file_error(py, self.to_string()),
            _ => error(py, self.to_string()),
        }
    }
}

impl ToPyErr for DetectError {
    fn to_py(&self, py: Python<'_>) -> PyErr {
        match self {
            Self::Key(inner) => inner.to_py(py),
            Self::Text(inner) => inner.to_py(py),
            Self::Keyring { .. } => file_error(py, self.to_string()),
            _ => error(py, self.message()),
        }
    }
}

/// An error in words, with what to do about it in Python.
pub(crate) trait Message {
    fn message(&self) -> String;
}

impl Message for DetectError {
    fn message(&self) -> String {
        match self {
            Self::NoTokenizer => {
                format!("{self}\nhint: make the detector with tokenizer=Tokenizer.open(path)")
            }
            _ => self.to_string(),
        }
    }
}
