//! The operations in AVX2: a vector is two registers.

#![expect(clippy::cast_ptr_alignment, reason = "loads that need no alignment take such pointers")]

use crate::kernels::panels::VECTOR;
use crate::kernels::prefetch::Ahead;
use half::bf16;
use std::arch::x86_64::{
    __m128i, __m256, __m256i, _mm_add_ps, _mm_add_ss, _mm_cvtss_f32, _mm_loadl_epi64, _mm_loadu_si128,
    _mm_movehdup_ps, _mm_movehl_ps, _mm256_abs_epi8, _mm256_add_epi32, _mm256_add_ps, _mm256_and_si256,
    _mm256_castps256_ps128, _mm256_castsi256_ps, _mm256_cvtepi8_epi32, _mm256_cvtepi32_ps,
    _mm256_cvtepu8_epi32, _mm256_cvtepu16_epi32, _mm256_cvtph_ps, _mm256_extractf128_ps, _mm256_fmadd_ps,
    _mm256_fnmadd_ps, _mm256_load_si256, _mm256_loadu_ps, _mm256_madd_epi16, _mm256_maddubs_epi16,
    _mm256_mul_ps, _mm256_or_si256, _mm256_set1_epi8, _mm256_set1_epi16, _mm256_set1_epi32, _mm256_set1_ps,
    _mm256_setzero_ps, _mm256_setzero_si256, _mm256_sign_epi8, _mm256_slli_epi16, _mm256_slli_epi32,
    _mm256_srli_epi16, _mm256_srli_epi32, _mm256_storeu_ps, _mm256_xor_si256,
};

/// A vector of 64 bytes.
pub(in crate::kernels) type Bytes = [__m256i; 2];
/// A vector of 16 integers.
pub(in crate::kernels) type Ints = [__m256i; 2];
/// A vector of 16 floats.
pub(in crate::kernels) type Floats = [__m256; 2];

