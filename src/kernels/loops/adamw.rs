//! The optimizer's loops over parameters and gradients.

use crate::kernels::cpu::for_each_target;

for_each_target! {
    /// Computes a += factor · b.
    pub(crate) fn add_scaled(a: &mut [f32], b: &[f32], factor: f32) {
        for (a, b) in a.iter_mut().zip(b) {
            *a = b.mul_add(factor, *a);
        }
    }

    /// Takes one step of AdamW (Loshchilov and Hutter, 2019) on consecutive parameters. `rate` is the learning rate,
    /// `shrink` is 1 − rate · decay, and `fix1` and `fix2` are 1/(1 − beta^t). The gradient is multiplied by `scale`.
    pub(crate) fn adamw_step(
        param: &mut [f32], mean: &mut [f32], square: &mut [f32], grad: &[f32], step: AdamwStep,
    ) {
        let AdamwStep { rate, shrink, beta1, beta2, eps, fix1, fix2, scale } = step;
        for (((p, m), v), g) in param.iter_mut().zip(mean).zip(square).zip(grad) {
            let g = *g * scale;
            *m = beta1 * *m + (1.0 - beta1) * g;
            *v = beta2 * *v + (1.0 - beta2) * g * g;
            *p = *p * shrink - rate * (*m * fix1) / ((*v * fix2).sqrt() + eps);
        }
    }
}

/// Numbers of one step of [`adamw_step`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct AdamwStep {
    /// Learning rate.
    pub(crate) rate: f32,
    /// 1 − rate · weight decay.
    pub(crate) shrink: f32,
    /// Decay rate of the mean.
    pub(crate) beta1: f32,
    /// Decay rate of the mean square.
    pub(crate) beta2: f32,
    /// Number that is added to the root.
    pub(crate) eps: f32,
    /// 1 / (1 − beta1^t).
    pub(crate) fix1: f32,
    /// 1 / (1 − beta2^t).
    pub(crate) fix2: f32,
    /// Factor of the gradient, for clipping.
    pub(crate) scale: f32,
}
