//! Keys and keyrings.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use pyo3::exceptions::{PyTypeError, PyUserWarning};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use wmdetect::scheme::key::permission_warning;
use wmdetect::scheme::{ImportOptions, Key, Preset};

use crate::errors::{ToPyErr, error};
use crate::tokenizer::Tokenizer;

/// A watermark key: a scheme, its secret and, optionally, the tokenizer that it belongs to.
///
/// `Key.read` reads one from a file, `Key.generate` makes a new one. The secret leaves the object only by `write`. It
/// is not an attribute, not in `repr`, and not in a pickle, which holds the path of the file.
#[pyclass(frozen, module = "wmdetect", name = "Key")]
pub(crate) struct PyKey {
    pub(crate) key: Arc<Key>,
    /// The path where a pickle finds the key again.
    path: OnceLock<PathBuf>,
}

impl PyKey {
    fn new(key: Key) -> Self {
        Self { key: Arc::new(key), path: OnceLock::new() }
    }

    pub(crate) fn of_file(py: Python<'_>, path: PathBuf) -> PyResult<Self> {
        let key = py.detach(|| Key::read(&path)).map_err(|error| error.to_py(py))?;
        warn_of_permissions(py, &path)?;
        Ok(Self { key: Arc::new(key), path: absolute(path).into() })
    }
}

/// Warns if others can read a key.
fn warn_of_permissions(py: Python<'_>, path: &std::path::Path) -> PyResult<()> {
    warn(py, permission_warning(path))
}

fn warn(py: Python<'_>, message: Option<String>) -> PyResult<()> {
    let Some(message) = message.and_then(|message| std::ffi::CString::new(message).ok()) else {
        return Ok(());
    };
    PyErr::warn(py, &py.get_type::<PyUserWarning>(), &message, 1)
}

/// Returns the path from the root, so that it means the same after a change of directory.
pub(crate) fn absolute(path: PathBuf) -> PathBuf {
    std::path::absolute(&path).unwrap_or(path)
}

#[pymethods]
impl PyKey {
    /// Returns the key in a key file.
    #[staticmethod]
    fn read(py: Python<'_>, path: PathBuf) -> PyResult<Self> {
        Self::of_file(py, path)
    }

    /// Returns a new key from the system's randomness.
    ///
    /// `preset` is `"robust"`, `"balanced"` or `"secret"`. `channels`, `depth` and `ngram_len` replace the preset's
    /// values. A key that is bound to a `tokenizer` is refused with another one.
    #[staticmethod]
    #[pyo3(signature = (preset = "balanced", *, channels = None, depth = None, ngram_len = None, tokenizer = None))]
    fn generate(
        py: Python<'_>,
        preset: &str,
        channels: Option<usize>,
        depth: Option<usize>,
        ngram_len: Option<usize>,
        tokenizer: Option<&Tokenizer>,
    ) -> PyResult<Self> {
        let preset: Preset = preset.parse().map_err(|found| error(py, format!("{found}")))?;
        let scheme = preset.with_parameters(depth, ngram_len, channels);
        let key = scheme.and_then(Key::generate).map_err(|error| error.to_py(py))?;
        Ok(Self::new(key.with_tokenizer(tokenizer.map(|tokenizer| tokenizer.inner().binding()))))
    }

    /// Returns the key of another library, from the JSON that it reads.
    ///
    /// `vocab_size` is the size of the vocabulary that green lists are made from, if the file does not say it. A field
    /// that plays no part gives a `UserWarning`.
    #[staticmethod]
    #[pyo3(signature = (path, scheme, *, vocab_size = None))]
    fn import_json(py: Python<'_>, path: PathBuf, scheme: &str, vocab_size: Option<u32>) -> PyResult<Self> {
        let options = ImportOptions::default().vocab_size(vocab_size);
        let (key, notes) = Key::import_json_with(path, scheme, options).map_err(|error| error.to_py(py))?;
        for note in notes {
            warn(py, Some(note))?;
        }
        Ok(Self::new(key))
    }

    /// Writes the key file, which only its owner can read.
    #[pyo3(signature = (path, *, overwrite = false))]
    fn write(&self, py: Python<'_>, path: PathBuf, overwrite: bool) -> PyResult<()> {
        self.key.write(&path, overwrite).map_err(|error| error.to_py(py))?;
        let _ = self.path.set(absolute(path));
        Ok(())
    }

