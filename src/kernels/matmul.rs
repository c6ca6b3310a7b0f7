//! Activations times the transpose of a stored matrix: the linear layer on the CPU.
//!
//! Two shapes of work, two ways:
//! - many rows of activations (a prompt): a tile of weight rows is converted to f32 once and multiplied as f32 matrices;
//! - few rows (a decode step): reading the weights is all the time, so they are read once, in place, and multiplied as
//!   they stand: floats in f32, quantised blocks against activations quantised to 8 bits by candle's integer kernels.
//!
//! A matrix in [panels](super::panels) is multiplied by our own kernels, whatever the number of rows. All kernels for quantised
//! blocks round the activations; [`MatMul::unrounded`] turns them off and converts weights to f32 instead.

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

/// From this many rows of activations on, tiles of weights are converted to f32 and multiplied as matrices.
pub(super) const TILE_FROM_ROWS: usize = 8;
/// Numbers of a converted tile: 512 KiB of f32, which stays in a core's second-level cache.
const TILE_NUMBERS: usize = 128 * 1024;
/// Below this many weight bytes for a thread, starting it costs more than it gains.
const MIN_BYTES_PER_TASK: usize = 64 * 1024;

/// The linear layer `xs · Wᵀ` as a candle operation: `[.., cols]` f32 to `[.., rows]` f32, without a gradient.
#[derive(Debug, Clone)]
pub struct MatMul {
    /// The weights W, `[rows, cols]`.
    pub matrix: Matrix,
    /// Never round activations to 8 bits, at the price of a slower step on quantised weights.
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
        self.run(xs, &mut out);
        Ok((CpuStorage::F32(out), Shape::from(dims)))
    }
}

