//! The same text under random keys.

use sha2::{Digest, Sha256};

use super::chain::{Grid, Mixture};
use super::ratio::{Position, Scratch};
use crate::scheme::GBits;
use crate::statistics::mixture::Mixture as EntropyClasses;

/// R copies of the running e-value, each under g-values of its own.
///
/// Under the null hypothesis the key's e-value and the R others are exchangeable given the text: the distributions, the
/// mask and the grid are functions of the text, and the g-values at fresh contexts are independent fair bits for all of
/// them. So the rank is uniform, and (1 + #{sup Eᵣ ≥ sup E}) / (R + 1) is a p-value, exact up to ties. The generator's
/// seed comes from the text, never from the key.
#[derive(Clone, Debug)]
pub(super) struct RandomKeys {
    mixtures: Vec<Mixture>,
    state: u64,
    g: Vec<GBits>,
}

impl RandomKeys {
    pub(super) fn new(keys: usize, grid: &Grid, settings: usize, prompt: &[u32], ids: &[u32]) -> Self {
        let mut hash = Sha256::new_with_prefix(b"wmdetect/random-keys/");
        hash.update((prompt.len() as u64).to_le_bytes());
        for id in prompt.iter().chain(ids) {
            hash.update(id.to_le_bytes());
        }
        let digest: [u8; 32] = hash.finalize().into();
        let state = u64::from_le_bytes(digest[..8].try_into().expect("8 of 32 bytes"));
        Self { mixtures: vec![Mixture::new(grid, settings); keys], state, g: Vec::new() }
    }

    /// Goes on by one token; `position` is none where the token does not count.
    pub(super) fn step(
        &mut self,
        grid: &Grid,
        position: Option<&Position>,
        depth: usize,
        classes: &EntropyClasses,
        scratch: &mut Scratch,
    ) {
        for mixture in &mut self.mixtures {
            let ratios = position.map(|position| {
                self.g.clear();
                self.g.extend(position.tokens.iter().map(|_| GBits(split_mix(&mut self.state))));
                position.ratios(&self.g, depth, classes, scratch)
            });
            mixture.step(grid, ratios.as_ref());
        }
    }

    /// The p-value of a text whose own ln sup E is `ln_sup`.
    pub(super) fn p_value(&self, ln_sup: f64) -> f64 {
        // Rounding must not rank a tie against the null hypothesis.
        let tie = ln_sup - 1e-9 * ln_sup.abs();
        let as_high = self.mixtures.iter().filter(|mixture| mixture.ln_sup() >= tie).count();
        (1 + as_high) as f64 / (1 + self.mixtures.len()) as f64
    }

    pub(super) fn len(&self) -> usize {
        self.mixtures.len()
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014).
pub(super) fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
