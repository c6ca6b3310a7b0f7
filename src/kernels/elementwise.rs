//! Loops over rows of numbers, of inference and of training, compiled anew for each instruction set.
//!
//! `exp` and what is made of it are polynomials without a branch, so that the compiler works on a whole vector register
//! of them at once; the library's functions are called number by number.

#![expect(clippy::inline_always, reason = "the loops must be compiled anew for each instruction set")]

use super::prefetch;
use half::bf16;

/// Defines a function three times, for AVX-512, for AVX2 with FMA and for whatever the target has; picks at run time.
macro_rules! for_each_target {
    ($($(#[$doc:meta])* pub fn $name:ident($($arg:ident: $ty:ty),* $(,)?) $(-> $ret:ty)? $body:block)*) => {
        mod body {
            use super::*;
            $(
                #[inline(always)]
                pub(super) fn $name($($arg: $ty),*) $(-> $ret)? $body
            )*
        }
        #[cfg(target_arch = "x86_64")]
        mod avx512 {
            use super::*;
            $(
                #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
                pub(super) fn $name($($arg: $ty),*) $(-> $ret)? { body::$name($($arg),*) }
            )*
        }
        #[cfg(target_arch = "x86_64")]
        mod avx2 {
            use super::*;
            $(
                #[target_feature(enable = "avx2,fma")]
                pub(super) fn $name($($arg: $ty),*) $(-> $ret)? { body::$name($($arg),*) }
            )*
        }
        $(
            $(#[$doc])*
            #[cfg_attr(target_arch = "x86_64", expect(unsafe_code, reason = "calls the build for the processor"))]
            pub fn $name($($arg: $ty),*) $(-> $ret)? {
                #[cfg(target_arch = "x86_64")]
                match $crate::kernels::cpu::Level::best() {
                    // SAFETY: the processor has what the function was compiled for, as `best` has asked; the
                    // functions have no other condition.
                    $crate::kernels::cpu::Level::Vnni | $crate::kernels::cpu::Level::Avx512 => {
                        return unsafe { avx512::$name($($arg),*) }
                    }
                    // SAFETY: as above.
                    $crate::kernels::cpu::Level::Avx2 => return unsafe { avx2::$name($($arg),*) },
                    $crate::kernels::cpu::Level::Plain => {}
                }
                body::$name($($arg),*)
            }
        )*
    };
}

pub(super) use for_each_target;

/// e^x within 3e-7 of its value, for x clamped to ±87: 2^n · e^r with n = round(x / ln 2), e^r by its Taylor series.
#[inline(always)]
fn exp(x: f32) -> f32 {
    /// 1.5 · 2^23: added and taken away again, it rounds to a whole number.
    const ROUND: f32 = 12_582_912.0;
    const LN2_HI: f32 = 0.693_359_4;
    const LN2_LO: f32 = -2.121_944_4e-4;
    // Not `clamp`, which may panic and so keeps the loop from being vectorised. NaN stays NaN.
    let x = if x < -87.0 { -87.0 } else { x };
    let x = if x > 87.0 { 87.0 } else { x };
    let shifted = x.mul_add(std::f32::consts::LOG2_E, ROUND);
    let n = shifted - ROUND;
    let r = n.mul_add(-LN2_HI, x);
    let r = n.mul_add(-LN2_LO, r);
    let mut p = 1.0f32 / 720.0;
    p = p.mul_add(r, 1.0 / 120.0);
    p = p.mul_add(r, 1.0 / 24.0);
    p = p.mul_add(r, 1.0 / 6.0);
    p = p.mul_add(r, 0.5);
    p = p.mul_add(r, 1.0);
    p = p.mul_add(r, 1.0);
    // The low bits of `shifted` are n; the exponent's field starts at bit 23.
    let power = f32::from_bits(shifted.to_bits().wrapping_sub(ROUND.to_bits()).wrapping_add(127) << 23);
    p * power
}

/// tanh x, within 2e-7.
#[inline(always)]
fn tanh(x: f32) -> f32 {
    let e = exp(-2.0 * x.abs());
    ((1.0 - e) / (1.0 + e)).copysign(x)
}

/// Lanes of independent partial results.
pub(super) const LANES: usize = 16;

/// The sum, in a fixed order of its own.
#[inline(always)]
fn sum_by(len: usize, at: impl Fn(usize) -> f32) -> f32 {
    let mut lanes = [0f32; LANES];
    let whole = len / LANES * LANES;
    for start in (0..whole).step_by(LANES) {
        for (l, lane) in lanes.iter_mut().enumerate() {
            *lane += at(start + l);
        }
    }
    let mut sum = lanes.iter().sum::<f32>();
    for i in whole..len {
        sum += at(i);
    }
    sum
}

#[inline(always)]
fn max_of(xs: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let (chunks, tail) = xs.as_chunks::<LANES>();
    for chunk in chunks {
        for (lane, x) in lanes.iter_mut().zip(chunk) {
            *lane = if *x > *lane { *x } else { *lane };
        }
    }
    lanes.iter().chain(tail).copied().fold(f32::NEG_INFINITY, f32::max)
}

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

/// tanh's argument in gelu and its slope: √(2/π)·(x + 0.044715 x³).
const GELU_SCALE: f32 = 0.797_884_6;
const GELU_CUBE: f32 = 0.044_715;

for_each_target! {
    /// RMSNorm of one row: out = x · r · (1 + w), r = 1/√(mean(x²) + eps); returns r. Slices of one length.
    pub fn rms_norm_row(out: &mut [f32], xs: &[f32], weight: &[f32], eps: f32) -> f32 {
        let n = xs.len();
        let square = sum_by(n, |i| xs[i] * xs[i]);
        let r = 1.0 / (square / n as f32 + eps).sqrt();
        for ((o, x), w) in out.iter_mut().zip(xs).zip(weight) {
            *o = *x * r * (1.0 + *w);
        }
        r
    }

    /// RMSNorm of one row with a weight that has the 1 in it: out = x · r · weight.
    pub fn scaled_norm_row(out: &mut [f32], xs: &[f32], weight: &[f32], eps: f32) {
        let n = xs.len();
        let square = sum_by(n, |i| xs[i] * xs[i]);
        let r = 1.0 / (square / n as f32 + eps).sqrt();
        for ((o, x), w) in out.iter_mut().zip(xs).zip(weight) {
            *o = *x * r * *w;
        }
    }

    /// As [`rms_norm_row`], added to what `out` holds.
    pub fn rms_norm_add_row(out: &mut [f32], xs: &[f32], weight: &[f32], eps: f32) -> f32 {
        let n = xs.len();
        let square = sum_by(n, |i| xs[i] * xs[i]);
        let r = 1.0 / (square / n as f32 + eps).sqrt();
        for ((o, x), w) in out.iter_mut().zip(xs).zip(weight) {
            *o += *x * r * (1.0 + *w);
        }
        r
    }

    /// Gradient of [`rms_norm_row`]: `dx` gets (or, with `accumulate`, is increased by) the gradient of the row and
    /// `dw` is increased by that of the weight. With y = r·x·v, v = 1 + w:
    /// dx = r·(g·v − x·r²·mean(g·v·x)), dw = g·x·r.
    pub fn rms_norm_grad_row(
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

    /// The gated feed-forward's middle: out = gelu(gate) · up, with the tanh form of gelu.
    pub fn gated_gelu_row(out: &mut [f32], gate: &[f32], up: &[f32]) {
        for ((o, g), u) in out.iter_mut().zip(gate).zip(up) {
            let g = *g;
            let t = tanh(GELU_SCALE * g * (GELU_CUBE * g).mul_add(g, 1.0));
            *o = 0.5 * g * (1.0 + t) * *u;
        }
    }

    /// Gradient of [`gated_gelu_row`]: `gate` and `up` are replaced by their gradients.
    pub fn gated_gelu_grad_row(gate: &mut [f32], up: &mut [f32], grad: &[f32]) {
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

    /// One row of attention scores to weights: soft cap (none at 0), softmax.
    pub fn attention_row(scores: &mut [f32], cap: f32) {
        if cap > 0.0 {
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
    pub fn attention_row_with_slope(scores: &mut [f32], slope: &mut [f32], cap: f32) {
        if cap > 0.0 {
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
    pub fn attention_grad_row(grad: &mut [f32], weights: &[f32], slope: &[f32]) {
        let n = grad.len();
        let (weights, slope) = (&weights[..n], &slope[..n]);
        let mean = sum_by(n, |i| grad[i] * weights[i]);
        for i in 0..n {
            grad[i] = weights[i] * (grad[i] - mean) * slope[i];
        }
    }

    /// Soft cap (none at 0) and cross-entropy of one row: returns −ln softmax(logits)\[target\] and replaces the logits
    /// by its gradient times `factor`. `slope` is room for as many numbers.
    pub fn cross_entropy_row(logits: &mut [f32], slope: &mut [f32], target: usize, cap: f32, factor: f32) -> f32 {
        let n = logits.len();
        let slope = &mut slope[..n];
        if cap > 0.0 {
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

    /// Rotates one head in place: (a, b) becomes (a·cos − b·sin, b·cos + a·sin), a and b its two halves.
    pub fn rotate_head(head: &mut [f32], cos: &[f32], sin: &[f32]) {
        let (a, b) = head.split_at_mut(cos.len());
        for (((a, b), c), s) in a.iter_mut().zip(b).zip(cos).zip(sin) {
            let (x, y) = (*a, *b);
            *a = x * *c - y * *s;
            *b = y * *c + x * *s;
        }
    }

    /// The inverse of [`rotate_head`], which is also its gradient.
    pub fn rotate_head_back(head: &mut [f32], cos: &[f32], sin: &[f32]) {
        let (a, b) = head.split_at_mut(cos.len());
        for (((a, b), c), s) in a.iter_mut().zip(b).zip(cos).zip(sin) {
            let (x, y) = (*a, *b);
            *a = x * *c + y * *s;
            *b = y * *c - x * *s;
        }
    }

    /// Numbers to the nearest bf16, ties to even; NaN stays NaN.
    pub fn bf16_row(out: &mut [bf16], xs: &[f32]) {
        for (out, x) in out.iter_mut().zip(xs) {
            let bits = x.to_bits();
            let rounded = bits.wrapping_add(0x7FFF + (bits >> 16 & 1)) >> 16;
            let quiet = bits >> 16 | 0x40;
            *out = bf16::from_bits(if x.is_nan() { quiet } else { rounded } as u16);
        }
    }

    /// a += factor · b.
    pub fn add_scaled(a: &mut [f32], b: &[f32], factor: f32) {
        for (a, b) in a.iter_mut().zip(b) {
            *a = b.mul_add(factor, *a);
        }
    }

    /// The wrapping sum of the whole 8-byte words: a read of the bytes that does next to nothing else.
    pub fn sum_of_words(bytes: &[u8]) -> u64 {
        let mut sums = [0u64; 64];
        for line in bytes.as_chunks::<8>().0.as_chunks::<64>().0 {
            prefetch::row_ahead_of(line);
            for (sum, word) in sums.iter_mut().zip(line) {
                *sum = sum.wrapping_add(u64::from_ne_bytes(*word));
            }
        }
        sums.iter().fold(0, |a, b| a.wrapping_add(*b))
    }

    /// One step of AdamW (Loshchilov and Hutter, 2019) on a run of parameters. `rate` is the learning rate, `shrink` is
    /// 1 − rate · decay, `fix1` and `fix2` are 1/(1 − beta^t); the gradient is taken times `scale`.
    pub fn adamw_step(
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

/// The numbers of one step of [`adamw_step`].
#[derive(Debug, Clone, Copy)]
pub struct AdamwStep {
    /// Learning rate.
    pub rate: f32,
    /// 1 − rate · weight decay.
    pub shrink: f32,
    /// Decay of the mean.
    pub beta1: f32,
    /// Decay of the mean square.
    pub beta2: f32,
    /// Added to the root.
    pub eps: f32,
    /// 1 / (1 − beta1^t).
    pub fix1: f32,
    /// 1 / (1 − beta2^t).
    pub fix2: f32,
    /// Factor of the gradient: the clipping.
    pub scale: f32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_and_tanh_are_close_to_the_library() {
        for i in -4000..=4000 {
            let x = i as f32 * 0.02;
            let (e, t) = (f64::from(x).exp(), f64::from(x).tanh());
            assert!((f64::from(exp(x)) / e - 1.0).abs() < 3e-7, "exp {x}");
            assert!((f64::from(tanh(x)) - t).abs() < 2e-7, "tanh {x}");
        }
        assert!(exp(-1e9) < 1e-37 && tanh(1e9) == 1.0 && tanh(-1e9) == -1.0);
        assert!(exp(f32::NAN).is_nan() && tanh(f32::NAN).is_nan());
    }
}
