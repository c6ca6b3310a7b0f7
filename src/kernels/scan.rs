//! A look at every logit of a step, which must not cost more than reading them.

use super::elementwise::for_each_target;

/// Numbers of a block.
pub const BLOCK: usize = 64;
/// Lanes of independent partial results.
const LANES: usize = 16;

for_each_target! {
    /// The largest number of each block of [`BLOCK`] numbers of `xs`, NaN apart, into as many entries of `maxima`; true if
    /// there is a NaN. A block of nothing but NaN has −∞.
    pub fn block_maxima(maxima: &mut [f32], xs: &[f32]) -> bool {
        let mut nan = [false; LANES];
        for (max, block) in maxima.iter_mut().zip(xs.chunks(BLOCK)) {
            let mut lanes = [f32::NEG_INFINITY; LANES];
            let (chunks, tail) = block.as_chunks::<LANES>();
            for chunk in chunks {
                for l in 0..LANES {
                    let x = chunk[l];
                    lanes[l] = if x > lanes[l] { x } else { lanes[l] };
                    nan[l] |= x.is_nan();
                }
            }
            for x in tail {
                lanes[0] = if *x > lanes[0] { *x } else { lanes[0] };
                nan[0] |= x.is_nan();
            }
            *max = lanes.iter().fold(f32::NEG_INFINITY, |a, b| if *b > a { *b } else { a });
        }
        nan.contains(&true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maxima_and_nan() {
        for len in [1, 15, 16, 63, 64, 65, 300] {
            let mut xs: Vec<f32> = (0..len).map(|i| ((i * 37) % 101) as f32 - 150.0).collect();
            let expected: Vec<f32> = xs
                .chunks(BLOCK)
                .map(|block| block.iter().copied().fold(f32::NEG_INFINITY, f32::max))
                .collect();
            let mut maxima = vec![0.0; expected.len()];
            assert!(!block_maxima(&mut maxima, &xs));
            assert_eq!(maxima, expected, "{len} numbers");
            xs[len - 1] = f32::NAN;
            assert!(block_maxima(&mut maxima, &xs));
        }
    }
}
