//! Small models with random weights, for tests.

use super::config::{Architecture, Config, LayerKind, RopeBase};
use super::error::Result;
use super::gemma::Gemma;
use super::linear::{Embedding, Linear};
use super::source::TensorSource;
use crate::kernels::{Bytes, Format, Matrix};
use candle_core::quantized::QTensor;
use candle_core::{DType, Device, Tensor};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::sync::Arc;

/// Standard deviation of the matrices, as in newly initialised models.
const STD: f32 = 0.02;

/// Returns a Gemma 2 of four small layers.
pub(crate) fn config() -> Config {
    let rope = RopeBase { base: 10_000.0, factor: 1.0 };
    Config {
        architecture: Architecture::Gemma2,
        name: None,
        hidden: 256,
        layers: [LayerKind::Local { window: 64 }, LayerKind::Global].repeat(2),
        heads: 4,
        kv_heads: 2,
        head_dim: 64,
        intermediate: 512,
        vocab: 2048,
        query_pre_attn_scalar: 64.0,
        attn_softcap: Some(50.0),
        final_softcap: Some(30.0),
        rms_eps: 1e-6,
        norm_offset: 0.0,
        rope_local: rope,
        rope_global: rope,
        max_position: 512,
        tie: true,
        bos: Some(2),
        eos: vec![1],
    }
}

/// Returns a model with matrices in `format`. The same configuration gives the same weights.
pub(crate) fn model(config: Config, format: Format) -> Gemma {
    let mut source = Random { format, rng: ChaCha8Rng::seed_from_u64(7) };
    Gemma::build(config, &mut source, Device::Cpu, DType::F32).unwrap()
}

struct Random {
    format: Format,
    rng: ChaCha8Rng,
}

impl Random {
    /// Draws numbers from a normal distribution (Box and Muller 1958).
    fn normal(&mut self, count: usize) -> Vec<f32> {
        let one = |_| {
            let radius = (-2.0 * (1.0 - self.rng.random::<f32>()).ln()).sqrt();
            STD * radius * (std::f32::consts::TAU * self.rng.random::<f32>()).cos()
        };
        (0..count).map(one).collect()
    }

    fn matrix(&mut self, rows: usize, cols: usize) -> Result<Matrix> {
        let values = Tensor::from_vec(self.normal(rows * cols), (rows, cols), &Device::Cpu)?;
        let bytes = QTensor::quantize(&values, self.format.ggml())?.data()?.into_owned();
        let len = bytes.len();
        let bytes = Bytes::new(Arc::new(bytes), 0..len).unwrap();
        Ok(Matrix::new(bytes, self.format, rows, cols).unwrap())
    }
}

impl TensorSource for Random {
    fn linear(&mut self, _name: &str, out: usize, inp: usize) -> Result<Linear> {
        Linear::place(self.matrix(out, inp)?, &Device::Cpu, DType::F32, false, |_| ())
    }

    fn embedding(&mut self, _name: &str, rows: usize, cols: usize) -> Result<Embedding> {
        Ok(Embedding::Stored(self.matrix(rows, cols)?))
    }

    /// Returns a norm's weight: numbers around 1.
    fn vector(&mut self, _name: &str, len: usize) -> Result<Tensor> {
        let values = self.normal(len).into_iter().map(|x| 1.0 + x).collect();
        Ok(Tensor::from_vec(values, len, &Device::Cpu)?)
    }
}
