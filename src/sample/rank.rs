//! The order of candidates.

use std::cmp::Ordering;

/// Orders candidates by their logits, the largest first, and equal logits by their ids, the smallest first. The order is
/// total: NaN is refused before anything is sorted.
#[allow(clippy::trivially_copy_pass_by_ref)] // the signature that sorting requires
pub(super) fn by_rank(a: &(u32, f32), b: &(u32, f32)) -> Ordering {
    b.1.total_cmp(&a.1).then(a.0.cmp(&b.0))
}
