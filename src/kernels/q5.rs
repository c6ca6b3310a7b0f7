//! The integer dot product of `Q5_0` rows, for which candle has only a scalar loop on x86.

/// Bytes of a `Q5_0` block: an f16 scale, 32 fifth bits, 16 bytes of nibbles. Value j is the low nibble of byte j for
/// j < 16 and the high nibble of byte j − 16 after that, with fifth bit j, minus 16.
const Q5_BYTES: usize = 22;
/// Bytes of a `Q8_0` block: an f16 scale and 32 signed bytes in −127 … 127.
const Q8_BYTES: usize = 34;

/// Dot product of a row of `Q5_0` blocks with as many `Q8_0` blocks, or `None` where the processor cannot.
#[cfg_attr(target_arch = "x86_64", expect(unsafe_code, reason = "calls AVX2 code"))]
pub(crate) fn dot_q5_0_q8_0(row: &[u8], ys: &[u8]) -> Option<f32> {
    #[cfg(target_arch = "x86_64")]
    if std::is_x86_feature_detected!("avx2")
        && std::is_x86_feature_detected!("fma")
        && std::is_x86_feature_detected!("f16c")
    {
        // SAFETY: the processor has AVX2, FMA and F16C, as just asked; the function has no other condition.
        return Some(unsafe { avx2(row.as_chunks().0, ys.as_chunks().0) });
    }
    let _ = (row, ys);
    None
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,f16c")]
fn avx2(row: &[[u8; Q5_BYTES]], ys: &[[u8; Q8_BYTES]]) -> f32 {
    use std::arch::x86_64::{
        _mm_add_ps, _mm_add_ss, _mm_cvtph_ps, _mm_cvtsi32_si128, _mm_cvtss_f32, _mm_movehdup_ps,
        _mm_movehl_ps, _mm_set_epi64x, _mm_srli_epi16, _mm256_abs_epi8, _mm256_and_si256,
        _mm256_andnot_si256, _mm256_castps256_ps128, _mm256_cmpeq_epi8, _mm256_cvtepi32_ps,
        _mm256_extractf128_ps, _mm256_fmadd_ps, _mm256_madd_epi16, _mm256_maddubs_epi16, _mm256_or_si256,
        _mm256_set_epi64x, _mm256_set_m128i, _mm256_set1_epi8, _mm256_set1_epi16, _mm256_set1_epi32,
        _mm256_set1_epi64x, _mm256_set1_ps, _mm256_setzero_ps, _mm256_shuffle_epi8, _mm256_sign_epi8,
    };

    #[target_feature(enable = "f16c")]
    fn scale(lo: u8, hi: u8) -> f32 {
        _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtsi32_si128(u16::from_le_bytes([lo, hi]).into())))
    }
    fn eight(bytes: &[u8], at: usize) -> i64 {
        let mut out = [0; 8];
        out.copy_from_slice(&bytes[at..at + 8]);
        i64::from_le_bytes(out)
    }

    let low_nibble = _mm256_set1_epi8(0x0f);
    // Spreads the four bytes of fifth bits over eight lanes each, and keeps one bit a lane.
    let spread = _mm256_set_epi64x(
        0x0303_0303_0303_0303,
        0x0202_0202_0202_0202,
        0x0101_0101_0101_0101,
        0x0000_0000_0000_0000,
    );
    let all_but_one = _mm256_set1_epi64x(0x7fbf_dfef_f7fb_fdfe);
    let mut acc = _mm256_setzero_ps();
    for (x, y) in row.iter().zip(ys) {
        let nibbles = _mm_set_epi64x(eight(x, 14), eight(x, 6));
        let nibbles = _mm256_set_m128i(_mm_srli_epi16::<4>(nibbles), nibbles);
        let nibbles = _mm256_and_si256(nibbles, low_nibble);
        let fifth = _mm256_set1_epi32(i32::from_le_bytes([x[2], x[3], x[4], x[5]]));
        let fifth = _mm256_or_si256(_mm256_shuffle_epi8(fifth, spread), all_but_one);
        let fifth = _mm256_cmpeq_epi8(fifth, _mm256_set1_epi64x(-1));
        // Without the fifth bit a value is nibble − 16, whose byte is the nibble with the upper half set; with it, the
        // nibble itself.
        let x8 = _mm256_or_si256(nibbles, _mm256_andnot_si256(fifth, _mm256_set1_epi8(-16)));
        let y8 = _mm256_set_epi64x(eight(y, 26), eight(y, 18), eight(y, 10), eight(y, 2));
        // |x| · (y with the sign of x), since the byte product takes one unsigned side.
        let products = _mm256_maddubs_epi16(_mm256_abs_epi8(x8), _mm256_sign_epi8(y8, x8));
        let sums = _mm256_cvtepi32_ps(_mm256_madd_epi16(products, _mm256_set1_epi16(1)));
        let d = scale(x[0], x[1]) * scale(y[0], y[1]);
        acc = _mm256_fmadd_ps(_mm256_set1_ps(d), sums, acc);
    }
    let four = _mm_add_ps(_mm256_castps256_ps128(acc), _mm256_extractf128_ps::<1>(acc));
    let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use half::f16;

    #[test]
    fn equals_the_definition() {
        let (mut row, mut ys, mut want) = (Vec::new(), Vec::new(), 0f64);
        for b in 0..3u32 {
            let (dx, dy) = (f16::from_f32(0.1 + b as f32), f16::from_f32(0.3 - b as f32));
            let fifth = 0x9e37_79b9u32.rotate_left(7 * b);
            let nibbles: Vec<u8> = (0..16).map(|j| (j * 37 + b * 11 + 5) as u8).collect();
            let y: Vec<i8> = (0..32).map(|j| ((j * 53 + b as i32 * 29) % 255 - 127) as i8).collect();
            for j in 0..32 {
                let nibble = if j < 16 { nibbles[j] & 15 } else { nibbles[j - 16] >> 4 };
                let x = i32::from(nibble) + ((fifth >> j & 1) << 4) as i32 - 16;
                want += f64::from(x * i32::from(y[j])) * dx.to_f64() * dy.to_f64();
            }
            row.extend(dx.to_le_bytes());
            row.extend(fifth.to_le_bytes());
            row.extend(nibbles);
            ys.extend(dy.to_le_bytes());
            ys.extend(y.iter().map(|v| *v as u8));
        }
        if let Some(got) = dot_q5_0_q8_0(&row, &ys) {
            assert!((f64::from(got) - want).abs() < 1e-3 * want.abs(), "{got} {want}");
        }
    }
}
