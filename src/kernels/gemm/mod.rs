//! Products of panels and many rows of activations, such as those of a prompt.
//!
//! If the processor has a matrix unit for bf16, activations and weights are rounded to bf16. Otherwise the kernels of a decode step take
//! the rows eight at a time.

#[cfg(target_arch = "x86_64")]
pub(crate) mod amx;
pub(crate) mod dense;
#[cfg(target_arch = "x86_64")]
pub(crate) mod unrounded;

use super::bf16_tiles::{self, with_numbers};
use super::loops::gated_gelu_row;
use super::panels::LANES;
use super::{Bf16Tiles, Panels, QuantisedRows};
use rayon::prelude::*;
use std::ops::Range;

/// Number of rows that are processed together.
pub(crate) const STRIP: usize = bf16_tiles::ROWS;

/// Rows of activations, rounded in the way that this processor's product for many rows takes them.
#[derive(Debug)]
pub enum Activations {
    /// In bf16, for the matrix unit.
    Tiles(Bf16Tiles),
    /// In the form that a decode step takes.
    Rows(QuantisedRows),
}

impl Activations {
    /// Makes an empty buffer for activations of the kind that this processor multiplies fastest.
    pub fn new() -> Self {
        #[cfg(target_arch = "x86_64")]
        if super::cpu::has_matrix_unit() {
            return Self::Tiles(Bf16Tiles::default());
        }
        Self::Rows(QuantisedRows::default())
    }

    /// Takes `rows` rows of `cols` numbers and rounds them, on all threads.
    ///
    /// Calls `strip(rows, side, out)` for each strip of up to [`STRIP`] rows. It gets the range of rows, the matching part of `beside`,
    /// and an output slice to fill, which holds arbitrary numbers.
    pub fn fill(
        &mut self,
        rows: usize,
        cols: usize,
        beside: &mut [f32],
        strip: impl Fn(Range<usize>, &mut [f32], &mut [f32]) + Sync,
    ) {
        match self {
            Self::Tiles(tiles) => tiles.fill(rows, cols, beside, strip),
            Self::Rows(all) => all.fill(rows, cols, STRIP, beside, strip),
        }
    }

    /// Returns the number of rows.
    fn rows(&self) -> usize {
        match self {
            Self::Tiles(tiles) => tiles.rows(),
            Self::Rows(rows) => rows.rows(),
        }
    }

    /// Multiplies the panels `range` by the rows: `[panels, rows, 16]`, where rows are padded to whole strips.
    fn multiply(&self, panels: &Panels, range: Range<usize>, out: &mut [[f32; LANES]]) {
        match self {
            Self::Rows(rows) => {
                let padded = out.len() / range.len();
                for (panel, out) in range.zip(out.chunks_exact_mut(padded)) {
                    panels.multiply(panel..panel + 1, rows, &mut out[..rows.rows()]);
                }
            }
            #[cfg(target_arch = "x86_64")]
            Self::Tiles(tiles) => amx::multiply(panels, range, tiles, out),
            #[cfg(not(target_arch = "x86_64"))]
            Self::Tiles(_) => unreachable!("no matrix unit here"),
        }
    }
}

impl Default for Activations {
    fn default() -> Self {
        Self::new()
    }
}

/// Output of a product: `[panels, rows, 16]`, with rows padded to whole strips.
#[derive(Debug, Default)]
pub struct Sums {
    panels: usize,
    /// Number of rows, including the padding of the last strip.
    rows: usize,
    numbers: Vec<[f32; LANES]>,
}

impl Sums {
    /// Computes the product of matrices, side by side, with the rows.
    pub fn product(&mut self, matrices: &[&Panels], xs: &Activations) {
        self.reshape(matrices.iter().map(|panels| panels.rows() / LANES).sum(), xs.rows());
        let mut rest = &mut self.numbers[..];
        for panels in matrices {
            let count = panels.rows() / LANES;
            let numbers = rest.split_off_mut(..count * self.rows).unwrap_or_default();
            in_parts(count, self.rows, numbers, |range, numbers| xs.multiply(panels, range, numbers));
        }
    }

    /// Computes gelu(gate) · up of two matrices of one shape.
    pub fn gated(&mut self, gate: &Panels, up: &Panels, xs: &Activations) {
        self.reshape(gate.rows() / LANES, xs.rows());
        in_parts(self.panels, self.rows, &mut self.numbers, |range, numbers| {
            let numbers = numbers.as_flattened_mut();
            with_numbers(2 * numbers.len(), |both| {
                let (of_gate, of_up) = both.split_at_mut(numbers.len());
                xs.multiply(gate, range.clone(), of_gate.as_chunks_mut().0);
                xs.multiply(up, range, of_up.as_chunks_mut().0);
                gated_gelu_row(numbers, of_gate, of_up);
            });
        });
    }

