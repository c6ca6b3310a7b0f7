//! Products of [`Panels`] and a few rows of activations by the processor's vector instructions.
//!
//! For quantised weights and activations rounded to 8 bits, the sums over each group of inputs with one scale are exact integers.
//! The scales follow, in f32. A zero point z of the weights costs one number a group: Σ (w + z)·x = Σ w·x + z·Σx, and z·Σx is
//! known. Weights that are floats are multiplied by the unrounded activations, in f32.
//!
//! The kernels are written once, with a few operations on the numbers of a vector, and compiled for each instruction set that has
//! these. AVX-512 VNNI has one instruction that multiplies 64 unsigned by 64 signed bytes and adds them up by fours. The other set
//! is AVX2. Both give the same bits. If the processor has neither, nothing is put into panels, and candle's kernels run. The many
//! rows of a prompt go through AMX, in bf16, if the processor is a Xeon with that matrix unit.

#![cfg(target_arch = "x86_64")]

use super::QuantisedRows;
use super::cpu::Level;
use super::panels::{LANES, Panels};
use super::prefetch::Ahead;
use super::quantised_rows::BLOCK;
use std::ops::Range;

/// Number of rows of activations that one pass over a panel serves: their sums and the weights fit the 32 registers of AVX-512.
const ROWS: usize = 8;

/// Multiplies the rows of the panels `range` by rows of activations. `out[p · xs.rows() + m]` is the result of the p-th panel of
/// the range for row m.
///
/// # Panics
/// Panics if the processor lacks the instructions, the panels do not exist, the rows have another width, or `out` does not have
/// one entry for each panel and row.
pub fn multiply(
    level: Level,
    panels: &Panels,
    range: Range<usize>,
    xs: &QuantisedRows,
    out: &mut [[f32; LANES]],
) {
    assert!(level.is_available(), "{level:?} is missing");
    assert_eq!(xs.cols(), panels.cols(), "activations of another width");
    assert_eq!(out.len(), range.len() * xs.rows(), "an output for each panel and row");
    match (level, Ahead::here() == Ahead::Second) {
        (Level::Vnni, true) => vnni::run::<true>(panels, range, xs, out),
        (Level::Vnni, false) => vnni::run::<false>(panels, range, xs, out),
        (Level::Avx512 | Level::Avx2, true) => avx2::run::<true>(panels, range, xs, out),
        (Level::Avx512 | Level::Avx2, false) => avx2::run::<false>(panels, range, xs, out),
        (Level::Plain, _) => unreachable!("no matrix is put into panels for such a processor"),
    }
}

/// Pointers into M rows of activations.
#[derive(Clone, Copy)]
struct Pointers<const M: usize> {
    floats: [*const f32; M],
    values: [*const i8; M],
    scales: [*const f32; M],
    minus_8: [*const i32; M],
    minus_32: [*const i32; M],
    scaled_sums: [*const f32; M],
}

impl<const M: usize> Pointers<M> {
    /// Points to the rows from `first` on.
    fn new(xs: &QuantisedRows, first: usize) -> Self {
        let blocks = xs.blocks();
        Self {
            floats: std::array::from_fn(|m| xs.floats[(first + m) * xs.cols()..].as_ptr()),
            values: std::array::from_fn(|m| xs.values[(first + m) * xs.cols()..].as_ptr()),
            scales: std::array::from_fn(|m| xs.scales[(first + m) * blocks..].as_ptr()),
            minus_8: std::array::from_fn(|m| xs.minus_8[(first + m) * blocks..].as_ptr()),
            minus_32: std::array::from_fn(|m| xs.minus_32[2 * (first + m) * blocks..].as_ptr()),
            scaled_sums: std::array::from_fn(|m| xs.scaled_sums[(first + m) * blocks..].as_ptr()),
        }
    }
}

