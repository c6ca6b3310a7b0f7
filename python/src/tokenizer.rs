//! Tokenizers.

use std::path::PathBuf;
use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyTuple};
use wmdetect::Cache;

use crate::errors::ToPyErr;
use crate::input::ids_of;
use crate::key::absolute;

/// Splits texts into tokens. It must be the tokenizer of the model that wrote them.
#[pyclass(frozen, module = "wmdetect")]
pub(crate) struct Tokenizer {
    inner: Arc<wmdetect::Tokenizer>,
    origin: Origin,
}

/// Where a pickle finds the tokenizer again.
enum Origin {
    Default,
    Path(PathBuf),
    Json(Vec<u8>),
}

impl Tokenizer {
    pub(crate) fn inner(&self) -> &Arc<wmdetect::Tokenizer> {
        &self.inner
    }
}

#[pymethods]
impl Tokenizer {
    /// Returns the tokenizer in a `tokenizer.json`, a directory that has one, or a GGUF file.
    ///
    /// A large vocabulary takes seconds the first time. With `cache` its compiled form is kept in the user's cache, so
    /// that it opens in milliseconds afterwards.
    #[staticmethod]
    #[pyo3(signature = (path, *, cache = true))]
    pub(crate) fn open(py: Python<'_>, path: PathBuf, cache: bool) -> PyResult<Self> {
        let cache = cache.then(Cache::of_user).flatten();
        let inner = py.detach(|| wmdetect::Tokenizer::open_with_cache(&path, cache.as_ref()));
        let inner = Arc::new(inner.map_err(|error| error.to_py(py))?);
        Ok(Self { inner, origin: Origin::Path(absolute(path)) })
    }

    /// Returns the tokenizer that the content of a `tokenizer.json` describes.
    ///
    /// For a fast tokenizer of transformers that content is `tokenizer.backend_tokenizer.to_str()`.
    #[staticmethod]
    #[pyo3(signature = (json, name = "tokenizer.json"))]
    fn from_json(py: Python<'_>, json: &str, name: &str) -> PyResult<Self> {
        let inner = py.detach(|| wmdetect::Tokenizer::from_json_bytes(json.as_bytes(), name));
        let inner = Arc::new(inner.map_err(|error| error.to_py(py))?);
        Ok(Self { inner, origin: Origin::Json(json.as_bytes().to_vec()) })
    }

    /// Returns the tokenizer of the model that ships with `wmgen`. It fits only texts of that model.
    #[staticmethod]
    fn default() -> Self {
        Self { inner: Arc::new(wmdetect::Tokenizer::of_default_model()), origin: Origin::Default }
    }

    /// Returns the token ids of a text. No control token is added or recognised.
    fn encode(&self, py: Python<'_>, text: &str) -> PyResult<Vec<u32>> {
        let encoded = py.detach(|| self.inner.encode(text));
        Ok(encoded.map_err(|error| error.to_py(py))?.ids)
    }

    /// Returns the text of token ids, without control tokens.
    fn decode(&self, ids: &Bound<'_, PyAny>) -> PyResult<String> {
        Ok(self.inner.decode(&ids_of(ids)?))
    }

    /// The vocabulary's name if it is a known one, else the file's.
    #[getter]
    fn name(&self) -> &str {
        self.inner.name()
    }

    /// One more than the largest id.
    #[getter]
    fn vocab_size(&self) -> usize {
        self.inner.vocab_size()
    }

    /// The fingerprint of the vocabulary, in hexadecimal. It does not depend on the file that it was read from.
    #[getter]
    fn fingerprint(&self) -> String {
        self.inner.fingerprint().to_string()
    }

    /// The id of the token in front of every text, if the model was trained with one.
    #[getter]
    fn bos(&self) -> Option<u32> {
        self.inner.bos()
    }

    /// The id of the token that ends a text, if there is one.
    #[getter]
    fn eos(&self) -> Option<u32> {
        self.inner.eos()
    }

    fn __repr__(&self) -> String {
        format!("Tokenizer(name={:?}, vocab_size={})", self.inner.name(), self.inner.vocab_size())
    }

    fn __copy__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __deepcopy__<'py>(slf: Bound<'py, Self>, _memo: &Bound<'py, PyAny>) -> Bound<'py, Self> {
        slf
    }

    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        let class = py.get_type::<Self>();
        match &self.origin {
            Origin::Default => (class.getattr("default")?, ()).into_pyobject(py),
            Origin::Path(path) => (class.getattr("open")?, (path,)).into_pyobject(py),
            Origin::Json(json) => {
                let json = PyBytes::new(py, json).call_method1("decode", ("utf-8",))?;
                (class.getattr("from_json")?, (json, self.inner.name())).into_pyobject(py)
            }
        }
    }
}
