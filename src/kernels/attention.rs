//! Attention of a decode step: one query a head, straight off the cache.

#![expect(clippy::inline_always, reason = "the loops must be compiled anew for each instruction set")]

use super::elementwise::{LANES, attention_row, for_each_target};
use super::prefetch;
use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape};
use half::bf16;
use rayon::prelude::*;

/// Below this many numbers of keys for a thread, starting it costs more than it gains.
const MIN_NUMBERS_PER_TASK: usize = 64 * 1024;

/// softmax(soft cap(q · kᵀ)) · v for queries `[batch, kv_heads, group, head_dim]`, which are scaled already, and keys and
/// values `[batch, kv_heads, positions, head_dim]`, all of which each query sees. f32, without a gradient.
///
/// Positions may lie in a larger buffer: only the last dimension need be without gaps. Keys and values are read once,
/// for all query heads that share them.
#[derive(Debug, Clone, Copy)]
pub struct DecodeAttention {
    /// Scores x become cap · tanh(x / cap).
    pub softcap: Option<f32>,
}

/// One of the three tensors: its numbers and where they lie.
struct View<'a> {
    numbers: &'a [f32],
    /// Of batch, head and row.
    strides: [usize; 3],
}

impl<'a> View<'a> {
    fn new(storage: &'a CpuStorage, layout: &Layout) -> Result<(Self, [usize; 4])> {
        let &[batch, heads, rows, dim] = layout.dims() else {
            candle_core::bail!("decode-attention: expected four dimensions, found {:?}", layout.dims())
        };
        let &[of_batch, of_head, of_row, 1] = layout.stride() else {
            candle_core::bail!("decode-attention: heads must be without gaps, found {layout:?}")
        };
        let numbers = &storage.as_slice::<f32>()?[layout.start_offset()..];
        Ok((Self { numbers, strides: [of_batch, of_head, of_row] }, [batch, heads, rows, dim]))
    }

    /// The rows of a head, from the first to the end of the last.
    fn head(&self, batch: usize, head: usize, rows: usize, dim: usize) -> &'a [f32] {
        let start = batch * self.strides[0] + head * self.strides[1];
        &self.numbers[start..start + (rows - 1) * self.strides[2] + dim]
    }
}

impl CustomOp3 for DecodeAttention {
    fn name(&self) -> &'static str {
        "decode-attention"
    }

    fn cpu_fwd(
        &self,
        q: &CpuStorage,
        q_layout: &Layout,
        k: &CpuStorage,
        k_layout: &Layout,
        v: &CpuStorage,
        v_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let ((q, of_q), (k, of_k), (v, of_v)) =
            (View::new(q, q_layout)?, View::new(k, k_layout)?, View::new(v, v_layout)?);
        let [batch, heads, group, dim] = of_q;
        let positions = of_k[2];
        if of_k != of_v || of_k != [batch, heads, positions, dim] || positions == 0 || group == 0 || dim == 0
        {
            candle_core::bail!(
                "decode-attention: queries {of_q:?} do not fit keys {of_k:?} and values {of_v:?}"
            )
        }
        if q.strides[2] != dim {
            candle_core::bail!("decode-attention: queries of a head must be without gaps, found {q_layout:?}")
        }
        let mut out = vec![0f32; batch * heads * group * dim];
        let at_least = MIN_NUMBERS_PER_TASK.div_ceil(positions * dim);
        out.par_chunks_mut(group * dim).with_min_len(at_least).enumerate().for_each_init(
            Vec::new,
            |weights: &mut Vec<f32>, (index, out)| {
                let (b, h) = (index / heads, index % heads);
                weights.resize(group * positions, 0.0);
                let q = q.head(b, h, group, dim);
                let (k, v) = (k.head(b, h, positions, dim), v.head(b, h, positions, dim));
                attention_scores(weights, q, k, k_layout.stride()[2], dim);
                for weights in weights.chunks_exact_mut(positions) {
                    attention_row(weights, self.softcap.unwrap_or(0.0));
                }
                attention_mix(out, weights, v, v_layout.stride()[2], dim);
            },
        );
        Ok((CpuStorage::F32(out), Shape::from((batch, heads, group, dim))))
    }
}

