//! Sums and maxima of a row, in an order that is the same for every instruction set.

#![expect(clippy::inline_always, reason = "the loops must be compiled anew for each instruction set")]

/// Number of lanes of independent partial results.
pub(in crate::kernels) const LANES: usize = 16;

/// Returns the sum of `at(0)` to `at(len - 1)`, always in the same order.
#[inline(always)]
pub(super) fn sum_by(len: usize, at: impl Fn(usize) -> f32) -> f32 {
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
pub(super) fn max_of(xs: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let (chunks, tail) = xs.as_chunks::<LANES>();
    for chunk in chunks {
        for (lane, x) in lanes.iter_mut().zip(chunk) {
            *lane = if *x > *lane { *x } else { *lane };
        }
    }
    lanes.iter().chain(tail).copied().fold(f32::NEG_INFINITY, f32::max)
}
