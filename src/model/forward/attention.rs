//! Grouped-query attention with an optional soft cap and optional norms on queries and keys.

use crate::kernels::{DecodeAttention, MaskedSoftmax};
use crate::model::cache::LayerCache;
use crate::model::config::LayerRules;
use crate::model::error::Result;
use crate::model::layer::Layer;
use crate::model::linear::takes_kernels;
use crate::model::norm::RmsNorm;
use crate::model::rope::AngleTensors;
use candle_core::{D, DType, Device, Tensor};
use candle_nn::ops;

/// One of the sequences that share a step.
#[derive(Debug)]
pub(super) struct Sequence<'a> {
    /// Angles of its next position.
    pub(super) angles: &'a AngleTensors,
    /// The layer's cache of it.
    pub(super) cache: &'a mut LayerCache,
    /// Number of positions that it has.
    pub(super) start: usize,
}

/// The masks of one pass, shared by layers of one kind.
#[derive(Debug, Default)]
pub(super) struct Masks(Vec<(usize, Option<usize>, Option<Tensor>)>);

impl Layer {
    /// Maps `[batch, positions, hidden]` to the same shape, for positions from `start` on.
    ///
    /// `masks` belong to this pass. Without a cache, the keys are only those of the given positions.
    ///
    /// # Errors
    /// Returns an error if the shapes do not fit each other.
    pub(super) fn attend(
        &self,
        xs: &Tensor,
        angles: &AngleTensors,
        masks: &mut Masks,
        cache: Option<&mut LayerCache>,
        start: usize,
    ) -> Result<Tensor> {
        let projected = self.project(xs)?;
        self.attention.o.forward(&self.found(projected, angles, masks, cache, start)?)
    }

