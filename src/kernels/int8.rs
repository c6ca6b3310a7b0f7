//! Activations rounded to 8 bits, for the integer kernels.

use super::elementwise::for_each_target;

/// Numbers that share a scale.
pub const BLOCK: usize = 32;

/// A row of activations as signed bytes with a scale for each [`BLOCK`] of them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Int8Row {
    /// x ≈ scale · value.
    pub(super) values: Vec<i8>,
    /// One a block. NaN where a number of the block is not finite, so that it is not lost.
    pub(super) scales: Vec<f32>,
    /// Sums of 16 values each: what the zero points of the weights contribute.
    pub(super) sums: Vec<i32>,
}

impl Int8Row {
    /// Rounds `xs`, whose length is a multiple of [`BLOCK`], to the nearest of 255 values a block.
    pub fn new(xs: &[f32]) -> Self {
        let mut row = Self::default();
        row.set(xs);
        row
    }

    /// As [`Self::new`], in the place of what was there.
    pub fn set(&mut self, xs: &[f32]) {
        debug_assert!(xs.len().is_multiple_of(BLOCK));
        let blocks = xs.len() / BLOCK;
        self.values.resize(xs.len(), 0);
        self.scales.resize(blocks, 0.0);
        self.sums.resize(2 * blocks, 0);
        round_row(&mut self.values, &mut self.scales, &mut self.sums, xs);
    }

    /// Length.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether there are no numbers.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }
}

for_each_target! {
    /// Blocks of numbers to values, scales and sums of 16 values each.
    pub fn round_row(values: &mut [i8], scales: &mut [f32], sums: &mut [i32], xs: &[f32]) {
        /// 1.5 · 2^23: added to a small number, it leaves the nearest whole one, ties to even, in the low bits.
        const ROUND: f32 = 12_582_912.0;
        let (xs, values) = (xs.as_chunks::<BLOCK>().0, values.as_chunks_mut::<BLOCK>().0);
        let sums = sums.as_chunks_mut::<2>().0;
        for (((x, values), scale), sums) in xs.iter().zip(values).zip(scales).zip(sums) {
            // As integers, because magnitudes order like their bits and the loop becomes vector instructions.
            let largest = x.iter().fold(0, |most, x| (x.to_bits() & 0x7FFF_FFFF).max(most));
            let largest = f32::from_bits(largest);
            *scale = if largest.is_finite() { largest / 127.0 } else { f32::NAN };
            // A block of zeros has scale 0, and so has one so small that the inverse would overflow.
            let inverse = if *scale > f32::MIN_POSITIVE { 1.0 / *scale } else { 0.0 };
            let mut whole = [0i32; BLOCK];
            for (whole, x) in whole.iter_mut().zip(x) {
                *whole = ((x * inverse + ROUND).to_bits() as i32).wrapping_sub(ROUND.to_bits() as i32);
            }
            for (value, whole) in values.iter_mut().zip(&whole) {
                *value = *whole as i8;
            }
            // A sum is of what is stored, whatever that is where a number is not finite.
            for (sum, half) in sums.iter_mut().zip(values.as_chunks::<16>().0) {
                *sum = half.iter().map(|&value| i32::from(value)).sum();
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
        let row = Int8Row::new(&xs);
        for (i, x) in xs.iter().enumerate() {
            let back = f32::from(row.values[i]) * row.scales[i / BLOCK];
            assert!((back - x).abs() <= row.scales[i / BLOCK] * 0.5001, "{i}: {back} {x}");
        }
        let sum = |part: &[i8]| part.iter().map(|&v| i32::from(v)).sum::<i32>();
        assert_eq!(row.sums, row.values.chunks(16).map(sum).collect::<Vec<_>>());
        assert!(row.values.contains(&127) || row.values.contains(&-127));
    }

    #[test]
    fn zeros_stay_zeros_and_what_is_not_finite_shows() {
        let row = Int8Row::new(&[0.0; 32]);
        assert_eq!((row.scales[0], row.values[0]), (0.0, 0));
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut xs = [1.0; 64];
            xs[40] = bad;
            let row = Int8Row::new(&xs);
            assert!(row.scales[0].is_finite() && row.scales[1].is_nan());
        }
    }
}
