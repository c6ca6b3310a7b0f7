//! The sampling side: a mark on the candidates of a sampler that Python runs.

use numpy::{
    PyArray1, PyArray2, PyArrayMethods, PyReadonlyArray1, PyReadonlyArray2, PyReadwriteArray1,
    PyReadwriteArray2, PyUntypedArrayMethods,
};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use wmdetect::pool;
use wmdetect::scheme::{Distribution, DistributionError, PositionKind, Watermark};

use crate::errors::error;
use crate::input::ids_of;
use crate::key::PyKey;

/// Candidates of all rows from which on the rows are shared among threads: below, a thread costs more than it saves.
const WORTH_THREADS: usize = 4096;

/// Marks the output of any sampler: it changes the probabilities of the candidates right before the draw.
///
/// The mark must come last: after temperature, top-k, top-p and penalties. `leaves` above 2 make it stronger, and change
/// what is written.
#[pyclass(frozen, module = "wmdetect")]
pub(crate) struct Marker {
    watermark: Watermark,
    key: Py<PyKey>,
}

/// One response being marked: `apply` for the candidates of each position, then `push` for the token that was drawn.
#[pyclass(module = "wmdetect")]
pub(crate) struct Marking(State);

/// Several responses being marked side by side, a row each.
#[pyclass(module = "wmdetect")]
pub(crate) struct MarkingBatch {
    rows: Vec<State>,
}

/// A response, and what was said of its positions.
struct State {
    marking: wmdetect::scheme::Marking,
    channel: Option<u16>,
    candidates: Distribution,
    entries: Vec<(u32, f32)>,
    kinds: Vec<PositionKind>,
    /// What was said of the next position, if it was asked.
    next: Option<PositionKind>,
}

/// A row's part of a step.
struct Job<'a> {
    state: &'a mut State,
    tokens: &'a [u32],
    logits: &'a mut [f32],
    active: bool,
}

/// The name of what the rule says of a position.
fn kind_name(kind: PositionKind) -> &'static str {
    match kind {
        PositionKind::Marked => "marked",
        PositionKind::IncompleteContext => "incomplete_context",
        PositionKind::RepeatedContext => "repeated_context",
    }
}

impl State {
    fn new(watermark: &Watermark, prompt: &[u32], random: u64) -> Self {
        let one = Distribution::from_probabilities(vec![0], vec![1.0]);
        Self {
            marking: watermark.start(prompt, random),
            channel: watermark.channel(random),
            candidates: one.expect("one candidate is a distribution"),
            entries: Vec::new(),
            kinds: Vec::new(),
            next: None,
        }
    }

    /// Makes the marked distribution of the candidates that can be drawn.
    fn mark(&mut self, tokens: &[u32], logits: &[f32]) -> Result<PositionKind, DistributionError> {
        self.entries.clear();
        // A token that cannot be drawn costs no hash.
        let entries = tokens.iter().zip(logits).map(|(&token, &logit)| (token, logit));
        self.entries.extend(entries.filter(|(_, logit)| *logit != f32::NEG_INFINITY));
        if self.entries.is_empty() {
            return Err(if tokens.is_empty() { DistributionError::Empty } else { DistributionError::NoMass });
        }
        self.candidates.set_logits(&self.entries)?;
        let kind = self.marking.apply(&mut self.candidates);
        self.next = Some(kind);
        Ok(kind)
    }

    /// Replaces logits by the logarithms of the marked probabilities, where the position carries the mark.
    fn apply(&mut self, tokens: &[u32], logits: &mut [f32]) -> Result<PositionKind, DistributionError> {
        let kind = self.mark(tokens, logits)?;
        if kind == PositionKind::Marked {
            let finite = logits.iter_mut().filter(|logit| **logit != f32::NEG_INFINITY);
            for (logit, p) in finite.zip(self.candidates.probabilities()) {
                *logit = p.ln() as f32;
            }
        }
        Ok(kind)
    }

    fn push(&mut self, token: u32) {
        self.marking.push(token);
        // Not asked about: not marked, whatever the rule says.
        self.kinds.push(self.next.take().unwrap_or(PositionKind::IncompleteContext));
    }

    fn mask(&self) -> Vec<bool> {
        self.kinds.iter().map(|&kind| kind == PositionKind::Marked).collect()
    }
}

