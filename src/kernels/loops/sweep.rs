//! Reads memory at full speed, to measure how fast weights can be read at all.

use crate::kernels::cpu::for_each_target;
use crate::kernels::prefetch::Ahead;

for_each_target! {
    /// Returns the wrapping sum of the whole 8-byte words. It reads the bytes and does next to nothing
    /// else.
    pub(crate) fn sum_of_words(bytes: &[u8]) -> u64 {
        let ahead = Ahead::here();
        let mut sums = [0u64; 64];
        for line in bytes.as_chunks::<8>().0.as_chunks::<64>().0 {
            ahead.ask_row(line);
            for (sum, word) in sums.iter_mut().zip(line) {
                *sum = sum.wrapping_add(u64::from_ne_bytes(*word));
            }
        }
        sums.iter().fold(0, |a, b| a.wrapping_add(*b))
    }
}