super::operations! { "avx2,fma,f16c":
    /// Loads 64 bytes of weights at a multiple of 64, and prefetches later ones.
    fn load(numbers: *const u8, ahead: Ahead) -> Bytes {
        ahead.ask(numbers);
        let at = numbers.cast::<__m256i>();
        [_mm256_load_si256(at), _mm256_load_si256(at.add(1))]
    }
    /// Loads four inputs into all lanes.
    fn quad(values: *const i8) -> Bytes { [_mm256_set1_epi32(values.cast::<i32>().read_unaligned()); 2] }
    fn splat_byte(byte: u8) -> Bytes { [_mm256_set1_epi8(byte as i8); 2] }
    fn and(a: Bytes, b: Bytes) -> Bytes { [_mm256_and_si256(a[0], b[0]), _mm256_and_si256(a[1], b[1])] }
    fn or(a: Bytes, b: Bytes) -> Bytes { [_mm256_or_si256(a[0], b[0]), _mm256_or_si256(a[1], b[1])] }
    /// Shifts pairs of bytes.
    fn shift_right<const BITS: i32>(a: Bytes) -> Bytes {
        [_mm256_srli_epi16::<BITS>(a[0]), _mm256_srli_epi16::<BITS>(a[1])]
    }
    /// Shifts pairs of bytes.
    fn shift_left<const BITS: i32>(a: Bytes) -> Bytes {
        [_mm256_slli_epi16::<BITS>(a[0]), _mm256_slli_epi16::<BITS>(a[1])]
    }
    fn ints(x: i32) -> Ints { [_mm256_set1_epi32(x); 2] }
    fn add(a: Ints, b: Ints) -> Ints { [_mm256_add_epi32(a[0], b[0]), _mm256_add_epi32(a[1], b[1])] }
    /// Returns sum + Σ of four products a lane, of unsigned bytes up to 128 and inputs up to 127: a pair of products fits
    /// 16 bits.
    fn dot_register(sum: __m256i, weights: __m256i, inputs: __m256i) -> __m256i {
        let pairs = _mm256_maddubs_epi16(weights, inputs);
        _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)))
    }
    /// Returns sum + Σ of four weights · inputs a lane.
    fn dot(sum: Ints, weights: Bytes, inputs: Bytes) -> Ints {
        [dot_register(sum[0], weights[0], inputs[0]), dot_register(sum[1], weights[1], inputs[1])]
    }
    /// Returns the start of [`dot_128`]: zero, because it subtracts the zero point first.
    fn start_128(_minus_8: i32) -> Ints { [_mm256_setzero_si256(); 2] }
    /// Does the same as [`dot`], for weights of any size with a zero of 128. Their products would not fit 16 bits, so the
    /// weight's sign goes to the input.
    fn dot_128(sum: Ints, weights: Bytes, inputs: Bytes) -> Ints {
        let zero = _mm256_set1_epi8(-128);
        let weights = [_mm256_xor_si256(weights[0], zero), _mm256_xor_si256(weights[1], zero)];
        let inputs = [_mm256_sign_epi8(inputs[0], weights[0]), _mm256_sign_epi8(inputs[1], weights[1])];
        dot(sum, [_mm256_abs_epi8(weights[0]), _mm256_abs_epi8(weights[1])], inputs)
    }
    /// Takes the byte that begins at bit BITS of each four bytes.
    fn nth_byte<const BITS: i32>(a: Bytes) -> Floats {
        let byte = _mm256_set1_epi32(255);
        floats([
            _mm256_and_si256(_mm256_srli_epi32::<BITS>(a[0]), byte),
            _mm256_and_si256(_mm256_srli_epi32::<BITS>(a[1]), byte),
        ])
    }
    fn floats(x: Ints) -> Floats { [_mm256_cvtepi32_ps(x[0]), _mm256_cvtepi32_ps(x[1])] }
    fn zero() -> Floats { [_mm256_setzero_ps(); 2] }
    fn splat(x: f32) -> Floats { [_mm256_set1_ps(x); 2] }
    fn mul(a: Floats, b: Floats) -> Floats { [_mm256_mul_ps(a[0], b[0]), _mm256_mul_ps(a[1], b[1])] }
    fn plus(a: Floats, b: Floats) -> Floats { [_mm256_add_ps(a[0], b[0]), _mm256_add_ps(a[1], b[1])] }
    /// Returns a · b + c.
    fn fmadd(a: Floats, b: Floats, c: Floats) -> Floats {
        [_mm256_fmadd_ps(a[0], b[0], c[0]), _mm256_fmadd_ps(a[1], b[1], c[1])]
    }
    /// Returns c − a · b.
    fn fnmadd(a: Floats, b: Floats, c: Floats) -> Floats {
        [_mm256_fnmadd_ps(a[0], b[0], c[0]), _mm256_fnmadd_ps(a[1], b[1], c[1])]
    }
    /// Loads 16 half floats.
    fn halves(at: *const u8) -> Floats {
        let at = at.cast::<__m128i>();
        [_mm256_cvtph_ps(_mm_loadu_si128(at)), _mm256_cvtph_ps(_mm_loadu_si128(at.add(1)))]
    }
    /// Loads 16 unsigned bytes.
    fn unsigned(at: *const u8) -> Floats {
        let low = _mm256_cvtepu8_epi32(_mm_loadl_epi64(at.cast::<__m128i>()));
        let high = _mm256_cvtepu8_epi32(_mm_loadl_epi64(at.add(8).cast::<__m128i>()));
        floats([low, high])
    }
    /// Loads 16 signed bytes.
    fn signed(at: *const u8) -> Floats {
        let low = _mm256_cvtepi8_epi32(_mm_loadl_epi64(at.cast::<__m128i>()));
        let high = _mm256_cvtepi8_epi32(_mm_loadl_epi64(at.add(8).cast::<__m128i>()));
        floats([low, high])
    }
    /// Loads 16 floats.
    fn singles(at: *const f32) -> Floats { [_mm256_loadu_ps(at), _mm256_loadu_ps(at.add(8))] }
    /// Loads 16 bf16, whose bits are the upper half of the bits of the f32.
    fn bf16s(at: *const bf16) -> Floats {
        let at = at.cast::<__m128i>();
        let low = _mm256_cvtepu16_epi32(_mm_loadu_si128(at));
        let high = _mm256_cvtepu16_epi32(_mm_loadu_si128(at.add(1)));
        [
            _mm256_castsi256_ps(_mm256_slli_epi32::<16>(low)),
            _mm256_castsi256_ps(_mm256_slli_epi32::<16>(high)),
        ]
    }
    /// Loads 16 pairs of bf16. Returns the first and the second of each pair.
    fn bf16_pair(at: *const u8, ahead: Ahead) -> [Floats; 2] {
        let [low, high] = load(at, ahead);
        let upper = _mm256_set1_epi32(0xFFFF_0000_u32 as i32);
        let first = [_mm256_slli_epi32::<16>(low), _mm256_slli_epi32::<16>(high)];
        let second = [_mm256_and_si256(low, upper), _mm256_and_si256(high, upper)];
        [
            [_mm256_castsi256_ps(first[0]), _mm256_castsi256_ps(first[1])],
            [_mm256_castsi256_ps(second[0]), _mm256_castsi256_ps(second[1])],
        ]
    }
    /// Returns the sum, adding halves to each other.
    fn sum(x: Floats) -> f32 {
        let eight = _mm256_add_ps(x[0], x[1]);
        let four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps::<1>(eight));
        let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
        _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)))
    }
    fn store(at: *mut f32, x: Floats) {
        _mm256_storeu_ps(at, x[0]);
        _mm256_storeu_ps(at.add(8), x[1]);
    }
}

super::unpackers! { "avx2,fma,f16c" }
