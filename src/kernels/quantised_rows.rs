//! Rows of activations in the form that panels are multiplied by: unrounded for weights that are floats, rounded to 8 bits for
//! quantised weights.

use super::cpu::for_each_target;
use rayon::prelude::*;
use std::ops::Range;

/// Number of entries that share a scale.
pub(super) const BLOCK: usize = 32;

/// Rows of activations, as floats and as signed bytes with a scale for each `BLOCK` of them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct QuantisedRows {
    count: usize,
    cols: usize,
    /// The activations x, `[rows, cols]`.
    pub(super) floats: Vec<f32>,
    /// Rounded activations, `[rows, cols]`: x ≈ scale · value.
    pub(super) values: Vec<i8>,
    /// Scale of each block. It is NaN if a number of the block is not finite, so that this is not lost.
    pub(super) scales: Vec<f32>,
    /// What zero points of the weights contribute to integer sums: −8 Σ of a block's values, for a zero of 8. Other zeros take a
    /// multiple of it.
    pub(super) minus_8: Vec<i32>,
    /// The same for a zero of 32: −32 Σ of the values of each half of a block.
    pub(super) minus_32: Vec<i32>,
    /// What minima of the weights are multiplied by: scale · Σ of a block's values.
    pub(super) scaled_sums: Vec<f32>,
}

impl QuantisedRows {
    /// Takes rows of `cols` numbers, a multiple of [`BLOCK`], and rounds them to the nearest of 255 values a block.
    pub fn new(xs: &[f32], cols: usize) -> Self {
        let mut rows = Self::default();
        rows.reshape(xs.len().checked_div(cols).unwrap_or(0), cols);
        rows.each().zip(xs.par_chunks(cols.max(1))).for_each(|(row, xs)| {
            row.floats.copy_from_slice(xs);
            row.round();
        });
        rows
    }

    /// Fills `rows` rows of `cols` numbers and rounds them, in strips of `of_strip` rows; see
    /// [`Activations::fill`](super::Activations::fill).
    pub(super) fn fill(
        &mut self,
        rows: usize,
        cols: usize,
        of_strip: usize,
        beside: &mut [f32],
        strip: impl Fn(Range<usize>, &mut [f32], &mut [f32]) + Sync,
    ) {
        debug_assert!(beside.len().is_multiple_of(rows));
        self.reshape(rows, cols);
        let strips = self.floats.par_chunks_mut(of_strip * cols);
        strips.zip(beside.par_chunks_mut(of_strip * beside.len() / rows)).enumerate().for_each(
            |(index, (numbers, beside))| {
                let start = index * of_strip;
                strip(start..start + numbers.len() / cols, beside, numbers);
            },
        );
        self.each().for_each(RowMut::round);
    }

    /// Makes room for this many rows of arbitrary numbers.
    fn reshape(&mut self, rows: usize, cols: usize) {
        debug_assert!(cols.is_multiple_of(BLOCK));
        let blocks = rows * cols / BLOCK;
        (self.count, self.cols) = (rows, cols);
        self.floats.resize(rows * cols, 0.0);
        self.values.resize(rows * cols, 0);
        self.scales.resize(blocks, 0.0);
        self.minus_8.resize(blocks, 0);
        self.minus_32.resize(2 * blocks, 0);
        self.scaled_sums.resize(blocks, 0.0);
    }

    /// Sets the shape to `rows` rows of `cols` numbers, lets `write` fill them, and rounds them, on the calling thread. The
    /// buffer that `write` gets holds arbitrary numbers.
    pub fn write(&mut self, rows: usize, cols: usize, write: impl FnOnce(&mut [f32])) {
        self.reshape(rows, cols);
        write(&mut self.floats);
        RowMut {
            floats: &mut self.floats,
            values: &mut self.values,
            scales: &mut self.scales,
            minus_8: &mut self.minus_8,
            minus_32: &mut self.minus_32,
            scaled_sums: &mut self.scaled_sums,
        }
        .round();
    }

    /// Returns the number of rows.
    pub fn rows(&self) -> usize {
        self.count
    }

    /// Returns how many numbers a row has.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Returns the number of blocks in a row.
    pub(super) fn blocks(&self) -> usize {
        self.cols / BLOCK
    }

    fn each(&mut self) -> impl IndexedParallelIterator<Item = RowMut<'_>> {
        let (cols, blocks) = (self.cols.max(1), self.blocks().max(1));
        let numbers = self.floats.par_chunks_mut(cols).zip(self.values.par_chunks_mut(cols));
        let scales = self.scales.par_chunks_mut(blocks).zip(self.scaled_sums.par_chunks_mut(blocks));
        let zeros = self.minus_8.par_chunks_mut(blocks).zip(self.minus_32.par_chunks_mut(2 * blocks));
        let all = numbers.zip(scales).zip(zeros);
        all.map(|(((floats, values), (scales, scaled_sums)), (minus_8, minus_32))| RowMut {
            floats,
            values,
            scales,
            minus_8,
            minus_32,
            scaled_sums,
        })
    }
}

