//! The logistic function with the same bits on every machine. The C library's `exp` differs between platforms in the
//! last digit. That could move a pattern of g-bits across a cell's border between `train` and `score`.

use std::f64::consts::LOG2_E;

/// ln 2 = `LN2_HIGH` + `LN2_LOW`, the first with enough trailing zeros that its product with an exponent is exact.
const LN2_HIGH: f64 = f64::from_bits(0x3FE6_2E42_FEE0_0000);
const LN2_LOW: f64 = f64::from_bits(0x3DEA_39EF_3579_3C76);

/// 1.5 · 2^52: adding it rounds a small number to an integer, which is then in the sum's low bits.
const ROUND: f64 = 6_755_399_441_055_744.0;

/// 1/k! for k = 13 down to 0.
const INVERSE_FACTORIALS: [f64; 14] = [
    1.0 / 6_227_020_800.0,
    1.0 / 479_001_600.0,
    1.0 / 39_916_800.0,
    1.0 / 3_628_800.0,
    1.0 / 362_880.0,
    1.0 / 40_320.0,
    1.0 / 5_040.0,
    1.0 / 720.0,
    1.0 / 120.0,
    1.0 / 24.0,
    1.0 / 6.0,
    0.5,
    1.0,
    1.0,
];

/// Returns e^x within a few units in the last place; x is clamped to [−700, 700]. Uses only +, −, × and shifts.
#[inline]
fn exp(x: f64) -> f64 {
    let x = x.clamp(-700.0, 700.0);
    let shifted = x * LOG2_E + ROUND;
    let n = shifted - ROUND;
    // |r| ≤ ln 2 / 2, where the rest of the series after x^13/13! is below 1e-17.
    let r = (x - n * LN2_HIGH) - n * LN2_LOW;
    let series = INVERSE_FACTORIALS.iter().fold(0.0, |sum, c| sum * r + c);
    series * f64::from_bits((shifted.to_bits() << 52).wrapping_add(1023 << 52))
}

/// Returns 1 / (1 + e^−z).
#[inline]
pub(super) fn sigmoid(z: f64) -> f64 {
    1.0 / (1.0 + exp(-z))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_the_c_library() {
        for i in -70_000..=70_000 {
            let x = f64::from(i) / 100.0 + 0.003;
            let relative = exp(x) / x.clamp(-700.0, 700.0).exp() - 1.0;
            assert!(relative.abs() < 1e-15, "{x}: {relative:e}");
        }
        assert_eq!(exp(0.0), 1.0);
        assert_eq!((sigmoid(f64::MAX), sigmoid(0.0)), (1.0, 0.5));
        assert!(sigmoid(-1e300) < 1e-300);
    }

    /// Another order of the arithmetic would change these bits, and stored null laws depend on them.
    #[test]
    fn bits_are_pinned() {
        let bits = [-3.7, -0.1, 1.0, 2.5].map(|z| sigmoid(z).to_bits());
        assert_eq!(bits, PINNED, "{bits:#018X?}");
    }

    const PINNED: [u64; 4] =
        [0x3F98_B4C0_FFC1_4FBE, 0x3FDE_66BD_B1AC_A090, 0x3FE7_64D4_F5D5_A2BD, 0x3FED_9291_DDB5_96F8];
}
