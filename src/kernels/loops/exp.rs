//! Exponentials and hyperbolic tangents without branches, so that the compiler can process a whole vector register of numbers
//! at once. The library's functions take one number at a time.
//!
//! | function | error | used by |
//! |---|---|---|
//! | [`exp`] | 3e-7 of the value | softmax, and [`tanh`] |
//! | [`tanh`] | 2e-7 | gelu and the soft cap of attention |
//! | [`precise_tanh`] | 3 units in the last place | [`SoftCap`](super::SoftCap), whose numbers are compared with each other |
//!
//! [`tanh`] is (1 − e) / (1 + e) with e an `exp`, which loses the digits of small numbers. [`precise_tanh`] keeps them by
//! computing e^r − 1 instead of e^r. The two are not merged, because logits would change in their last bits. The sampler's
//! weights use the library's `exp` in f64.

#![expect(clippy::inline_always, reason = "the loops must be compiled anew for each instruction set")]

/// Returns e^x within 3e-7 of its value, for x clamped to ±87: 2^n · e^r with n = round(x / ln 2), and e^r by its Taylor
/// series.
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    /// The number 1.5 · 2^23: adding and subtracting it rounds to a whole number.
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

/// Returns tanh x, within 2e-7.
#[inline(always)]
pub(super) fn tanh(x: f32) -> f32 {
    let e = exp(-2.0 * x.abs());
    ((1.0 - e) / (1.0 + e)).copysign(x)
}

/// Returns tanh x within 3 units in the last place: −t / (2 + t) with t = e^(−2|x|) − 1, and x's sign. With −2|x| = n ln 2 +
/// r, t is 2ⁿ (e^r − 1) + (2ⁿ − 1). The term e^r − 1 comes from its Taylor series up to r⁷, so it keeps its digits if x is
/// small.
#[inline(always)]
pub(super) fn precise_tanh(x: f32) -> f32 {
    /// The number 1.5 · 2^23: adding and subtracting it rounds to a whole number.
    const ROUND: f32 = 12_582_912.0;
    /// ln 2 in two parts; the first has so few bits that its multiples are exact.
    const LN2_HI: f32 = 0.693_359_4;
    const LN2_LO: f32 = -2.121_944_4e-4;
    let y = -2.0 * x.abs();
    // From here on tanh is 1 in f32. Not `max`, which would lose a NaN.
    let y = if y < -20.0 { -20.0 } else { y };
    let shifted = y * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = (y - n * LN2_HI) - n * LN2_LO;
    let mut p = 1.0f32 / 5040.0;
    p = p * r + 1.0 / 720.0;
    p = p * r + 1.0 / 120.0;
    p = p * r + 1.0 / 24.0;
    p = p * r + 1.0 / 6.0;
    p = p * r + 0.5;
    let less_one = p * (r * r) + r;
    // The low bits of `shifted` are n; the exponent's field starts at bit 23.
    let power = f32::from_bits(shifted.to_bits().wrapping_sub(ROUND.to_bits()).wrapping_add(127) << 23);
    let t = less_one * power + (power - 1.0);
    (-t / (2.0 + t)).copysign(x)
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

    /// Tries numbers of all sizes: one for each value of the exponent and the 11 upper bits of the fraction.
    #[test]
    fn precise_tanh_is_within_three_units_in_the_last_place() {
        for bits in (0..0x7f80_0000).step_by(1 << 12) {
            let x = f32::from_bits(bits);
            let exact = f64::from(x).tanh();
            let unit = f64::from((exact as f32).next_up() - exact as f32);
            let error = (f64::from(precise_tanh(x)) - exact).abs() / unit;
            assert!(error <= 3.0, "tanh {x:e}: {error} units");
            assert_eq!(precise_tanh(-x).to_bits(), (-precise_tanh(x)).to_bits(), "tanh is odd");
        }
        assert_eq!([f32::INFINITY, f32::NEG_INFINITY, 9.1].map(precise_tanh), [1.0, -1.0, 1.0]);
        assert!(precise_tanh(f32::NAN).is_nan());
    }
}
