//! Rotary position embedding (RoPE), in the half-rotation form, with tables in f32.

use super::config::{ByKind, Config, RopeBase};
use super::error::Result;
use candle_core::{DType, Device, Tensor};
use candle_nn::rotary_emb;

/// Cosines and sines of consecutive positions.
#[derive(Debug, Clone)]
pub(crate) struct Angles {
    /// Cosines, `[positions, half]`; the sines have the same shape.
    cos: Vec<f32>,
    sin: Vec<f32>,
    /// Half the width of a head.
    half: usize,
}

/// [`Angles`] as tensors, `[positions, head_dim / 2]` each.
#[derive(Debug, Clone)]
pub(super) struct AngleTensors {
    cos: Tensor,
    sin: Tensor,
}

/// Returns the angles of positions `start` to `start + len` − 1, for local and for global layers.
///
/// They are computed where they are needed. `len · head_dim / 2` cosines cost nothing compared with a layer, and no table
/// has to be kept or grown.
pub(crate) fn angles(config: &Config, start: usize, len: usize) -> ByKind<Angles> {
    config.ropes().map(|rope| Angles::new(rope, config.head_dim, start, len))
}

impl Angles {
    /// Computes each step in f32 and in the reference's order (`Gemma2RotaryEmbedding`). At position 8,000 the rounding of
    /// the frequencies moves angles by more than the tolerance.
    fn new(rope: RopeBase, head_dim: usize, start: usize, len: usize) -> Self {
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
        Self { cos, sin, half }
    }

    /// Returns the cosines and sines of one position, counted from the first one.
    pub(crate) fn at(&self, index: usize) -> (&[f32], &[f32]) {
        let place = index * self.half..(index + 1) * self.half;
        (&self.cos[place.clone()], &self.sin[place])
    }

    /// Copies the angles to a device.
    ///
    /// # Errors
    /// Returns an error if the device has no memory for them.
    pub(super) fn to_tensors(&self, device: &Device, dtype: DType) -> Result<AngleTensors> {
        let shape = (self.cos.len() / self.half, self.half);
        let tensor = |values: &[f32]| -> Result<Tensor> {
            Ok(Tensor::from_slice(values, shape, &Device::Cpu)?.to_dtype(dtype)?.to_device(device)?)
        };
        Ok(AngleTensors { cos: tensor(&self.cos)?, sin: tensor(&self.sin)? })
    }
}

impl AngleTensors {
    /// Rotates `[batch, heads, positions, head_dim]`: (a, b) becomes (a·cos − b·sin, b·cos + a·sin) where a and b are the
    /// two halves of a head.
    ///
    /// # Errors
    /// Returns an error if the number of positions or the width does not match.
    pub(super) fn apply(&self, xs: &Tensor) -> Result<Tensor> {
        let xs = xs.contiguous()?;
        Ok(if xs.track_op() {
            // The fused operation has no gradient.
            rotary_emb::rope_slow(&xs, &self.cos, &self.sin)?
        } else {
            rotary_emb::rope(&xs, &self.cos, &self.sin)?
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Compares with torch in f32, as `Gemma2RotaryEmbedding` and `Gemma3RotaryEmbedding` compute it: (base, position, pair,
    /// cosine, sine). If computed in f64, the second and third would differ by more than 1e-4.
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
            let angles = Angles::new(RopeBase { base, factor: 1.0 }, 256, position - 1, 2);
            let (c, s) = angles.at(1);
            let (c, s): (f32, f32) = (c[pair], s[pair]);
            assert!((c - cos).abs() < 1e-6 && (s - sin).abs() < 1e-6, "{base} {position} {pair}: {c} {s}");
        }
    }
}
