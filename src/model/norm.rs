//! RMSNorm with a weight of 1 + w, computed in f32 for any dtype of the activations.

use super::error::Result;
use candle_core::{DType, Tensor};
use candle_nn::ops;

/// RMSNorm: x / √(mean(x²) + eps) · weight over the last dimension.
#[derive(Debug, Clone)]
pub(super) struct RmsNorm {
    weight: Tensor,
    /// Number still to be added to the weight; it is not 0 only if the weight has a gradient.
    offset: f64,
    eps: f32,
}

impl RmsNorm {
    /// Makes a norm from its stored weight `[dim]`, plus `offset`: 1 for checkpoints, 0 for GGUF. A weight with a gradient
    /// keeps it.
    ///
    /// # Errors
    /// Returns an error if the weight cannot be converted.
    pub(super) fn new(weight: Tensor, offset: f64, eps: f64) -> Result<Self> {
        let eps = eps as f32;
        if weight.track_op() {
            return Ok(Self { weight, offset, eps });
        }
        let weight = (weight.to_dtype(DType::F32)? + offset)?;
        Ok(Self { weight, offset: 0.0, eps })
    }

    /// Returns the weight, including the offset, if it has no gradient.
    ///
    /// # Errors
    /// Returns the errors of the device.
    pub(super) fn values(&self) -> Result<Option<Vec<f32>>> {
        Ok(if self.weight.track_op() { None } else { Some(self.weight.to_vec1()?) })
    }

    /// Normalises `[.., dim]` and keeps the dtype.
    ///
    /// # Errors
    /// Returns an error if the activations have another width.
    pub(super) fn forward(&self, xs: &Tensor) -> Result<Tensor> {
        let dtype = xs.dtype();
        let xs = xs.to_dtype(DType::F32)?.contiguous()?;
        let ys = if xs.track_op() || self.weight.track_op() {
            let weight = (self.weight.to_dtype(DType::F32)? + self.offset)?;
            ops::rms_norm_slow(&xs, &weight, self.eps)?
        } else {
            ops::rms_norm(&xs, &self.weight, self.eps)?
        };
        Ok(ys.to_dtype(dtype)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{Device, Var};

    #[test]
    fn both_paths_add_one_and_agree() {
        let dev = Device::Cpu;
        let w = Tensor::new(&[0.5f32, -0.25, 0.0], &dev).unwrap();
        let xs = Tensor::new(&[[3f32, 0., 4.], [1., 1., 1.]], &dev).unwrap();
        // mean(x²) of the first row is 25/3.
        let r = (25f32 / 3.0 + 1e-6).sqrt();
        let want = [3.0 / r * 1.5, 0.0, 4.0 / r, 1.5, 0.75, 1.0];
        let var = Var::from_tensor(&w).unwrap();
        for weight in [w, var.as_tensor().clone()] {
            let ys = RmsNorm::new(weight, 1.0, 1e-6).unwrap().forward(&xs).unwrap();
            let ys = ys.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            assert!(ys.iter().zip(want).all(|(a, b)| (a - b).abs() < 1e-6), "{ys:?}");
        }
    }
}
