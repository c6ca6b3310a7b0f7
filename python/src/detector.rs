//! The detector and its questions.

use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyTuple;
use wmdetect::calibration::{Corpus, Options, calibrate_while};
use wmdetect::statistics::{Decider, Method};
use wmdetect::text::normalise::Normaliser;
use wmdetect::{DetectError, Input, report};

use crate::batch::{Column, Halt, each, signals, threads_of};
use crate::errors::{Message, ToPyErr, error};
use crate::input::{Cell, Item, prompt_of};
use crate::key::{PyKey, keys_of, keyword, ring_of};
use crate::report::{Attribution, CalibrationReport, Explanation, Report, SegmentsReport};
use crate::table::ScoreTable;
use crate::tokenizer::Tokenizer;

/// Looks for the mark of one key, or of any key of a ring, in texts.
///
/// `keys` is a `Key`, a `Keyring`, a list of keys, or the path of a key file or of a directory of key files. Without it
/// the environment variable `WMDETECT_KEY` names a path. `tokenizer` is a `Tokenizer` or its path. Without it the
/// detector takes only token ids. `method` names the statistic that decides. Without it that is the usual one of each
/// key's scheme: `weighted_mean` for tournaments, `gumbel` for uniform numbers, `green_list` for green lists.
///
/// A detector can be shared between threads. Its questions run without the interpreter lock.
#[pyclass(frozen, module = "wmdetect")]
pub(crate) struct Detector {
    inner: wmdetect::Detector,
    keys: Py<PyAny>,
    tokenizer: Option<Py<Tokenizer>>,
    method: Option<Method>,
    normalise: bool,
    ignore: Option<PathBuf>,
    channel: Option<u16>,
}

impl Detector {
    /// Returns the decider: the one that was asked for, or the usual statistic of each key's scheme.
    fn decider(&self) -> Decider {
        self.method.map(Decider::from).unwrap_or_default()
    }

