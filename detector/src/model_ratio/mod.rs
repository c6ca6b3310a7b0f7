//! The exact likelihood ratio for a known model: how much likelier the tournament of this key made each token than the
//! model alone.
//!
//! The next-token distribution p of a position and the key's g-values of all candidates give a token's probability
//! under the mark. So its ratio LR = p₍ₘ₊₁₎(x) / p(x) = Π_l (1 + g_l(x) − G_l) is the best that any test can use
//! (Neyman and Pearson).
//!
//! Over a random key E\[LR | what came before\] = 1 for any distribution p that does not depend on the key. The reason
//! is that the g-values of a context that has not come up before are fresh coins. So the running product E is a test
//! martingale: P(sup E ≥ 1/a) ≤ a (Ville 1939). The p-value 1 / sup E is valid whatever model, prompt or temperature
//! the distribution came from; a wrong one costs power.
//!
//! The contexts must be fresh, not only the n-grams, since the ratio uses the g-values of *all* candidates. Two
//! positions with one context and different tokens can have E\[LR LR′\] up to 1.25 a layer.
//!
//! | file | what |
//! |---|---|
//! | `ratio` | the factor of one token |
//! | `chain` | the mixture over hidden chains that keeps edits from destroying the evidence |
//! | `doubt` | the mixture with the text-only ratio that keeps a wrong p from destroying it |
//! | `running` | the running e-value of a text |
//! | `monte_carlo` | the same text under random keys |
//! | `marked` | marked texts like this one: would the mark have been found? |
//! | `passages` | where in the text the mark is |
//!
//! The caller provides p: see [`NextTokens`].

mod chain;
mod doubt;
mod marked;
mod monte_carlo;
mod passages;
mod ratio;
mod running;

pub use chain::Grid;
pub use doubt::Doubt;
pub use ratio::{ModelRatio, TokenRatios};
pub use running::{Evidence, RunningRatio};

use std::ops::ControlFlow;

use crate::scheme::{Distribution, Prf};

/// A language model, as far as the exact ratio needs one.
pub trait NextTokens {
    /// Error of the model.
    type Error;

    /// Returns the number of sampling settings S ≥ 1 for which distributions are given. The e-values of the settings
    /// are averaged, so that the settings need not be known.
    fn settings(&self) -> usize;

    /// Calls `visit` for each position t of `ids`, in order, until `visit` breaks. It gets the S distributions of
    /// `ids[t]` given the prompt and `ids[..t]`, after temperature, top-k, top-p and penalties. `prompt` is empty if it
    /// is not known. The implementation adds the start token if the model wants one.
    fn for_each(
        &mut self,
        prompt: &[u32],
        ids: &[u32],
        visit: &mut dyn FnMut(usize, &[Distribution]) -> ControlFlow<()>,
    ) -> Result<(), Self::Error>;
}

/// Options beyond the running e-value.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Options {
    /// Reading stops once the p-value by E is at most this; the p-value stays valid.
    pub stop_at: Option<f64>,
    /// How many random keys R the text is judged under, for the sharper p-value (1 + #{Eᵣ ≥ E}) / (R + 1); 0 for none.
    /// With random keys `stop_at` is ignored, since where to stop would depend on the key.
    pub monte_carlo: usize,
    /// Whether to take the plain product of the ratios ([`Grid::unedited`]), for a text that is known to be as it was
    /// generated.
    pub unedited: bool,
}

/// Number of marked texts that are simulated for each sampling setting, so that a power of 0.9 is known to within 0.03.
const MARKED_TEXTS: usize = 100;

/// Returns the evidence that `ids`, the response to `prompt` (empty if unknown), was marked under `prf`.
///
/// # Errors
/// Returns an error if the model does.
///
/// # Panics
/// Panics if the model does not give one distribution for each setting.
pub fn verify<N: NextTokens>(
    model: &mut N,
    prf: &Prf,
    prompt: &[u32],
    ids: &[u32],
    options: Options,
) -> Result<Evidence, N::Error> {
    let mut evidence = verify_keys(model, std::slice::from_ref(prf), prompt, ids, options)?;
    Ok(evidence.remove(0))
}

/// Returns the evidence under each of several keys; the model reads the text once. With [`Options::stop_at`] it stops
/// reading once the evidence is enough for one of them.
///
/// # Errors
/// Returns an error if the model does.
///
/// # Panics
/// Panics if the model does not give one distribution for each setting.
pub fn verify_keys<N: NextTokens>(
    model: &mut N,
    prfs: &[Prf],
    prompt: &[u32],
    ids: &[u32],
    options: Options,
) -> Result<Vec<Evidence>, N::Error> {
    let settings = model.settings();
    // Keys of one scheme have the same marked texts.
    let like = |key: usize| (0..key).find(|&other| prfs[other].scheme() == prfs[key].scheme());
    let start = |(key, prf): (usize, &Prf)| {
        let mut running = if options.unedited {
            let grid = Grid::unedited(prf.scheme().context_len());
            RunningRatio::with_grid(prf, prompt, settings, grid)
        } else {
            RunningRatio::new(prf, prompt, settings)
        };
        if like(key).is_none() {
            running = running.with_marked_texts(MARKED_TEXTS);
        }
        if options.monte_carlo > 0 {
            running = running.with_monte_carlo(options.monte_carlo, prompt, ids);
        }
        running
    };
    let mut keys: Vec<RunningRatio> = prfs.iter().enumerate().map(start).collect();
    let stop_at = options.stop_at.filter(|_| options.monte_carlo == 0);
    model.for_each(prompt, ids, &mut |t, next| {
        let mut enough = false;
        for running in &mut keys {
            running.push(ids[t], next);
            enough |= stop_at.is_some_and(|p| running.ln_sup() >= -(p * running.share()).ln());
        }
        if enough { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    let mut all: Vec<Evidence> = Vec::with_capacity(keys.len());
    for (key, running) in keys.into_iter().enumerate() {
        let mut evidence = running.finish();
        if evidence.tokens.len() < ids.len() {
            evidence.text_only = None;
        }
        if let Some(other) = like(key) {
            evidence.marked_texts.clone_from(&all[other].marked_texts);
        }
        all.push(evidence);
    }
    Ok(all)
}

#[cfg(test)]
mod tests;
