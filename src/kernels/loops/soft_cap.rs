//! The cap of the final logits, x → cap · tanh(x / cap): one function for a model's tensors and for a sampler's candidates.
//!
//! Its tanh uses only additions, multiplications and one division, which IEEE 754 rounds exactly. So it gives the same bits
//! on every processor, with any mathematical library, one number at a time or 16.

use super::exp::precise_tanh;
use crate::kernels::cpu::for_each_target;

/// The cap: numbers x become cap · tanh(x / cap).
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct SoftCap(pub(crate) f32);

impl SoftCap {
    /// Returns the capped value of one number.
    pub(crate) fn of(self, x: f32) -> f32 {
        let mut number = [x];
        self.apply(&mut number);
        number[0]
    }

    /// Caps all numbers.
    pub(crate) fn apply(self, numbers: &mut [f32]) {
        cap_row(numbers, self.0);
    }

    /// Caps the logits of candidates.
    pub(crate) fn apply_to_candidates(self, candidates: &mut [(u32, f32)]) {
        cap_candidates(candidates, self.0);
    }
}

for_each_target! {
    /// Replaces x by cap · tanh(x / cap).
    fn cap_row(xs: &mut [f32], cap: f32) {
        let inverse = 1.0 / cap;
        for x in xs {
            *x = cap * precise_tanh(*x * inverse);
        }
    }

    /// Does the same to the second part of each entry.
    fn cap_candidates(entries: &mut [(u32, f32)], cap: f32) {
        let inverse = 1.0 / cap;
        for entry in entries {
            *entry = (entry.0, cap * precise_tanh(entry.1 * inverse));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_number_and_many_give_the_same_bits() {
        let numbers: Vec<f32> =
            (0..1000).map(|i| (i as f32 - 500.0) * 0.37).chain([f32::NEG_INFINITY, -0.0]).collect();
        let mut row = numbers.clone();
        SoftCap(30.0).apply(&mut row);
        let mut candidates: Vec<(u32, f32)> = (7..).zip(numbers.iter().copied()).collect();
        SoftCap(30.0).apply_to_candidates(&mut candidates);
        for (i, x) in numbers.iter().enumerate() {
            let one = 30.0 * precise_tanh(x * (1.0 / 30.0));
            assert_eq!(row[i].to_bits(), one.to_bits(), "{x}");
            assert_eq!((candidates[i].0, candidates[i].1.to_bits()), (i as u32 + 7, one.to_bits()), "{x}");
            assert_eq!(SoftCap(30.0).of(*x).to_bits(), one.to_bits(), "{x}");
        }
    }
}
