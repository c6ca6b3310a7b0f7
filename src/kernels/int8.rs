//! Activations rounded to 8 bits, for the integer kernels.

/// Numbers that share a scale.
pub const BLOCK: usize = 32;

/// A row of activations as signed bytes with a scale for each [`BLOCK`] of them.
#[derive(Clone, Debug, PartialEq)]
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
        debug_assert!(xs.len().is_multiple_of(BLOCK));
        let blocks = xs.len() / BLOCK;
        let mut row = Self {
            values: vec![0; xs.len()],
            scales: Vec::with_capacity(blocks),
            sums: Vec::with_capacity(2 * blocks),
        };
        for (block, values) in xs.chunks_exact(BLOCK).zip(row.values.chunks_exact_mut(BLOCK)) {
            // As integers, because magnitudes order like their bits and the loop becomes vector instructions.
            let largest = block.iter().map(|x| x.to_bits() & 0x7FFF_FFFF).max().unwrap_or(0);
            let largest = f32::from_bits(largest);
            let scale = if largest.is_finite() { largest / 127.0 } else { f32::NAN };
            // A block of zeros has scale 0, and so has one so small that the inverse would overflow.
            let inverse = if scale > f32::MIN_POSITIVE { 1.0 / scale } else { 0.0 };
            for (value, x) in values.iter_mut().zip(block) {
                *value = (x * inverse).round_ties_even() as i8;
            }
            row.scales.push(scale);
            row.sums
                .extend(values.chunks_exact(16).map(|half| half.iter().map(|&v| i32::from(v)).sum::<i32>()));
        }
        row
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
