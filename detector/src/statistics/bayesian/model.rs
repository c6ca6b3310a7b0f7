//! The weights of a Bayesian detector and what they say of one token.

use serde::{Deserialize, Serialize};

use super::error::BayesianError;
use super::limits::MAX_DEPTH;
use super::sigmoid::sigmoid;
use crate::scheme::GBits;

/// The weights of a Bayesian detector. Those of `transformers` are f32. All arithmetic is f64 in a fixed order and uses
/// only +, −, × and /, so that every machine computes the same ratio to the last bit.
#[derive(Clone, Debug, PartialEq)]
pub struct BayesianModel {
    /// m.
    depth: usize,
    /// \[m\].
    beta: Vec<f64>,
    /// \[m, m\], row l: the weights of g_0 … g_{l−1} in layer l. The rest of a row has no effect.
    delta: Vec<f64>,
    /// P(marked) before the text is seen, as stored. The posterior clamps it to [1e-5, 1 − 1e-5].
    prior: f64,
    /// Where the weights come from.
    provenance: Provenance,
}

/// What is known of a detector's training. Public: it goes into config.json, and holds no secret.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Provenance {
    /// Public ids of the keys whose texts it was fitted on; empty if unknown or more than sixteen. A p-value under one
    /// of these keys is not exact for texts that share passages with the training texts.
    pub key_ids: Vec<String>,
    /// Marked texts that it was fitted on; 0 if unknown.
    pub marked_texts: u64,
}

/// Bounds of the prior in the posterior, as `transformers` has them.
const PRIOR_BOUNDS: (f64, f64) = (1e-5, 1.0 - 1e-5);

impl BayesianModel {
    /// Makes a model from `beta` \[m\], `delta` \[m, m\] row by row, and the prior.
    ///
    /// # Errors
    /// Returns an error if m is not between 1 and [`MAX_DEPTH`], if `delta` does not have m² numbers, or if a number
    /// is not finite.
    pub fn new(beta: &[f32], delta: &[f32], prior: f32) -> Result<Self, BayesianError> {
        let depth = beta.len();
        if !(1..=MAX_DEPTH).contains(&depth) {
            return Err(BayesianError::Depth { found: depth });
        }
        if delta.len() != depth * depth {
            return Err(BayesianError::Shape {
                name: "delta",
                expected: vec![depth, depth],
                found: vec![delta.len()],
            });
        }
        for (name, values) in [("beta", beta), ("delta", delta), ("prior", &[prior])] {
            if values.iter().any(|value| !value.is_finite()) {
                return Err(BayesianError::NotFinite { name });
            }
        }
        let widen = |values: &[f32]| values.iter().copied().map(f64::from).collect();
        Ok(Self {
            depth,
            beta: widen(beta),
            delta: widen(delta),
            prior: f64::from(prior),
            provenance: Provenance::default(),
        })
    }

    /// Returns the number of layers m.
    pub fn depth(&self) -> usize {
        self.depth
    }

    /// Returns beta, one number a layer.
    pub fn beta(&self) -> &[f64] {
        &self.beta
    }

    /// Returns delta's row of layer `layer` < m: the weights of the layers before it.
    ///
    /// # Panics
    /// Panics if `layer` is m or more.
    pub fn delta(&self, layer: usize) -> &[f64] {
        &self.delta[layer * self.depth..][..layer]
    }

    /// Returns delta, row by row, with the part that has no effect.
    pub(super) fn all_delta(&self) -> &[f64] {
        &self.delta
    }

    /// Returns P(marked) before the text is seen, as stored.
    pub fn prior(&self) -> f64 {
        self.prior
    }

    /// Returns where the detector comes from.
    pub fn provenance(&self) -> &Provenance {
        &self.provenance
    }

    /// Returns the same weights with this note of where they come from.
    pub fn with_provenance(mut self, provenance: Provenance) -> Self {
        self.provenance = provenance;
        self
    }

    /// Returns the same detector for marks of fewer layers: its first `layers`, at least 1. A layer's factor depends
    /// only on earlier layers.
    pub fn truncated(&self, layers: usize) -> Self {
        let layers = layers.clamp(1, self.depth);
        let rows = self.delta.chunks(self.depth).take(layers);
        Self {
            depth: layers,
            beta: self.beta[..layers].to_vec(),
            delta: rows.flat_map(|row| &row[..layers]).copied().collect(),
            ..self.clone()
        }
    }

    /// Returns P(g | marked) / P(g | unmarked) of one token, over the first `layers` ≤ m layers.
    pub(super) fn ratio_of_first(&self, layers: usize, g: GBits) -> f64 {
        let mut ratio = 1.0;
        for l in 0..layers {
            let mut z = self.beta[l];
            for (j, weight) in self.delta(l).iter().enumerate() {
                if g.layer(j) == 1 {
                    z += weight;
                }
            }
            ratio *= factor(sigmoid(z), g.layer(l));
        }
        ratio
    }

