//! Products of [`Panels`] and 8-bit activations with AVX-512 VNNI, whose one instruction multiplies 64 unsigned by 64
//! signed bytes and adds them up by fours: a quad of inputs for the 16 rows of a panel.
//!
//! For each group of inputs with one scale, sums are exact integers; only then come the scales, in f32. The zero point z
//! of the weights costs one addition a group: Σ (w + z)·x = Σ w·x + z·Σx, and Σx is known.

#![cfg(target_arch = "x86_64")]
#![expect(clippy::cast_ptr_alignment, reason = "loads that need no alignment take such pointers")]

use super::Format;
use super::int8::{BLOCK, Int8Row};
use super::panels::{LANES, Panels, Shape, VECTOR};
use std::arch::x86_64::{
    __m128i, __m256i, __m512, __m512i, _mm_loadu_si128, _mm256_loadu_si256, _mm512_and_si512,
    _mm512_cvtepi8_epi32, _mm512_cvtepi32_ps, _mm512_cvtepu8_epi32, _mm512_cvtph_ps, _mm512_dpbusd_epi32,
    _mm512_fmadd_ps, _mm512_fnmadd_ps, _mm512_load_si512, _mm512_mul_ps, _mm512_or_si512, _mm512_set1_epi8,
    _mm512_set1_epi32, _mm512_set1_ps, _mm512_setzero_ps, _mm512_slli_epi16, _mm512_slli_epi32,
    _mm512_srli_epi16, _mm512_storeu_ps,
};
use std::ops::Range;

/// Rows of activations that one pass over a panel serves: their sums and the weights fit the 32 registers.
pub(super) const ROWS: usize = 8;

/// Whether the processor has the instructions.
pub(super) fn available() -> bool {
    std::is_x86_feature_detected!("avx512f")
        && std::is_x86_feature_detected!("avx512bw")
        && std::is_x86_feature_detected!("avx512vnni")
}

/// The rows of the panels `range` times rows of activations: `out[p · xs.len() + m]` is of the p-th panel of the range for
/// `xs[m]`.
///
/// # Panics
/// If the processor lacks the instructions, there are no such panels, rows have another length than the matrix's, or
/// `out` is not one for each panel and row.
#[expect(unsafe_code, reason = "calls the kernels of the processor's instruction set")]
pub(super) fn multiply(panels: &Panels, range: Range<usize>, xs: &[Int8Row], out: &mut [[f32; LANES]]) {
    assert!(available(), "AVX-512 VNNI is missing");
    assert!(xs.iter().all(|x| x.len() == panels.cols()), "activations of another width");
    assert_eq!(out.len(), range.len() * xs.len(), "an output for each panel and row");
    /// Runs a kernel for M rows, the most that there are one for; returns M.
    macro_rules! pass {
        ($kernel:ident, $panels:expr, $xs:expr, $out:expr) => {
            // SAFETY: the processor has the instructions, and all rows have the width of the panels, as asserted;
            // `Panels` gives slices of the size that belongs to its format and width, at multiples of 64 bytes.
            unsafe {
                match $xs.len() {
                    8.. => $kernel::<8>($panels, $xs, $out, xs.len()),
                    4.. => $kernel::<4>($panels, $xs, $out, xs.len()),
                    2.. => $kernel::<2>($panels, $xs, $out, xs.len()),
                    _ => $kernel::<1>($panels, $xs, $out, xs.len()),
                }
            }
        };
    }
    macro_rules! run {
        ($kernel:ident) => {
            if matches!(xs.len(), 1 | 2 | 4 | ROWS) {
                pass!($kernel, panels.panels(range), xs, out);
            } else {
                // A panel stays in the cache for all passes.
                for (index, out) in range.zip(out.chunks_exact_mut(xs.len())) {
                    let mut done = 0;
                    while done < xs.len() {
                        done +=
                            pass!($kernel, panels.panels(index..index + 1), &xs[done..], &mut out[done..]);
                    }
                }
            }
        };
    }
    if xs.is_empty() {
        return;
    }
    match panels.format() {
        Format::Q8_0 => run!(q8_0),
        Format::Q4_0 => run!(q4_0),
        Format::Q4K => run!(q4_k),
        _ => run!(q6_k),
    }
}

