//! Softmax of rows behind a soft cap: the weights of attention, the cross-entropy of logits, and their gradients.

#![expect(clippy::inline_always, reason = "the loops must be compiled anew for each instruction set")]

use super::exp::{exp, tanh};
use super::reduce::{max_of, sum_by};
use crate::kernels::cpu::for_each_target;

/// x becomes cap · tanh(x / cap) and `slope` the derivative, 1 − tanh².
#[inline(always)]
fn cap_with_slope(xs: &mut [f32], slope: &mut [f32], cap: f32) {
    let inverse = 1.0 / cap;
    for (x, s) in xs.iter_mut().zip(slope) {
        let t = tanh(*x * inverse);
        *s = t.mul_add(-t, 1.0);
        *x = cap * t;
    }
}

/// x becomes e^(x − max); returns (max, sum).
#[inline(always)]
fn exponentials(xs: &mut [f32]) -> (f32, f32) {
    let max = max_of(xs);
    for x in xs.iter_mut() {
        *x = exp(*x - max);
    }
    (max, sum_by(xs.len(), |i| xs[i]))
}

for_each_target! {
    /// One row of attention scores to weights: soft cap, softmax.
    pub(crate) fn attention_row(scores: &mut [f32], softcap: Option<f32>) {
        if let Some(cap) = softcap {
            let inverse = 1.0 / cap;
            for x in scores.iter_mut() {
                *x = cap * tanh(*x * inverse);
            }
        }
        let (_, sum) = exponentials(scores);
        let inverse = 1.0 / sum;
        for x in scores.iter_mut() {
            *x *= inverse;
        }
    }

    /// As [`attention_row`]; `slope` gets the derivative of the soft cap.
    pub(crate) fn attention_row_with_slope(scores: &mut [f32], slope: &mut [f32], softcap: Option<f32>) {
        if let Some(cap) = softcap {
            cap_with_slope(scores, slope, cap);
        } else {
            slope.fill(1.0);
        }
        let (_, sum) = exponentials(scores);
        let inverse = 1.0 / sum;
        for x in scores.iter_mut() {
            *x *= inverse;
        }
    }

    /// Gradient of [`attention_row`]: `grad`, the gradient of the weights, becomes that of the raw scores.
    pub(crate) fn attention_grad_row(grad: &mut [f32], weights: &[f32], slope: &[f32]) {
        let n = grad.len();
        let (weights, slope) = (&weights[..n], &slope[..n]);
        let mean = sum_by(n, |i| grad[i] * weights[i]);
        for i in 0..n {
            grad[i] = weights[i] * (grad[i] - mean) * slope[i];
        }
    }

    /// Soft cap and cross-entropy of one row: returns −ln softmax(logits)\[target\] and replaces the logits
    /// by its gradient times `factor`. `slope` is room for as many numbers.
    pub(crate) fn cross_entropy_row(
        logits: &mut [f32], slope: &mut [f32], target: usize, softcap: Option<f32>, factor: f32,
    ) -> f32 {
        let n = logits.len();
        let slope = &mut slope[..n];
        if let Some(cap) = softcap {
            cap_with_slope(logits, slope, cap);
        } else {
            slope.fill(1.0);
        }
        let right = logits[target];
        let (max, sum) = exponentials(logits);
        let inverse = factor / sum;
        let chosen = logits[target] * inverse - factor;
        for i in 0..n {
            logits[i] *= inverse * slope[i];
        }
        logits[target] = chosen * slope[target];
        sum.ln() + max - right
    }
}
