//! Rotary embedding of a head, and its inverse.

use crate::kernels::cpu::for_each_target;

for_each_target! {
    /// Rotates one head in place: (a, b) becomes (a·cos − b·sin, b·cos + a·sin), where a and b are its
    /// two halves.
    pub(crate) fn rotate_head(head: &mut [f32], cos: &[f32], sin: &[f32]) {
        let (a, b) = head.split_at_mut(cos.len());
        for (((a, b), c), s) in a.iter_mut().zip(b).zip(cos).zip(sin) {
            let (x, y) = (*a, *b);
            *a = x * *c - y * *s;
            *b = y * *c + x * *s;
        }
    }

    /// Inverts [`rotate_head`]. This is also its gradient.
    pub(crate) fn rotate_head_back(head: &mut [f32], cos: &[f32], sin: &[f32]) {
        let (a, b) = head.split_at_mut(cos.len());
        for (((a, b), c), s) in a.iter_mut().zip(b).zip(cos).zip(sin) {
            let (x, y) = (*a, *b);
            *a = x * *c + y * *s;
            *b = y * *c - x * *s;
        }
    }
}
