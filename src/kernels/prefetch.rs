//! Memory asked for before it is read.
//!
//! A processor fetches ahead by itself, but some not far enough, and as a rule not across the end of a 4 KiB page. On a Xeon all
//! products gain from being told. On AMD's Zen 4 a product of one row is fastest untold; one of eight rows, whose
//! instructions fill the processor's window, gains half (research/performance.md).

use super::cpu;
use std::sync::OnceLock;

/// How far in front of what is read, in bytes. On the Xeon 1 KiB is slower, and 4 or 8 KiB are not faster (research/performance.md).
#[cfg_attr(not(target_arch = "x86_64"), expect(dead_code, reason = "only x86-64 is asked"))]
const AHEAD: usize = 3072;

/// Bytes that come into a cache together.
const LINE: usize = 64;

/// Which cache takes what a reader asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ahead {
    /// Nothing is asked for.
    #[cfg_attr(not(target_arch = "x86_64"), expect(dead_code, reason = "of products in panels"))]
    Nothing,
    /// The first level.
    First,
    /// The second, which has room for more that is on its way than the first.
    Second,
}

impl Ahead {
    /// Returns what serves a reader on this processor.
    #[inline]
    pub(super) fn here() -> Self {
        static HERE: OnceLock<Ahead> = OnceLock::new();
        // Asking for the second level costs Zen 4 a third of what a product of one row reads.
        *HERE.get_or_init(|| if cpu::is_amd() { Self::First } else { Self::Second })
    }

    /// Returns what serves a product on this processor that multiplies each line by `rows` rows.
    #[cfg(target_arch = "x86_64")]
    #[inline]
    pub(super) fn of_product(rows: usize) -> Self {
        /// With fewer rows Zen 4 looks far enough ahead by itself.
        const MANY: usize = 4;
        match Self::here() {
            Self::First if rows < MANY => Self::Nothing,
            here => here,
        }
    }

    /// Asks for the line [`AHEAD`] of `at`, just before `at` is read. A line at a time: several at once fill the queue of what is
    /// on its way, and the reader waits. The address may be outside of any memory of the process: then nothing happens.
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
                // SAFETY: every x86-64 processor has the instruction, and it reads nothing that the program could see.
                Self::First => unsafe { _mm_prefetch::<_MM_HINT_T0>(at) },
                // SAFETY: as above.
                Self::Second => unsafe { _mm_prefetch::<_MM_HINT_T1>(at) },
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = (self, at);
    }

    /// Asks for what lies [`AHEAD`] of a row, for rows that are read one after the other.
    #[inline]
    pub(super) fn ask_row<T>(self, row: &[T]) {
        for line in row.chunks((LINE / size_of::<T>()).max(1)) {
            self.ask(line.as_ptr());
        }
    }
}
