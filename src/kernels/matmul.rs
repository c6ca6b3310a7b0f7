//! Activations times the transpose of a stored matrix: the linear layer on the CPU.
//!
//! There are two ways, for two shapes of work:
//! - many positions of a text (a prompt): a tile of weight rows is converted to f32 once and multiplied as f32 matrices;
//! - few positions (a decode step): weights are read once, in place, without conversion. Floats are multiplied in f32, quantised blocks
//!   by activations quantised to 8 bits, with candle's integer kernels for formats that have one.
//!
//! The two round differently. So the number of positions of a text decides between them, and not the number of texts: a text's results
//! do not depend on the texts next to it.
//!
//! A matrix in [panels](super::panels) is multiplied by wmgen's kernels, for any number of rows. All kernels for quantised blocks round
//! the activations. [`MatMul::unrounded`] turns these kernels off and converts weights to f32 instead.

#[cfg(target_arch = "x86_64")]
use super::cpu::Level;
use super::dot::{dot_bf16, dot_f16, dot_f32, dot_values};
use super::format::{Block, blocks, with_blocks};
use super::matrix::Store;
use super::panels::{LANES, Panels};
use super::{Format, Matrix, QuantisedRows};
use candle_core::quantized::k_quants::GgmlType;
use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape};
use rayon::prelude::*;
use std::marker::PhantomData;
use std::ops::Range;

/// From this number of positions of a text on, tiles of weights are converted to f32 and multiplied as matrices.
const TILE_FROM_POSITIONS: usize = 8;
/// Number of entries of a converted tile: 512 KiB of f32, which stays in a core's second-level cache.
const TILE_NUMBERS: usize = 128 * 1024;
/// With fewer weight bytes per thread, starting the thread costs more than it gains.
const MIN_BYTES_PER_TASK: usize = 64 * 1024;

/// The linear layer `xs · Wᵀ` as a candle operation: `[.., positions, cols]` f32 to `[.., positions, rows]` f32, without a gradient.
/// `[texts, cols]` means one position of each text.
#[derive(Debug, Clone)]
pub struct MatMul {
    /// The weights W, `[rows, cols]`.
    pub matrix: Matrix,
    /// Whether activations are never rounded to 8 bits; steps on quantised weights are then slower.
    pub unrounded: bool,
}

impl CustomOp1 for MatMul {
    fn name(&self) -> &'static str {
        "stored-matmul"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (rows, cols) = (self.matrix.rows(), self.matrix.cols());
        let mut dims = layout.dims().to_vec();
        match dims.last_mut() {
            Some(last) if *last == cols => *last = rows,
            _ => candle_core::bail!(
                "stored-matmul: expected [.., {cols}] activations, found {:?}",
                layout.dims()
            ),
        }
        let Some((start, end)) = layout.contiguous_offsets() else {
            candle_core::bail!("stored-matmul: activations must be contiguous, found {layout:?}")
        };
        let xs = &storage.as_slice::<f32>()?[start..end];
        let mut out = vec![0f32; dims.iter().product()];
        let positions = if let [_, .., positions, _] = dims[..] { positions } else { 1 };
        self.run(xs, positions, &mut out);
        Ok((CpuStorage::F32(out), Shape::from(dims)))
    }
}

impl MatMul {
    /// Computes `out = xs · Wᵀ` with `xs` `[texts, positions, cols]` and `out` `[texts, positions, rows]`, both row-major. The outputs
    /// of a text are the same for any number of texts.
    ///
    /// # Panics
    /// Panics if the lengths do not match this number of positions and one number of texts.
    pub fn run(&self, xs: &[f32], positions: usize, out: &mut [f32]) {
        let (rows, cols) = (self.matrix.rows(), self.matrix.cols());
        if rows == 0 || cols == 0 {
            out.fill(0.0);
            return;
        }
        let m = xs.len() / cols;
        assert_eq!(xs.len(), m * cols, "activations are not whole rows");
        assert_eq!(out.len(), m * rows, "outputs are not whole rows");
        assert!(m.is_multiple_of(positions), "texts are not whole");
        let columns = Columns::new(out, rows);
        if let Store::Panels(panels) = self.matrix.store() {
            if self.unrounded {
                self.unrounded_panels(panels, xs, &columns);
            } else {
                self.panels(panels, xs, &columns);
            }
        } else if positions >= TILE_FROM_POSITIONS {
            self.tiles(xs, positions, &columns);
        } else if m > 0 {
            self.rows(xs, &columns);
        }
    }

