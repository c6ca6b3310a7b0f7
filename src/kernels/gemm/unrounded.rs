//! Products of panels and many rows of activations without any rounding except that of f32. `wmgen verify` reads texts with them.
//!
//! Two panels at a time are converted to f32, in memory that stays in the second-level cache, and multiplied by all rows. Several rows
//! are multiplied at a time, so that each weight and each activation is loaded once for several products.

use crate::kernels::cpu::Level;
use crate::kernels::panels::{LANES, Panels};
use std::cell::RefCell;
use std::ops::Range;

/// Weights of one input for the rows of a panel.
#[repr(align(64))]
#[derive(Clone, Copy, Debug)]
pub(in crate::kernels) struct Input(
    #[allow(dead_code, reason = "read and written through pointers")] [f32; LANES],
);

/// Converts the weights of one panel.
type Unpack = fn(&Panels, usize, &mut [Input]);
/// Multiplies the weights of two panels by rows.
type Times = fn([&[Input]; 2], &[f32], &mut [[f32; LANES]]);

/// Multiplies the rows of the panels `range` by the rows `xs`, `[rows, cols]`. `out[p · rows + m]` is the result of the p-th panel of the
/// range for row m.
///
/// # Panics
/// Panics if the processor lacks the instructions, the panels do not exist, `xs` has another width, or `out` does not have one entry for
/// each panel and row.
pub(crate) fn multiply(
    level: Level,
    panels: &Panels,
    range: Range<usize>,
    xs: &[f32],
    out: &mut [[f32; LANES]],
) {
    thread_local! {
        static WEIGHTS: RefCell<[Vec<Input>; 2]> = RefCell::default();
    }
    let cols = panels.cols();
    let rows = xs.len() / cols;
    assert!(level.is_available(), "{level:?} is missing");
    assert_eq!(xs.len(), rows * cols, "activations of another width");
    assert_eq!(out.len(), range.len() * rows, "an output for each panel and row");
    if rows == 0 {
        return;
    }
    let (unpack, times): (Unpack, Times) = match level {
        Level::Vnni => (vnni::unpack_all, vnni::times_all),
        Level::Avx512 | Level::Avx2 => (avx2::unpack_all, avx2::times_all),
        Level::Plain => unreachable!("no matrix is put into panels for such a processor"),
    };
    WEIGHTS.with_borrow_mut(|weights| {
        for weights in weights.iter_mut() {
            weights.resize(weights.len().max(cols), Input([0.0; LANES]));
        }
        for (pair, out) in range.clone().step_by(2).zip(out.chunks_mut(2 * rows)) {
            let count = (range.end - pair).min(2);
            for (panel, weights) in (pair..pair + count).zip(weights.iter_mut()) {
                unpack(panels, panel, &mut weights[..cols]);
            }
            let weights = [&weights[0][..cols], &weights[1][..cols]];
            // If the pair has only one panel, the second product has no place and is not written.
            times(weights, xs, out);
        }
    });
}

