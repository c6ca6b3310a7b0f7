//! The middle of the gated feed-forward layer, and its gradient.

use super::exp::tanh;
use crate::kernels::cpu::for_each_target;

/// Constants of tanh's argument in gelu, √(2/π)·(x + 0.044715 x³), and of its slope.
const GELU_SCALE: f32 = 0.797_884_6;
const GELU_CUBE: f32 = 0.044_715;

for_each_target! {
    /// Computes the middle of the gated feed-forward layer: out = gelu(gate) · up, with the tanh
    /// form of gelu.
    pub(crate) fn gated_gelu_row(out: &mut [f32], gate: &[f32], up: &[f32]) {
        for ((o, g), u) in out.iter_mut().zip(gate).zip(up) {
            let g = *g;
            let t = tanh(GELU_SCALE * g * (GELU_CUBE * g).mul_add(g, 1.0));
            *o = 0.5 * g * (1.0 + t) * *u;
        }
    }

    /// Computes the gradient of [`gated_gelu_row`]: replaces `gate` and `up` by their gradients.
    pub(crate) fn gated_gelu_grad_row(gate: &mut [f32], up: &mut [f32], grad: &[f32]) {
        for ((g, u), d) in gate.iter_mut().zip(up).zip(grad) {
            let (x, v, d) = (*g, *u, *d);
            let square = GELU_CUBE * x * x;
            let t = tanh(GELU_SCALE * x * (1.0 + square));
            let half = 0.5 * (1.0 + t);
            let slope = GELU_SCALE * 3f32.mul_add(square, 1.0);
            *u = d * x * half;
            *g = d * v * (0.5 * x * t.mul_add(-t, 1.0)).mul_add(slope, half);
        }
    }
}
