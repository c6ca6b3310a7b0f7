//! The tokens that can still be drawn, with their logits.

use rayon::prelude::*;

use super::SampleError;
use super::history::{History, Penalties};
use super::rank::by_rank;
use crate::kernels::loops::{BLOCK, block_maxima};
use crate::logits::{Logits, TokenSet};

/// Minimum number of candidates that a thread works on.
const MIN_PER_TASK: usize = 8192;

/// A selection of tokens with their final logits. It keeps the memory that finding them takes for the next step.
#[derive(Clone, Debug, Default)]
pub(super) struct Candidates {
    entries: Vec<(u32, f32)>,
    /// Largest logit of each block.
    maxima: Vec<f32>,
    /// A copy of `maxima` to select from.
    selected: Vec<f32>,
    /// Tokens whose logits the penalties change, in the order of their ids, with their final logits.
    penalised: Vec<(u32, f32)>,
}

impl Candidates {
    /// Chooses the `k` most likely tokens, most likely first, and equal ones in the order of their ids. If `k` is 0,
    /// chooses all tokens in the order of their ids. The penalties are applied first to the logits of the tokens in
    /// `history`.
    ///
    /// One pass over the vocabulary finds the largest logit of each block. At least k logits reach the k-th largest of
    /// these maxima. So only the blocks that reach it are read again, and only the logits found there are capped.
    ///
    /// # Errors
    /// Returns [`SampleError::Nan`] if a logit is NaN.
    pub(super) fn choose(
        &mut self,
        logits: Logits<'_>,
        k: usize,
        history: &History,
        penalties: Penalties,
    ) -> Result<(), SampleError> {
        let values = logits.uncapped();
        self.maxima.resize(values.len().div_ceil(BLOCK), 0.0);
        if block_maxima(&mut self.maxima, values) {
            let token = values.iter().position(|value| value.is_nan()).unwrap_or(0) as u32;
            return Err(SampleError::Nan { token });
        }
        let logit = |token: u32| values.get(token as usize).map(|value| logits.of(*value));
        penalties.apply(history, logit, &mut self.penalised);
        self.entries.clear();
        if k == 0 || k >= values.len() {
            self.entries.extend((0u32..).zip(values.iter().copied()));
            self.entries.par_chunks_mut(MIN_PER_TASK).for_each(|candidates| logits.finish(candidates));
            for entry in &self.penalised {
                self.entries[entry.0 as usize] = *entry;
            }
            for token in logits.banned().into_iter().flat_map(TokenSet::iter) {
                if let Some(entry) = self.entries.get_mut(token as usize) {
                    entry.1 = f32::NEG_INFINITY;
                }
            }
            if k > 0 {
                self.entries.sort_unstable_by(by_rank);
            }
            return Ok(());
        }
        self.find_allowed(logits, k);
        if self.entries.len() > k {
            self.entries.select_nth_unstable_by(k - 1, by_rank);
            self.entries.truncate(k);
        }
        self.entries.sort_unstable_by(by_rank);
        Ok(())
    }

    /// Finds, in any order, every token that could be among the `k` most likely ones, except banned ones.
    fn find_allowed(&mut self, logits: Logits<'_>, k: usize) {
        /// Number of banned tokens that are expected among the most likely ones at first.
        const BANNED: usize = 16;
        let Some(banned) = logits.banned() else {
            // At worst, all penalised tokens are among the most likely, and the penalties remove them.
            self.find(logits, k + self.penalised.len());
            return self.replace_penalised();
        };
        let mut spare = banned.len().min(BANNED);
        loop {
            self.entries.clear();
            self.find(logits, k + self.penalised.len() + spare);
            self.entries.retain(|entry| !banned.contains(entry.0));
            self.replace_penalised();
            let others = self.entries.len() - self.penalised.len();
            if others >= k || spare == banned.len() {
                self.entries.retain(|entry| !banned.contains(entry.0));
                return;
            }
            spare = banned.len().min(spare * 8);
        }
    }

    /// Replaces the logits of penalised tokens by those after the penalties.
    fn replace_penalised(&mut self) {
        if !self.penalised.is_empty() {
            let penalised = &self.penalised;
            self.entries.retain(|entry| penalised.binary_search_by_key(&entry.0, |entry| entry.0).is_err());
            self.entries.extend_from_slice(penalised);
        }
    }

    /// Finds, in any order, at least the `wanted` most likely tokens before the penalties. None of them is less likely
    /// than one that is left out.
    fn find(&mut self, logits: Logits<'_>, wanted: usize) {
        let values = logits.uncapped();
        let mut least = f32::NEG_INFINITY;
        if wanted <= self.maxima.len() {
            self.selected.clone_from(&self.maxima);
            let (_, kth, _) = self.selected.select_nth_unstable_by(wanted - 1, |a, b| b.total_cmp(a));
            least = logits.reach(*kth);
        }
        for (block, max) in self.maxima.iter().enumerate() {
            if *max >= least {
                let start = block * BLOCK;
                let end = (start + BLOCK).min(values.len());
                let tokens = (start as u32..).zip(&values[start..end]);
                self.entries.extend(tokens.filter(|(_, value)| **value >= least).map(|(t, v)| (t, *v)));
            }
        }
        // Capping costs more than selecting.
        if self.entries.len() > 2 * wanted {
            let (_, kth, _) = self.entries.select_nth_unstable_by(wanted - 1, by_rank);
            let least = logits.reach(kth.1);
            self.entries.retain(|entry| entry.1 >= least);
        }
        logits.finish(&mut self.entries);
    }

    /// Returns the tokens and their final logits.
    pub(super) fn entries(&self) -> &[(u32, f32)] {
        &self.entries
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nan_anywhere_is_an_error() {
        let mut candidates = Candidates::default();
        for k in [0, 1, 3] {
            let result = candidates.choose(
                Logits::capped(&[3.0, 2.0, f32::NAN]),
                k,
                &History::default(),
                Penalties::NONE,
            );
            assert_eq!(result, Err(SampleError::Nan { token: 2 }));
        }
    }
}