    /// Multiplies a matrix in panels. Each panel is read once from memory, and multiplied by all rows while it is in the cache.
    fn panels(&self, panels: &Panels, xs: &[f32], out: &Columns<'_>) {
        let xs = QuantisedRows::new(xs, self.matrix.cols());
        self.in_parallel(|range| {
            let mut sums = vec![[0f32; LANES]; xs.rows()];
            for index in range.start / LANES..range.end / LANES {
                panels.multiply(index..index + 1, &xs, &mut sums);
                for (i, sums) in sums.iter().enumerate() {
                    out.set_run(i, index * LANES, sums);
                }
            }
        });
    }

    /// Multiplies a matrix in panels with weights converted to f32.
    fn unrounded_panels(&self, panels: &Panels, xs: &[f32], out: &Columns<'_>) {
        let rows = xs.len() / self.matrix.cols();
        self.in_parallel(|range| {
            let mut sums = vec![[0f32; LANES]; 2 * rows];
            let range = range.start / LANES..range.end / LANES;
            for first in range.clone().step_by(2) {
                let pair = first..(first + 2).min(range.end);
                let sums = &mut sums[..pair.len() * rows];
                panels.multiply_unrounded(pair.clone(), xs, sums);
                for (index, sums) in pair.zip(sums.chunks_exact(rows)) {
                    for (i, sums) in sums.iter().enumerate() {
                        out.set_run(i, index * LANES, sums);
                    }
                }
            }
        });
    }

    /// Multiplies many positions. Each thread converts a tile of weight rows to f32, multiplies it by each text in turn, and takes the
    /// next tile. Texts are multiplied separately, because a sum of gemm may depend on the number of rows.
    fn tiles(&self, xs: &[f32], positions: usize, out: &Columns<'_>) {
        let (rows, cols) = (self.matrix.rows(), self.matrix.cols());
        let tile = (TILE_NUMBERS / cols).clamp(8, 256);
        let tiles = rows.div_ceil(tile);
        (0..tiles).into_par_iter().for_each_init(Vec::new, |buffer: &mut Vec<f32>, t| {
            let range = t * tile..((t + 1) * tile).min(rows);
            buffer.resize(range.len() * cols, 0.0);
            self.matrix.dequantize(range.clone(), buffer);
            for (text, xs) in xs.chunks_exact(positions * cols).enumerate() {
                out.gemm(text * positions, range.clone(), xs, buffer, cols);
            }
        });
    }

    /// Multiplies few positions: each weight row is read once and multiplied in place.
    fn rows(&self, xs: &[f32], out: &Columns<'_>) {
        match self.matrix.format() {
            Format::F32 => self.float_rows(xs, out, dot_f32),
            Format::F16 => self.float_rows(xs, out, dot_f16),
            Format::BF16 => self.float_rows(xs, out, dot_bf16),
            format if self.unrounded || !has_integer_kernel(format) => self.converted_rows(xs, out),
            format => with_blocks!(
                format,
                T => self.integer_rows::<T>(xs, out, |n, row, x| T::vec_dot(n, blocks(row), x)),
                ()
            ),
        }
    }

    /// Multiplies weights that are floats, decoding them on the way.
    fn float_rows(&self, xs: &[f32], out: &Columns<'_>, dot: impl Fn(&[u8], &[f32]) -> f32 + Sync) {
        self.in_parallel(|range| {
            for r in range {
                let row = self.matrix.rows_bytes(r..r + 1);
                for (i, x) in xs.chunks_exact(self.matrix.cols()).enumerate() {
                    out.set(i, r, dot(row, x));
                }
            }
        });
    }

