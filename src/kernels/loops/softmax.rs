//! Softmax of rows after a soft cap: the weights of attention, the cross-entropy of logits, and their gradients.

#![expect(clippy::inline_always, reason = "the loops must be compiled anew for each instruction set")]

use super::exp::{exp, tanh};
use super::reduce::{max_of, sum_by};
use crate::kernels::cpu::for_each_target;

/// Replaces x by cap · tanh(x / cap), and sets `slope` to the derivative, 1 − tanh².
#[inline(always)]
fn cap_with_slope(xs: &mut [f32], slope: &mut [f32], cap: f32) {
    let inverse = 1.0 / cap;
    for (x, s) in xs.iter_mut().zip(slope) {
        let t = tanh(*x * inverse);
        *s = t.mul_add(-t, 1.0);
        *x = cap * t;
    }
}

/// Replaces x by e^(x − max). Returns (max, sum).
#[inline(always)]
fn exponentials(xs: &mut [f32]) -> (f32, f32) {
    let max = max_of(xs);
    for x in xs.iter_mut() {
        *x = exp(*x - max);
    }
    (max, sum_by(xs.len(), |i| xs[i]))
}

for_each_target! {
    /// Turns one row of attention scores into weights: soft cap, then softmax.
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

    /// Does the same as [`attention_row`], and sets `slope` to the derivative of the soft cap.
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

    /// Computes the gradient of [`attention_row`]: turns `grad`, the gradient of the weights, into that of the
    /// raw scores.
    pub(crate) fn attention_grad_row(grad: &mut [f32], weights: &[f32], slope: &[f32]) {
        let n = grad.len();
        let (weights, slope) = (&weights[..n], &slope[..n]);
        let mean = sum_by(n, |i| grad[i] * weights[i]);
        for i in 0..n {
            grad[i] = weights[i] * (grad[i] - mean) * slope[i];
        }
    }

    /// Applies soft cap and cross-entropy to one row. Returns −ln softmax(logits)\[target\], and replaces the
    /// logits by its gradient times `factor`. `slope` is a buffer of the same length.
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
