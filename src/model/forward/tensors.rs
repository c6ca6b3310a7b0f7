//! Computes the layers with candle's operations. This is the definition that the faster ways are tested against.

use super::attention::{Masks, Sequence};
use crate::kernels::GatedGelu;
use crate::model::cache::Cache;
use crate::model::config::ByKind;
use crate::model::error::Result;
use crate::model::gemma::Gemma;
use crate::model::layer::{Layer, Mlp};
use crate::model::linear::takes_kernels;
use crate::model::logits::RawLogits;
use crate::model::rope::{self, AngleTensors};
use candle_core::{DType, Tensor};

impl Gemma {
    /// Runs the layers over the embeddings `xs`, `[batch, positions, hidden]`, at positions from `start` on.
    pub(super) fn chunk_of_tensors(
        &self,
        mut xs: Tensor,
        mut cache: Option<&mut Cache>,
        start: usize,
    ) -> Result<Tensor> {
        let angles = self.angle_tensors(start, xs.dim(1)?)?;
        let mut masks = Masks::default();
        for (i, layer) in self.layers.iter().enumerate() {
            let angles = angles.of(layer.rules.kind);
            let cache = cache.as_mut().map(|c| &mut c.layers[i]);
            xs = layer.around(&xs, |xs| layer.attend(xs, angles, &mut masks, cache, start))?;
        }
        self.norm.forward(&xs)
    }

    /// Returns the angles of positions `start` to `start + len` − 1 on the model's device.
    fn angle_tensors(&self, start: usize, len: usize) -> Result<ByKind<AngleTensors>> {
        rope::angles(&self.config, start, len).try_map(|angles| angles.to_tensors(&self.device, self.dtype))
    }

    /// Feeds one token to each cache; `xs`, `[sequences, 1, hidden]`, are their embeddings.
    pub(super) fn step_of_tensors(&self, mut xs: Tensor, caches: &mut [&mut Cache]) -> Result<RawLogits> {
        let angles: Vec<ByKind<AngleTensors>> =
            caches.iter().map(|cache| self.angle_tensors(cache.len, 1)).collect::<Result<_>>()?;
        for (i, layer) in self.layers.iter().enumerate() {
            let mut sequences: Vec<Sequence<'_>> = caches
                .iter_mut()
                .zip(&angles)
                .map(|(cache, angles)| {
                    let start = cache.len;
                    Sequence { angles: angles.of(layer.rules.kind), cache: &mut cache.layers[i], start }
                })
                .collect();
            xs = layer.around(&xs, |xs| layer.attend_each(xs, &mut sequences))?;
        }
        for cache in caches {
            cache.len += 1;
        }
        let last = self.norm.forward(&xs)?.squeeze(1)?;
        Ok(RawLogits::new(self.head.forward(&last)?.to_dtype(DType::F32)?, &self.config))
    }
}

impl Layer {
    /// Computes the layer, with `attention` as its attention.
    fn around(&self, xs: &Tensor, attention: impl FnOnce(&Tensor) -> Result<Tensor>) -> Result<Tensor> {
        let ys = attention(&self.input_norm.forward(xs)?)?;
        let xs = (xs + self.post_attention_norm.forward(&ys)?)?;
        let ys = self.mlp.forward(&self.pre_mlp_norm.forward(&xs)?)?;
        Ok((&xs + self.post_mlp_norm.forward(&ys)?)?)
    }
}

impl Mlp {
    /// Maps `[batch, positions, hidden]` to the same shape.
    fn forward(&self, xs: &Tensor) -> Result<Tensor> {
        let (gate, up) = (self.gate.forward(xs)?, self.up.forward(xs)?);
        let middle = if takes_kernels(&gate) {
            gate.apply_op2_no_bwd(&up, &GatedGelu)?
        } else {
            // candle's `gelu` is the tanh form; `gelu_erf` is the exact one.
            (gate.gelu()? * up)?
        };
        self.down.forward(&middle)
    }
}