    /// Returns the key for a label, such as a tenant or an epoch.
    ///
    /// Neither this key nor the key of another label follows from it.
    fn derive(&self, py: Python<'_>, label: &str) -> PyResult<Self> {
        Ok(Self::new(self.key.derive(label).map_err(|error| error.to_py(py))?))
    }

    /// Returns this key bound to a tokenizer, so that no other is used with it.
    fn bind(&self, py: Python<'_>, tokenizer: &Tokenizer) -> PyResult<Self> {
        let copy = Key::from_bytes(&self.key.to_bytes(), "a copy").map_err(|error| error.to_py(py))?;
        Ok(Self::new(copy.with_tokenizer(Some(tokenizer.inner().binding()))))
    }

    /// The public id: 16 hexadecimal digits, which reveal nothing about the secret.
    #[getter]
    fn id(&self) -> String {
        self.key.id()
    }

    /// The name of the scheme, such as `synthid-sha256-v2`.
    #[getter]
    fn scheme(&self) -> &'static str {
        self.key.scheme().name()
    }

    /// The number of channels: functions of the key, of which each response takes one.
    #[getter]
    fn channels(&self) -> u16 {
        self.key.scheme().channels()
    }

    /// The number of layers of a tournament; `None` if the mark is not a tournament.
    #[getter]
    fn depth(&self) -> Option<usize> {
        self.key.scheme().check_tournament().is_ok().then(|| self.key.scheme().depth())
    }

    /// The length of the longest context plus one.
    #[getter]
    fn ngram_len(&self) -> usize {
        self.key.scheme().ngram_len()
    }

    /// The label that the key was derived for, if it was.
    #[getter]
    fn label(&self) -> Option<&str> {
        self.key.label()
    }

    /// The name of the tokenizer that the key is bound to, if it is.
    #[getter]
    fn tokenizer(&self) -> Option<&str> {
        self.key.tokenizer().map(|binding| binding.name.as_str())
    }

    /// The file that the key was read from or written to, if there is one.
    #[getter]
    fn path(&self) -> Option<&PathBuf> {
        self.path.get()
    }

    fn __repr__(&self) -> String {
        format!("Key(id='{}', scheme='{}')", self.key.id(), self.scheme())
    }

    fn __eq__(&self, other: &Bound<'_, PyAny>) -> bool {
        other.cast::<Self>().is_ok_and(|other| other.get().key.id() == self.key.id())
    }

    fn __hash__(&self) -> u64 {
        // The first digits of the id, which is a digest.
        u64::from_str_radix(&self.key.id(), 16).unwrap_or(0)
    }

    fn __copy__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __deepcopy__<'py>(slf: Bound<'py, Self>, _memo: &Bound<'py, PyAny>) -> Bound<'py, Self> {
        slf
    }

    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        let Some(path) = self.path.get() else {
            return Err(PyTypeError::new_err(format!(
                "cannot pickle the key {}: expected a key with a file, since a pickle holds the path and not the \
                 secret; found a key in memory\nhint: write it to a file first",
                self.key.id()
            )));
        };
        let again = py.import("wmdetect._core")?.getattr("_key_again")?;
        (again, (path, self.key.id())).into_pyobject(py)
    }
}

/// Reads the key of a pickle.
#[pyfunction]
pub(crate) fn _key_again(py: Python<'_>, path: PathBuf, id: &str) -> PyResult<PyKey> {
    let key = PyKey::of_file(py, path)?;
    if key.key.id() == id {
        return Ok(key);
    }
    let path = key.path.get().map(|path| path.display().to_string()).unwrap_or_default();
    Err(error(py, format!("{path} has another key than was pickled: expected {id}, found {}", key.key.id())))
}

/// Several keys, all of which are tried on each text. p is corrected for their number.
///
/// `Keyring.open` reads a directory of key files, `Keyring.derived` derives keys from a master.
#[pyclass(frozen, module = "wmdetect")]
pub(crate) struct Keyring {
    pub(crate) ring: wmdetect::Keyring,
    origin: Origin,
}

/// Where a pickle finds the keys again.
enum Origin {
    Keys(Vec<Py<PyKey>>),
    Directory(PathBuf),
    Derived(Py<PyKey>, Vec<String>),
}

impl Keyring {
    pub(crate) fn of_directory(py: Python<'_>, path: PathBuf) -> PyResult<Self> {
        let ring = py.detach(|| wmdetect::Keyring::open(&path)).map_err(|error| error.to_py(py))?;
        for entry in std::fs::read_dir(&path).into_iter().flatten().flatten() {
            if entry.path().is_file() && entry.file_name() != "keys.toml" {
                warn_of_permissions(py, &entry.path())?;
            }
        }
        Ok(Self { ring, origin: Origin::Directory(absolute(path)) })
    }
}

