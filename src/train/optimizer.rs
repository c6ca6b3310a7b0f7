//! AdamW with decoupled weight decay, clipping by the global norm, and a learning rate that warms up and then falls as a
//! cosine.

use super::parameters::Table;
use crate::kernels::loops::{AdamwStep, adamw_step, add_scaled};
use rayon::prelude::*;
use std::ops::Range;

/// Maximum number of parameters that one task works on. Sums are taken in this order, for any number of threads.
const SEGMENT: usize = 1 << 16;

/// Settings of AdamW; Loshchilov and Hutter, "Decoupled weight decay regularization", 2019.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct AdamW {
    /// Decay rate of the mean of the gradients.
    pub beta1: f32,
    /// Decay rate of their mean square.
    pub beta2: f32,
    /// Number that is added to the root of the mean square.
    pub eps: f32,
    /// Share of a matrix that is subtracted in a step, times the learning rate. Norms do not decay.
    pub weight_decay: f32,
    /// Maximum norm of the gradient over all parameters; a longer gradient is scaled down to it.
    pub clip: f32,
}

impl Default for AdamW {
    fn default() -> Self {
        Self { beta1: 0.9, beta2: 0.95, eps: 1e-8, weight_decay: 0.1, clip: 1.0 }
    }
}

/// Returns the learning rate of step `step`, counted from 0. It rises linearly to `peak` over `warmup` steps, then falls
/// as a cosine to `peak · floor` at step `steps`.
pub fn learning_rate(step: u64, steps: u64, warmup: u64, peak: f64, floor: f64) -> f64 {
    if step < warmup {
        return peak * (step + 1) as f64 / warmup as f64;
    }
    let done = (step - warmup) as f64 / (steps.saturating_sub(warmup)).max(1) as f64;
    peak * (floor + (1.0 - floor) * 0.5 * (1.0 + (std::f64::consts::PI * done.min(1.0)).cos()))
}

/// Ranges of parameters that are updated alike, in order and without gaps.
#[derive(Debug, Clone)]
pub struct Segments(Vec<(Range<usize>, bool)>);

impl Segments {
    /// Returns the segments of a model.
    pub fn new(table: &Table) -> Self {
        let mut segments = Vec::new();
        for tensor in table.tensors() {
            for start in tensor.range.clone().step_by(SEGMENT) {
                let end = (start + SEGMENT).min(tensor.range.end);
                segments.push((start..end, tensor.decays()));
            }
        }
        Self(segments)
    }

    /// Cuts a slice of all parameters into segments.
    fn cut<'a>(&self, mut run: &'a mut [f32]) -> Vec<&'a mut [f32]> {
        let mut parts = Vec::with_capacity(self.0.len());
        for (range, _) in &self.0 {
            let (part, rest) = run.split_at_mut(range.len());
            parts.push(part);
            run = rest;
        }
        parts
    }

    /// Adds up gradients into the first of them and returns the norm of the sum.
    pub fn sum(&self, grads: &mut [Vec<f32>]) -> f64 {
        let Some((first, others)) = grads.split_first_mut() else { return 0.0 };
        let others: &[Vec<f32>] = others;
        let squares: Vec<f64> = self
            .cut(first)
            .into_par_iter()
            .zip(&self.0)
            .map(|(sum, (range, _))| {
                for other in others {
                    add_scaled(sum, &other[range.clone()], 1.0);
                }
                sum.iter().map(|g| f64::from(*g) * f64::from(*g)).sum()
            })
            .collect();
        squares.iter().sum::<f64>().sqrt()
    }
}