/// Defines a kernel: the checks that make its pointers safe, then its body, which runs once a group, for M rows.
macro_rules! kernel {
    ($features:literal, $name:ident, $format:expr,
     |$scales:ident, $numbers:ident, $ahead:ident, $group:ident, $rows:ident, $acc:ident| $body:block) => {
        /// Multiplies adjacent [panels](crate::kernels::panels) by M rows of `xs` from `first` on. Writes the sums of the p-th
        /// panel for row m to `out[p · xs.rows() + m]`. Returns M. SECOND says into which cache to prefetch, for
        /// [`Ahead::of_product`].
        ///
        /// # Safety
        /// The processor must have the instructions, and `panels` must start at a multiple of 64.
        #[expect(unsafe_code, reason = "a kernel for one instruction set")]
        #[target_feature(enable = $features)]
        unsafe fn $name<const M: usize, const SECOND: bool>(
            panels: &[u8],
            xs: &QuantisedRows,
            first: usize,
            out: &mut [[f32; LANES]],
        ) -> usize {
            const SHAPE: Shape = Shape::of($format).expect("a format with panels");
            const BYTES: usize = SHAPE.bytes();
            align_frame();
            let groups = xs.cols() / SHAPE.inputs;
            assert!(groups > 0 && panels.len().is_multiple_of(groups * BYTES) && first + M <= xs.rows());
            let $rows = Pointers::<M>::new(xs, first);
            let $ahead = const { Ahead::of_product(M, SECOND) };
            for (panel, out) in panels.chunks_exact(groups * BYTES).zip(out.chunks_mut(xs.rows())) {
                let panel = panel.as_ptr();
                let out = &mut out[..M];
                // SAFETY: a group's scales and numbers end inside the panel, and the body reads no more than their
                // vectors; a row has `inputs` values and floats, and its other lists one number for each 32 or 16 of them. An
                // output is 16 floats.
                unsafe {
                    let mut $acc = [zero(); M];
                    for $group in 0..groups {
                        let $scales = panel.add($group * BYTES);
                        let mut line = 0;
                        while line < SHAPE.scales {
                            $ahead.ask($scales.add(line * VECTOR));
                            line += 1;
                        }
                        let $numbers = $scales.add(SHAPE.scales * VECTOR);
                        $body
                    }
                    let mut m = 0;
                    while m < M {
                        store(out[m].as_mut_ptr(), $acc[m]);
                        m += 1;
                    }
                }
            }
            M
        }
    };
}

/// Defines the kernel of a format with one scale for each 32 inputs. `$unpack` makes their quads from `$vectors` vectors, and
/// `$start` is what the zero of its weights contributes.
macro_rules! small_blocks {
    ($features:literal, $name:ident, $format:expr, $unpack:ident of $vectors:literal, |$minus_8:ident| $start:expr) => {
        kernel! { $features, $name, $format, |scales, numbers, ahead, group, rows, acc| {
            let mut half = 0;
            while half < 2 {
                let scale = halves(scales.add(32 * half));
                let quads = $unpack(numbers.add($vectors * half * VECTOR), ahead);
                let b = 2 * group + half;
                let mut m = 0;
                while m < M {
                    let $minus_8 = *rows.minus_8[m].add(b);
                    let sum = floats(dot8(&quads, rows.values[m].add(BLOCK * b), ints($start)));
                    acc[m] = fmadd(sum, mul(scale, splat(*rows.scales[m].add(b))), acc[m]);
                    m += 1;
                }
                half += 1;
            }
        } }
    };
}

/// Defines a kernel for floats, 32 inputs a group. `$unpack` returns inputs 2i and 2i + 1 of a vector.
macro_rules! float_blocks {
    ($features:literal, $name:ident, $format:expr, $unpack:ident) => {
        kernel! { $features, $name, $format, |scales, numbers, ahead, group, rows, acc| {
            // Two chains, because each sum waits for the one before.
            let mut odd = [zero(); M];
            let mut v = 0;
            while v < SHAPE.numbers {
                let [a, b] = $unpack(numbers.add(v * VECTOR), ahead);
                let mut m = 0;
                while m < M {
                    let x = rows.floats[m].add(SHAPE.inputs * group + 2 * v);
                    acc[m] = fmadd(a, splat(*x), acc[m]);
                    odd[m] = fmadd(b, splat(*x.add(1)), odd[m]);
                    m += 1;
                }
                v += 1;
            }
            let mut m = 0;
            while m < M {
                acc[m] = plus(acc[m], odd[m]);
                m += 1;
            }
        } }
    };
}

/// Runs the kernel for the largest M that the rows from `$first` on allow. Returns M.
macro_rules! pass {
    ($kernel:ident, $panels:expr, $xs:expr, $first:expr, $out:expr) => {
        // SAFETY: the processor has the instructions, and all rows have the width of the panels; `Panels` returns slices of the
        // size that belongs to its format and width, at multiples of 64 bytes.
        unsafe {
            match $xs.rows() - $first {
                8.. => $kernel::<8, SECOND>($panels, $xs, $first, $out),
                4.. => $kernel::<4, SECOND>($panels, $xs, $first, $out),
                2.. => $kernel::<2, SECOND>($panels, $xs, $first, $out),
                _ => $kernel::<1, SECOND>($panels, $xs, $first, $out),
            }
        }
    };
}

