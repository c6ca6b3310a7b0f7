//! Grouped-query attention with an optional soft cap and optional norms on queries and keys.

use super::error::Result;
use super::kv_cache::LayerCache;
use super::linear::Linear;
use super::norm::RmsNorm;
use super::rope::Angles;
use candle_core::{D, DType, Device, Tensor};
use candle_nn::ops;

/// The attention part of a layer.
#[derive(Debug, Clone)]
pub struct Attention {
    /// `[heads · head_dim, hidden]`.
    pub q: Linear,
    /// `[kv_heads · head_dim, hidden]`.
    pub k: Linear,
    /// `[kv_heads · head_dim, hidden]`.
    pub v: Linear,
    /// `[hidden, heads · head_dim]`.
    pub o: Linear,
    /// Norm of each query head (Gemma 3).
    pub q_norm: Option<RmsNorm>,
    /// Norm of each key head (Gemma 3).
    pub k_norm: Option<RmsNorm>,
    /// Query heads.
    pub heads: usize,
    /// Key and value heads.
    pub kv_heads: usize,
    /// Width of a head.
    pub head_dim: usize,
    /// Factor of the queries, query_pre_attn_scalar^(−1/2).
    pub scale: f64,
    /// Logits x become cap · tanh(x / cap) before the mask.
    pub softcap: Option<f64>,
}

impl Attention {
    /// `[batch, positions, hidden]` to the same, for positions from `start` on.
    ///
    /// `mask` is `[positions, keys]`, 0 where a query sees a key and −∞ where not; none where every query sees every key.
    /// Without a cache the keys are the positions' own.
    ///
    /// # Errors
    /// Shapes that do not fit each other.
    pub fn forward(
        &self,
        xs: &Tensor,
        angles: &Angles,
        mask: Option<&Tensor>,
        cache: Option<&mut LayerCache>,
        start: usize,
    ) -> Result<Tensor> {
        let (batch, len, _) = xs.dims3()?;
        let (heads, kv_heads, dim) = (self.heads, self.kv_heads, self.head_dim);
        let split = |xs: Tensor, heads: usize, norm: Option<&RmsNorm>| -> Result<Tensor> {
            let xs = xs.reshape((batch, len, heads, dim))?;
            let xs = if let Some(norm) = norm { norm.forward(&xs)? } else { xs };
            Ok(xs.transpose(1, 2)?)
        };
        let q = angles.apply(&split(self.q.forward(xs)?, heads, self.q_norm.as_ref())?)?;
        let k = angles.apply(&split(self.k.forward(xs)?, kv_heads, self.k_norm.as_ref())?)?;
        let v = split(self.v.forward(xs)?, kv_heads, None)?.contiguous()?;
        let (k, v) = match cache {
            Some(cache) => cache.extend(start, &k, &v)?,
            None => (k, v),
        };
        // Query heads that share a key head become further rows of it, so that keys are not repeated.
        let group = heads / kv_heads;
        let q = (q * self.scale)?.reshape((batch, kv_heads, group * len, dim))?;
        let mut scores = q.matmul(&k.t()?)?;
        if let Some(cap) = self.softcap {
            scores = ((scores / cap)?.tanh()? * cap)?;
        }
        if let Some(mask) = mask {
            let keys = k.dim(2)?;
            let by_group = scores.reshape((batch, kv_heads, group, len, keys))?;
            scores = by_group.broadcast_add(mask)?.reshape((batch, kv_heads, group * len, keys))?;
        }
        let dtype = scores.dtype();
        let scores = scores.to_dtype(DType::F32)?;
        let weights = if scores.track_op() {
            ops::softmax(&scores, D::Minus1)?
        } else {
            ops::softmax_last_dim(&scores)?
        };
        let ys = weights.to_dtype(dtype)?.matmul(&v)?;
        let ys = ys.reshape((batch, heads, len, dim))?.transpose(1, 2)?.reshape((batch, len, heads * dim))?;
        self.o.forward(&ys)
    }
}

/// The mask of `len` queries that stand right after `past` keys, themselves the last keys: a query sees the keys up to
/// itself and, with a window W, none that is W or more before it. `None` where nothing is hidden.
///
/// # Errors
/// What the device says.
pub fn mask(
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