#[pymethods]
impl Keyring {
    #[new]
    fn new(py: Python<'_>, keys: Vec<Py<PyKey>>) -> PyResult<Self> {
        let shared = keys.iter().map(|key| Arc::clone(&key.get().key));
        let ring = wmdetect::Keyring::of_shared(shared).map_err(|error| error.to_py(py))?;
        Ok(Self { ring, origin: Origin::Keys(keys) })
    }

    /// Returns the keys in a directory of key files, including retired and leaked ones.
    #[staticmethod]
    fn open(py: Python<'_>, path: PathBuf) -> PyResult<Self> {
        Self::of_directory(py, path)
    }

    /// Returns the keys that a master key derives for labels, such as tenants.
    #[staticmethod]
    fn derived(py: Python<'_>, master: Py<PyKey>, labels: Vec<String>) -> PyResult<Self> {
        let key = Arc::clone(&master.get().key);
        let ring = py.detach(|| wmdetect::Keyring::derived(&key, labels.iter().cloned()));
        let ring = ring.map_err(|error| error.to_py(py))?;
        Ok(Self { ring, origin: Origin::Derived(master, labels) })
    }

    /// The public id of each key.
    #[getter]
    fn key_ids(&self) -> Vec<String> {
        self.ring.keys().map(Key::id).collect()
    }

    fn __len__(&self) -> usize {
        self.ring.len()
    }

    fn __repr__(&self) -> String {
        match self.ring.len() {
            1 => "Keyring(1 key)".into(),
            keys => format!("Keyring({keys} keys)"),
        }
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
            Origin::Keys(keys) => {
                let keys: Vec<_> = keys.iter().map(|key| key.clone_ref(py)).collect();
                (class, (keys,)).into_pyobject(py)
            }
            Origin::Directory(path) => (class.getattr("open")?, (path,)).into_pyobject(py),
            Origin::Derived(master, labels) => {
                (class.getattr("derived")?, (master.clone_ref(py), labels)).into_pyobject(py)
            }
        }
    }
}

/// Returns the keys that the caller gave: a `Key`, a `Keyring`, a path or a list of keys. With `None` it takes the file
/// that the environment variable `WMDETECT_KEY` names.
pub(crate) fn keys_of<'py>(py: Python<'py>, keys: Option<&Bound<'py, PyAny>>) -> PyResult<Bound<'py, PyAny>> {
    let from_path = |path: PathBuf| {
        if path.is_dir() {
            Ok(Bound::new(py, Keyring::of_directory(py, path)?)?.into_any())
        } else {
            Ok(Bound::new(py, PyKey::of_file(py, path)?)?.into_any())
        }
    };
    let Some(keys) = keys else {
        return match std::env::var_os("WMDETECT_KEY").filter(|path| !path.is_empty()) {
            Some(path) => from_path(path.into()),
            None => Err(error(
                py,
                "there is no key: expected a Key, a Keyring or a path, found none\nhint: pass one, or set \
                 WMDETECT_KEY to the path of a key file",
            )),
        };
    };
    if keys.is_instance_of::<PyKey>() || keys.is_instance_of::<Keyring>() {
        return Ok(keys.clone());
    }
    if let Ok(path) = keys.extract::<PathBuf>() {
        return from_path(path);
    }
    if let Ok(keys) = keys.extract::<Vec<Py<PyKey>>>() {
        return Ok(Bound::new(py, Keyring::new(py, keys)?)?.into_any());
    }
    Err(PyTypeError::new_err(format!(
        "keys: expected a Key, a Keyring, a path or a list of keys, found {}",
        keys.get_type().name()?
    )))
}

/// Returns the ring for the result of [`keys_of`].
pub(crate) fn ring_of(keys: &Bound<'_, PyAny>) -> PyResult<wmdetect::Keyring> {
    match keys.cast::<PyKey>() {
        Ok(key) => Ok(Arc::clone(&key.get().key).into()),
        Err(_) => Ok(keys.cast::<Keyring>()?.get().ring.clone()),
    }
}

/// Returns pairs as keyword arguments, for `Detector.__reduce__`.
pub(crate) fn keyword<'py>(
    py: Python<'py>,
    pairs: &[(&str, Bound<'py, PyAny>)],
) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    for (name, value) in pairs {
        dict.set_item(name, value)?;
    }
    Ok(dict)
}
