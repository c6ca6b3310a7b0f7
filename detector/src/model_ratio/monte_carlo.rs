//! The same text under random keys.

use sha2::{Digest, Sha256};

use super::chain::{Grid, Mixture};
use super::doubt::Doubt;
use super::ratio::{Position, Scratch, TokenRatios};
use crate::scheme::GBits;
use crate::split_mix;
use crate::statistics::llr::EntropyClasses;

/// R copies of the running e-value, each under random g-values.
///
/// Under the null hypothesis the key's e-value and the R others are exchangeable given the text. The distributions, the
/// mask and the grid are functions of the text, and the g-values at fresh contexts are independent fair bits for all
/// keys. So the rank is uniform, and (1 + #{Eᵣ ≥ E}) / (R + 1) is a p-value, exact up to ties. The generator's seed
/// comes from the text, never from the key.
///
/// E is the value after the last token: a rank does not need the maximum, which gives a bound at all times. If the
/// prompt is known, no chain doubts the model: a doubt would cost the key and the others the same share.
#[derive(Clone, Debug)]
pub(super) struct RandomKeys {
    grid: Grid,
    own: Mixture,
    mixtures: Vec<Mixture>,
    state: u64,
    g: Vec<GBits>,
}

impl RandomKeys {
    pub(super) fn new(keys: usize, grid: &Grid, settings: usize, prompt: &[u32], ids: &[u32]) -> Self {
        let grid = grid.clone();
        let grid = if prompt.is_empty() { grid } else { grid.with_doubts(vec![(1.0, Doubt::NONE)]) };
        let mut hash = Sha256::new_with_prefix(b"wmdetect/random-keys/");
        hash.update((prompt.len() as u64).to_le_bytes());
        for id in prompt.iter().chain(ids) {
            hash.update(id.to_le_bytes());
        }
        let digest: [u8; 32] = hash.finalize().into();
        let state = u64::from_le_bytes(digest[..8].try_into().expect("8 of 32 bytes"));
        let own = Mixture::new(&grid, settings);
        Self { mixtures: vec![own.clone(); keys], own, grid, state, g: Vec::new() }
    }

    /// Takes one token, of which the key says `own`; both are `None` if the token does not count.
    pub(super) fn step(
        &mut self,
        own: Option<&TokenRatios>,
        position: Option<&Position>,
        depth: usize,
        classes: &EntropyClasses,
        scratch: &mut Scratch,
    ) {
        self.own.step(&self.grid, own);
        for mixture in &mut self.mixtures {
            let ratios = position.map(|position| {
                self.g.clear();
                self.g.extend(position.tokens.iter().map(|_| GBits(split_mix::next(&mut self.state))));
                position.ratios(&self.g, depth, classes, scratch)
            });
            mixture.step(&self.grid, ratios.as_ref());
        }
    }

    /// Returns the p-value.
    pub(super) fn p_value(&self) -> f64 {
        // Rounding must not rank a tie against the null hypothesis.
        let tie = self.own.ln_e() - 1e-9 * self.own.ln_e().abs();
        let as_high = self.mixtures.iter().filter(|mixture| mixture.ln_e() >= tie).count();
        (1 + as_high) as f64 / (1 + self.mixtures.len()) as f64
    }

    pub(super) fn len(&self) -> usize {
        self.mixtures.len()
    }
}