/// One or several rows.
struct RowMut<'a> {
    floats: &'a mut [f32],
    values: &'a mut [i8],
    scales: &'a mut [f32],
    minus_8: &'a mut [i32],
    minus_32: &'a mut [i32],
    scaled_sums: &'a mut [f32],
}

impl RowMut<'_> {
    /// Rounds what is in `floats`.
    fn round(self) {
        round_row(self.values, self.scales, self.minus_32, self.floats);
        let halves = self.minus_32.as_chunks::<2>().0;
        let blocks = self.minus_8.iter_mut().zip(self.scaled_sums).zip(self.scales);
        for (((minus_8, scaled_sum), scale), [a, b]) in blocks.zip(halves) {
            *minus_8 = (*a + *b) / 4;
            *scaled_sum = *scale * ((a + b) / -32) as f32;
        }
    }
}

for_each_target! {
    /// Rounds blocks of numbers to values, scales and −32 times the sums of 16 values each.
    pub(super) fn round_row(values: &mut [i8], scales: &mut [f32], minus_32: &mut [i32], xs: &[f32]) {
        /// The number 1.5 · 2^23: added to a small number, it leaves the nearest whole number, ties to even, in the low bits.
        const ROUND: f32 = 12_582_912.0;
        let (xs, values) = (xs.as_chunks::<BLOCK>().0, values.as_chunks_mut::<BLOCK>().0);
        let minus_32 = minus_32.as_chunks_mut::<2>().0;
        for (((x, values), scale), minus_32) in xs.iter().zip(values).zip(scales).zip(minus_32) {
            // Compared as integers, because magnitudes order like their bits, and the loop becomes vector instructions.
            let largest = x.iter().fold(0, |most, x| (x.to_bits() & 0x7FFF_FFFF).max(most));
            let largest = f32::from_bits(largest);
            *scale = if largest.is_finite() { largest / 127.0 } else { f32::NAN };
            // A block of zeros has scale 0, and so has a block so small that the inverse would overflow.
            let inverse = if *scale > f32::MIN_POSITIVE { 1.0 / *scale } else { 0.0 };
            let mut whole = [0i32; BLOCK];
            for (whole, x) in whole.iter_mut().zip(x) {
                *whole = ((x * inverse + ROUND).to_bits() as i32).wrapping_sub(ROUND.to_bits() as i32);
            }
            for (value, whole) in values.iter_mut().zip(&whole) {
                *value = *whole as i8;
            }
            // A sum is over what is stored, even if a number is not finite.
            for (minus_32, half) in minus_32.iter_mut().zip(values.as_chunks::<16>().0) {
                *minus_32 = -32 * half.iter().map(|&value| i32::from(value)).sum::<i32>();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_within_half_a_step() {
        let xs: Vec<f32> =
            (0..96).map(|i| (i as f32 * 0.7).sin() * if i < 32 { 1e-3 } else { 50.0 }).collect();
        let row = QuantisedRows::new(&xs, xs.len());
        for (i, x) in xs.iter().enumerate() {
            let back = f32::from(row.values[i]) * row.scales[i / BLOCK];
            assert!((back - x).abs() <= row.scales[i / BLOCK] * 0.5001, "{i}: {back} {x}");
        }
        let sum = |part: &[i8]| part.iter().map(|&v| i32::from(v)).sum::<i32>();
        assert_eq!(row.minus_32, row.values.chunks(16).map(|half| -32 * sum(half)).collect::<Vec<_>>());
        assert_eq!(row.minus_8, row.values.chunks(32).map(|block| -8 * sum(block)).collect::<Vec<_>>());
        for (block, values) in row.values.chunks(32).enumerate() {
            assert_eq!(row.scaled_sums[block], row.scales[block] * sum(values) as f32);
        }
        assert!(row.values.contains(&127) || row.values.contains(&-127));
    }

    #[test]
    fn zeros_stay_zeros_and_what_is_not_finite_shows() {
        let row = QuantisedRows::new(&[0.0; 32], 32);
        assert_eq!((row.scales[0], row.values[0]), (0.0, 0));
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut xs = [1.0; 64];
            xs[40] = bad;
            let row = QuantisedRows::new(&xs, xs.len());
            assert!(row.scales[0].is_finite() && row.scales[1].is_nan());
        }
    }
}