impl AdamW {
    /// Updates parameters and moments with a gradient whose norm is `norm`; `step` counts from 0.
    #[expect(
        clippy::too_many_arguments,
        reason = "parameters, two moments and a gradient, and the step's numbers"
    )]
    pub fn update(
        &self,
        segments: &Segments,
        params: &mut [f32],
        mean: &mut [f32],
        square: &mut [f32],
        grad: &[f32],
        norm: f64,
        step: u64,
        rate: f64,
    ) {
        let t = i32::try_from(step + 1).unwrap_or(i32::MAX);
        let fix = |beta: f32| (1.0 / (1.0 - f64::from(beta).powi(t))) as f32;
        let scale = if norm > f64::from(self.clip) { f64::from(self.clip) / norm } else { 1.0 };
        let numbers = |decays: bool| AdamwStep {
            rate: rate as f32,
            shrink: if decays { (1.0 - rate * f64::from(self.weight_decay)) as f32 } else { 1.0 },
            beta1: self.beta1,
            beta2: self.beta2,
            eps: self.eps,
            fix1: fix(self.beta1),
            fix2: fix(self.beta2),
            scale: scale as f32,
        };
        let parts = segments.cut(params).into_par_iter().zip(segments.cut(mean)).zip(segments.cut(square));
        parts.zip(&segments.0).for_each(|(((params, mean), square), (range, decays))| {
            adamw_step(params, mean, square, &grad[range.clone()], numbers(*decays));
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Config;

    #[test]
    fn the_rate_warms_up_and_falls() {
        let rate = |step| learning_rate(step, 110, 10, 2.0, 0.1);
        assert!(
            (rate(0) - 0.2).abs() < 1e-12 && (rate(9) - 2.0).abs() < 1e-12 && (rate(10) - 2.0).abs() < 1e-12
        );
        assert!((rate(60) - 1.1).abs() < 1e-12 && (rate(110) - 0.2).abs() < 1e-12);
    }

    /// Compares two steps with the definition, number by number; norms do not decay.
    #[test]
    fn an_update_is_the_papers() {
        let json = r#"{"model_type": "gemma2", "hidden_size": 4, "num_hidden_layers": 1, "num_attention_heads": 1,
            "num_key_value_heads": 1, "head_dim": 4, "intermediate_size": 4, "vocab_size": 5}"#;
        let table = Table::new(&Config::from_json(json).unwrap());
        let (n, segments) = (table.len(), Segments::new(&table));
        let optimizer = AdamW { weight_decay: 0.5, clip: 1.0, ..AdamW::default() };
        let mut p: Vec<f32> = (0..n).map(|i| (i as f32).sin()).collect();
        let (mut m, mut v) = (vec![0f32; n], vec![0f32; n]);
        let mut want: Vec<(f64, f64, f64)> = p.iter().map(|p| (f64::from(*p), 0.0, 0.0)).collect();
        for step in 0..2u64 {
            let part = |k: f32| (0..n).map(|i| (i as f32 * k).cos()).collect::<Vec<f32>>();
            let mut grads = vec![part(0.3), part(1.7)];
            let full: Vec<f64> = (0..n).map(|i| f64::from(grads[0][i]) + f64::from(grads[1][i])).collect();
            let norm = segments.sum(&mut grads);
            assert!((norm / full.iter().map(|g| g * g).sum::<f64>().sqrt() - 1.0).abs() < 1e-6);
            optimizer.update(&segments, &mut p, &mut m, &mut v, &grads[0], norm, step, 0.01);
            for tensor in table.tensors() {
                for i in tensor.range.clone() {
                    let (p, m, v) = &mut want[i];
                    let g = full[i] / norm;
                    let t = step as i32 + 1;
                    *m = 0.9 * *m + 0.1 * g;
                    *v = 0.95 * *v + 0.05 * g * g;
                    let decay = if tensor.shape.len() == 2 { 0.5 } else { 0.0 };
                    let move_ = *m / (1.0 - 0.9f64.powi(t)) / ((*v / (1.0 - 0.95f64.powi(t))).sqrt() + 1e-8);
                    *p -= 0.01 * (decay * *p + move_);
                }
            }
        }
        assert!(p.iter().zip(want).all(|(p, w)| (f64::from(*p) - w.0).abs() < 1e-6));
    }
}
