//! RMSNorm of rows, and its gradient.

use super::reduce::sum_by;
use crate::kernels::cpu::for_each_target;

for_each_target! {
    /// Computes RMSNorm of one row: out = x · r · (1 + w), r = 1/√(mean(x²) + eps). Returns r. The slices have one
    /// length.
    pub(crate) fn rms_norm_row(out: &mut [f32], xs: &[f32], weight: &[f32], eps: f32) -> f32 {
        let n = xs.len();
        let square = sum_by(n, |i| xs[i] * xs[i]);
        let r = 1.0 / (square / n as f32 + eps).sqrt();
        for ((o, x), w) in out.iter_mut().zip(xs).zip(weight) {
            *o = *x * r * (1.0 + *w);
        }
        r
    }

    /// Computes RMSNorm of one row with a weight that includes the 1: out = x · r · weight.
    pub(crate) fn scaled_norm_row(out: &mut [f32], xs: &[f32], weight: &[f32], eps: f32) {
        let n = xs.len();
        let square = sum_by(n, |i| xs[i] * xs[i]);
        let r = 1.0 / (square / n as f32 + eps).sqrt();
        for ((o, x), w) in out.iter_mut().zip(xs).zip(weight) {
            *o = *x * r * *w;
        }
    }

    /// Does the same as [`rms_norm_row`], but adds the result to `out`.
    pub(crate) fn rms_norm_add_row(out: &mut [f32], xs: &[f32], weight: &[f32], eps: f32) -> f32 {
        let n = xs.len();
        let square = sum_by(n, |i| xs[i] * xs[i]);
        let r = 1.0 / (square / n as f32 + eps).sqrt();
        for ((o, x), w) in out.iter_mut().zip(xs).zip(weight) {
            *o += *x * r * (1.0 + *w);
        }
        r
    }

    /// Computes the gradient of [`rms_norm_row`]. `dx` is set to the gradient of the row or, with `accumulate`,
    /// increased by it. `dw` is increased by the gradient of the weight. With y = r·x·v, v = 1 + w: dx = r·(g·v −
    /// x·r²·mean(g·v·x)), dw = g·x·r.
    pub(crate) fn rms_norm_grad_row(
        dx: &mut [f32], dw: &mut [f32], grad: &[f32], xs: &[f32], weight: &[f32], r: f32, accumulate: bool,
    ) {
        let n = xs.len();
        let (grad, weight) = (&grad[..n], &weight[..n]);
        let mean = sum_by(n, |i| grad[i] * (1.0 + weight[i]) * xs[i]) / n as f32;
        let c = mean * r * r * r;
        let dx = &mut dx[..n];
        for i in 0..n {
            let old = if accumulate { dx[i] } else { 0.0 };
            dx[i] = old + grad[i] * (1.0 + weight[i]) * r - xs[i] * c;
        }
        for ((d, g), x) in dw.iter_mut().zip(grad).zip(xs) {
            *d += *g * *x * r;
        }
    }
}
