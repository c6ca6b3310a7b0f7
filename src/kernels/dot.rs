//! Dot products of a stored row with f32 activations, for few rows, where reading the weights takes all the time.

#![expect(clippy::inline_always, reason = "the loop must be compiled anew for each instruction set")]

#[cfg(target_arch = "x86_64")]
use super::cpu::Level;

/// Number of lanes of independent partial sums: enough for the compiler to keep several vector registers busy.
const LANES: usize = 32;

/// Returns Σ w·x, where `load` decodes a stored number. Inlined into a function for each instruction set.
#[inline(always)]
fn dot_body<E: Copy, const FMA: bool>(row: &[E], xs: &[f32], load: impl Fn(E) -> f32 + Copy) -> f32 {
    let mut acc = [0f32; LANES];
    let (rows, row_tail) = row.as_chunks::<LANES>();
    let (chunks, xs_tail) = xs.as_chunks::<LANES>();
    for (w, x) in rows.iter().zip(chunks) {
        for l in 0..LANES {
            let w = load(w[l]);
            acc[l] = if FMA { w.mul_add(x[l], acc[l]) } else { acc[l] + w * x[l] };
        }
    }
    let mut sum = acc.iter().sum::<f32>();
    for (w, x) in row_tail.iter().zip(xs_tail) {
        sum += load(*w) * x;
    }
    sum
}

#[inline(always)]
fn four_bytes(row: &[u8]) -> &[[u8; 4]] {
    row.as_chunks().0
}

#[inline(always)]
fn two_bytes(row: &[u8]) -> &[[u8; 2]] {
    row.as_chunks().0
}

#[inline(always)]
fn as_is(row: &[f32]) -> &[f32] {
    row
}

#[inline(always)]
fn load_f32(b: [u8; 4]) -> f32 {
    f32::from_le_bytes(b)
}

#[inline(always)]
fn load_bf16(b: [u8; 2]) -> f32 {
    f32::from_bits(u32::from(u16::from_le_bytes(b)) << 16)
}

/// Decodes an f16. The library's conversion would check for the processor's instruction for each number.
#[inline(always)]
fn load_f16(b: [u8; 2]) -> f32 {
    /// Ratio of the exponents of the two formats: 2^(127 − 15).
    const SCALE: f32 = f32::from_bits((127 + 127 - 15) << 23);
    let bits = u32::from(u16::from_le_bytes(b));
    let magnitude = (bits & 0x7FFF) << 13;
    // In both formats, infinities and NaN have the highest exponent.
    let value = if bits & 0x7C00 == 0x7C00 {
        f32::from_bits(magnitude | 0x7F80_0000)
    } else {
        f32::from_bits(magnitude) * SCALE
    };
    f32::from_bits(value.to_bits() | (bits & 0x8000) << 16)
}

#[inline(always)]
fn load_value(v: f32) -> f32 {
    v
}

/// Defines a dot product twice, for AVX2 with FMA and for the target's basic instructions, and picks one at run time.
macro_rules! dot {
    ($(#[$doc:meta])* $name:ident, $avx2:ident, $row:ty, $as_elements:expr, $load:ident) => {
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx2,fma")]
        fn $avx2(row: $row, xs: &[f32]) -> f32 {
            dot_body::<_, true>($as_elements(row), xs, $load)
        }

        $(#[$doc])*
        #[cfg_attr(target_arch = "x86_64", expect(unsafe_code, reason = "calls the AVX2 build of the same loop"))]
        pub(super) fn $name(row: $row, xs: &[f32]) -> f32 {
            #[cfg(target_arch = "x86_64")]
            if Level::Avx2.is_available() {
                // SAFETY: the processor has AVX2 and FMA, as just checked; the function has no other condition.
                return unsafe { $avx2(row, xs) };
            }
            dot_body::<_, false>($as_elements(row), xs, $load)
        }
    };
}

dot!(
    /// Returns the dot product of a row of little-endian f32 with `xs`, of the same length.
    dot_f32, dot_f32_avx2, &[u8], four_bytes, load_f32
);
dot!(
    /// Returns the dot product of a row of little-endian bf16 with `xs`, of the same length, in f32.
    dot_bf16, dot_bf16_avx2, &[u8], two_bytes, load_bf16
);
dot!(
    /// Returns the dot product of a row of little-endian f16 with `xs`, of the same length, in f32.
    dot_f16, dot_f16_avx2, &[u8], two_bytes, load_f16
);
dot!(
    /// Returns the dot product of two rows of the same length.
    dot_values, dot_values_avx2, &[f32], as_is, load_value
);

#[cfg(test)]
mod tests {
    use super::*;
    use half::{bf16, f16};

    #[test]
    fn equals_the_plain_sum_at_every_length() {
        for n in [0, 1, 31, 32, 33, 64, 100, 257] {
            let w: Vec<f32> = (0..n).map(|i| bf16::from_f32((i as f32 * 0.37).sin()).to_f32()).collect();
            let x: Vec<f32> = (0..n).map(|i| (i as f32 * 0.11).cos()).collect();
            let want: f64 = w.iter().zip(&x).map(|(w, x)| f64::from(*w) * f64::from(*x)).sum();
            let f: Vec<u8> = w.iter().flat_map(|v| v.to_le_bytes()).collect();
            let h: Vec<u8> = w.iter().flat_map(|v| f16::from_f32(*v).to_le_bytes()).collect();
            let b: Vec<u8> = w.iter().flat_map(|v| bf16::from_f32(*v).to_le_bytes()).collect();
            for got in [
                dot_f32(&f, &x),
                dot_f16(&h, &x),
                dot_bf16(&b, &x),
                dot_values(&w, &x),
                dot_body::<_, false>(&w, &x, load_value),
            ] {
                assert!((f64::from(got) - want).abs() < 1e-4, "{n}: {got} {want}");
            }
        }
    }

    #[test]
    fn every_half_float_is_read_as_it_is() {
        for bits in 0..=u16::MAX {
            let (got, want) = (load_f16(bits.to_le_bytes()), f16::from_bits(bits).to_f32());
            assert!(
                got.to_bits() == want.to_bits() || got.is_nan() && want.is_nan(),
                "{bits:04x}: {got} {want}"
            );
        }
    }
}
