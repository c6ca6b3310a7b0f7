//! One token of each of several sequences: by all threads together where the weights allow it, else by candle's operations.

use super::attention::Sequence;
use super::config::LayerKind;
use super::decode::{self, Decoder, DecoderLayer};
use super::error::{Error, Result};
use super::gemma::{Gemma, Layer};
use super::kv_cache::Cache;
use super::logits::RawLogits;
use super::norm::RmsNorm;
use super::rope::Angles;
use candle_core::{DType, Tensor};
use half::bf16;

impl Gemma {
    /// Feeds one token to each of several sequences, which may be of different lengths and have a cache each, and returns
    /// the logits after it, `[sequences, vocab]`, before the final soft cap. They share the passes over the weights, so
    /// eight sequences take little longer than one.
    ///
    /// # Errors
    /// Not one token for each cache, a cache of more than one sequence, a full context, an id outside the vocabulary.
    pub fn step(&self, tokens: &[u32], caches: &mut [&mut Cache]) -> Result<RawLogits> {
        let c = &self.config;
        if tokens.is_empty() || tokens.len() != caches.len() || caches.iter().any(|cache| cache.batch() != 1)
        {
            let expected = "a token for each cache, and caches of one sequence each".into();
            let batches: Vec<usize> = caches.iter().map(|cache| cache.batch()).collect();
            let found = format!("{} tokens, caches of {batches:?} sequences", tokens.len());
            return Err(Error::Batch { expected, found });
        }
        for (token, cache) in tokens.iter().zip(caches.iter()) {
            self.check(&[[*token]], 1, cache.len())?;
        }
        let mut xs = self.embed(tokens, (tokens.len(), 1))?;
        if let Some(logits) = self.decode(&xs, caches)? {
            return Ok(logits);
        }
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

    /// What [`Self::step`] does, by [`Decoder::step`]; `None` where the weights or a cache are not what that takes.
    fn decode(&self, xs: &Tensor, caches: &mut [&mut Cache]) -> Result<Option<RawLogits>> {
        let Some(decoder) = &self.decoder else { return Ok(None) };
        let stepped = {
            let sequences: Option<Vec<_>> = caches
                .iter()
                .map(|cache| {
                    let past =
                        cache.layers.iter().map(|layer| layer.past(cache.len)).collect::<Option<_>>()?;
                    Some(decode::Sequence { position: cache.len, past })
                })
                .collect();
            let Some(sequences) = sequences else { return Ok(None) };
            decoder.step(&self.config, &xs.flatten_all()?.to_vec1()?, &sequences)
        };
        let (kv_heads, dim) = (self.config.kv_heads, self.config.head_dim);
        let of_sequence = 2 * kv_heads * dim;
        for (i, kv) in stepped.kv.chunks_exact(of_sequence).enumerate() {
            let (layer, sequence) = (i / caches.len(), i % caches.len());
            let cache = &mut *caches[sequence];
            let (mut keys, mut values) = (Vec::new(), Vec::new());
            for head in kv.chunks_exact(2 * dim) {
                let (key, value) = head.split_at(dim);
                keys.extend(key.iter().map(|x| bf16::from_f32(*x)));
                values.extend(value.iter().map(|x| bf16::from_f32(*x)));
            }
            cache.layers[layer].push(cache.len, &keys, &values, kv_heads, dim)?;
        }
        for cache in caches.iter_mut() {
            cache.len += 1;
        }
        let logits = Tensor::from_vec(stepped.logits, (caches.len(), self.config.vocab), &self.device)?;
        Ok(Some(RawLogits::new(logits, &self.config)))
    }

    /// The weights of [`Self::step`], if all of them are in panels.
    pub(super) fn decoder(&self) -> Result<Option<Decoder>> {
        let mut layers = Vec::with_capacity(self.layers.len());
        for layer in &self.layers {
            let Some(layer) = layer.decoder()? else { return Ok(None) };
            layers.push(layer);
        }
        let (Some(norm), Some(head)) = (self.norm.values()?, self.head.panels()) else { return Ok(None) };
        Ok(Some(Decoder { layers, norm, head: head.clone() }))
    }
}

impl Layer {
    /// The weights of a step, if all are in panels.
    fn decoder(&self) -> Result<Option<DecoderLayer>> {
        let head_norm = |norm: &Option<RmsNorm>| -> Result<Option<Vec<f32>>> {
            norm.as_ref().map_or(Ok(None), RmsNorm::values)
        };
        let (a, m) = (&self.attention, &self.mlp);
        let norms = (
            self.input_norm.values()?,
            self.post_attention_norm.values()?,
            self.pre_mlp_norm.values()?,
            self.post_mlp_norm.values()?,
        );
        let panels = [&a.q, &a.k, &a.v, &a.o, &m.gate, &m.up, &m.down].map(|linear| linear.panels().cloned());
        let (
            (Some(input_norm), Some(post_attention_norm), Some(pre_mlp_norm), Some(post_mlp_norm)),
            [Some(q), Some(k), Some(v), Some(o), Some(gate), Some(up), Some(down)],
        ) = (norms, panels)
        else {
            return Ok(None);
        };
        Ok(Some(DecoderLayer {
            kind: self.kind,
            input_norm,
            q,
            k,
            v,
            o,
            q_norm: head_norm(&a.q_norm)?,
            k_norm: head_norm(&a.k_norm)?,
            post_attention_norm,
            pre_mlp_norm,
            gate,
            up,
            down,
            post_mlp_norm,
        }))
    }
}