/// Defines, from the operations in scope, `unpack_all` and `times_all`; the latter takes `$together` rows at a time.
macro_rules! kernels {
    ($features:literal, $together:literal) => {
        use super::{Input, LANES, Panels};
        use crate::kernels::Format;
        use crate::kernels::panels::{Shape, VECTOR};
        use crate::kernels::prefetch::Ahead;
        use crate::kernels::quantised_rows::BLOCK;
        use crate::kernels::simd::for_each_block;

        crate::kernels::simd::operations! { $features:
            /// Writes four inputs for each quad: the numbers times a scale for each row, plus the contribution of their zero.
            fn write_quads(to: *mut Input, quads: *const Bytes, count: usize, scale: Floats, zero: Floats) {
                let mut q = 0;
                while q < count {
                    let (quad, to) = (*quads.add(q), to.add(4 * q).cast::<f32>());
                    store(to, fmadd(nth_byte::<0>(quad), scale, zero));
                    store(to.add(LANES), fmadd(nth_byte::<8>(quad), scale, zero));
                    store(to.add(2 * LANES), fmadd(nth_byte::<16>(quad), scale, zero));
                    store(to.add(3 * LANES), fmadd(nth_byte::<24>(quad), scale, zero));
                    q += 1;
                }
            }

            /// Writes a group of `blocks` blocks of 32 inputs; `scales` and `numbers` are its vectors.
            fn unpack_group(format: Format, blocks: usize, scales: *const u8, numbers: *const u8, to: *mut Input, ahead: Ahead) {
                match format {
                    Format::F16 | Format::BF16 => {
                        let mut v = 0;
                        while v < 16 {
                            let (at, to) = (numbers.add(v * VECTOR), to.add(2 * v).cast::<f32>());
                            let [a, b] = if format == Format::F16 { halves2(at, ahead) } else { bf16_pair(at, ahead) };
                            store(to, a);
                            store(to.add(LANES), b);
                            v += 1;
                        }
                    }
                    _ => for_each_block!(format, scales, numbers, 0..blocks, ahead, |first, quads, scale, zero| {
                        write_quads(to.add(first), quads.as_ptr(), quads.len(), scale, zero);
                    }),
                }
            }

            /// Returns Σ over `cols` inputs of two panels' weights times M rows of activations, which are `cols` apart.
            fn times<const M: usize>(a: *const f32, b: *const f32, xs: *const f32, cols: usize) -> [[Floats; M]; 2] {
                let (mut of_a, mut of_b) = ([zero(); M], [zero(); M]);
                let mut i = 0;
                while i < cols {
                    let (a, b) = (singles(a.add(i * LANES)), singles(b.add(i * LANES)));
                    let mut m = 0;
                    while m < M {
                        let x = splat(*xs.add(m * cols + i));
                        of_a[m] = fmadd(a, x, of_a[m]);
                        of_b[m] = fmadd(b, x, of_b[m]);
                        m += 1;
                    }
                    i += 1;
                }
                [of_a, of_b]
            }
        }

        /// Converts the weights of a panel, one input after the other.
        #[expect(unsafe_code, reason = "calls operations of the processor's instruction set")]
        pub(super) fn unpack_all(panels: &Panels, panel: usize, to: &mut [Input]) {
            let Some(shape) = Shape::of(panels.format()) else { return };
            assert!(to.len() == panels.cols());
            let ahead = Ahead::here();
            let groups = panels.panels(panel..panel + 1).chunks_exact(shape.bytes());
            for (group, to) in groups.zip(to.chunks_exact_mut(shape.inputs)) {
                let numbers = &group[shape.scales * VECTOR..];
                // SAFETY: the processor has the instructions, as `multiply` has asserted; a group has the vectors of its
                // format, at a multiple of 64, and there is room for its inputs.
                unsafe { unpack_group(panels.format(), shape.inputs / BLOCK, group.as_ptr(), numbers.as_ptr(), to.as_mut_ptr(), ahead) };
            }
        }

        /// Multiplies weights of two panels by the rows of `xs`, to `out` `[panels, rows, 16]`, which may have only one panel.
        #[expect(unsafe_code, reason = "calls operations of the processor's instruction set")]
        pub(super) fn times_all(weights: [&[Input]; 2], xs: &[f32], out: &mut [[f32; LANES]]) {
            /// Multiplies M rows from `first` on. Returns M.
            #[inline]
            fn rows<const M: usize>(
                weights: [&[Input]; 2],
                xs: &[f32],
                first: usize,
                out: [&mut [[f32; LANES]]; 2],
            ) -> usize {
                let [a, b] = weights;
                let xs = &xs[first * a.len()..(first + M) * a.len()];
                assert!(a.len() == b.len());
                // SAFETY: the processor has the instructions, as `multiply` has asserted; each panel has 16 weights for each of `a.len()`
                // inputs, and there are M rows of `a.len()` numbers. An output is 16 floats.
                unsafe {
                    let sums = times::<M>(a.as_ptr().cast(), b.as_ptr().cast(), xs.as_ptr(), a.len());
                    for (out, sums) in out.into_iter().zip(sums) {
                        for (out, sum) in out.iter_mut().skip(first).zip(sums) {
                            store(out.as_mut_ptr(), sum);
                        }
                    }
                }
                M
            }
            let count = xs.len() / weights[0].len();
            let (a, b) = out.split_at_mut(count);
            let mut done = 0;
            while done < count {
                let out = [&mut *a, &mut *b];
                done += match count - done {
                    left if left >= $together => rows::<$together>(weights, xs, done, out),
                    2.. => rows::<2>(weights, xs, done, out),
                    _ => rows::<1>(weights, xs, done, out),
                };
            }
        }
    };
}

/// The kernels in AVX-512 with VNNI.
#[allow(clippy::wildcard_imports, reason = "the operations of an instruction set")]
mod vnni {
    use crate::kernels::simd::vnni::*;

    kernels! { "avx512f,avx512bw,avx512vnni", 8 }
}

/// The kernels in AVX2.
#[allow(clippy::wildcard_imports, reason = "the operations of an instruction set")]
mod avx2 {
    use crate::kernels::simd::avx2::*;

    kernels! { "avx2,fma,f16c", 2 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::panels::tests::{FORMATS, matrix};

    /// Compares with the dequantised weights times the activations in f64, with an odd number of panels and every number of rows up to a
    /// few passes.
    #[test]
    fn equals_the_product_in_f64() {
        let (rows, cols) = (48, 512);
        for format in FORMATS {
            let matrix = matrix(format, rows, cols);
            let panels = Panels::new(matrix.bytes(), format, rows, cols, |_| {}).unwrap();
            let mut weights = vec![0f32; rows * cols];
            matrix.dequantize(0..rows, &mut weights);
            for m in 1..20 {
                let xs: Vec<f32> =
                    (0..m * cols).map(|i| ((i * 7 % 1009) as f32 * 0.37).sin() * 3.0).collect();
                for level in [Level::Vnni, Level::Avx2].into_iter().filter(|level| level.is_available()) {
                    let mut out = vec![[f32::NAN; LANES]; rows / LANES * m];
                    multiply(level, &panels, 0..rows / LANES, &xs, &mut out);
                    for (x, w) in (0..m).flat_map(|x| (0..rows).map(move |w| (x, w))) {
                        let row = weights[w * cols..(w + 1) * cols].iter();
                        let terms = row.zip(&xs[x * cols..]).map(|(w, x)| f64::from(*w) * f64::from(*x));
                        let size: f64 = terms.clone().map(f64::abs).sum();
                        let got = f64::from(out[w / LANES * m + x][w % LANES]);
                        let error = (got - terms.sum::<f64>()).abs() / size;
                        assert!(error < 1e-6, "{level:?} {} m {m} row {w}: {error}", format.name());
                    }
                }
            }
        }
    }
}
