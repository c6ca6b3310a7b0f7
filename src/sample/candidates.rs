//! The tokens that are still in play, with their logits.

use std::cmp::Ordering;

use wmdetect::scheme::{Distribution, DistributionError};

use super::SampleError;

/// Candidate tokens and their logits, most likely first; equal logits in the order of ids.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidates {
    pub(super) entries: Vec<(u32, f32)>,
}

/// Greater logits first, then smaller ids: a total order, since NaN is refused before.
#[allow(clippy::trivially_copy_pass_by_ref)] // the signature that sorting asks for
fn by_rank(a: &(u32, f32), b: &(u32, f32)) -> Ordering {
    b.1.total_cmp(&a.1).then(a.0.cmp(&b.0))
}

impl Candidates {
    /// The `k` most likely tokens of the vocabulary, all if `k` is 0: one pass, without sorting the rest.
    ///
    /// # Errors
    /// [`SampleError::Nan`].
    pub fn most_likely(logits: &[f32], k: usize) -> Result<Self, SampleError> {
        let k = if k == 0 { logits.len() } else { k.min(logits.len()) };
        // Holds the best k and some that came since; cut back to k whenever it is full.
        let mut entries: Vec<(u32, f32)> = Vec::with_capacity((2 * k).min(logits.len()));
        let mut threshold = f32::NEG_INFINITY;
        for (token, &logit) in (0u32..).zip(logits) {
            if logit.is_nan() {
                return Err(SampleError::Nan { token });
            }
            if logit > threshold || entries.len() < k {
                if entries.len() >= 2 * k {
                    threshold = cut(&mut entries, k);
                    if logit <= threshold {
                        continue;
                    }
                }
                entries.push((token, logit));
            }
        }
        if entries.len() > k {
            cut(&mut entries, k);
        }
        entries.sort_unstable_by(by_rank);
        Ok(Self { entries })
    }

    /// Tokens and logits, most likely first.
    pub fn entries(&self) -> &[(u32, f32)] {
        &self.entries
    }

    /// The softmax of the candidates.
    pub fn into_distribution(self) -> Result<Distribution, DistributionError> {
        let (tokens, logits): (Vec<u32>, Vec<f32>) = self.entries.into_iter().unzip();
        Distribution::from_logits(tokens, &logits)
    }
}

/// Keeps the `k` best and returns the worst logit among them. Those that come later with the same logit have a greater
/// id, so they rank lower and can be passed over.
fn cut(entries: &mut Vec<(u32, f32)>, k: usize) -> f32 {
    let (_, kth, _) = entries.select_nth_unstable_by(k - 1, by_rank);
    let threshold = kth.1;
    entries.truncate(k);
    threshold
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn one_pass_equals_a_full_sort(
            logits in prop::collection::vec((-8i8..8).prop_map(f32::from), 1..200), k in 0usize..40,
        ) {
            let mut sorted: Vec<(u32, f32)> = (0u32..).zip(logits.iter().copied()).collect();
            sorted.sort_by(by_rank);
            if k > 0 {
                sorted.truncate(k);
            }
            prop_assert_eq!(Candidates::most_likely(&logits, k).unwrap().entries, sorted);
        }
    }

    #[test]
    fn a_nan_anywhere_is_an_error() {
        assert_eq!(Candidates::most_likely(&[3.0, 2.0, f32::NAN], 1), Err(SampleError::Nan { token: 2 }));
    }
}
