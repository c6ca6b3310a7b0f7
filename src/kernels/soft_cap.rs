//! The cap of the final logits, x → cap · tanh(x / cap): one function for a model's tensors and for a sampler's candidates.
//!
//! Its tanh is made of additions, multiplications and one division that IEEE 754 rounds, and of nothing else, so it gives
//! the same bits on every processor, whatever its mathematical library, one number at a time or 16.

use super::elementwise::for_each_target;

/// Numbers x become cap · tanh(x / cap).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SoftCap(pub f32);

impl SoftCap {
    /// The capped value of one number.
    pub fn of(self, x: f32) -> f32 {
        let mut number = [x];
        self.apply(&mut number);
        number[0]
    }

    /// Caps all numbers.
    pub fn apply(self, numbers: &mut [f32]) {
        cap_row(numbers, self.0);
    }

    /// Caps the logits of candidates.
    pub fn apply_to_candidates(self, candidates: &mut [(u32, f32)]) {
        cap_candidates(candidates, self.0);
    }
}

/// tanh x within 3 units in the last place: −t / (2 + t) with t = e^(−2|x|) − 1, and x's sign. With −2|x| = n ln 2 + r,
/// t is 2ⁿ (e^r − 1) + (2ⁿ − 1), e^r − 1 by its Taylor series up to r⁷, so it keeps its digits where x is small.
#[inline(always)]
fn tanh(x: f32) -> f32 {
    /// 1.5 · 2^23: added and taken away again, it rounds to a whole number.
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

for_each_target! {
    /// x becomes cap · tanh(x / cap).
    pub fn cap_row(xs: &mut [f32], cap: f32) {
        let inverse = 1.0 / cap;
        for x in xs {
            *x = cap * tanh(*x * inverse);
        }
    }

    /// The same of the second part of each entry.
    pub fn cap_candidates(entries: &mut [(u32, f32)], cap: f32) {
        let inverse = 1.0 / cap;
        for entry in entries {
            *entry = (entry.0, cap * tanh(entry.1 * inverse));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of all sizes of numbers, every one of the f32 numbers that share an exponent's 11 upper bits.
    #[test]
    fn tanh_is_within_three_units_in_the_last_place() {
        for bits in (0..0x7f80_0000).step_by(1 << 12) {
            let x = f32::from_bits(bits);
            let exact = f64::from(x).tanh();
            let unit = f64::from((exact as f32).next_up() - exact as f32);
            let error = (f64::from(tanh(x)) - exact).abs() / unit;
            assert!(error <= 3.0, "tanh {x:e}: {error} units");
            assert_eq!(tanh(-x).to_bits(), (-tanh(x)).to_bits(), "tanh is odd");
        }
        assert_eq!([f32::INFINITY, f32::NEG_INFINITY, 9.1].map(tanh), [1.0, -1.0, 1.0]);
        assert!(tanh(f32::NAN).is_nan());
    }

    #[test]
    fn one_number_and_many_give_the_same_bits() {
        let numbers: Vec<f32> =
            (0..1000).map(|i| (i as f32 - 500.0) * 0.37).chain([f32::NEG_INFINITY, -0.0]).collect();
        let mut row = numbers.clone();
        SoftCap(30.0).apply(&mut row);
        let mut candidates: Vec<(u32, f32)> = (7..).zip(numbers.iter().copied()).collect();
        SoftCap(30.0).apply_to_candidates(&mut candidates);
        for (i, x) in numbers.iter().enumerate() {
            let one = 30.0 * tanh(x * (1.0 / 30.0));
            assert_eq!(row[i].to_bits(), one.to_bits(), "{x}");
            assert_eq!((candidates[i].0, candidates[i].1.to_bits()), (i as u32 + 7, one.to_bits()), "{x}");
            assert_eq!(SoftCap(30.0).of(*x).to_bits(), one.to_bits(), "{x}");
        }
    }
}
