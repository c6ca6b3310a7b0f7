//! Loops that look at every logit of a step, and must cost no more than reading them.

#![expect(clippy::inline_always, reason = "the loops must be compiled anew for each instruction set")]

use crate::kernels::cpu::for_each_target;

/// Number of entries of a block.
pub(crate) const BLOCK: usize = 64;
/// Number of lanes of independent partial results.
const LANES: usize = 16;

/// Returns the greater of the two; `a` if `b` is NaN.
#[inline(always)]
fn greater(a: f32, b: f32) -> f32 {
    if b > a { b } else { a }
}

/// Returns the smaller of the two; `a` if `b` is NaN.
#[inline(always)]
fn less(a: f32, b: f32) -> f32 {
    if b < a { b } else { a }
}

for_each_target! {
    /// Writes the largest number of each block of [`BLOCK`] numbers of `xs`, ignoring NaN, to `maxima`. Returns whether
    /// there is a NaN. A block of only NaN gives −∞.
    pub(crate) fn block_maxima(maxima: &mut [f32], xs: &[f32]) -> bool {
        // The largest bits of a number without its sign: only those of NaN are beyond those of infinity. A flag for each
        // lane would take twice the time of everything else.
        let mut bits = [0u32; LANES];
        let (whole, rest) = xs.split_at(xs.len() / BLOCK * BLOCK);
        for (max, block) in maxima.iter_mut().zip(whole.chunks(BLOCK)) {
            let mut lanes = [f32::NEG_INFINITY; LANES];
            for chunk in block.as_chunks::<LANES>().0 {
                for l in 0..LANES {
                    let x = chunk[l];
                    lanes[l] = greater(lanes[l], x);
                    let b = x.to_bits() & 0x7fff_ffff;
                    bits[l] = if b > bits[l] { b } else { bits[l] };
                }
            }
            let mut n = LANES / 2;
            while n > 0 {
                for l in 0..n {
                    lanes[l] = greater(lanes[l], lanes[l + n]);
                }
                n /= 2;
            }
            *max = lanes[0];
        }
        if !rest.is_empty() {
            maxima[whole.len() / BLOCK] = rest.iter().fold(f32::NEG_INFINITY, |max, x| greater(max, *x));
        }
        bits.iter().any(|b| *b > f32::INFINITY.to_bits()) || rest.iter().any(|x| x.is_nan())
    }

    /// Returns the largest logit of the candidates, ignoring NaN; −∞ if there are none.
    pub(crate) fn largest_logit(candidates: &[(u32, f32)]) -> f32 {
        let mut lanes = [f32::NEG_INFINITY; LANES];
        let (chunks, tail) = candidates.as_chunks::<LANES>();
        for chunk in chunks {
            for l in 0..LANES {
                lanes[l] = greater(lanes[l], chunk[l].1);
            }
        }
        lanes.into_iter().chain(tail.iter().map(|entry| entry.1)).fold(f32::NEG_INFINITY, greater)
    }

    /// Returns the smallest logit of the candidates, ignoring NaN; ∞ if there are none.
    pub(crate) fn smallest_logit(candidates: &[(u32, f32)]) -> f32 {
        let mut lanes = [f32::INFINITY; LANES];
        let (chunks, tail) = candidates.as_chunks::<LANES>();
        for chunk in chunks {
            for l in 0..LANES {
                lanes[l] = less(lanes[l], chunk[l].1);
            }
        }
        lanes.into_iter().chain(tail.iter().map(|entry| entry.1)).fold(f32::INFINITY, less)
    }

    /// Divides every logit by the temperature, with one rounding.
    pub(crate) fn divide_logits(candidates: &mut [(u32, f32)], temperature: f64) {
        for entry in candidates {
            *entry = (entry.0, (f64::from(entry.1) / temperature) as f32);
        }
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
            let mut candidates: Vec<(u32, f32)> = (0..).zip(xs.iter().copied()).collect();
            let smallest = xs.iter().copied().fold(f32::INFINITY, f32::min);
            let largest = xs.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            assert_eq!((smallest_logit(&candidates), largest_logit(&candidates)), (smallest, largest));
            divide_logits(&mut candidates, 0.7);
            assert!(xs.iter().zip(&candidates).all(|(x, c)| c.1 == (f64::from(*x) / 0.7) as f32));
            xs[0] = f32::NEG_INFINITY;
            xs[len / 2] = f32::INFINITY;
            assert!(!block_maxima(&mut maxima, &xs), "infinities are numbers");
            for at in [0, len / 2, len - 1] {
                let was = std::mem::replace(&mut xs[at], -f32::NAN);
                assert!(block_maxima(&mut maxima, &xs), "{len} numbers, NaN at {at}");
                xs[at] = was;
            }
        }
    }
}
