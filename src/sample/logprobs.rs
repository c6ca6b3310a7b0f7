//! The model's log-probabilities of tokens, before anything that a sampler does to them.

use rayon::prelude::*;

use super::Candidates;
use super::history::{History, Penalties};
use crate::logits::Logits;

/// Log-probabilities of a position under the model's own distribution. It is given by the final logits over the
/// whole vocabulary at temperature 1, without penalties, banned tokens, filters and mark.
///
/// The probabilities after the mark must stay secret, because they reveal the key's g-values.
#[derive(Clone, Debug, PartialEq)]
pub struct Logprobs {
    /// Natural logarithm of the drawn token's probability.
    pub chosen: f64,
    /// The most likely tokens, most likely first, with the natural logarithms of their probabilities.
    pub top: Vec<(u32, f64)>,
}

impl Logprobs {
    /// Returns the log-probabilities of the drawn token `id` and of the `top` most likely ones. The logits have been
    /// sampled from, so none is NaN and at least one is finite.
    pub(crate) fn new(logits: Logits<'_>, id: u32, top: usize) -> Self {
        /// Number of logits in a partial sum. It is fixed, so that the total does not depend on the number of
        /// threads.
        const CHUNK: usize = 4096;
        let logits = logits.of_all_tokens();
        let values = logits.uncapped();
        let max = f64::from(logits.of(values.iter().copied().fold(f32::NEG_INFINITY, f32::max)));
        let partial_sum = |chunk: &[f32]| -> f64 {
            let mut finals = [0f32; CHUNK];
            let finals = &mut finals[..chunk.len()];
            finals.copy_from_slice(chunk);
            logits.finish_values(finals);
            finals.iter().map(|logit| (f64::from(*logit) - max).exp()).sum()
        };
        let sums: Vec<f64> = values.par_chunks(CHUNK).map(partial_sum).collect();
        let log_total = max + sums.iter().sum::<f64>().ln();
        let mut most_likely = Candidates::default();
        if top > 0 {
            // The only possible error is a NaN logit.
            let _ = most_likely.choose(logits, top.min(values.len()), &History::default(), Penalties::NONE);
        }
        let logprob = |logit: f32| f64::from(logit) - log_total;
        Self {
            chosen: logprob(logits.of(values[id as usize])),
            top: most_likely.entries().iter().map(|(id, logit)| (*id, logprob(*logit))).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logits::TokenSet;

    /// e⁰ : e¹ : e² : e³, once directly and once through a cap that produces them.
    #[test]
    fn probabilities_are_those_of_the_final_logits() {
        let finals = [1.0f32, 3.0, 0.0, 2.0];
        let log_total = finals.iter().map(|x| f64::from(*x).exp()).sum::<f64>().ln();
        let cap = 4.0;
        let before: Vec<f32> = finals.iter().map(|x| cap * (x / cap).atanh()).collect();
        for logits in [Logits::capped(&finals), Logits::before_cap(&before, Some(cap))] {
            // Tokens that a request bans are part of the model's distribution.
            let found = Logprobs::new(logits.without(&TokenSet::from_iter([1])), 3, 2);
            assert!((found.chosen - (2.0 - log_total)).abs() < 1e-6, "{found:?}");
            let [(first, of_first), (second, of_second)] = found.top[..] else { panic!("{found:?}") };
            assert_eq!((first, second), (1, 3));
            assert!((of_first - (3.0 - log_total)).abs() < 1e-6);
            assert!((of_second - found.chosen).abs() < 1e-12);
            assert_eq!(Logprobs::new(logits, 0, 0).top, []);
            assert_eq!(Logprobs::new(logits, 0, 9).top.len(), 4);
        }
    }
}