    /// Multiplies rows of weights that are converted to f32 once for all rows of activations.
    fn converted_rows(&self, xs: &[f32], out: &Columns<'_>) {
        let cols = self.matrix.cols();
        self.in_parallel(|range| {
            let mut row = vec![0f32; cols];
            for r in range {
                self.matrix.dequantize(r..r + 1, &mut row);
                for (i, x) in xs.chunks_exact(cols).enumerate() {
                    out.set(i, r, dot_values(&row, x));
                }
            }
        });
    }

    /// Multiplies activations quantised to 8 bits, by an integer kernel that reads the blocks in place.
    fn integer_rows<T: Block>(
        &self,
        xs: &[f32],
        out: &Columns<'_>,
        dot: impl Fn(usize, &[u8], &[T::VecDotType]) -> f32 + Sync,
    ) {
        let cols = self.matrix.cols();
        let quantized: Vec<Vec<T::VecDotType>> = xs
            .chunks_exact(cols)
            .map(|x| {
                let mut q = vec![T::VecDotType::zeros(); cols / T::VecDotType::BLCK_SIZE];
                T::VecDotType::from_float(x, &mut q);
                q
            })
            .collect();
        self.in_parallel(|range| {
            for r in range {
                let row = self.matrix.rows_bytes(r..r + 1);
                for (i, x) in quantized.iter().enumerate() {
                    out.set(i, r, dot(cols, row, x));
                }
            }
        });
    }

    /// Runs `work` over ranges of weight rows on the threads, or in one piece if the matrix is small.
    fn in_parallel(&self, work: impl Fn(Range<usize>) + Sync) {
        let rows = self.matrix.rows();
        let least = (MIN_BYTES_PER_TASK / self.matrix.row_bytes().max(1)).max(1);
        // A few ranges per thread even out different speeds of the threads.
        let step = rows.div_ceil(4 * rayon::current_num_threads()).max(least);
        let step = step.next_multiple_of(self.matrix.rows_together());
        if step >= rows {
            return work(0..rows);
        }
        let ranges = rows.div_ceil(step);
        (0..ranges).into_par_iter().for_each(|t| work(t * step..((t + 1) * step).min(rows)));
    }
}

impl Panels {
    /// Multiplies the rows of the panels `range` by rows of activations. `out[p · xs.rows() + m]` is the result of the p-th panel of
    /// the range for row m.
    ///
    /// # Panics
    /// Panics if the panels do not exist, the activations have another width, or `out` does not have one entry for each panel and row.
    pub fn multiply(&self, range: Range<usize>, xs: &QuantisedRows, out: &mut [[f32; LANES]]) {
        #[cfg(target_arch = "x86_64")]
        {
            super::gemv::multiply(Level::best(), self, range, xs, out);
        }
        #[cfg(not(target_arch = "x86_64"))]
        unreachable!("no matrix is put into panels here: {self:?} {range:?} {} {}", xs.rows(), out.len());
    }

    /// Does the same as [`Self::multiply`], without rounding the activations `xs`, `[rows, cols]`.
    ///
    /// # Panics
    /// Panics under the same conditions as [`Self::multiply`].
    pub fn multiply_unrounded(&self, range: Range<usize>, xs: &[f32], out: &mut [[f32; LANES]]) {
        #[cfg(target_arch = "x86_64")]
        {
            super::gemm::unrounded::multiply(Level::best(), self, range, xs, out);
        }
        #[cfg(not(target_arch = "x86_64"))]
        unreachable!("no matrix is put into panels here: {self:?} {range:?} {} {}", xs.len(), out.len());
    }
}

/// Returns whether candle has an integer kernel with vector instructions for this format. For other formats, converting a row is faster
/// than candle's plain loops.
fn has_integer_kernel(format: Format) -> bool {
    format.is_quantized() && !matches!(format, Format::Q4_1 | Format::Q5_0 | Format::Q5_1)
}

