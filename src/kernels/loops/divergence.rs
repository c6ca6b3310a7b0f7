//! Divergences of two softmax rows over the whole vocabulary, with their gradients.

#![expect(clippy::inline_always, reason = "the loops must be compiled anew for each instruction set")]

use super::exp::{exp, tanh};
use super::reduce::{max_of, sum_by};
use crate::kernels::cpu::for_each_target;

/// Replaces x by x − max, and sets `probs` to e^(x − max). Returns (max, sum).
#[inline(always)]
fn centre(xs: &mut [f32], probs: &mut [f32]) -> (f32, f32) {
    let max = max_of(xs);
    for (x, p) in xs.iter_mut().zip(probs.iter_mut()) {
        *x -= max;
        *p = exp(*x);
    }
    (max, sum_by(probs.len(), |i| probs[i]))
}

for_each_target! {
    /// Replaces x by cap · tanh(x / cap) / temperature, and sets `slope` to the derivative without the temperature.
    pub(crate) fn final_logits_row(xs: &mut [f32], slope: &mut [f32], softcap: Option<f32>, temperature: f32) {
        let scale = 1.0 / temperature;
        let slope = &mut slope[..xs.len()];
        if let Some(cap) = softcap {
            let (inverse, cap) = (1.0 / cap, cap * scale);
            for (x, s) in xs.iter_mut().zip(slope) {
                let t = tanh(*x * inverse);
                *s = t.mul_add(-t, 1.0);
                *x = cap * t;
            }
        } else {
            slope.fill(1.0);
            for x in xs.iter_mut() {
                *x *= scale;
            }
        }
    }

    /// Sets `probs` to e^(x − max), and subtracts max from each x. Returns (max, sum).
    pub(crate) fn exponentials_row(xs: &mut [f32], probs: &mut [f32]) -> (f32, f32) {
        centre(xs, probs)
    }

    /// Replaces x by x · factor · slope.
    pub(crate) fn scale_by_slope_row(xs: &mut [f32], slope: &[f32], factor: f32) {
        let slope = &slope[..xs.len()];
        for (x, s) in xs.iter_mut().zip(slope) {
            *x *= factor * s;
        }
    }

    /// Returns the generalised Jensen-Shannon divergence of a student's and a teacher's logits, and replaces the
    /// student's logits by its gradient times `factor` and `slope`. `p` and `q` are buffers of the same length. `teacher`
    /// is overwritten.
    ///
    /// With M = (1 − β) S + β T, the divergence is β KL(T‖M) + (1 − β) KL(S‖M). At β = 0 it is KL(T‖S), at β = 1 KL(S‖T).
    pub(crate) fn divergence_row(
        student: &mut [f32], slope: &[f32], teacher: &mut [f32], p: &mut [f32], q: &mut [f32], beta: f32, factor: f32,
    ) -> f32 {
        let n = student.len();
        let (slope, teacher, p, q) = (&slope[..n], &mut teacher[..n], &mut p[..n], &mut q[..n]);
        let (_, sum) = centre(student, p);
        let (log, inverse) = (sum.ln(), 1.0 / sum);
        let (_, teacher_sum) = centre(teacher, q);
        let (teacher_log, teacher_inverse) = (teacher_sum.ln(), 1.0 / teacher_sum);
        for i in 0..n {
            student[i] -= log;
            teacher[i] -= teacher_log;
            p[i] *= inverse;
            q[i] *= teacher_inverse;
        }
        if beta == 0.0 {
            let loss = sum_by(n, |i| q[i] * (teacher[i] - student[i]));
            for i in 0..n {
                student[i] = factor * slope[i] * (p[i] - q[i]);
            }
            return loss;
        }
        if beta == 1.0 {
            let loss = sum_by(n, |i| p[i] * (student[i] - teacher[i]));
            for i in 0..n {
                student[i] = factor * slope[i] * p[i] * (student[i] - teacher[i] - loss);
            }
            return loss;
        }
        let (own, other) = (1.0 - beta, beta);
        for i in 0..n {
            let mixture = (own * p[i] + other * q[i]).max(f32::MIN_POSITIVE).ln();
            student[i] -= mixture;
            teacher[i] -= mixture;
        }
        let mean = sum_by(n, |i| p[i] * student[i]);
        let loss = own * mean + other * sum_by(n, |i| q[i] * teacher[i]);
        for i in 0..n {
            student[i] = own * factor * slope[i] * p[i] * (student[i] - mean);
        }
        loss
    }
}