    /// Maps one position of each of several sequences, `[sequences, 1, hidden]`, to the same shape. Each sequence has
    /// its own length and cache; they share the passes over the weights.
    ///
    /// # Errors
    /// Returns an error if the shapes do not fit each other.
    pub(super) fn attend_each(&self, xs: &Tensor, sequences: &mut [Sequence<'_>]) -> Result<Tensor> {
        let [q, k, v] = self.project(xs)?;
        let mut rows = Vec::with_capacity(sequences.len());
        for (i, sequence) in sequences.iter_mut().enumerate() {
            let own = [&q, &k, &v].map(|all| all.narrow(0, i, 1));
            let [q, k, v] = own;
            let cache = Some(&mut *sequence.cache);
            let masks = &mut Masks::default();
            rows.push(self.found([q?, k?, v?], sequence.angles, masks, cache, sequence.start)?);
        }
        self.attention.o.forward(&Tensor::cat(&rows, 0)?)
    }

    /// Returns queries, keys and values, `[batch, heads, positions, head_dim]` each, before rotation.
    fn project(&self, xs: &Tensor) -> Result<[Tensor; 3]> {
        let (batch, len, _) = xs.dims3()?;
        let (rules, part) = (&self.rules, &self.attention);
        let split = |xs: Tensor, heads: usize, norm: Option<&RmsNorm>| -> Result<Tensor> {
            let xs = xs.reshape((batch, len, heads, rules.head_dim))?;
            let xs = if let Some(norm) = norm { norm.forward(&xs)? } else { xs };
            Ok(xs.transpose(1, 2)?)
        };
        Ok([
            split(part.q.forward(xs)?, rules.heads, part.q_norm.as_ref())?,
            split(part.k.forward(xs)?, rules.kv_heads, part.k_norm.as_ref())?,
            split(part.v.forward(xs)?, rules.kv_heads, None)?,
        ])
    }

    /// Returns the result of attention, `[batch, positions, heads · head_dim]`.
    fn found(
        &self,
        [q, k, v]: [Tensor; 3],
        angles: &AngleTensors,
        masks: &mut Masks,
        cache: Option<&mut LayerCache>,
        start: usize,
    ) -> Result<Tensor> {
        let LayerRules { heads, kv_heads, head_dim: dim, .. } = self.rules;
        let (batch, _, len, _) = q.dims4()?;
        let (q, k, v) = (angles.apply(&q)?, angles.apply(&k)?, v.contiguous()?);
        let (k, v) = match cache {
            Some(cache) => cache.extend(start, &k, &v, self.attention.cache_dtype)?,
            None => (k, v),
        };
        // Query heads that share a key head become further rows of it, so that keys are not repeated in memory.
        let q = (q * self.rules.scale)?.reshape((batch, kv_heads, self.rules.group() * len, dim))?;
        let (softcap, window) = (self.rules.softcap_f32(), self.rules.window());
        if len == 1 && takes_kernels(&q) && window.is_none_or(|w| k.dims()[2] <= w) {
            let ys = q.apply_op3_no_bwd(&k, &v, &DecodeAttention { softcap })?;
            return Ok(ys.reshape((batch, 1, heads * dim))?);
        }
        let scores = q.matmul(&k.t()?)?;
        let weights = if takes_kernels(&scores) {
            scores.inplace_op1(&MaskedSoftmax { softcap, queries: len, window })?;
            scores
        } else {
            self.weights(scores, len, masks)?
        };
        let ys = weights.matmul(&v)?;
        Ok(ys.reshape((batch, heads, len, dim))?.transpose(1, 2)?.reshape((batch, len, heads * dim))?)
    }

    /// Does the same as [`MaskedSoftmax`] with candle's operations, for GPUs and for gradients.
    fn weights(&self, scores: Tensor, len: usize, masks: &mut Masks) -> Result<Tensor> {
        let (batch, kv_heads, rows, keys) = scores.dims4()?;
        let dtype = scores.dtype();
        let mut scores = scores;
        if let Some(cap) = self.rules.softcap {
            scores = ((scores / cap)?.tanh()? * cap)?;
        }
        if let Some(mask) = masks.get(keys - len, len, self.rules.window(), scores.device(), dtype)? {
            let by_group = scores.reshape((batch, kv_heads, rows / len, len, keys))?;
            scores = by_group.broadcast_add(&mask)?.reshape((batch, kv_heads, rows, keys))?;
        }
        let scores = scores.to_dtype(DType::F32)?;
        let weights = if scores.track_op() {
            ops::softmax(&scores, D::Minus1)?
        } else {
            ops::softmax_last_dim(&scores)?
        };
        Ok(weights.to_dtype(dtype)?)
    }
}

impl Masks {
    fn get(
        &mut self,
        past: usize,
        len: usize,
        window: Option<usize>,
        device: &Device,
        dtype: DType,
    ) -> Result<Option<Tensor>> {
        if let Some((_, _, mask)) = self.0.iter().find(|(p, w, _)| (*p, *w) == (past, window)) {
            return Ok(mask.clone());
        }
        let mask = mask(past, len, window, device, dtype)?;
        self.0.push((past, window, mask.clone()));
        Ok(mask)
    }
}

/// Returns the mask of `len` queries after `past` keys; the queries' own keys are the last ones. A query sees the keys
/// up to its own. With a window W, it sees none that is W or more positions before it. Returns `None` if nothing is
/// hidden.
///
/// # Errors
/// Returns the errors of the device.
/// What the device says.
fn mask(
    past: usize,
    len: usize,
    window: Option<usize>,
    device: &Device,
    dtype: DType,
) -> Result<Option<Tensor>> {
    let keys = past + len;
    if len == 1 && window.is_none_or(|w| keys <= w) {
        return Ok(None);
    }
    let window = window.unwrap_or(usize::MAX);
    let sees = |i: usize, j: usize| j <= i && i - j < window;
    let values: Vec<f32> = (past..keys)
        .flat_map(|i| (0..keys).map(move |j| if sees(i, j) { 0.0 } else { f32::NEG_INFINITY }))
        .collect();
    Ok(Some(Tensor::from_vec(values, (len, keys), &Device::Cpu)?.to_dtype(dtype)?.to_device(device)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_sees_itself_and_the_window_before_it() {
        let rows = |past, len, window| {
            let m = mask(past, len, window, &Device::Cpu, DType::F32).unwrap()?;
            let m = m.to_vec2::<f32>().unwrap();
            Some(
                m.iter()
                    .map(|r| r.iter().map(|v| if *v == 0.0 { '1' } else { '.' }).collect())
                    .collect::<Vec<String>>(),
            )
        };
        assert_eq!(rows(0, 3, None).unwrap(), ["1..", "11.", "111"]);
        assert_eq!(rows(1, 3, Some(2)).unwrap(), ["11..", ".11.", "..11"]);
        assert_eq!(rows(1, 2, Some(1)).unwrap(), [".1.", "..1"]);
        assert!(rows(2, 1, Some(3)).is_none());
        assert_eq!(rows(3, 1, Some(3)).unwrap(), [".111"]);
    }
}