/// Pointers into M rows of activations.
#[derive(Clone, Copy)]
struct Rows<const M: usize> {
    values: [*const i8; M],
    scales: [*const f32; M],
    minus_8: [*const i32; M],
    minus_32: [*const i32; M],
    scaled_sums: [*const f32; M],
}

impl<const M: usize> Rows<M> {
    fn new(xs: &[Int8Row]) -> Self {
        Self {
            values: std::array::from_fn(|m| xs[m].values.as_ptr()),
            scales: std::array::from_fn(|m| xs[m].scales.as_ptr()),
            minus_8: std::array::from_fn(|m| xs[m].minus_8.as_ptr()),
            minus_32: std::array::from_fn(|m| xs[m].minus_32.as_ptr()),
            scaled_sums: std::array::from_fn(|m| xs[m].scaled_sums.as_ptr()),
        }
    }
}

/// Defines helpers that are compiled into each kernel.
macro_rules! inlined {
    ($(#[$doc:meta])* fn $name:ident $(<const $m:ident: usize>)? ($($arg:ident: $type:ty),*) -> $result:ty $body:block) => {
        $(#[$doc])*
        #[expect(unsafe_code, reason = "reads through pointers that the kernels keep inside their slices")]
        #[inline]
        #[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
        unsafe fn $name $(<const $m: usize>)? ($($arg: $type),*) -> $result {
            // SAFETY: the caller passes pointers with as many readable bytes as each load takes.
            unsafe { $body }
        }
    };
}

inlined! {
    /// Four inputs of a row of activations, from value `at` on, for all lanes.
    fn quad(values: *const i8, at: usize) -> __m512i {
        _mm512_set1_epi32(values.add(at).cast::<i32>().read_unaligned())
    }
}

inlined! {
    /// 64 bytes of weights at a multiple of 64.
    fn vector(numbers: *const u8, index: usize) -> __m512i {
        _mm512_load_si512(numbers.add(index * VECTOR).cast())
    }
}

inlined! {
    /// 16 half floats.
    fn halves(scales: *const u8) -> __m512 {
        _mm512_cvtph_ps(_mm256_loadu_si256(scales.cast::<__m256i>()))
    }
}

inlined! {
    /// 16 unsigned bytes as floats.
    fn unsigned(scales: *const u8) -> __m512 {
        _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128(scales.cast::<__m128i>())))
    }
}

inlined! {
    /// 16 signed bytes as floats.
    fn signed(scales: *const u8) -> __m512 {
        _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(scales.cast::<__m128i>())))
    }
}

inlined! {
    /// The lower and the upper halves of four vectors: quads 0 to 3 and 4 to 7 of 32 inputs.
    fn nibbles(numbers: *const u8, index: usize) -> [__m512i; 8] {
        let mask = _mm512_set1_epi8(15);
        let mut quads = [mask; 8];
        let mut v = 0;
        while v < 4 {
            let both = vector(numbers, index + v);
            quads[v] = _mm512_and_si512(both, mask);
            quads[4 + v] = _mm512_and_si512(_mm512_srli_epi16::<4>(both), mask);
            v += 1;
        }
        quads
    }
}

inlined! {
    /// Σ over 8 quads, starting from `start`; two chains, since each instruction waits for the one before.
    fn dot8(quads: &[__m512i; 8], values: *const i8, at: usize, start: __m512i) -> __m512i {
        let mut even = start;
        let mut odd = _mm512_set1_epi32(0);
        let mut q = 0;
        while q < 8 {
            even = _mm512_dpbusd_epi32(even, quads[q], quad(values, at + 4 * q));
            odd = _mm512_dpbusd_epi32(odd, quads[q + 1], quad(values, at + 4 * q + 4));
            q += 2;
        }
        std::arch::x86_64::_mm512_add_epi32(even, odd)
    }
}