/// Defines the kernels of all formats from the operations in scope, and `run`, which picks one.
macro_rules! kernels {
    ($features:literal) => {
        use super::{BLOCK, LANES, Panels, Pointers, QuantisedRows, ROWS, Range};
        use crate::kernels::Format;
        use crate::kernels::panels::{Shape, VECTOR};
        use crate::kernels::prefetch::Ahead;
        use crate::kernels::simd::align_frame;

        /// Does the same as [`super::multiply`], which has checked that the processor has the instructions and that the rows have
        /// the right width.
        #[expect(unsafe_code, reason = "calls the kernels of the processor's instruction set")]
        pub(super) fn run<const SECOND: bool>(
            panels: &Panels,
            range: Range<usize>,
            xs: &QuantisedRows,
            out: &mut [[f32; LANES]],
        ) {
            macro_rules! passes {
                ($kernel:ident) => {
                    if matches!(xs.rows(), 1 | 2 | 4 | ROWS) {
                        pass!($kernel, panels.panels(range), xs, 0, out);
                    } else {
                        // A panel stays in the cache for all passes.
                        for (index, out) in range.zip(out.chunks_exact_mut(xs.rows().max(1))) {
                            let mut done = 0;
                            while done < xs.rows() {
                                let panel = panels.panels(index..index + 1);
                                done += pass!($kernel, panel, xs, done, &mut out[done..]);
                            }
                        }
                    }
                };
            }
            match panels.format() {
                Format::Q8_0 => passes!(q8_0),
                Format::Q4_0 => passes!(q4_0),
                Format::Q5_0 => passes!(q5_0),
                Format::Q4K => passes!(q4_k),
                Format::F16 => passes!(f16),
                Format::BF16 => passes!(bf16),
                _ => passes!(q6_k),
            }
        }

        crate::kernels::simd::operations! { $features:
            /// Returns Σ over 8 quads of weights below 128, plus `start`. Two chains, because each product waits for the one
            /// before.
            fn dot8(quads: &[Bytes; 8], values: *const i8, start: Ints) -> Ints {
                let (mut even, mut odd) = (start, ints(0));
                let mut q = 0;
                while q < 8 {
                    even = dot(even, quads[q], quad(values.add(4 * q)));
                    odd = dot(odd, quads[q + 1], quad(values.add(4 * q + 4)));
                    q += 2;
                }
                add(even, odd)
            }
        }

        float_blocks! { $features, f16, Format::F16, halves2 }
        float_blocks! { $features, bf16, Format::BF16, bf16_pair }

        kernel! { $features, q8_0, Format::Q8_0, |scales, numbers, ahead, group, rows, acc| {
            let mut half = 0;
            while half < 2 {
                let scale = halves(scales.add(32 * half));
                let quads = bytes(numbers.add(8 * half * VECTOR), ahead);
                let b = 2 * group + half;
                let mut m = 0;
                while m < M {
                    let values = rows.values[m].add(BLOCK * b);
                    let (mut even, mut odd) = (start_128(*rows.minus_8[m].add(b)), ints(0));
                    let mut q = 0;
                    while q < 8 {
                        even = dot_128(even, quads[q], quad(values.add(4 * q)));
                        odd = dot_128(odd, quads[q + 1], quad(values.add(4 * q + 4)));
                        q += 2;
                    }
                    let scale = mul(scale, splat(*rows.scales[m].add(b)));
                    acc[m] = fmadd(floats(add(even, odd)), scale, acc[m]);
                    m += 1;
                }
                half += 1;
            }
        } }

        small_blocks! { $features, q4_0, Format::Q4_0, nibbles of 4, |minus_8| minus_8 }
        small_blocks! { $features, q5_0, Format::Q5_0, fives of 5, |minus_8| 2 * minus_8 }

        kernel! { $features, q4_k, Format::Q4K, |scales, numbers, ahead, group, rows, acc| {
            let (mut sum, mut below) = ([zero(); M], [zero(); M]);
            let mut j = 0;
            while j < 8 {
                let factors = scales.add(64 + 2 * LANES * j);
                let (scale, minimum) = (unsigned(factors), unsigned(factors.add(LANES)));
                let quads = nibbles(numbers.add(4 * j * VECTOR), ahead);
                let b = 8 * group + j;
                let mut m = 0;
                while m < M {
                    let dot = floats(dot8(&quads, rows.values[m].add(BLOCK * b), ints(0)));
                    sum[m] = fmadd(dot, mul(scale, splat(*rows.scales[m].add(b))), sum[m]);
                    below[m] = fmadd(minimum, splat(*rows.scaled_sums[m].add(b)), below[m]);
                    m += 1;
                }
                j += 1;
            }
            let (scale, minimum) = (halves(scales), halves(scales.add(32)));
            let mut m = 0;
            while m < M {
                acc[m] = fnmadd(below[m], minimum, fmadd(sum[m], scale, acc[m]));
                m += 1;
            }
        } }

        kernel! { $features, q6_k, Format::Q6K, |scales, numbers, ahead, group, rows, acc| {
            let scale = halves(scales);
            let mut j = 0;
            while j < 16 {
                let scale = mul(scale, signed(scales.add(32 + LANES * j)));
                // These 16 inputs are half of a block of activations.
                let h = 16 * group + j;
                let numbers = numbers.add(3 * j * VECTOR);
                let quads = sixes(numbers, ahead);
                let mut m = 0;
                while m < M {
                    let values = rows.values[m].add(16 * h);
                    let mut sum = ints(*rows.minus_32[m].add(h));
                    let mut q = 0;
                    while q < 4 {
                        sum = dot(sum, quads[q], quad(values.add(4 * q)));
                        q += 1;
                    }
                    acc[m] = fmadd(floats(sum), mul(scale, splat(*rows.scales[m].add(h / 2))), acc[m]);
                    m += 1;
                }
                j += 1;
            }
        } }
    };
}