/// A random number from the system, for the channel.
fn random_of(py: Python<'_>, random: Option<u64>) -> PyResult<u64> {
    match random {
        Some(random) => Ok(random),
        None => py.import("secrets")?.call_method1("randbits", (64,))?.extract(),
    }
}

/// What an array is, for messages.
fn found(object: &Bound<'_, PyAny>) -> String {
    let shape = object.getattr("shape").and_then(|shape| shape.repr()).map(|shape| shape.to_string());
    let dtype = object.getattr("dtype").and_then(|dtype| dtype.str()).map(|dtype| dtype.to_string());
    match (dtype, shape) {
        (Ok(dtype), Ok(shape)) => format!("{dtype} in the shape {shape}"),
        _ => object.get_type().name().map_or_else(|_| "an object".into(), |name| name.to_string()),
    }
}

/// Whether it can be an array of numpy, so that numpy may be asked about it.
fn is_array(object: &Bound<'_, PyAny>) -> bool {
    object.hasattr("__array_interface__").unwrap_or(false)
}

fn bad_tokens(object: &Bound<'_, PyAny>, dimensions: &str) -> PyErr {
    PyTypeError::new_err(format!(
        "tokens: expected a numpy array of uint32 in {dimensions}, found {}\nhint: tokens.astype(numpy.uint32)",
        found(object)
    ))
}

fn bad_logits(object: &Bound<'_, PyAny>, dimensions: &str) -> PyErr {
    PyTypeError::new_err(format!(
        "logits: expected a numpy array of float32 in {dimensions}, found {}\nhint: they are changed in place, so they \
         are not converted; of a torch tensor take .float().numpy()",
        found(object)
    ))
}

const CONTIGUOUS: &str =
    "expected an array in C order without gaps, found another\nhint: numpy.ascontiguousarray";

fn contiguous(what: &str) -> PyErr {
    PyValueError::new_err(format!("{what}: {CONTIGUOUS}"))
}

fn tokens_1<'py>(object: &Bound<'py, PyAny>) -> PyResult<PyReadonlyArray1<'py, u32>> {
    let array =
        Some(object).filter(|object| is_array(object)).and_then(|object| object.cast::<PyArray1<u32>>().ok());
    let array = array.ok_or_else(|| bad_tokens(object, "one dimension"))?;
    array.try_readonly().map_err(|error| PyValueError::new_err(format!("tokens: {error}")))
}

fn logits_1<'py>(object: &Bound<'py, PyAny>) -> PyResult<PyReadwriteArray1<'py, f32>> {
    let array =
        Some(object).filter(|object| is_array(object)).and_then(|object| object.cast::<PyArray1<f32>>().ok());
    let array = array.ok_or_else(|| bad_logits(object, "one dimension"))?;
    array.try_readwrite().map_err(|error| {
        PyValueError::new_err(format!(
            "logits: expected an array that can be written, found another: {error}"
        ))
    })
}

fn readonly_logits_1<'py>(object: &Bound<'py, PyAny>) -> PyResult<PyReadonlyArray1<'py, f32>> {
    let array =
        Some(object).filter(|object| is_array(object)).and_then(|object| object.cast::<PyArray1<f32>>().ok());
    let array = array.ok_or_else(|| bad_logits(object, "one dimension"))?;
    array.try_readonly().map_err(|error| PyValueError::new_err(format!("logits: {error}")))
}

fn check_lengths(tokens: usize, logits: usize) -> PyResult<()> {
    if tokens == logits {
        return Ok(());
    }
    Err(PyValueError::new_err(format!("logits: expected as many as tokens, {tokens}, found {logits}")))
}

fn tokens_2<'py>(object: &Bound<'py, PyAny>) -> PyResult<PyReadonlyArray2<'py, u32>> {
    let array =
        Some(object).filter(|object| is_array(object)).and_then(|object| object.cast::<PyArray2<u32>>().ok());
    let array = array.ok_or_else(|| bad_tokens(object, "two dimensions"))?;
    array.try_readonly().map_err(|error| PyValueError::new_err(format!("tokens: {error}")))
}

