//! From logits to a token, in small stages: [`filter`] chooses candidates and shapes their logits, [`watermark`] puts
//! the mark on their distribution, [`draw`] takes one. Logits and probabilities are different types: [`Candidates`]
//! become a [`Distribution`] once, and only a distribution is marked and drawn from.

mod candidates;
pub mod draw;
pub mod filter;
pub mod watermark;

pub use candidates::Candidates;
pub use draw::Draw;
pub use watermark::Mark;
pub use wmdetect::scheme::Distribution;

use wmdetect::scheme::DistributionError;

/// How to sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampling {
    /// Logits are divided by it; 0 takes the most likely token.
    pub temperature: f64,
    /// How many of the most likely tokens stay; 0 keeps all.
    pub top_k: usize,
    /// Of those, the smallest set of most likely tokens with this much probability stays; 1 keeps all.
    pub top_p: f64,
    /// Divides positive and multiplies negative logits of tokens that came up before; 1 changes nothing.
    pub repeat_penalty: f32,
    /// Seed of the draws.
    pub seed: u64,
}

/// Why there is no next token.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SampleError {
    /// A setting out of range.
    #[error("{name} is {found}, expected {expected}")]
    Setting {
        /// The setting.
        name: &'static str,
        /// Its value.
        found: f64,
        /// What would be accepted.
        expected: &'static str,
    },
    /// Greedy output cannot carry the mark.
    #[error(
        "temperature 0 always takes the most likely token, so there is no draw that could carry the mark; use a \
         temperature above 0, or no key (--no-watermark)"
    )]
    GreedyWatermark,
    /// The model broke down.
    #[error(
        "the logit of token {token} is not a number: the weights are damaged or overflow in this dtype; try --dtype f32"
    )]
    Nan {
        /// The first such token.
        token: u32,
    },
    /// Nothing to draw from.
    #[error(transparent)]
    Distribution(#[from] DistributionError),
}

impl Sampling {
    /// Refuses settings out of range, and greedy sampling for a text that is to be marked.
    pub fn check(&self, marked: bool) -> Result<(), SampleError> {
        let setting = |name, found, expected| Err(SampleError::Setting { name, found, expected });
        if !self.temperature.is_finite() || self.temperature < 0.0 {
            return setting(
                "temperature",
                self.temperature,
                "a number from 0 (1.0 is the model's own distribution)",
            );
        }
        if !(self.top_p > 0.0 && self.top_p <= 1.0) {
            return setting("top-p", self.top_p, "a number above 0 and at most 1 (1 keeps all tokens)");
        }
        if !self.repeat_penalty.is_finite() || self.repeat_penalty <= 0.0 {
            return setting(
                "repeat-penalty",
                self.repeat_penalty.into(),
                "a number above 0 (1 changes nothing)",
            );
        }
        if marked && self.temperature == 0.0 { Err(SampleError::GreedyWatermark) } else { Ok(()) }
    }

    /// The candidates' distribution: penalty, top-k, temperature, top-p, in this order.
    ///
    /// `logits` has one entry a token of the vocabulary and is changed by the penalty; `seen` lists the tokens that came
    /// up before.
    pub fn distribution(&self, logits: &mut [f32], seen: &[u32]) -> Result<Distribution, SampleError> {
        filter::repeat_penalty(logits, seen, self.repeat_penalty);
        let keep = if self.temperature == 0.0 { 1 } else { self.top_k };
        self.shape(Candidates::most_likely(logits, keep)?)
    }

    /// What temperature and top-p make of the `top_k` candidates.
    fn shape(&self, mut candidates: Candidates) -> Result<Distribution, SampleError> {
        if self.temperature > 0.0 {
            filter::temperature(&mut candidates, self.temperature);
        }
        filter::top_p(&mut candidates, self.top_p);
        Ok(candidates.into_distribution()?)
    }

    /// As [`Self::distribution`] for several settings at once, `out` getting one distribution each; the vocabulary is
    /// searched once where they differ in temperature and top-p alone.
    pub fn distributions(
        settings: &[Self],
        logits: &[f32],
        seen: &[u32],
        out: &mut Vec<Distribution>,
    ) -> Result<(), SampleError> {
        out.clear();
        let mut shared: Option<(usize, f32, Candidates)> = None;
        for setting in settings {
            let keep = if setting.temperature == 0.0 { 1 } else { setting.top_k };
            let candidates = match &shared {
                Some((k, penalty, candidates)) if (*k, *penalty) == (keep, setting.repeat_penalty) => {
                    candidates.clone()
                }
                _ if setting.repeat_penalty == 1.0 => Candidates::most_likely(logits, keep)?,
                _ => {
                    let mut logits = logits.to_vec();
                    filter::repeat_penalty(&mut logits, seen, setting.repeat_penalty);
                    Candidates::most_likely(&logits, keep)?
                }
            };
            out.push(setting.shape(candidates.clone())?);
            shared = Some((keep, setting.repeat_penalty, candidates));
        }
        Ok(())
    }
}
