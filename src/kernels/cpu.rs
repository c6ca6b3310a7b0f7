//! Capabilities of this processor: the one place that decides which build of a kernel runs.

#[cfg(target_arch = "x86_64")]
use std::sync::OnceLock;

/// Instruction sets that kernels are compiled for. Each includes those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(not(target_arch = "x86_64"), allow(dead_code, reason = "the others are those of x86-64"))]
pub enum Level {
    /// Instructions that every processor of the target has.
    Plain,
    /// AVX2 with FMA and half floats.
    Avx2,
    /// AVX-512 with bytes, words, 32-bit and 64-bit lanes, and shorter vectors (BW, DQ, VL).
    Avx512,
    /// AVX-512 with VNNI.
    Vnni,
}

impl Level {
    /// Returns the highest level that this processor has.
    #[cfg(target_arch = "x86_64")]
    #[inline]
    pub fn best() -> Self {
        static BEST: OnceLock<Level> = OnceLock::new();
        *BEST.get_or_init(|| {
            let avx2 = std::is_x86_feature_detected!("avx2")
                && std::is_x86_feature_detected!("fma")
                && std::is_x86_feature_detected!("f16c");
            let avx512 = std::is_x86_feature_detected!("avx512f")
                && std::is_x86_feature_detected!("avx512bw")
                && std::is_x86_feature_detected!("avx512dq")
                && std::is_x86_feature_detected!("avx512vl");
            match (avx2, avx512, std::is_x86_feature_detected!("avx512vnni")) {
                (true, true, true) => Self::Vnni,
                (true, true, false) => Self::Avx512,
                (true, false, _) => Self::Avx2,
                (false, ..) => Self::Plain,
            }
        })
    }

    /// Returns the highest level that this processor has.
    #[cfg(not(target_arch = "x86_64"))]
    pub fn best() -> Self {
        Self::Plain
    }

    /// Returns whether this processor has the instructions.
    pub fn is_available(self) -> bool {
        self <= Self::best()
    }

    /// Returns whether there are kernels for matrices in [panels](super::panels).
    pub fn has_panel_kernels(self) -> bool {
        self >= Self::Avx2
    }
}

/// Returns whether the processor is from AMD, or from Hygon, which uses AMD's design.
#[cfg(target_arch = "x86_64")]
pub(super) fn is_amd() -> bool {
    let leaf = std::arch::x86_64::__cpuid(0);
    let name = [leaf.ebx, leaf.edx, leaf.ecx].map(u32::to_le_bytes);
    matches!(name.as_flattened(), b"AuthenticAMD" | b"HygonGenuine")
}

/// Returns whether the processor is from AMD, or from Hygon, which uses AMD's design.
#[cfg(not(target_arch = "x86_64"))]
pub(super) fn is_amd() -> bool {
    false
}

/// Returns whether the processor has a matrix unit for bf16 (AMX) and the system lets this process use it.
#[cfg(target_arch = "x86_64")]
pub(crate) fn has_matrix_unit() -> bool {
    use std::arch::x86_64::__cpuid_count;
    /// Bits of AMX-BF16 and AMX-TILE in EDX of leaf 7 (Intel's Software Developer's Manual, CPUID).
    const AMX: u32 = 1 << 22 | 1 << 24;
    static AVAILABLE: OnceLock<bool> = OnceLock::new();
    *AVAILABLE.get_or_init(|| {
        Level::Vnni.is_available()
            && std::is_x86_feature_detected!("avx512bf16")
            && __cpuid_count(7, 0).edx & AMX == AMX
            && may_use_tiles()
    })
}

/// Asks Linux for the tiles of the matrix unit. Linux saves their state only for processes that have asked.
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
#[expect(unsafe_code, reason = "a system call without a wrapper")]
fn may_use_tiles() -> bool {
    /// Constants `ARCH_REQ_XCOMP_PERM` and `XFEATURE_XTILEDATA` of arch/x86/include.
    const REQUEST: libc::c_long = 0x1023;
    const TILE_DATA: libc::c_long = 18;
    // SAFETY: the call takes two numbers and reads and writes no memory of this process.
    unsafe { libc::syscall(libc::SYS_arch_prctl, REQUEST, TILE_DATA) == 0 }
}

#[cfg(all(target_arch = "x86_64", not(target_os = "linux")))]
fn may_use_tiles() -> bool {
    false
}

/// Defines a function three times, for AVX-512, for AVX2 with FMA and for the target's basic instructions. Picks one
/// at run time.
macro_rules! for_each_target {
    ($($(#[$doc:meta])* $vis:vis fn $name:ident($($arg:ident: $ty:ty),* $(,)?) $(-> $ret:ty)? $body:block)*) => {
        mod body {
            #[allow(unused_imports, reason = "some loops need nothing")]
            use super::*;
            $(
                #[inline(always)]
                pub(super) fn $name($($arg: $ty),*) $(-> $ret)? $body
            )*
        }
        #[cfg(target_arch = "x86_64")]
        mod avx512 {
            use super::*;
            $(
                #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
                pub(super) fn $name($($arg: $ty),*) $(-> $ret)? { body::$name($($arg),*) }
            )*
        }
        #[cfg(target_arch = "x86_64")]
        mod avx2 {
            use super::*;
            $(
                #[target_feature(enable = "avx2,fma")]
                pub(super) fn $name($($arg: $ty),*) $(-> $ret)? { body::$name($($arg),*) }
            )*
        }
        $(
            $(#[$doc])*
            #[cfg_attr(target_arch = "x86_64", expect(unsafe_code, reason = "calls the build for the processor"))]
            $vis fn $name($($arg: $ty),*) $(-> $ret)? {
                #[cfg(target_arch = "x86_64")]
                match $crate::kernels::cpu::Level::best() {
                    // SAFETY: the processor has what the function was compiled for, as `best` has checked; the
                    // functions have no other condition.
                    $crate::kernels::cpu::Level::Vnni | $crate::kernels::cpu::Level::Avx512 => {
                        return unsafe { avx512::$name($($arg),*) }
                    }
                    // SAFETY: as above.
                    $crate::kernels::cpu::Level::Avx2 => return unsafe { avx2::$name($($arg),*) },
                    $crate::kernels::cpu::Level::Plain => {}
                }
                body::$name($($arg),*)
            }
        )*
    };
}

pub(super) use for_each_target;