fn logits_2<'py>(object: &Bound<'py, PyAny>) -> PyResult<PyReadwriteArray2<'py, f32>> {
    let array =
        Some(object).filter(|object| is_array(object)).and_then(|object| object.cast::<PyArray2<f32>>().ok());
    let array = array.ok_or_else(|| bad_logits(object, "two dimensions"))?;
    array.try_readwrite().map_err(|error| {
        PyValueError::new_err(format!(
            "logits: expected an array that can be written, found another: {error}"
        ))
    })
}

#[pymethods]
impl Marker {
    #[new]
    #[pyo3(signature = (key, *, leaves = 2))]
    fn new(py: Python<'_>, key: Py<PyKey>, leaves: u32) -> PyResult<Self> {
        let prf = key.get().key.prf();
        if leaves < 2 {
            return Err(error(
                py,
                format!("leaves: expected at least 2 competitors a match, found {leaves}"),
            ));
        }
        let watermark = if leaves == 2 {
            Watermark::new(prf)
        } else {
            let kind = prf.scheme().evidence_kind();
            if !matches!(kind, wmdetect::scheme::EvidenceKind::Layers { .. }) {
                let name = prf.scheme().name();
                return Err(error(
                    py,
                    format!("leaves: expected 2 for {name}, which is not a tournament, found {leaves}"),
                ));
            }
            Watermark::with_leaves(prf, leaves)
        };
        Ok(Self { watermark, key })
    }

    /// The key of the mark.
    #[getter]
    fn key(&self, py: Python<'_>) -> Py<PyKey> {
        self.key.clone_ref(py)
    }

    /// Starts the response to a prompt, given as token ids; an empty one if there is none.
    ///
    /// `random`, from 0 to 2**64 - 1, chooses the channel of a key that has several; by default the system does.
    #[pyo3(signature = (prompt, *, random = None))]
    fn start(&self, py: Python<'_>, prompt: &Bound<'_, PyAny>, random: Option<u64>) -> PyResult<Marking> {
        let prompt = ids_of(prompt)?;
        Ok(Marking(State::new(&self.watermark, &prompt, random_of(py, random)?)))
    }

    /// Starts the responses to several prompts, a row each.
    #[pyo3(signature = (prompts, *, random = None))]
    fn start_batch(
        &self,
        py: Python<'_>,
        prompts: Vec<Bound<'_, PyAny>>,
        random: Option<Vec<u64>>,
    ) -> PyResult<MarkingBatch> {
        if let Some(random) = &random
            && random.len() != prompts.len()
        {
            return Err(PyValueError::new_err(format!(
                "random: expected as many numbers as prompts, {}, found {}",
                prompts.len(),
                random.len()
            )));
        }
        let row = |(row, prompt): (usize, &Bound<'_, PyAny>)| {
            let random = random_of(py, random.as_ref().map(|random| random[row]))?;
            Ok(State::new(&self.watermark, &ids_of(prompt)?, random))
        };
        Ok(MarkingBatch { rows: prompts.iter().enumerate().map(row).collect::<PyResult<_>>()? })
    }

    /// Returns the g-values of tokens in a context, the tokens before the position, oldest first: a string of 0 and 1
    /// for each token, layer 0 first.
    #[pyo3(signature = (context, tokens, *, channel = 0))]
    fn g_values(
        &self,
        py: Python<'_>,
        context: &Bound<'_, PyAny>,
        tokens: &Bound<'_, PyAny>,
        channel: u16,
    ) -> PyResult<Vec<String>> {
        let (context, tokens) = (ids_of(context)?, ids_of(tokens)?);
        let scheme = self.key.get().key.scheme();
        if channel >= scheme.channels() {
            let message = format!("channel: expected one below {}, found {channel}", scheme.channels());
            return Err(error(py, message));
        }
        let rule = scheme.context_rule();
        let (shortest, longest) = (rule.shortest(), rule.longest());
        if !(shortest..=longest).contains(&context.len()) {
            let found = context.len();
            let message = format!("context: expected {shortest} to {longest} tokens, found {found}");
            return Err(error(py, message));
        }
        let prf = self.key.get().key.prf().in_channel(channel);
        let keyed = prf.context(&context);
        let depth = scheme.depth();
        Ok(tokens.iter().map(|&token| keyed.g_bits(token).to_string(depth)).collect())
    }

    fn __repr__(&self) -> String {
        format!("Marker(key_id='{}')", self.key.get().key.id())
    }
}