    fn reshape(&mut self, panels: usize, rows: usize) {
        (self.panels, self.rows) = (panels, rows.next_multiple_of(STRIP));
        self.numbers.resize(self.panels * self.rows, [0.0; LANES]);
    }

    /// Returns how many numbers a row has.
    pub fn width(&self) -> usize {
        self.panels * LANES
    }

    /// Copies some rows to `out`, row after row.
    pub fn read(&self, rows: Range<usize>, out: &mut [f32]) {
        for (panel, numbers) in self.numbers.chunks_exact(self.rows).enumerate() {
            for (numbers, out) in numbers[rows.clone()].iter().zip(out.chunks_exact_mut(self.width())) {
                out[panel * LANES..(panel + 1) * LANES].copy_from_slice(numbers);
            }
        }
    }
}

/// Runs `work` on runs of panels, each with its outputs, on all threads.
fn in_parts(
    panels: usize,
    rows: usize,
    numbers: &mut [[f32; LANES]],
    work: impl Fn(Range<usize>, &mut [[f32; LANES]]) + Sync,
) {
    // A few runs per thread even out different speeds of the threads. The matrix unit takes pairs.
    let run = panels.div_ceil(8 * rayon::current_num_threads()).next_multiple_of(2);
    numbers.par_chunks_mut(run * rows).enumerate().for_each(|(index, numbers)| {
        let start = index * run;
        work(start..start + numbers.len() / rows, numbers);
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::panels::tests::matrix;
    use crate::kernels::{Format, Matrix};

    const COLS: usize = 256;
    const ROWS: usize = 19;

    fn activation(row: usize, col: usize) -> f32 {
        ((row * 31 + col * 7) as f32 * 0.37).sin() * 2.0
    }

    /// Returns the value and Σ |weight| of each output of a row.
    fn naive(matrix: &Matrix, row: usize) -> Vec<(f64, f64)> {
        let mut weights = vec![0f32; matrix.rows() * COLS];
        matrix.dequantize(0..matrix.rows(), &mut weights);
        let terms = |w: &[f32]| {
            let products = w.iter().enumerate().map(|(i, w)| f64::from(*w) * f64::from(activation(row, i)));
            (products.sum(), w.iter().map(|w| f64::from(w.abs())).sum())
        };
        weights.chunks_exact(COLS).map(terms).collect()
    }

    /// Tries both kinds, with an incomplete last strip and an odd number of panels, within what rounding allows.
    #[test]
    fn products_are_those_of_the_rows() {
        if !crate::kernels::cpu::Level::best().has_panel_kernels() {
            return;
        }
        let [a, b] =
            [(48, Format::Q4_0), (16, Format::Q8_0)].map(|(rows, format)| matrix(format, rows, COLS));
        let panels = [&a, &b].map(|matrix| matrix.in_panels(|_| ()).unwrap());
        let [a_panels, b_panels] = panels.each_ref().map(|matrix| &**matrix.panels().unwrap());
        for mut xs in [Activations::new(), Activations::Rows(QuantisedRows::default())] {
            let mut beside: Vec<f32> = (0..ROWS).map(|row| row as f32).collect();
            xs.fill(ROWS, COLS, &mut beside, |rows, beside, numbers| {
                for ((row, numbers), beside) in rows.zip(numbers.chunks_exact_mut(COLS)).zip(beside) {
                    assert_eq!(*beside, row as f32);
                    *beside = -1.0;
                    numbers.iter_mut().enumerate().for_each(|(col, x)| *x = activation(row, col));
                }
            });
            assert_eq!(beside, [-1.0; ROWS]);
            let mut sums = Sums::default();
            let mut got = vec![0.0; 3 * 64];
            sums.product(&[a_panels, b_panels], &xs);
            sums.read(15..18, &mut got);
            let mut gated = Sums::default();
            gated.gated(a_panels, a_panels, &xs);
            let mut of_gated = vec![0.0; 3 * 48];
            gated.read(15..18, &mut of_gated);
            for row in 0..3 {
                let want = [naive(&a, 15 + row), naive(&b, 15 + row)].concat();
                for (got, (want, weights)) in got[row * 64..].iter().zip(want) {
                    // Activations are at most 2, and rounded to steps of 2/127 or to 8 bits; the weights may be rounded in the same way.
                    assert!(
                        (f64::from(*got) - want).abs() < 2.0 / 128.0 * weights,
                        "row {row}: {got} {want}"
                    );
                }
                let gate = &got[row * 64..row * 64 + 48];
                let mut want = [0.0; 48];
                gated_gelu_row(&mut want, gate, gate);
                assert_eq!(of_gated[row * 48..(row + 1) * 48], want);
            }
        }
    }
}
