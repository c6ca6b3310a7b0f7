//! The sampling side: a mark on the candidates of a sampler that Python runs.

mod arrays;
mod batch;
mod marking;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use wmdetect::scheme::Watermark;

use crate::errors::{ToPyErr, error};
use crate::input::ids_of;
use crate::key::PyKey;
pub(crate) use batch::MarkingBatch;
pub(crate) use marking::Marking;
use marking::Row;

/// Marks the output of any sampler: it changes the probabilities of the candidates right before the draw.
///
/// The mark must come last: after temperature, top-k, top-p and penalties. `leaves` above 2 make the mark stronger, and
/// change the distribution of the text.
#[pyclass(frozen, module = "wmdetect")]
pub(crate) struct Marker {
    watermark: Watermark,
    key: Py<PyKey>,
}

/// Returns the given random number for the channel, or one from the system.
fn random_of(py: Python<'_>, random: Option<u64>) -> PyResult<u64> {
    match random {
        Some(random) => Ok(random),
        None => py.import("secrets")?.call_method1("randbits", (64,))?.extract(),
    }
}

#[pymethods]
impl Marker {
    #[new]
    #[pyo3(signature = (key, *, leaves = 2))]
    fn new(py: Python<'_>, key: Py<PyKey>, leaves: u32) -> PyResult<Self> {
        let prf = key.get().key.prf();
        prf.scheme().check_tournament().map_err(|error| error.to_py(py))?;
        if leaves < 2 {
            return Err(error(
                py,
                format!("leaves: expected at least 2 competitors a match, found {leaves}"),
            ));
        }
        Ok(Self { watermark: Watermark::with_leaves(prf, leaves), key })
    }

    /// The key of the mark.
    #[getter]
    fn key(&self, py: Python<'_>) -> Py<PyKey> {
        self.key.clone_ref(py)
    }

    /// Returns a number for `start` that follows from the key, the prompt, a seed and the number of the response.
    ///
    /// Somebody who chooses the seed, but does not have the key, does not know the channel.
    #[pyo3(signature = (prompt, *, seed, number = 0))]
    fn random(&self, prompt: &Bound<'_, PyAny>, seed: u64, number: u64) -> PyResult<u64> {
        Ok(self.watermark.random(&ids_of(prompt)?, seed, number))
    }

    /// Starts the response to a prompt, given as token ids. Without a prompt, give an empty list.
    ///
    /// `random`, from 0 to 2**64 - 1, chooses the channel of a key that has several. By default the system chooses it.
    #[pyo3(signature = (prompt, *, random = None))]
    fn start(&self, py: Python<'_>, prompt: &Bound<'_, PyAny>, random: Option<u64>) -> PyResult<Marking> {
        let prompt = ids_of(prompt)?;
        Ok(Marking(Row::new(&self.watermark, &prompt, random_of(py, random)?)))
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
            Ok(Row::new(&self.watermark, &ids_of(prompt)?, random))
        };
        Ok(MarkingBatch { rows: prompts.iter().enumerate().map(row).collect::<PyResult<_>>()? })
    }

    /// Returns the g-values of tokens in a context: a string of 0 and 1 for each token, layer 0 first. The context has
    /// the tokens before the position, oldest first.
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
