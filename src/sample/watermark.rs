//! The mark as a sampling stage: a thin adapter to [`wmdetect::scheme::Watermark`], which is optional.

use rayon::prelude::*;
use wmdetect::scheme::{Distribution, Marking, PositionKind, Watermark};

/// Minimum number of candidates whose hashes a thread computes: some 100 µs of work.
const MIN_PER_TASK: usize = 2048;

/// The mark of one sequence, or none.
#[derive(Clone, Debug)]
pub struct Mark(Option<Marking>);

impl Mark {
    /// Starts response number `number` to `prompt`, which is marked if there is a `watermark`. Its channel follows from
    /// the key, the prompt, the number and the `seed`.
    pub fn start(watermark: Option<&Watermark>, prompt: &[u32], seed: u64, number: u64) -> Self {
        Self(watermark.map(|watermark| watermark.start(prompt, watermark.random(prompt, seed, number))))
    }

    /// Marks the candidates of the next position if the rule says so. Returns what the rule said.
    pub fn apply(&mut self, candidates: &mut Distribution) -> Option<PositionKind> {
        let marking = self.0.as_mut()?;
        Some(marking.apply_with(candidates, |keyed, tokens, g| {
            if tokens.len() <= MIN_PER_TASK {
                return keyed.g_bits_of(tokens, g);
            }
            let parts = g.par_chunks_mut(MIN_PER_TASK).zip(tokens.par_chunks(MIN_PER_TASK));
            parts.for_each(|(g, tokens)| keyed.g_bits_of(tokens, g));
        }))
    }

    /// Appends the drawn token.
    pub fn push(&mut self, token: u32) {
        if let Some(marking) = &mut self.0 {
            marking.push(token);
        }
    }
}
