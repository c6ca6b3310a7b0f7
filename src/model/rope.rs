//! Rotary position embedding, half-rotation form, with tables in f32.

use super::config::RopeBase;
use super::error::Result;
use candle_core::{DType, Device, Tensor};
use candle_nn::rotary_emb;

/// Cosines and sines of a run of positions, `[positions, head_dim / 2]` each.
#[derive(Debug, Clone)]
pub(crate) struct Angles {
    cos: Tensor,
    sin: Tensor,
}

impl Angles {
    /// The angles of positions `start` to `start + len` − 1.
    ///
    /// They are computed where they are needed: `len · head_dim / 2` cosines cost nothing beside a layer, and no table
    /// has to be kept or grown. Each step is an f32 operation, in the reference's order (`Gemma2RotaryEmbedding`),
    /// because at position 8,000 the rounding of the frequencies moves angles by more than the tolerance.
    ///
    /// # Errors
    /// What the device says.
    pub(crate) fn new(
        rope: RopeBase,
        head_dim: usize,
        start: usize,
        len: usize,
        device: &Device,
        dtype: DType,
    ) -> Result<Self> {
        let (cos, sin) = tables(rope, head_dim, start, len);
        let half = head_dim / 2;
        let tensor = |v| -> Result<Tensor> {
            Ok(Tensor::from_vec(v, (len, half), &Device::Cpu)?.to_dtype(dtype)?.to_device(device)?)
        };
        Ok(Self { cos: tensor(cos)?, sin: tensor(sin)? })
    }

    /// Rotates `[batch, heads, positions, head_dim]`: (a, b) becomes (a·cos − b·sin, b·cos + a·sin) where a and b are the
    /// two halves of a head.
    ///
    /// # Errors
    /// Another number of positions or width.
    pub(crate) fn apply(&self, xs: &Tensor) -> Result<Tensor> {
        let xs = xs.contiguous()?;
        Ok(if xs.track_op() {
            // The fused operation has no gradient.
            rotary_emb::rope_slow(&xs, &self.cos, &self.sin)?
        } else {
            rotary_emb::rope(&xs, &self.cos, &self.sin)?
        })
    }
}

/// The numbers of [`Angles::new`]: cosines and sines, `[len, head_dim / 2]` each.
pub(crate) fn tables(rope: RopeBase, head_dim: usize, start: usize, len: usize) -> (Vec<f32>, Vec<f32>) {
    let half = head_dim / 2;
    let frequencies: Vec<f32> =
        (0..half).map(|i| 1.0 / rope.base.powf((2 * i) as f32 / head_dim as f32) / rope.factor).collect();
    let mut cos = Vec::with_capacity(len * half);
    let mut sin = Vec::with_capacity(len * half);
    for p in start..start + len {
        for f in &frequencies {
            let (s, c) = (p as f32 * f).sin_cos();
            cos.push(c);
            sin.push(s);
        }
    }
    (cos, sin)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Against torch in f32, as `Gemma2RotaryEmbedding` and `Gemma3RotaryEmbedding` compute it: (base, position, pair,
    /// cosine, sine). Computed in f64 the second and third would differ by more than 1e-4.
    #[test]
    fn far_positions_are_rounded_like_the_reference() {
        for (base, position, pair, cos, sin) in [
            (1e4, 8191, 0, -0.646_390_5, -0.763_006_8),
            (1e4, 8191, 1, 0.688_300_9, 0.725_425_3),
            (1e4, 8191, 5, -0.196_372_91, -0.980_529_3),
            (1e4, 8191, 20, 0.631_096_84, 0.775_704),
            (1e6, 31999, 1, -0.062_543_504, -0.998_042_2),
            (1e6, 31999, 20, 0.781_299_6, 0.624_156_24),
            (1e6, 31999, 90, -0.354_979, 0.934_874_3),
        ] {
            let rope = RopeBase { base, factor: 1.0 };
            let angles = Angles::new(rope, 256, position, 1, &Device::Cpu, DType::F32).unwrap();
            let at = |t: &Tensor| t.to_vec2::<f32>().unwrap()[0][pair];
            let (c, s): (f32, f32) = (at(&angles.cos), at(&angles.sin));
            assert!((c - cos).abs() < 1e-6 && (s - sin).abs() < 1e-6, "{base} {position} {pair}: {c} {s}");
        }
    }
}