/// Defines a kernel: the checks that make its pointers safe, then its body, once a group, for M rows.
macro_rules! kernel {
    ($(#[$doc:meta])* $name:ident, $format:expr, |$scales:ident, $numbers:ident, $group:ident, $rows:ident, $acc:ident| $body:block) => {
        $(#[$doc])*
        ///
        /// Multiplies panels that lie one after the other by the first M of `xs`, and writes the sums of the p-th for
        /// row m to `out[p · stride + m]`. Returns M.
        ///
        /// # Safety
        /// The processor has AVX-512 F, BW and VNNI, `panels` starts at a multiple of 64, and each of the first M rows is
        /// as long as the others.
        #[expect(unsafe_code, reason = "a kernel for one instruction set")]
        #[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
        unsafe fn $name<const M: usize>(
            panels: &[u8],
            xs: &[Int8Row],
            out: &mut [[f32; LANES]],
            stride: usize,
        ) -> usize {
            const SHAPE: Shape = Shape::of($format).expect("a format with panels");
            const BYTES: usize = SHAPE.bytes();
            let groups = xs[0].len() / SHAPE.inputs;
            assert!(groups > 0 && panels.len().is_multiple_of(groups * BYTES) && xs.len() >= M);
            let $rows = Rows::<M>::new(xs);
            for (panel, out) in panels.chunks_exact(groups * BYTES).zip(out.chunks_mut(stride)) {
                let panel = panel.as_ptr();
                let mut $acc = [_mm512_setzero_ps(); M];
                for $group in 0..groups {
                    // SAFETY: a group's scales and numbers end inside the panel, and the body reads no more than
                    // their vectors; a row has `inputs` values, and its other lists one
                    // number for each 32 or 16 of them.
                    unsafe {
                        let $scales = panel.add($group * BYTES);
                        let $numbers = $scales.add(SHAPE.scales * VECTOR);
                        $body
                    }
                }
                let out = &mut out[..M];
                let mut m = 0;
                while m < M {
                    // SAFETY: 16 floats.
                    unsafe { _mm512_storeu_ps(out[m].as_mut_ptr(), $acc[m]) };
                    m += 1;
                }
            }
            M
        }
    };
}

kernel! {
    /// See [`super::panels`].
    q8_0, Format::Q8_0, |scales, numbers, group, rows, acc| {
        let mut half = 0;
        while half < 2 {
            let scale = halves(scales.add(32 * half));
            let mut quads = [_mm512_set1_epi8(0); 8];
            let mut q = 0;
            while q < 8 {
                quads[q] = vector(numbers, 8 * half + q);
                q += 1;
            }
            let b = 2 * group + half;
            let mut m = 0;
            while m < M {
                let start = _mm512_slli_epi32::<4>(_mm512_set1_epi32(*rows.minus_8[m].add(b)));
                let dot = _mm512_cvtepi32_ps(dot8(&quads, rows.values[m], BLOCK * b, start));
                let scale = _mm512_mul_ps(scale, _mm512_set1_ps(*rows.scales[m].add(b)));
                acc[m] = _mm512_fmadd_ps(dot, scale, acc[m]);
                m += 1;
            }
            half += 1;
        }
    }
}

kernel! {
    /// See [`super::panels`].
    q4_0, Format::Q4_0, |scales, numbers, group, rows, acc| {
        let mut half = 0;
        while half < 2 {
            let scale = halves(scales.add(32 * half));
            let quads = nibbles(numbers, 4 * half);
            let b = 2 * group + half;
            let mut m = 0;
            while m < M {
                let start = _mm512_set1_epi32(*rows.minus_8[m].add(b));
                let dot = _mm512_cvtepi32_ps(dot8(&quads, rows.values[m], BLOCK * b, start));
                let scale = _mm512_mul_ps(scale, _mm512_set1_ps(*rows.scales[m].add(b)));
                acc[m] = _mm512_fmadd_ps(dot, scale, acc[m]);
                m += 1;
            }
            half += 1;
        }
    }
}

kernel! {
    /// See [`super::panels`].
    q4_k, Format::Q4K, |scales, numbers, group, rows, acc| {
        let (mut sum, mut below) = ([_mm512_setzero_ps(); M], [_mm512_setzero_ps(); M]);
        let mut j = 0;
        while j < 8 {
            let factors = scales.add(64 + 2 * LANES * j);
            let (scale, minimum) = (unsigned(factors), unsigned(factors.add(LANES)));
            let quads = nibbles(numbers, 4 * j);
            let b = 8 * group + j;
            let mut m = 0;
            while m < M {
                let dot = dot8(&quads, rows.values[m], BLOCK * b, _mm512_set1_epi32(0));
                let scale = _mm512_mul_ps(scale, _mm512_set1_ps(*rows.scales[m].add(b)));
                sum[m] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dot), scale, sum[m]);
                below[m] = _mm512_fmadd_ps(minimum, _mm512_set1_ps(*rows.scaled_sums[m].add(b)), below[m]);
                m += 1;
            }
            j += 1;
        }
        let (scale, minimum) = (halves(scales), halves(scales.add(32)));
        let mut m = 0;
        while m < M {
            acc[m] = _mm512_fmadd_ps(sum[m], scale, acc[m]);
            acc[m] = _mm512_fnmadd_ps(below[m], minimum, acc[m]);
            m += 1;
        }
    }
}