/// An output `[m, rows]` into which threads write disjoint columns.
struct Columns<'a> {
    out: *mut f32,
    m: usize,
    rows: usize,
    borrow: PhantomData<&'a mut [f32]>,
}

#[expect(unsafe_code, reason = "threads write disjoint columns of one row-major output")]
// SAFETY: the pointer is to a slice borrowed for 'a. The methods write only inside it, and `MatMul` gives each column to exactly one
// thread, so no element is written by two threads or read while it is written.
unsafe impl Sync for Columns<'_> {}

#[expect(unsafe_code, reason = "threads write disjoint columns of one row-major output")]
impl<'a> Columns<'a> {
    fn new(out: &'a mut [f32], rows: usize) -> Self {
        Self { m: out.len() / rows, rows, out: out.as_mut_ptr(), borrow: PhantomData }
    }

    /// Writes output `r` of activation row `i`.
    fn set(&self, i: usize, r: usize, value: f32) {
        assert!(i < self.m && r < self.rows);
        // SAFETY: the index is below m·rows, the length of the slice, as just asserted.
        unsafe { self.out.add(i * self.rows + r).write(value) }
    }

    /// Writes outputs `r` and following of activation row `i`.
    fn set_run(&self, i: usize, r: usize, values: &[f32]) {
        assert!(i < self.m && r + values.len() <= self.rows);
        // SAFETY: the run ends inside the slice, as just asserted; it does not overlap `values`, which is borrowed.
        unsafe { self.out.add(i * self.rows + r).copy_from_nonoverlapping(values.as_ptr(), values.len()) }
    }

