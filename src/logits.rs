//! One position's logits, between the model that computes them and the sampler that reads them.

use crate::kernels::SoftCap;

/// The logits of one position, one entry a token of the vocabulary, before or after the final soft cap.
///
/// The cap is monotone, so logits can be compared before it. Their values come out capped.
#[derive(Clone, Copy, Debug)]
pub struct Logits<'a> {
    values: &'a [f32],
    cap: Option<SoftCap>,
    banned: &'a [u32],
}

impl<'a> Logits<'a> {
    /// Logits as the head gave them, and the cap that they are to go through, if the model has one.
    pub fn before_cap(values: &'a [f32], cap: Option<f32>) -> Self {
        Self { values, cap: cap.map(SoftCap), banned: &[] }
    }

    /// Logits that are final.
    pub fn capped(values: &'a [f32]) -> Self {
        Self::before_cap(values, None)
    }

    /// The same logits, but for the tokens `banned`, in ascending order, whose logits count as −∞.
    pub fn without(self, banned: &'a [u32]) -> Self {
        debug_assert!(banned.is_sorted());
        Self { banned, ..self }
    }

    /// Returns the number of tokens.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Returns whether there is no token.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The tokens whose logits count as −∞, in ascending order.
    pub(crate) fn banned(&self) -> &'a [u32] {
        self.banned
    }

    /// The final logit that a value of [`uncapped`](Self::uncapped) stands for.
    pub(crate) fn of(&self, value: f32) -> f32 {
        self.cap.map_or(value, |cap| cap.of(value))
    }

    /// Makes final logits of the values of candidates.
    pub(crate) fn finish(&self, candidates: &mut [(u32, f32)]) {
        if let Some(cap) = self.cap {
            cap.apply_to_candidates(candidates);
        }
    }

    /// Makes final logits of values.
    pub(crate) fn finish_values(&self, values: &mut [f32]) {
        if let Some(cap) = self.cap {
            cap.apply(values);
        }
    }

    /// The values to compare by: the order of the final logits, but for pairs that the cap's rounding makes equal or
    /// exchanges. Those of banned tokens are among them.
    pub(crate) fn uncapped(&self) -> &'a [f32] {
        self.values
    }

    /// The least value whose final logit could be as great as that of some value from `value` on.
    pub(crate) fn reach(&self, value: f32) -> f32 {
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

/// The logits of several positions, one row each.
#[derive(Clone, Copy, Debug)]
pub struct LogitRows<'a> {
    values: &'a [f32],
    vocab: usize,
    cap: Option<f32>,
}

impl<'a> LogitRows<'a> {
    /// Rows of `vocab` logits each, one after the other, and the cap that they are to go through.
    pub fn new(values: &'a [f32], vocab: usize, cap: Option<f32>) -> Self {
        debug_assert!(values.len().is_multiple_of(vocab.max(1)));
        Self { values, vocab, cap }
    }

    /// Returns the number of rows.
    pub fn len(&self) -> usize {
        self.values.len() / self.vocab.max(1)
    }

    /// Returns whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns row `index`.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn row(&self, index: usize) -> Logits<'a> {
        Logits::before_cap(&self.values[index * self.vocab..(index + 1) * self.vocab], self.cap)
    }
}