    /// Asks a question about one text.
    fn ask<R: Send>(
        &self,
        py: Python<'_>,
        item: &Item,
        prompt: Option<&Item>,
        question: impl FnOnce(&wmdetect::Detector, Input<'_>) -> Result<R, DetectError> + Send,
    ) -> PyResult<R> {
        let (cell, prompt) = (item.cell(), prompt.map_or(Cell::Null, Item::cell));
        let input = cell.input(prompt).map_err(PyTypeError::new_err)?;
        // An input may be a reader, which is not Send; these are not.
        drop(input);
        py.detach(|| {
            let input = cell.input(prompt).unwrap_or_else(|_| Input::tokens(&[]));
            question(&self.inner, input)
        })
        .map_err(|error| error.to_py(py))
    }
}

/// Returns whether failures become rows.
fn keeps_going(errors: &str) -> PyResult<bool> {
    match errors {
        "row" => Ok(true),
        "raise" => Ok(false),
        found => {
            Err(PyValueError::new_err(format!("errors: expected \"row\" or \"raise\", found {found:?}")))
        }
    }
}

fn halted(py: Python<'_>, halt: Halt) -> PyErr {
    match halt {
        Halt::Row(row, why) => error(py, format!("row {row}: {why}")),
        Halt::Python(error) => error,
        Halt::Stopped => error(py, "the batch stopped early"),
    }
}

#[pymethods]
impl Detector {
    #[new]
    #[pyo3(signature = (
        keys = None, tokenizer = None, *, fpr = 1e-3, method = None, normalise = true, ignore = None, channel = None
    ))]
    #[expect(clippy::too_many_arguments, reason = "they are keywords in Python")]
    fn new(
        py: Python<'_>,
        keys: Option<&Bound<'_, PyAny>>,
        tokenizer: Option<&Bound<'_, PyAny>>,
        fpr: f64,
        method: Option<&str>,
        normalise: bool,
        ignore: Option<PathBuf>,
        channel: Option<u16>,
    ) -> PyResult<Self> {
        let keys = keys_of(py, keys.filter(|keys| !keys.is_none()))?;
        let tokenizer: Option<Py<Tokenizer>> = match tokenizer.filter(|tokenizer| !tokenizer.is_none()) {
            None => None,
            Some(tokenizer) => Some(match tokenizer.cast::<Tokenizer>() {
                Ok(tokenizer) => tokenizer.clone().unbind(),
                Err(_) => match tokenizer.extract::<PathBuf>() {
                    Ok(path) => Py::new(py, Tokenizer::open(py, path, true)?)?,
                    Err(_) => {
                        return Err(PyTypeError::new_err(format!(
                            "tokenizer: expected a Tokenizer or a path, found {}",
                            tokenizer.get_type().name()?
                        )));
                    }
                },
            }),
        };
        let method: Option<Method> =
            method.map(|name| name.parse().map_err(|found| error(py, format!("{found}")))).transpose()?;
        let mut builder = wmdetect::Detector::builder(ring_of(&keys)?).fpr(fpr);
        if let Some(method) = method {
            builder = builder.method(method);
        }
        if let Some(tokenizer) = &tokenizer {
            builder = builder.tokenizer(tokenizer.get().inner().clone());
        }
        if !normalise {
            builder = builder.normaliser(Normaliser::none());
        }
        if let Some(path) = &ignore {
            builder = builder.ignore_file(path);
        }
        let inner = py.detach(|| builder.build().and_then(|detector| detector.with_channel(channel)));
        let inner = inner.map_err(|error| error.to_py(py))?;
        Ok(Self { inner, keys: keys.unbind(), tokenizer, method, normalise, ignore, channel })
    }

    /// Returns whether a text carries the mark, and how sure that is.
    ///
    /// `text` is a `str`, `bytes` or token ids. `prompt` is the prompt that the text answers, as a `str` or token ids.
    #[pyo3(signature = (text, prompt = None))]
    fn score(
        &self,
        py: Python<'_>,
        text: &Bound<'_, PyAny>,
        prompt: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Report> {
        let (item, prompt) = (Item::of(text)?, prompt_of(prompt)?);
        self.ask(py, &item, prompt.as_ref(), |detector, input| detector.score(input)).map(Report)
    }

    /// Returns reports on many texts, in their order.
    ///
    /// `texts` is a list of what `score` takes, a numpy array, or an Arrow array of strings, binaries or lists of
    /// integers. A numpy array has texts, or token ids with one row for each text. `prompts` is as long, with `None`
    /// for a text without a prompt. With `errors="row"` a text that cannot be scored is a row with an error; with
    /// `"raise"` the first error is raised. The work is spread over `threads`, by default as many as the machine runs
    /// at once.
    #[pyo3(signature = (texts, prompts = None, *, errors = "row", threads = None))]
    fn score_batch(
        &self,
        py: Python<'_>,
        texts: &Bound<'_, PyAny>,
        prompts: Option<&Bound<'_, PyAny>>,
        errors: &str,
        threads: Option<usize>,
    ) -> PyResult<ScoreTable> {
        let (keep_going, threads) = (keeps_going(errors)?, threads_of(threads)?);
        let texts = Column::of(texts, "texts")?;
        let prompts = prompts.filter(|prompts| !prompts.is_none());
        let prompts = prompts.map(|prompts| Column::of(prompts, "prompts")).transpose()?;
        if let Some(prompts) = &prompts
            && prompts.len() != texts.len()
        {
            return Err(PyValueError::new_err(format!(
                "prompts: expected as many as texts, {}, found {}",
                texts.len(),
                prompts.len()
            )));
        }
        let score = |row: usize| {
            let prompt = prompts.as_ref().map_or(Cell::Null, |prompts| prompts.cell(row));
            let input = texts.cell(row).input(prompt)?;
            self.inner.score(input).map_err(|error| error.message())
        };
        let rows = each(py, texts.len(), threads, keep_going, score).map_err(|halt| halted(py, halt))?;
        Ok(ScoreTable { rows })
    }

    /// Returns the passages of a text that carry the mark.
    #[pyo3(signature = (text, prompt = None))]
    fn segments(
        &self,
        py: Python<'_>,
        text: &Bound<'_, PyAny>,
        prompt: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<SegmentsReport> {
        let (item, prompt) = (Item::of(text)?, prompt_of(prompt)?);
        let report = self.ask(py, &item, prompt.as_ref(), |detector, input| detector.segments(input))?;
        Ok(SegmentsReport { report, text: item.bytes().map(<[u8]>::to_vec) })
    }

    /// Returns every key of the ring that marked the text, with p corrected for all of them.
    #[pyo3(signature = (text, prompt = None))]
    fn attribute(
        &self,
        py: Python<'_>,
        text: &Bound<'_, PyAny>,
        prompt: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Attribution> {
        let (item, prompt) = (Item::of(text)?, prompt_of(prompt)?);
        self.ask(py, &item, prompt.as_ref(), |detector, input| detector.attribute(input)).map(Attribution)
    }

    /// Returns the report of a text and what each token adds to it.
    #[pyo3(signature = (text, prompt = None))]
    fn explain(
        &self,
        py: Python<'_>,
        text: &Bound<'_, PyAny>,
        prompt: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Explanation> {
        let (item, prompt) = (Item::of(text)?, prompt_of(prompt)?);
        let explanation = self.ask(py, &item, prompt.as_ref(), |detector, input| detector.explain(input))?;
        Ok(Explanation { explanation, text: item.bytes().map(<[u8]>::to_vec) })
    }

    /// Returns how the key stands among random keys on texts that are known to be unmarked.
    ///
    /// `texts` is what `score_batch` takes. A text that cannot be read counts in `failed`. The random keys are drawn
    /// from `seed`, by default a random one. An n-gram is shared if `shared` texts have it, by default one text in a
    /// hundred and at least three. At most `passages` shared passages are listed.
    #[pyo3(signature = (texts, *, random_keys = 999, seed = None, shared = None, passages = 50, threads = None))]
    #[expect(clippy::too_many_arguments, reason = "they are keywords in Python")]
    fn calibrate(
        &self,
        py: Python<'_>,
        texts: &Bound<'_, PyAny>,
        random_keys: u64,
        seed: Option<u64>,
        shared: Option<u64>,
        passages: usize,
        threads: Option<usize>,
    ) -> PyResult<CalibrationReport> {
        let Ok(key) = self.keys.bind(py).cast::<PyKey>() else {
            return Err(error(
                py,
                "calibrate: expected a detector of one key, found a keyring\nhint: make a detector of the key that \
                 marks",
            ));
        };
        if random_keys == 0 {
            return Err(PyValueError::new_err(
                "random_keys: expected at least 1, found 0; a verdict needs 999",
            ));
        }
        let (key, prf) = (&key.get().key, key.get().key.prf());
        let texts = Column::of(texts, "texts")?;
        let forms = |row: usize| {
            let input = texts.cell(row).input(Cell::Null)?;
            self.inner.token_forms(input).map_err(|error| error.message())
        };
        let rows =
            each(py, texts.len(), threads_of(threads)?, true, forms).map_err(|halt| halted(py, halt))?;
        let seed = match seed {
            Some(seed) => seed,
            None => py.import("secrets")?.call_method1("randbits", (32,))?.extract()?,
        };
        let options = Options {
            decider: self.decider(),
            fpr: self.inner.fpr(),
            keys: random_keys,
            seed,
            least_documents: shared,
            passages,
        };
        let failed = rows.iter().filter(|row| row.is_err()).count() as u64;
        if rows.len() as u64 == failed {
            return Err(error(py, "calibrate: expected unmarked texts, found none that can be read"));
        }
        let caller = thread::current().id();
        // Only the caller's thread checks this, since it is the one that gets Ctrl-C.
        let raised = Mutex::new((Instant::now(), None));
        let stop = AtomicBool::new(false);
        let go_on = |_: u64| {
            if thread::current().id() == caller
                && let Ok(mut raised) = raised.try_lock()
                && raised.0.elapsed() > Duration::from_millis(100)
            {
                raised.0 = Instant::now();
                if let Err(error) = signals() {
                    raised.1 = Some(error);
                    stop.store(true, Ordering::Relaxed);
                }
            }
            !stop.load(Ordering::Relaxed)
        };
        let calibration = py.detach(|| {
            let mut corpus = Corpus::new(prf.scheme().ngram_len());
            for forms in rows.iter().flatten() {
                corpus.push_forms(&prf, forms, self.inner.ignore_list());
            }
            calibrate_while(&corpus, &prf, &options, go_on)
        });
        if let Ok((_, Some(raised))) = raised.into_inner() {
            return Err(raised);
        }
        let calibration = calibration.map_err(|found| error(py, found.to_string()))?;
        let mut report = report::CalibrationReport::new(calibration, prf.scheme().name(), &key.id());
        report.failed = failed;
        if let Some(tokenizer) = self.inner.tokenizer() {
            report.tokenizer = Some(tokenizer.name().to_owned());
            for passage in &mut report.shared.passages {
                passage.text = Some(tokenizer.decode(&passage.tokens));
            }
        }
        Ok(CalibrationReport(report))
    }

    /// Returns the token ids of a text as the detector sees it: normalised, and cut by its tokenizer.
    fn tokens(&self, py: Python<'_>, text: &Bound<'_, PyAny>) -> PyResult<Vec<u32>> {
        let item = Item::of(text)?;
        self.ask(py, &item, None, |detector, input| detector.tokens(input))
    }

    /// Returns the g-values of a text's last positions and which of them count: the object that `wmdetect gvalues --json`
    /// prints, without the fields of the input.
    #[pyo3(signature = (text, prompt = None))]
    fn g_values<'py>(
        &self,
        py: Python<'py>,
        text: &Bound<'_, PyAny>,
        prompt: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (item, prompt) = (Item::of(text)?, prompt_of(prompt)?);
        let values = self.ask(py, &item, prompt.as_ref(), |detector, input| detector.g_values(input))?;
        crate::json::to_dict(py, &values)
    }

    /// Returns this detector with another false positive rate. Keys and tokenizer are shared.
    fn with_fpr(&self, py: Python<'_>, fpr: f64) -> PyResult<Self> {
        let inner = self.inner.with_fpr(fpr).map_err(|error| error.to_py(py))?;
        Ok(Self {
            inner,
            keys: self.keys.clone_ref(py),
            tokenizer: self.tokenizer.as_ref().map(|tokenizer| tokenizer.clone_ref(py)),
            ignore: self.ignore.clone(),
            ..*self
        })
    }

    /// The share of unmarked texts that may be called watermarked.
    #[getter]
    fn fpr(&self) -> f64 {
        self.inner.fpr()
    }

    /// The statistic that was asked for; `None` if it is the usual one of each key's scheme.
    #[getter]
    fn method(&self) -> Option<&'static str> {
        self.method.map(Method::name)
    }

    /// The tokenizer that splits the texts; `None` if the detector takes only token ids.
    #[getter]
    fn tokenizer(&self, py: Python<'_>) -> Option<Py<Tokenizer>> {
        self.tokenizer.as_ref().map(|tokenizer| tokenizer.clone_ref(py))
    }

    /// The public id of each key, and its name if it has one.
    #[getter]
    fn key_ids(&self) -> Vec<(&str, Option<&str>)> {
        self.inner.key_ids().collect()
    }

    fn __repr__(&self) -> String {
        let keys = match self.inner.key_ids().len() {
            1 => format!("key_id='{}'", self.key_ids()[0].0),
            keys => format!("keys={keys}"),
        };
        let tokenizer = self.inner.tokenizer().map_or("None", |tokenizer| tokenizer.name());
        let method = self.method().map_or(String::new(), |method| format!(", method='{method}'"));
        format!("Detector({keys}, tokenizer={tokenizer:?}, fpr={:?}{method})", self.fpr())
    }

    fn __copy__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __deepcopy__<'py>(slf: Bound<'py, Self>, _memo: &Bound<'py, PyAny>) -> Bound<'py, Self> {
        slf
    }

    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        let again = py.import("wmdetect._core")?.getattr("_detector_again")?;
        let options = keyword(
            py,
            &[
                ("fpr", self.fpr().into_pyobject(py)?.into_any()),
                ("method", self.method().into_pyobject(py)?.into_any()),
                ("normalise", self.normalise.into_pyobject(py)?.to_owned().into_any()),
                ("ignore", self.ignore.clone().into_pyobject(py)?.into_any()),
                ("channel", self.channel.into_pyobject(py)?.into_any()),
            ],
        )?;
        let tokenizer = self.tokenizer.as_ref().map(|tokenizer| tokenizer.clone_ref(py));
        (again, (self.keys.clone_ref(py), tokenizer, options)).into_pyobject(py)
    }
}

/// Returns the detector of a pickle.
#[pyfunction]
pub(crate) fn _detector_again<'py>(
    keys: Bound<'py, PyAny>,
    tokenizer: Bound<'py, PyAny>,
    options: Bound<'py, pyo3::types::PyDict>,
) -> PyResult<Bound<'py, PyAny>> {
    keys.py().get_type::<Detector>().call((keys, tokenizer), Some(&options))
}