impl MatMul {
    /// `out = xs · Wᵀ` with `xs` `[m, cols]` and `out` `[m, rows]`, both row-major.
    ///
    /// # Panics
    /// If the lengths are not m·cols and m·rows for one m.
    pub fn run(&self, xs: &[f32], out: &mut [f32]) {
        let (rows, cols) = (self.matrix.rows(), self.matrix.cols());
        if rows == 0 || cols == 0 {
            out.fill(0.0);
            return;
        }
        let m = xs.len() / cols;
        assert_eq!(xs.len(), m * cols, "activations are not whole rows");
        assert_eq!(out.len(), m * rows, "outputs are not whole rows");
        let columns = Columns::new(out, rows);
        if let Store::Panels(panels) = self.matrix.store() {
            if self.unrounded {
                self.unrounded_panels(panels, xs, &columns);
            } else {
                self.panels(panels, xs, &columns);
            }
        } else if m >= TILE_FROM_ROWS {
            self.tiles(xs, &columns);
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

    /// Multiplies many rows: each thread converts a tile of weight rows to f32, multiplies it, and takes the next tile.
    fn tiles(&self, xs: &[f32], out: &Columns<'_>) {
        let (rows, cols) = (self.matrix.rows(), self.matrix.cols());
        let tile = (TILE_NUMBERS / cols).clamp(8, 256);
        let tiles = rows.div_ceil(tile);
        (0..tiles).into_par_iter().for_each_init(Vec::new, |buffer: &mut Vec<f32>, t| {
            let range = t * tile..((t + 1) * tile).min(rows);
            buffer.resize(range.len() * cols, 0.0);
            self.matrix.dequantize(range.clone(), buffer);
            out.gemm(range, xs, buffer, cols);
        });
    }

    /// Multiplies few rows: each weight row is read once and multiplied in place.
    fn rows(&self, xs: &[f32], out: &Columns<'_>) {
        let cols = self.matrix.cols();
        match self.matrix.format() {
            Format::F32 => self.float_rows(xs, out, dot_f32),
            Format::F16 => self.float_rows(xs, out, dot_f16),
            Format::BF16 => self.float_rows(xs, out, dot_bf16),
            format if self.unrounded || !integer_kernel_takes(format, cols) => self.converted_rows(xs, out),
            format => with_blocks!(
                format,
                T => self.integer_rows::<T>(xs, out, |n, row, x| T::vec_dot(n, blocks(row), x)),
                ()
            ),
        }
    }

    /// Multiplies weights that are floats, which are decoded on the way.
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

    /// Runs `work` over ranges of weight rows on the threads, or at once where the matrix is small.
    fn in_parallel(&self, work: impl Fn(Range<usize>) + Sync) {
        let rows = self.matrix.rows();
        let least = (MIN_BYTES_PER_TASK / self.matrix.row_bytes().max(1)).max(1);
        // A few ranges a thread even out what the threads do not get done at the same speed.
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
    /// Multiplies the rows of the panels `range` by rows of activations: `out[p · xs.rows() + m]` is of the p-th panel of the range for
    /// row m.
    ///
    /// # Panics
    /// If there are no such panels, activations have another width, or `out` is not one for each panel and row.
    pub fn multiply(&self, range: Range<usize>, xs: &QuantisedRows, out: &mut [[f32; LANES]]) {
        #[cfg(target_arch = "x86_64")]
        {
            super::gemv::multiply(Level::best(), self, range, xs, out);
        }
        #[cfg(not(target_arch = "x86_64"))]
        unreachable!("no matrix is put into panels here: {self:?} {range:?} {} {}", xs.rows(), out.len());
    }

    /// Does what [`Self::multiply`] does, without rounding the activations `xs` `[rows, cols]`.
    ///
    /// # Panics
    /// As [`Self::multiply`].
    pub fn multiply_unrounded(&self, range: Range<usize>, xs: &[f32], out: &mut [[f32; LANES]]) {
        #[cfg(target_arch = "x86_64")]
        {
            super::gemm::unrounded::multiply(Level::best(), self, range, xs, out);
        }
        #[cfg(not(target_arch = "x86_64"))]
        unreachable!("no matrix is put into panels here: {self:?} {range:?} {} {}", xs.len(), out.len());
    }
}

/// Whether candle's integer kernel takes rows of this format and length: the formats with a minimum read blocks in pairs.
fn integer_kernel_takes(format: Format, cols: usize) -> bool {
    match format {
        Format::Q4_1 | Format::Q5_0 | Format::Q5_1 => cols.is_multiple_of(2 * format.block_len()),
        _ => format.is_quantized(),
    }
}

/// An output `[m, rows]` into which threads write disjoint columns.
struct Columns<'a> {
    out: *mut f32,
    m: usize,
    rows: usize,
    borrow: PhantomData<&'a mut [f32]>,
}

#[expect(unsafe_code, reason = "threads write disjoint columns of one row-major output")]
// SAFETY: the pointer is to a slice borrowed for 'a; the methods write only inside it, and `MatMul` gives each column
// to exactly one thread, so no element is written by two threads or read while written.
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

    /// Writes the outputs `range` of all activation rows: `xs` `[m, cols]` times the transpose of `tile`
    /// `[range.len(), cols]`.
    fn gemm(&self, range: Range<usize>, xs: &[f32], tile: &[f32], cols: usize) {
        let (m, n) = (self.m, range.len());
        assert!(range.end <= self.rows && xs.len() == m * cols && tile.len() == n * cols);
        // SAFETY: by the lengths just asserted, element (i, j) of the output lies at i·rows + range.start + j inside
        // the slice, (i, p) of the activations at i·cols + p inside `xs`, and (p, j) of the transposed tile at
        // j·cols + p inside `tile`. The output is not read.
        unsafe {
            gemm::gemm(
                m,
                n,
                cols,
                self.out.add(range.start),
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
    use candle_core::quantized::{GgmlDType, QTensor};
    use candle_core::{Device, Tensor};
    use std::sync::Arc;

    /// One that is whole panels and one that is not.
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

    /// One row, a few rows and a tile's worth, for each format, against a naive product of the dequantised matrix;
    /// the integer kernels within what rounding the activations to 8 bits allows.
    #[test]
    fn every_format_equals_the_naive_product() {
        let weights = values(ROWS[0] * COLS, 1.0);
        for (format, rows) in Format::ALL.into_iter().flat_map(|format| ROWS.map(|rows| (format, rows))) {
            let matrix = stored(format, &weights, rows);
            let in_panels = matrix.in_panels(|_| {});
            for m in [1, 3, TILE_FROM_ROWS, 21] {
                let xs = values(m * COLS, 2.0);
                let want = naive(&matrix, &xs);
                let scale = want.iter().fold(0f32, |a, b| a.max(b.abs()));
                for (matrix, unrounded) in [&Some(matrix.clone()), &in_panels]
                    .into_iter()
                    .flatten()
                    .flat_map(|m| [(m, true), (m, false)])
                {
                    let mut out = vec![f32::NAN; m * rows];
                    MatMul { matrix: matrix.clone(), unrounded }.run(&xs, &mut out);
                    let panels = matches!(matrix.store(), Store::Panels(_));
                    let rounded = !unrounded && format.is_quantized() && (panels || m < TILE_FROM_ROWS);
                    let allowed = if rounded { 0.02 } else { 1e-5 };
                    let found = largest_difference(&out, &want) / scale;
                    assert!(
                        found < allowed,
                        "{} m={m} unrounded={unrounded} panels={panels}: {found}",
                        format.name()
                    );
                }
            }
        }
    }

    /// Formats with a minimum are read in pairs of blocks by the integer kernels; other lengths must still work.
    #[test]
    fn an_odd_number_of_blocks_is_converted() {
        let w = Tensor::from_slice(&values(2 * 96, 1.0), (2, 96), &Device::Cpu).unwrap();
        let data = QTensor::quantize(&w, GgmlDType::Q4_1).unwrap().data().unwrap().into_owned();
        let len = data.len();
        let matrix = Matrix::new(Bytes::new(Arc::new(data), 0..len).unwrap(), Format::Q4_1, 2, 96).unwrap();
        let mut out = [0f32; 2];
        MatMul { matrix, unrounded: false }.run(&values(96, 2.0), &mut out);
        assert!(out.iter().all(|v| v.is_finite() && *v != 0.0));
    }
}
