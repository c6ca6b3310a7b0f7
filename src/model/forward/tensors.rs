//! The layers in candle's operations: the definition that the faster ways are tested against.

use super::attention::{Masks, Sequence};
use crate::kernels::GatedGelu;
use crate::model::cache::Cache;
use crate::model::config::LayerKind;
use crate::model::error::Result;
use crate::model::gemma::Gemma;
use crate::model::layer::{Layer, Mlp};
use crate::model::linear::takes_kernels;
use crate::model::logits::RawLogits;
use crate::model::rope::Angles;
use candle_core::{DType, Tensor};

impl Gemma {
    /// Runs the layers over the embeddings `xs` `[batch, positions, hidden]`, which stand at positions from `start` on.
    pub(super) fn chunk_of_tensors(
        &self,
        mut xs: Tensor,
        mut cache: Option<&mut Cache>,
        start: usize,
    ) -> Result<Tensor> {
        let c = &self.config;
        let len = xs.dim(1)?;
        let angles =
            |rope| -> Result<Angles> { Angles::new(rope, c.head_dim, start, len, &self.device, self.dtype) };
        let (local, global) = (angles(c.rope_local)?, angles(c.rope_global)?);
        let mut masks = Masks::default();
        for (i, layer) in self.layers.iter().enumerate() {
            let angles = if layer.kind == LayerKind::Global { &global } else { &local };
            let cache = cache.as_mut().map(|c| &mut c.layers[i]);
            xs = layer.around(&xs, |xs| layer.attention.forward(xs, angles, &mut masks, cache, start))?;
        }
        self.norm.forward(&xs)
    }

    /// Feeds the embeddings `xs` `[sequences, 1, hidden]` of one token a cache.
    pub(super) fn step_of_tensors(&self, mut xs: Tensor, caches: &mut [&mut Cache]) -> Result<RawLogits> {
        let c = &self.config;
        let angles = |rope, start| Angles::new(rope, c.head_dim, start, 1, &self.device, self.dtype);
        let angles: Vec<[Angles; 2]> = caches
            .iter()
            .map(|cache| Ok([angles(c.rope_local, cache.len)?, angles(c.rope_global, cache.len)?]))
            .collect::<Result<_>>()?;
        for (i, layer) in self.layers.iter().enumerate() {
            let of_kind = usize::from(layer.kind == LayerKind::Global);
            let mut sequences: Vec<Sequence<'_>> = caches
                .iter_mut()
                .zip(&angles)
                .map(|(cache, angles)| {
                    let start = cache.len;
                    Sequence { angles: &angles[of_kind], cache: &mut cache.layers[i], start }
                })
                .collect();
            xs = layer.around(&xs, |xs| layer.attention.step(xs, &mut sequences))?;
        }
        for cache in caches {
            cache.len += 1;
        }
        let last = self.norm.forward(&xs)?.squeeze(1)?;
        Ok(RawLogits::new(self.head.forward(&last)?.to_dtype(DType::F32)?, c))
    }
}

impl Layer {
    /// The layer around its attention.
    fn around(&self, xs: &Tensor, attention: impl FnOnce(&Tensor) -> Result<Tensor>) -> Result<Tensor> {
        let ys = attention(&self.input_norm.forward(xs)?)?;
        let xs = (xs + self.post_attention_norm.forward(&ys)?)?;
        let ys = self.mlp.forward(&self.pre_mlp_norm.forward(&xs)?)?;
        Ok((&xs + self.post_mlp_norm.forward(&ys)?)?)
    }
}

impl Mlp {
    /// `[batch, positions, hidden]` to the same.
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