    /// Writes the outputs `range` of the activation rows from `first` on: `xs`, `[m, cols]`, times the transpose of `tile`,
    /// `[range.len(), cols]`.
    fn gemm(&self, first: usize, range: Range<usize>, xs: &[f32], tile: &[f32], cols: usize) {
        let (m, n) = (xs.len() / cols, range.len());
        assert!(first + m <= self.m && range.end <= self.rows);
        assert!(xs.len() == m * cols && tile.len() == n * cols);
        // SAFETY: by the lengths just asserted, element (i, j) of the output lies at (first + i)·rows + range.start + j
        // inside the slice, (i, p) of the activations at i·cols + p inside `xs`, and (p, j) of the transposed tile at
        // j·cols + p inside `tile`. The output is not read.
        unsafe {
            gemm::gemm(
                m,
                n,
                cols,
                self.out.add(first * self.rows + range.start),
                1,
                self.rows as isize,
                false,
                xs.as_ptr(),
                1,
                cols as isize,
                tile.as_ptr(),
                cols as isize,
                1,
                0f32,
                1f32,
                false,
                false,
                false,
                gemm::Parallelism::None,
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::Bytes;
    use candle_core::quantized::QTensor;
    use candle_core::{Device, Tensor};
    use std::sync::Arc;

    /// One number of rows that is whole panels, and one that is not.
    const ROWS: [usize; 2] = [48, 37];
    const COLS: usize = 512;

    fn values(n: usize, seed: f32) -> Vec<f32> {
        (0..n).map(|i| ((i as f32 + seed) * 0.618).sin() * ((i % 13) as f32 - 5.0) * 0.1).collect()
    }

    fn stored(format: Format, weights: &[f32], rows: usize) -> Matrix {
        let w = Tensor::from_slice(&weights[..rows * COLS], (rows, COLS), &Device::Cpu).unwrap();
        let data = QTensor::quantize(&w, format.ggml()).unwrap().data().unwrap().into_owned();
        let len = data.len();
        Matrix::new(Bytes::new(Arc::new(data), 0..len).unwrap(), format, rows, COLS).unwrap()
    }

    fn naive(matrix: &Matrix, xs: &[f32]) -> Vec<f32> {
        let mut w = vec![0f32; matrix.rows() * COLS];
        matrix.dequantize(0..matrix.rows(), &mut w);
        let mut out = Vec::new();
        for x in xs.chunks_exact(COLS) {
            for row in w.chunks_exact(COLS) {
                out.push(row.iter().zip(x).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>() as f32);
            }
        }
        out
    }

    fn largest_difference(a: &[f32], b: &[f32]) -> f32 {
        a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
    }

    /// Compares one position, a few, and a tile's worth, in each format, with a naive product of the dequantised matrix. The integer
    /// kernels may differ by what rounding the activations to 8 bits allows.
    #[test]
    fn every_format_equals_the_naive_product() {
        let weights = values(ROWS[0] * COLS, 1.0);
        for (format, rows) in Format::ALL.into_iter().flat_map(|format| ROWS.map(|rows| (format, rows))) {
            let matrix = stored(format, &weights, rows);
            for positions in [1, 3, TILE_FROM_POSITIONS, 21] {
                let xs = values(positions * COLS, 2.0);
                let want = naive(&matrix, &xs);
                let scale = want.iter().fold(0f32, |a, b| a.max(b.abs()));
                for op in each_way(&matrix) {
                    let mut out = vec![f32::NAN; positions * rows];
                    op.run(&xs, positions, &mut out);
                    let panels = matches!(op.matrix.store(), Store::Panels(_));
                    let few = positions < TILE_FROM_POSITIONS && has_integer_kernel(format);
                    let rounded = !op.unrounded && format.is_quantized() && (panels || few);
                    let allowed = if rounded { 0.02 } else { 1e-5 };
                    let found = largest_difference(&out, &want) / scale;
                    assert!(
                        found < allowed,
                        "{} of {positions} unrounded={} panels={panels}: {found}",
                        format.name(),
                        op.unrounded
                    );
                }
            }
        }
    }

    /// Returns the same matrix in its rows and in panels, with and without rounding.
    fn each_way(matrix: &Matrix) -> Vec<MatMul> {
        let stores = [Some(matrix.clone()), matrix.in_panels(|_| {})];
        let ways = stores.into_iter().flatten().flat_map(|matrix| [(matrix.clone(), true), (matrix, false)]);
        ways.map(|(matrix, unrounded)| MatMul { matrix, unrounded }).collect()
    }

    /// With up to nine texts at a time, each gets the same bits as alone.
    #[test]
    fn a_text_gets_the_same_numbers_whatever_is_beside_it() {
        let weights = values(ROWS[0] * COLS, 1.0);
        for (format, rows) in Format::ALL.into_iter().flat_map(|format| ROWS.map(|rows| (format, rows))) {
            for op in each_way(&stored(format, &weights, rows)) {
                for positions in [1, 3, 70] {
                    let xs = values(9 * positions * COLS, 2.0);
                    let run = |xs: &[f32]| {
                        let mut out = vec![f32::NAN; xs.len() / COLS * rows];
                        op.run(xs, positions, &mut out);
                        out
                    };
                    let alone: Vec<f32> = xs.chunks(positions * COLS).flat_map(run).collect();
                    for texts in 2..=9 {
                        let together = run(&xs[..texts * positions * COLS]);
                        assert!(
                            together == alone[..together.len()],
                            "{texts} texts of {positions}: {} unrounded={} {:?}",
                            format.name(),
                            op.unrounded,
                            op.matrix
                        );
                    }
                }
            }
        }
    }

    /// Tries rows that are not a whole number of panels' groups and, for some formats, of pairs of blocks.
    #[test]
    fn rows_of_any_number_of_blocks_are_multiplied() {
        let weights = values(2 * 96, 1.0);
        for format in Format::ALL.into_iter().filter(|format| format.block_len() <= 32) {
            let w = Tensor::from_slice(&weights, (2, 96), &Device::Cpu).unwrap();
            let data = QTensor::quantize(&w, format.ggml()).unwrap().data().unwrap().into_owned();
            let len = data.len();
            let matrix = Matrix::new(Bytes::new(Arc::new(data), 0..len).unwrap(), format, 2, 96).unwrap();
            let mut out = [0f32; 2];
            MatMul { matrix, unrounded: false }.run(&values(96, 2.0), 1, &mut out);
            assert!(out.iter().all(|v| v.is_finite() && *v != 0.0), "{}", format.name());
        }
    }
}