/// A number as the cache stores it.
trait Stored: Copy {
    fn value(self) -> f32;
}

impl Stored for f32 {
    #[inline(always)]
    fn value(self) -> f32 {
        self
    }
}

impl Stored for bf16 {
    /// The bits of a bf16 are the upper half of the f32's.
    #[inline(always)]
    fn value(self) -> f32 {
        f32::from_bits(u32::from(self.to_bits()) << 16)
    }
}

/// a·b + c. Made of a closure and not of a loop over lanes, which the compiler takes apart before it looks for vectors.
#[inline(always)]
fn lanes_fma<E: Stored>(a: &[E; LANES], b: &[f32; LANES], c: &[f32; LANES]) -> [f32; LANES] {
    std::array::from_fn(|l| a[l].value().mul_add(b[l], c[l]))
}

/// Σ a·b, in a fixed order of its own. One register of partial sums: dot products of other keys run beside it.
#[inline(always)]
fn dot<E: Stored>(a: &[f32], b: &[E]) -> f32 {
    let mut lanes = [0f32; LANES];
    let (a, a_tail) = a.as_chunks::<LANES>();
    let (b, b_tail) = b.as_chunks::<LANES>();
    for (a, b) in a.iter().zip(b) {
        lanes = lanes_fma(b, a, &lanes);
    }
    // Sums of pairs, and pairs of pairs, would make the compiler keep the lanes in pairs.
    let mut sum = lanes.iter().sum::<f32>();
    for (a, b) in a_tail.iter().zip(b_tail) {
        sum += a * b.value();
    }
    sum
}

/// See [`attention_scores`].
#[inline(always)]
fn scores_of<E: Stored>(scores: &mut [f32], q: &[f32], k: &[E], stride: usize, dim: usize) {
    let positions = scores.len() / (q.len() / dim);
    for j in 0..positions {
        let key = &k[j * stride..j * stride + dim];
        prefetch::row_ahead_of(key);
        for (g, q) in q.chunks_exact(dim).enumerate() {
            scores[g * positions + j] = dot(q, key);
        }
    }
}

/// Positions that are added to an output before it is written back.
const TOGETHER: usize = 4;

/// See [`attention_mix`].
#[inline(always)]
fn mix_of<E: Stored>(out: &mut [f32], weights: &[f32], v: &[E], stride: usize, dim: usize) {
    let positions = weights.len() / (out.len() / dim);
    let value = |j: usize| &v[j * stride..j * stride + dim];
    let whole = positions - positions % TOGETHER;
    for j in (0..whole).step_by(TOGETHER) {
        let values: [&[E]; TOGETHER] = std::array::from_fn(|i| value(j + i));
        values.into_iter().for_each(prefetch::row_ahead_of);
        let chunks = values.map(|value| value.as_chunks::<LANES>().0);
        let tails = values.map(|value| value.as_chunks::<LANES>().1);
        for (out, weights) in out.chunks_exact_mut(dim).zip(weights.chunks_exact(positions)) {
            let weights: [f32; TOGETHER] = std::array::from_fn(|i| weights[j + i]);
            let (out, out_tail) = out.as_chunks_mut::<LANES>();
            for (c, out) in out.iter_mut().enumerate() {
                for (chunks, weight) in chunks.iter().zip(weights) {
                    *out = lanes_fma(&chunks[c], &[weight; LANES], out);
                }
            }
            for (tail, weight) in tails.iter().zip(weights) {
                add_value(out_tail, weight, tail);
            }
        }
    }
    for j in whole..positions {
        for (out, weights) in out.chunks_exact_mut(dim).zip(weights.chunks_exact(positions)) {
            add_value(out, weights[j], value(j));
        }
    }
}