    /// Returns P(g | marked) / P(g | unmarked) of one token. Its mean over the 2^m patterns g is 1.
    pub fn ratio(&self, g: GBits) -> f64 {
        self.ratio_of_first(self.depth, g)
    }

    /// Returns P(marked | text), 0 to 1, from the g-values of the scored tokens. Without scored tokens that is the
    /// prior, which is at least 1e-5 and at most 1 − 1e-5.
    ///
    /// Agrees with `transformers`' `BayesianDetectorModel` to about the rounding of its f32 sums.
    pub fn posterior(&self, scored: impl IntoIterator<Item = GBits>) -> f64 {
        self.posterior_of(scored.into_iter().map(|g| self.ratio(g).ln()).sum())
    }

    /// Returns the same from Σ ln [`ratio`](Self::ratio).
    pub fn posterior_of(&self, ln_ratio: f64) -> f64 {
        let prior = self.prior.clamp(PRIOR_BOUNDS.0, PRIOR_BOUNDS.1);
        sigmoid(prior.ln() - (1.0 - prior).ln() + ln_ratio)
    }
}

/// Returns P(bit | marked) / P(bit | unmarked) in a layer whose competitors differ with probability `q`.
#[inline]
pub(super) fn factor(q: f64, bit: u64) -> f64 {
    if bit == 1 { 1.0 + 0.5 * q } else { 1.0 - 0.5 * q }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Returns a small detector with weights of both signs.
    pub(in super::super) fn small(depth: usize) -> BayesianModel {
        let wave = |i: usize, scale: f32| (((i * 37 + 11) % 23) as f32 / 11.0 - 1.0) * scale;
        let beta: Vec<f32> = (0..depth).map(|l| 0.5 - 0.1 * l as f32 + wave(l, 0.3)).collect();
        let delta: Vec<f32> = (0..depth * depth).map(|i| wave(i, 0.7)).collect();
        BayesianModel::new(&beta, &delta, 0.4).unwrap()
    }

    #[test]
    fn one_token_by_hand() {
        // q_0 = sigmoid(0) = 1/2; q_1 = sigmoid(1 ∓ 1) with and without g_0.
        let model = BayesianModel::new(&[0.0, 1.0], &[9.0, 9.0, -1.0, 9.0], 0.5).unwrap();
        let q = 1.0 / (1.0 + (-1.0f64).exp());
        for (g, ratio) in [
            (0b00, 0.75 * (1.0 - q / 2.0)),
            (0b01, 1.25 * 0.75),
            (0b10, 0.75 * (1.0 + q / 2.0)),
            (0b11, 1.25 * 1.25),
        ] {
            assert!((model.ratio(GBits(g)) - ratio).abs() < 1e-15, "{g:b}");
        }
        let both = model.posterior([GBits(0b11), GBits(0b00)]);
        let odds = 1.25 * 1.25 * 0.75 * (1.0 - q / 2.0);
        assert!((both - odds / (1.0 + odds)).abs() < 1e-15);
    }

    #[test]
    fn the_ratio_has_mean_one_under_the_null() {
        for depth in [1, 2, 7, 12] {
            let model = small(depth);
            let sum: f64 = (0..1u64 << depth).map(|g| model.ratio(GBits(g))).sum();
            assert!((sum / (1u64 << depth) as f64 - 1.0).abs() < 1e-12, "depth {depth}: {sum}");
        }
    }

    #[test]
    fn truncated_is_the_first_layers() {
        let (model, short) = (small(9), small(9).truncated(4));
        for g in 0..16 {
            assert_eq!(short.ratio(GBits(g)), model.ratio_of_first(4, GBits(g)));
        }
        assert_eq!((short.depth(), model.truncated(20)), (4, model));
    }

    #[test]
    fn a_prior_of_zero_is_clamped() {
        let model = BayesianModel::new(&[0.0], &[0.0], 0.0).unwrap();
        assert!((model.posterior([]) - 1e-5).abs() < 1e-12);
    }

    #[test]
    fn impossible_weights_are_refused() {
        assert!(matches!(BayesianModel::new(&[], &[], 0.5), Err(BayesianError::Depth { found: 0 })));
        assert!(matches!(BayesianModel::new(&[0.0; 65], &[], 0.5), Err(BayesianError::Depth { found: 65 })));
        assert!(matches!(BayesianModel::new(&[0.0; 2], &[0.0; 3], 0.5), Err(BayesianError::Shape { .. })));
        let error = BayesianModel::new(&[0.0], &[f32::NAN], 0.5).unwrap_err();
        assert!(matches!(error, BayesianError::NotFinite { name: "delta" }));
    }
}