/// The kernels in AVX-512 with VNNI.
#[allow(clippy::wildcard_imports, reason = "the operations of an instruction set")]
mod vnni {
    use crate::kernels::simd::vnni::*;

    kernels! { "avx512f,avx512bw,avx512vnni" }
}

/// The kernels in AVX2.
#[allow(clippy::wildcard_imports, reason = "the operations of an instruction set")]
mod avx2 {
    use crate::kernels::simd::avx2::*;

    kernels! { "avx2,fma,f16c" }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::panels::tests::{FORMATS, matrix};

    /// Compares with the dequantised weights times the activations in f64, for every number of rows up to a pass. The activations
    /// are rounded if the weights are quantised.
    #[test]
    fn equals_the_product_of_what_is_stored() {
        let rows = 32;
        // 640 is not a whole number of groups of 256.
        for (format, cols) in FORMATS.into_iter().flat_map(|format| [(format, 512_usize), (format, 640)]) {
            if !cols.is_multiple_of(format.block_len()) {
                continue;
            }
            let matrix = matrix(format, rows, cols);
            let panels = Panels::new(matrix.bytes(), format, rows, cols, |_| {}).unwrap();
            let mut weights = vec![0f32; rows * cols];
            matrix.dequantize(0..rows, &mut weights);
            for m in (1..=ROWS + 3).chain([4 * ROWS + 3]) {
                let xs: Vec<f32> =
                    (0..m * cols).map(|i| ((i % cols * (i / cols + 3)) as f32 * 0.37).sin() * 3.0).collect();
                let xs = QuantisedRows::new(&xs, cols);
                let mut of_first_level = None;
                for level in [Level::Vnni, Level::Avx2].into_iter().filter(|level| level.is_available()) {
                    let mut outs = vec![[f32::NAN; LANES]; rows / LANES * m];
                    multiply(level, &panels, 0..rows / LANES, &xs, &mut outs);
                    let bits: Vec<u32> = outs.as_flattened().iter().map(|x| x.to_bits()).collect();
                    let first = of_first_level.get_or_insert_with(|| bits.clone());
                    assert_eq!(*first, bits, "{level:?} {} m {m}", format.name());
                    for (index, out) in outs.chunks_exact(m).enumerate() {
                        for (m, out) in out.iter().enumerate() {
                            for (lane, got) in out.iter().enumerate() {
                                let row = &weights[(index * LANES + lane) * cols..][..cols];
                                let terms = row.iter().enumerate().map(|(i, w)| {
                                    let scale = xs.scales[m * xs.blocks() + i / BLOCK];
                                    let rounded = f64::from(xs.values[m * cols + i]) * f64::from(scale);
                                    let as_it_is = f64::from(xs.floats[m * cols + i]);
                                    f64::from(*w) * if format.is_quantized() { rounded } else { as_it_is }
                                });
                                let size: f64 = terms.clone().map(f64::abs).sum();
                                let error = (f64::from(*got) - terms.sum::<f64>()).abs() / size;
                                assert!(
                                    error < 1e-6,
                                    "{level:?} {} m {m} row {lane}: {error}",
                                    format.name()
                                );
                            }
                        }
                    }
                }
            }
        }
    }
}