kernel! {
    /// See [`super::panels`].
    q6_k, Format::Q6K, |scales, numbers, group, rows, acc| {
        let low = _mm512_set1_epi8(15);
        let (first, second) = (_mm512_set1_epi8(0x03), _mm512_set1_epi8(0x0C));
        let (third, fourth) = (_mm512_set1_epi8(0x30), _mm512_set1_epi8(0xC0_u8 as i8));
        let scale = halves(scales);
        let mut j = 0;
        while j < 16 {
            let scale = _mm512_mul_ps(scale, signed(scales.add(32 + LANES * j)));
            // 16 inputs: half of a block of activations.
            let h = 16 * group + j;
            let (a, b, high) = (vector(numbers, 3 * j), vector(numbers, 3 * j + 1), vector(numbers, 3 * j + 2));
            let quads = [
                _mm512_or_si512(_mm512_and_si512(a, low), _mm512_slli_epi16::<4>(_mm512_and_si512(high, first))),
                _mm512_or_si512(_mm512_and_si512(b, low), _mm512_slli_epi16::<2>(_mm512_and_si512(high, second))),
                _mm512_or_si512(_mm512_and_si512(_mm512_srli_epi16::<4>(a), low), _mm512_and_si512(high, third)),
                _mm512_or_si512(
                    _mm512_and_si512(_mm512_srli_epi16::<4>(b), low),
                    _mm512_srli_epi16::<2>(_mm512_and_si512(high, fourth)),
                ),
            ];
            let mut m = 0;
            while m < M {
                let mut dot = _mm512_set1_epi32(*rows.minus_32[m].add(h));
                let mut q = 0;
                while q < 4 {
                    dot = _mm512_dpbusd_epi32(dot, quads[q], quad(rows.values[m], 16 * h + 4 * q));
                    q += 1;
                }
                let scale = _mm512_mul_ps(scale, _mm512_set1_ps(*rows.scales[m].add(h / 2)));
                acc[m] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dot), scale, acc[m]);
                m += 1;
            }
            j += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::panels::tests::{FORMATS, matrix};
    use super::*;

    /// Against the dequantised weights times the rounded activations in f64, for every number of rows up to a pass.
    #[test]
    fn equals_the_product_of_what_is_stored() {
        if !available() {
            return;
        }
        let (rows, cols) = (32, 512);
        for format in FORMATS {
            let matrix = matrix(format, rows, cols);
            let panels = Panels::new(matrix.bytes(), format, rows, cols, |_| {}).unwrap();
            let mut weights = vec![0f32; rows * cols];
            matrix.dequantize(0..rows, &mut weights);
            for m in 1..=ROWS + 3 {
                let xs: Vec<Int8Row> = (0..m)
                    .map(|m| {
                        let x: Vec<f32> =
                            (0..cols).map(|i| ((i * (m + 3)) as f32 * 0.37).sin() * 3.0).collect();
                        Int8Row::new(&x)
                    })
                    .collect();
                let mut outs = vec![[f32::NAN; LANES]; rows / LANES * m];
                multiply(&panels, 0..rows / LANES, &xs, &mut outs);
                for (index, out) in outs.chunks_exact(m).enumerate() {
                    for (out, x) in out.iter().zip(&xs) {
                        for (lane, got) in out.iter().enumerate() {
                            let row = &weights[(index * LANES + lane) * cols..][..cols];
                            let terms = row.iter().enumerate().map(|(i, w)| {
                                f64::from(*w) * f64::from(x.values[i]) * f64::from(x.scales[i / BLOCK])
                            });
                            let size: f64 = terms.clone().map(f64::abs).sum();
                            let error = (f64::from(*got) - terms.sum::<f64>()).abs() / size;
                            assert!(error < 1e-6, "{} m {m} row {lane}: {error}", format.name());
                        }
                    }
                }
            }
        }
    }
}
