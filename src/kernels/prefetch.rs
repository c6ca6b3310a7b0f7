//! Prefetching: asks for memory before it is read.
//!
//! A processor prefetches by itself, but some not far enough, and usually not across the end of a 4 KiB page. On a Xeon all products
//! gain from prefetch instructions, and so do those on AMD's Zen 3. On Zen 4 a product of one row is fastest without them. A
//! product of eight rows, whose instructions fill the processor's window, gains half (research/performance.md).

use super::cpu::{self, Level};
use std::sync::OnceLock;

/// Distance in bytes from what is read to what is prefetched. On the Xeon 1 KiB is slower, and 4 or 8 KiB are not faster
/// (research/performance.md).
#[cfg_attr(not(target_arch = "x86_64"), expect(dead_code, reason = "only x86-64 is asked"))]
const AHEAD: usize = 3072;

/// Number of bytes that come into a cache together.
const LINE: usize = 64;

/// Cache into which a reader prefetches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ahead {
    /// No prefetching.
    #[cfg_attr(not(target_arch = "x86_64"), expect(dead_code, reason = "of products in panels"))]
    Nothing,
    /// The first level.
    First,
    /// The second level, which has more room than the first for lines that are on their way.
    Second,
}

impl Ahead {
    /// Returns the best setting for a reader on this processor.
    #[inline]
    pub(super) fn here() -> Self {
        static HERE: OnceLock<Ahead> = OnceLock::new();
        // On Zen 4, prefetching into the second level costs a product of one row a third of its read rate.
        // Zen 3, which has no AVX-512, gains from it as the Xeon does.
        let like_zen4 = || cpu::is_amd() && Level::best() >= Level::Avx512;
        *HERE.get_or_init(|| if like_zen4() { Self::First } else { Self::Second })
    }

    /// Returns the best setting for a product that multiplies each line by `rows` rows, where [`here`](Self::here) is
    /// `Second` or not. A kernel gets both as constants: a choice at each line would keep the compiler from loading
    /// each line where it is used (research/performance.md).
    #[cfg(target_arch = "x86_64")]
    pub(super) const fn of_product(rows: usize, second: bool) -> Self {
        /// With fewer rows, Zen 4 itself looks far enough ahead.
        const MANY: usize = 4;
        match (second, rows) {
            (true, _) => Self::Second,
            (false, MANY..) => Self::First,
            (false, _) => Self::Nothing,
        }
    }

    /// Prefetches the line [`AHEAD`] of `at`, just before `at` is read. Only one line at a time: several would fill the queue of
    /// pending lines, and the reader would wait. The address may be outside the memory of the process; then nothing happens.
    #[cfg_attr(
        target_arch = "x86_64",
        expect(unsafe_code, reason = "an instruction without a safe function")
    )]
    #[inline(always)]
    pub(super) fn ask<T>(self, at: *const T) {
        #[cfg(target_arch = "x86_64")]
        {
            use std::arch::x86_64::{_MM_HINT_T0, _MM_HINT_T1, _mm_prefetch};
            let at = at.cast::<i8>().wrapping_add(AHEAD);
            match self {
                Self::Nothing => {}
                // SAFETY: every x86-64 processor has the instruction, and it has no effect that the program could see.
                Self::First => unsafe { _mm_prefetch::<_MM_HINT_T0>(at) },
                // SAFETY: as above.
                Self::Second => unsafe { _mm_prefetch::<_MM_HINT_T1>(at) },
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = (self, at);
    }

    /// Prefetches what is [`AHEAD`] of a row, for rows that are read one after the other.
    #[inline]
    pub(super) fn ask_row<T>(self, row: &[T]) {
        for line in row.chunks((LINE / size_of::<T>()).max(1)) {
            self.ask(line.as_ptr());
        }
    }
}
