//! One position's logits, as the model computes them and the sampler reads them.

use crate::kernels::SoftCap;

/// The logits of one position, one entry for each token of the vocabulary, before or after the final soft cap.
///
/// The cap is monotone, so logits can be compared before it is applied. Values are always returned capped.
#[derive(Clone, Copy, Debug)]
pub struct Logits<'a> {
    values: &'a [f32],
    cap: Option<SoftCap>,
    banned: Option<&'a TokenSet>,
}

impl<'a> Logits<'a> {
    /// Takes logits from the head, and the cap that is to be applied, if the model has one.
    pub fn before_cap(values: &'a [f32], cap: Option<f32>) -> Self {
        Self { values, cap: cap.map(SoftCap), banned: None }
    }

    /// Takes logits that are final.
    pub fn capped(values: &'a [f32]) -> Self {
        Self::before_cap(values, None)
    }

    /// Returns the same logits, except that those of the tokens `banned` count as −∞.
    pub fn without(self, banned: &'a TokenSet) -> Self {
        Self { banned: (!banned.is_empty()).then_some(banned), ..self }
    }

    /// Returns the same logits, without banned tokens.
    pub(crate) fn of_all_tokens(self) -> Self {
        Self { banned: None, ..self }
    }

    /// Returns the number of tokens.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Returns whether there are no tokens.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Returns the tokens whose logits count as −∞, if there are any.
    pub(crate) fn banned(&self) -> Option<&'a TokenSet> {
        self.banned
    }

    /// Returns the final logit for a value of [`uncapped`](Self::uncapped).
    pub(crate) fn of(&self, value: f32) -> f32 {
        self.cap.map_or(value, |cap| cap.of(value))
    }

    /// Turns the values of candidates into final logits.
    pub(crate) fn finish(&self, candidates: &mut [(u32, f32)]) {
        if let Some(cap) = self.cap {
            cap.apply_to_candidates(candidates);
        }
    }

    /// Turns values into final logits.
    pub(crate) fn finish_values(&self, values: &mut [f32]) {
        if let Some(cap) = self.cap {
            cap.apply(values);
        }
    }

    /// Returns the values to compare by, including those of banned tokens. They are in the order of the final
    /// logits, except for pairs that the cap's rounding makes equal or exchanges.
    pub(crate) fn uncapped(&self) -> &'a [f32] {
        self.values
    }

    /// Returns the smallest value whose final logit could be as large as that of some value from `value` on.
    pub(crate) fn reach(&self, value: f32) -> f32 {
        /// Bound for the rounding error of a final logit, as a share of the cap: more than a few units of 2^-24,
        /// three of them from tanh.
        const ROUNDING: f64 = 1.0 / (1 << 20) as f64;
        let Some(SoftCap(cap)) = self.cap else { return value };
        let level = (f64::from(value) / f64::from(cap)).tanh() - 2.0 * ROUNDING;
        if level <= -1.0 {
            return f32::NEG_INFINITY;
        }
        ((f64::from(cap) * level.atanh()) as f32).next_down()
    }
}

/// A set of tokens, stored as ranges of consecutive ids: a vocabulary's unused tokens are thousands of ids in a few
/// ranges.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TokenSet {
    /// First and last id of each range, in ascending order.
    runs: Vec<(u32, u32)>,
    len: usize,
}

impl TokenSet {
    /// Returns whether the token is in the set.
    pub fn contains(&self, token: u32) -> bool {
        let run = self.runs.partition_point(|run| run.1 < token);
        self.runs.get(run).is_some_and(|run| run.0 <= token)
    }

    /// Returns the tokens in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.runs.iter().flat_map(|&(first, last)| first..=last)
    }

    /// Returns the number of tokens.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Returns whether the set is empty.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl FromIterator<u32> for TokenSet {
    fn from_iter<I: IntoIterator<Item = u32>>(tokens: I) -> Self {
        let mut ids: Vec<u32> = tokens.into_iter().collect();
        ids.sort_unstable();
        ids.dedup();
        let mut runs: Vec<(u32, u32)> = Vec::new();
        for &id in &ids {
            match runs.last_mut() {
                Some((_, last)) if *last + 1 == id => *last = id,
                _ => runs.push((id, id)),
            }
        }
        Self { runs, len: ids.len() }
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
    /// Takes rows of `vocab` logits each, one after the other, and the cap that is to be applied to them.
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
    /// Panics if row `index` does not exist.
    pub fn row(&self, index: usize) -> Logits<'a> {
        Logits::before_cap(&self.values[index * self.vocab..(index + 1) * self.vocab], self.cap)
    }
}
