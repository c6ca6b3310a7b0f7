//! The exponentials of a softmax, many at a time.
//!
//! They use only additions and multiplications, which IEEE 754 rounds. So the bits are the same on every processor,
//! whatever its mathematical library and however many numbers fit a register.

#![expect(clippy::inline_always, reason = "the loop must be compiled anew for each instruction set")]

/// Returns e^x for x ≤ 0 within two units in the last place, and 0 below −708. It is 2ⁿ e^r with n = round(x / ln 2),
/// and e^r comes from its Taylor series up to r¹³.
#[inline(always)]
fn exp(x: f64) -> f64 {
    /// 1.5 · 2^52: added and taken away again, it rounds to a whole number.
    const ROUND: f64 = 6_755_399_441_055_744.0;
    /// ln 2 in two parts; the first has so few bits that its multiples are exact.
    const LN2_HI: f64 = 0.693_147_180_369_123_8;
    const LN2_LO: f64 = 1.908_214_929_270_587_7e-10;
    let shifted = x * std::f64::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = (x - n * LN2_HI) - n * LN2_LO;
    let mut p = 1.0 / 6_227_020_800.0;
    p = p * r + 1.0 / 479_001_600.0;
    p = p * r + 1.0 / 39_916_800.0;
    p = p * r + 1.0 / 3_628_800.0;
    p = p * r + 1.0 / 362_880.0;
    p = p * r + 1.0 / 40_320.0;
    p = p * r + 1.0 / 5_040.0;
    p = p * r + 1.0 / 720.0;
    p = p * r + 1.0 / 120.0;
    p = p * r + 1.0 / 24.0;
    p = p * r + 1.0 / 6.0;
    p = p * r + 0.5;
    p = 1.0 + (r + p * (r * r));
    // The low bits of `shifted` are n; the exponent's field starts at bit 52.
    let power = f64::from_bits(shifted.to_bits().wrapping_sub(ROUND.to_bits()).wrapping_add(1023) << 52);
    if x < -708.0 { 0.0 } else { p * power }
}

#[inline(always)]
fn each(xs: &mut [f64], max: f64) {
    for x in xs {
        *x = exp(*x - max);
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512dq")]
fn each_avx512(xs: &mut [f64], max: f64) {
    each(xs, max);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn each_avx2(xs: &mut [f64], max: f64) {
    each(xs, max);
}

/// Replaces every x, which is at most `max`, by e^(x − max).
#[cfg_attr(target_arch = "x86_64", expect(unsafe_code, reason = "calls the build for the processor"))]
pub(super) fn exponentials(xs: &mut [f64], max: f64) {
    #[cfg(target_arch = "x86_64")]
    {
        if std::is_x86_feature_detected!("avx512f") && std::is_x86_feature_detected!("avx512dq") {
            // SAFETY: the processor has what the function was compiled for; there is no other condition.
            return unsafe { each_avx512(xs, max) };
        }
        if std::is_x86_feature_detected!("avx2") {
            // SAFETY: as above.
            return unsafe { each_avx2(xs, max) };
        }
    }
    each(xs, max);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exponentials_are_within_two_units_in_the_last_place() {
        let numbers: Vec<f64> = (0..200_003).map(|i| 5.0 - f64::from(i) * 0.003_54).collect();
        let mut found = numbers.clone();
        exponentials(&mut found, 5.0);
        for (x, found) in numbers.iter().zip(&found) {
            let exact = (x - 5.0).exp();
            assert!(x - 5.0 < -708.0 || (found - exact).abs() <= 2.0 * f64::EPSILON * exact, "{x}");
            assert_eq!(found.to_bits(), exp(x - 5.0).to_bits(), "one number and many, {x}");
        }
        let mut ends = [0.0, f64::NEG_INFINITY, -708.5];
        exponentials(&mut ends, 0.0);
        assert_eq!(ends, [1.0, 0.0, 0.0]);
    }
}
