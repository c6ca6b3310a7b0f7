//! One position's logits and what is still to be done to them.

use crate::kernels::SoftCap;

/// The logits of one position, one entry a token of the vocabulary, before or after the final soft cap. They can be
/// compared as they are, since the cap is monotone; their values come out capped.
#[derive(Clone, Copy, Debug)]
pub struct Logits<'a> {
    values: &'a [f32],
    cap: Option<SoftCap>,
}

impl<'a> Logits<'a> {
    /// Logits as the head gave them, and the cap that they are to go through, if the model has one.
    pub fn before_cap(values: &'a [f32], cap: Option<SoftCap>) -> Self {
        Self { values, cap }
    }

    /// Logits that are final.
    pub fn capped(values: &'a [f32]) -> Self {
        Self { values, cap: None }
    }

    /// Number of tokens.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether there is no token.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The final logit that a value of [`uncapped`](Self::uncapped) stands for.
    pub(super) fn of(&self, value: f32) -> f32 {
        self.cap.map_or(value, |cap| cap.of(value))
    }

    /// Makes final logits of the values of candidates.
    pub(super) fn finish(&self, candidates: &mut [(u32, f32)]) {
        if let Some(cap) = self.cap {
            cap.apply_to_candidates(candidates);
        }
    }

    /// The values to compare by: the order of the final logits, but for pairs that the cap's rounding makes equal or
    /// exchanges.
    pub(super) fn uncapped(&self) -> &'a [f32] {
        self.values
    }

    /// The least value whose final logit could be as great as that of some value from `value` on.
    pub(super) fn reach(&self, value: f32) -> f32 {
        /// More than the rounding error of a final logit as a share of the cap: a few units of 2^-24, three of them
        /// from tanh.
        const ROUNDING: f64 = 1.0 / (1 << 20) as f64;
        let Some(SoftCap(cap)) = self.cap else { return value };
        let level = (f64::from(value) / f64::from(cap)).tanh() - 2.0 * ROUNDING;
        if level <= -1.0 {
            return f32::NEG_INFINITY;
        }
        ((f64::from(cap) * level.atanh()) as f32).next_down()
    }
}
