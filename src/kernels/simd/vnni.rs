//! The operations in AVX-512 with VNNI: a vector is one register.

#![expect(clippy::cast_ptr_alignment, reason = "loads that need no alignment take such pointers")]

use crate::kernels::panels::VECTOR;
use crate::kernels::prefetch::Ahead;
use half::bf16;
use std::arch::x86_64::{
    __m128i, __m256i, __m512, __m512i, _mm_add_ps, _mm_add_ss, _mm_cvtss_f32, _mm_loadu_si128,
    _mm_movehdup_ps, _mm_movehl_ps, _mm256_add_ps, _mm256_castpd_ps, _mm256_castps256_ps128,
    _mm256_extractf128_ps, _mm256_loadu_si256, _mm512_add_epi32, _mm512_add_ps, _mm512_and_si512,
    _mm512_castps_pd, _mm512_castps512_ps256, _mm512_castsi512_ps, _mm512_cvtepi8_epi32, _mm512_cvtepi32_ps,
    _mm512_cvtepu8_epi32, _mm512_cvtepu16_epi32, _mm512_cvtph_ps, _mm512_dpbusd_epi32,
    _mm512_extractf64x4_pd, _mm512_fmadd_ps, _mm512_fnmadd_ps, _mm512_load_si512, _mm512_loadu_ps,
    _mm512_mul_ps, _mm512_or_si512, _mm512_set1_epi8, _mm512_set1_epi32, _mm512_set1_ps, _mm512_setzero_ps,
    _mm512_slli_epi16, _mm512_slli_epi32, _mm512_srli_epi16, _mm512_srli_epi32, _mm512_storeu_ps,
};

/// A vector of 64 bytes.
pub(in crate::kernels) type Bytes = __m512i;
/// A vector of 16 integers.
pub(in crate::kernels) type Ints = __m512i;
/// A vector of 16 floats.
pub(in crate::kernels) type Floats = __m512;

super::operations! { "avx512f,avx512bw,avx512vnni":
    /// Loads 64 bytes of weights at a multiple of 64, and prefetches later ones.
    fn load(numbers: *const u8, ahead: Ahead) -> Bytes {
        ahead.ask(numbers);
        _mm512_load_si512(numbers.cast())
    }
    /// Loads four inputs into all lanes.
    fn quad(values: *const i8) -> Bytes { _mm512_set1_epi32(values.cast::<i32>().read_unaligned()) }
    fn splat_byte(byte: u8) -> Bytes { _mm512_set1_epi8(byte as i8) }
    fn and(a: Bytes, b: Bytes) -> Bytes { _mm512_and_si512(a, b) }
    fn or(a: Bytes, b: Bytes) -> Bytes { _mm512_or_si512(a, b) }
    /// Shifts pairs of bytes.
    fn shift_right<const BITS: u32>(a: Bytes) -> Bytes { _mm512_srli_epi16::<BITS>(a) }
    /// Shifts pairs of bytes.
    fn shift_left<const BITS: u32>(a: Bytes) -> Bytes { _mm512_slli_epi16::<BITS>(a) }
    fn ints(x: i32) -> Ints { _mm512_set1_epi32(x) }
    fn add(a: Ints, b: Ints) -> Ints { _mm512_add_epi32(a, b) }
    /// Returns sum + Σ of four weights · inputs a lane.
    fn dot(sum: Ints, weights: Bytes, inputs: Bytes) -> Ints { _mm512_dpbusd_epi32(sum, weights, inputs) }
    /// Returns the start of [`dot_128`]: −128 Σ of the inputs, from the known −8 Σ.
    fn start_128(minus_8: i32) -> Ints { _mm512_slli_epi32::<4>(_mm512_set1_epi32(minus_8)) }
    /// Does the same as [`dot`], for weights of any size with a zero of 128.
    fn dot_128(sum: Ints, weights: Bytes, inputs: Bytes) -> Ints { _mm512_dpbusd_epi32(sum, weights, inputs) }
    /// Takes the byte that begins at bit BITS of each four bytes.
    fn nth_byte<const BITS: u32>(a: Bytes) -> Floats {
        _mm512_cvtepi32_ps(_mm512_and_si512(_mm512_srli_epi32::<BITS>(a), _mm512_set1_epi32(255)))
    }
    fn floats(x: Ints) -> Floats { _mm512_cvtepi32_ps(x) }
    fn zero() -> Floats { _mm512_setzero_ps() }
    fn splat(x: f32) -> Floats { _mm512_set1_ps(x) }
    fn mul(a: Floats, b: Floats) -> Floats { _mm512_mul_ps(a, b) }
    fn plus(a: Floats, b: Floats) -> Floats { _mm512_add_ps(a, b) }
    /// Returns a · b + c.
    fn fmadd(a: Floats, b: Floats, c: Floats) -> Floats { _mm512_fmadd_ps(a, b, c) }
    /// Returns c − a · b.
    fn fnmadd(a: Floats, b: Floats, c: Floats) -> Floats { _mm512_fnmadd_ps(a, b, c) }
    /// Loads 16 half floats.
    fn halves(at: *const u8) -> Floats { _mm512_cvtph_ps(_mm256_loadu_si256(at.cast::<__m256i>())) }
    /// Loads 16 unsigned bytes.
    fn unsigned(at: *const u8) -> Floats {
        _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128(at.cast::<__m128i>())))
    }
    /// Loads 16 signed bytes.
    fn signed(at: *const u8) -> Floats {
        _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(at.cast::<__m128i>())))
    }
    /// Loads 16 floats.
    fn singles(at: *const f32) -> Floats { _mm512_loadu_ps(at) }
    /// Loads 16 bf16, whose bits are the upper half of the bits of the f32.
    fn bf16s(at: *const bf16) -> Floats {
        let bits = _mm512_cvtepu16_epi32(_mm256_loadu_si256(at.cast::<__m256i>()));
        _mm512_castsi512_ps(_mm512_slli_epi32::<16>(bits))
    }
    /// Loads 16 pairs of bf16. Returns the first and the second of each pair.
    fn bf16_pair(at: *const u8, ahead: Ahead) -> [Floats; 2] {
        let both = load(at, ahead);
        let upper = _mm512_set1_epi32(0xFFFF_0000_u32 as i32);
        [_mm512_castsi512_ps(_mm512_slli_epi32::<16>(both)), _mm512_castsi512_ps(_mm512_and_si512(both, upper))]
    }
    /// Returns the sum, adding halves to each other.
    fn sum(x: Floats) -> f32 {
        let upper = _mm256_castpd_ps(_mm512_extractf64x4_pd::<1>(_mm512_castps_pd(x)));
        let eight = _mm256_add_ps(_mm512_castps512_ps256(x), upper);
        let four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps::<1>(eight));
        let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
        _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)))
    }
    fn store(at: *mut f32, x: Floats) { _mm512_storeu_ps(at, x) }
}

super::unpackers! { "avx512f,avx512bw,avx512vnni" }