#[pymethods]
impl Marking {
    /// Puts the mark on the candidates of the next position, if it carries one, and returns what the rule says of it.
    ///
    /// `tokens` are the candidates, a `uint32` array; `logits` is a `float32` array as long, which is changed in place:
    /// to the natural logarithms of the marked probabilities where the position is marked, else not at all. A logit of
    /// minus infinity excludes its token. Returns `marked`, `repeated_context` or `incomplete_context`.
    fn apply(
        &mut self,
        py: Python<'_>,
        tokens: &Bound<'_, PyAny>,
        logits: &Bound<'_, PyAny>,
    ) -> PyResult<&'static str> {
        let (tokens, mut logits) = (tokens_1(tokens)?, logits_1(logits)?);
        check_lengths(tokens.len(), logits.len())?;
        let tokens = tokens.as_slice().map_err(|_| contiguous("tokens"))?;
        let logits = logits.as_slice_mut().map_err(|_| contiguous("logits"))?;
        let state = &mut self.0;
        let kind = py.detach(|| state.apply(tokens, logits));
        kind.map(kind_name).map_err(|found| error(py, found.to_string()))
    }

    /// Puts the mark on the candidates of the next position, as `apply` does, and returns the token that `u` draws.
    ///
    /// `u` is a uniform random number of [0, 1), from your generator. The logits stay as they are, and the token is not
    /// appended: `push` does that.
    fn draw(
        &mut self,
        py: Python<'_>,
        tokens: &Bound<'_, PyAny>,
        logits: &Bound<'_, PyAny>,
        u: f64,
    ) -> PyResult<u32> {
        if !(0.0..1.0).contains(&u) {
            return Err(PyValueError::new_err(format!("u: expected a number of [0, 1), found {u}")));
        }
        let (tokens, logits) = (tokens_1(tokens)?, readonly_logits_1(logits)?);
        check_lengths(tokens.len(), logits.len())?;
        let tokens = tokens.as_slice().map_err(|_| contiguous("tokens"))?;
        let logits = logits.as_slice().map_err(|_| contiguous("logits"))?;
        let state = &mut self.0;
        let token = py.detach(|| state.mark(tokens, logits).map(|_| state.candidates.draw(u)));
        token.map_err(|found| error(py, found.to_string()))
    }

    /// Appends the token that was drawn.
    fn push(&mut self, token: u32) {
        self.0.push(token);
    }

    /// How many tokens were appended.
    fn __len__(&self) -> usize {
        self.0.kinds.len()
    }

    /// How many positions carry the mark so far.
    #[getter]
    fn marked_tokens(&self) -> usize {
        self.0.mask().iter().filter(|&&marked| marked).count()
    }

    /// How many positions were left alone because their context had come up before.
    #[getter]
    fn repeated_contexts(&self) -> usize {
        self.0.kinds.iter().filter(|&&kind| kind == PositionKind::RepeatedContext).count()
    }

    /// Of each token so far whether its position carries the mark.
    #[getter]
    fn mask(&self) -> Vec<bool> {
        self.0.mask()
    }

    /// The channel of the response; `None` where the key has one.
    #[getter]
    fn channel(&self) -> Option<u16> {
        self.0.channel
    }
}

/// The rows that take part, all by default.
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
        let (tokens, mut logits) = (tokens_2(tokens)?, logits_2(logits)?);
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
            let work = |job: Job<'_>| job.active.then(|| job.state.apply(job.tokens, job.logits)).transpose();
            let emit = |kind: Result<Option<PositionKind>, DistributionError>| {
                kinds.push(kind);
                Ok::<(), pool::Stopped>(())
            };
            let fed = pool::ordered(threads, work, emit, |feed| {
                for (((state, tokens), logits), active) in rows {
                    feed.push(Job { state, tokens, logits, active })?;
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
        for ((state, token), active) in self.rows.iter_mut().zip(tokens).zip(active) {
            if active {
                state.push(token);
            }
        }
        Ok(())
    }

    /// Of each row and each token in it whether its position carries the mark.
    #[getter]
    fn masks(&self) -> Vec<Vec<bool>> {
        self.rows.iter().map(State::mask).collect()
    }

    /// The channel of each row; `None` where the key has one.
    #[getter]
    fn channels(&self) -> Vec<Option<u16>> {
        self.rows.iter().map(|row| row.channel).collect()
    }

    fn __len__(&self) -> usize {
        self.rows.len()
    }
}