/// out += weight · value.
#[inline(always)]
fn add_value<E: Stored>(out: &mut [f32], weight: f32, value: &[E]) {
    for (o, x) in out.iter_mut().zip(value) {
        *o = x.value().mul_add(weight, *o);
    }
}

for_each_target! {
    /// Scores of one key head's queries q `[group, dim]` with keys k, rows of `dim` numbers `stride` apart:
    /// `scores` `[group, positions]` gets q · kᵀ. Each key is read once.
    pub fn attention_scores(scores: &mut [f32], q: &[f32], k: &[f32], stride: usize, dim: usize) {
        scores_of(scores, q, k, stride, dim);
    }

    /// What [`attention_scores`] is for: `out` `[group, dim]` is increased by weights `[group, positions]` times values v,
    /// rows of `dim` numbers `stride` apart. Each value is read once.
    pub fn attention_mix(out: &mut [f32], weights: &[f32], v: &[f32], stride: usize, dim: usize) {
        mix_of(out, weights, v, stride, dim);
    }

    /// As [`attention_scores`], for keys without gaps.
    pub fn attention_scores_bf16(scores: &mut [f32], q: &[f32], k: &[bf16], dim: usize) {
        scores_of(scores, q, k, dim, dim);
    }

    /// As [`attention_mix`], for values without gaps.
    pub fn attention_mix_bf16(out: &mut [f32], weights: &[f32], v: &[bf16], dim: usize) {
        mix_of(out, weights, v, dim, dim);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{D, Device, Tensor};
    use candle_nn::ops::softmax;

    /// Against candle's operations, with keys and values inside larger buffers, as a cache has them.
    #[test]
    fn equals_the_definition() {
        let dev = Device::Cpu;
        let numbers = |dims: (usize, usize, usize, usize), seed: f32| {
            let n = dims.0 * dims.1 * dims.2 * dims.3;
            let values: Vec<f32> = (0..n).map(|i| ((i as f32 + seed) * 0.713).sin() * 2.0).collect();
            Tensor::from_vec(values, dims, &dev).unwrap()
        };
        for (group, dim, positions) in [(1, 64, 1), (2, 64, 33), (4, 40, 70)] {
            let q = numbers((2, 3, group, dim), 0.0);
            let [k, v] =
                [1.0, 2.0].map(|seed| numbers((2, 3, 80, dim), seed).narrow(2, 0, positions).unwrap());
            for softcap in [None, Some(5.0)] {
                let got = q.apply_op3_no_bwd(&k, &v, &DecodeAttention { softcap }).unwrap();
                let mut scores = q.matmul(&k.t().unwrap().contiguous().unwrap()).unwrap();
                if let Some(cap) = softcap {
                    let cap = f64::from(cap);
                    scores = ((scores / cap).unwrap().tanh().unwrap() * cap).unwrap();
                }
                let want = softmax(&scores, D::Minus1).unwrap().matmul(&v.contiguous().unwrap()).unwrap();
                let error =
                    (got - want).unwrap().abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap();
                assert!(
                    error < 1e-5,
                    "group {group} dim {dim} positions {positions} cap {softcap:?}: {error}"
                );
            }
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let zeros = |dims: (usize, usize, usize, usize)| {
            Tensor::zeros(dims, candle_core::DType::F32, &Device::Cpu).unwrap()
        };
        let (q, k) = (zeros((1, 2, 2, 8)), zeros((1, 2, 5, 8)));
        let op = DecodeAttention { softcap: None };
        assert!(q.apply_op3_no_bwd(&k, &zeros((1, 2, 4, 8)), &op).is_err());
        assert!(q.apply_op3_no_bwd(&zeros((1, 1, 5, 8)), &zeros((1, 1, 5, 8)), &op).is_err());
        assert!(q.apply_op3_no_bwd(&k.t().unwrap(), &k.t().unwrap(), &op).is_err());
    }
}
