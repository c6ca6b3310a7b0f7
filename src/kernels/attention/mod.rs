//! Attention of a decode step: one query per head, straight from the cache. Module `amx` has the attention of a prompt by
//! the matrix unit.

#[cfg(target_arch = "x86_64")]
pub(crate) mod amx;
#[cfg(target_arch = "x86_64")]
mod vector;

#[cfg(target_arch = "x86_64")]
use super::cpu::Level;
use super::loops::{LANES, attention_row};
use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape};
use half::bf16;
use rayon::prelude::*;

/// With fewer numbers of keys per thread, starting the thread costs more than it gains.
const MIN_NUMBERS_PER_TASK: usize = 64 * 1024;

/// Computes softmax(soft cap(q · kᵀ)) · v, in f32 and without a gradient. The queries are
/// `[batch, kv_heads, group, head_dim]` and already scaled. The keys and values are
/// `[batch, kv_heads, positions, head_dim]`, and every query sees all of them.
///
/// Positions may be in a larger buffer: only the last dimension must have no gaps. Keys and values are read once for all
/// query heads that share them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DecodeAttention {
    /// Scores x become cap · tanh(x / cap).
    pub softcap: Option<f32>,
}

/// One of the three tensors: its numbers and their layout.
struct View<'a> {
    numbers: &'a [f32],
    /// Strides of batch, head and row.
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

    /// Returns the rows of a head, from the first to the end of the last.
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
                    attention_row(weights, self.softcap);
                }
                attention_mix(out, weights, v, v_layout.stride()[2], dim);
            },
        );
        Ok((CpuStorage::F32(out), Shape::from((batch, heads, group, dim))))
    }
}

/// A number in the form in which the cache stores it.
trait Stored: Copy {
    fn value(self) -> f32;
}

impl Stored for f32 {
    fn value(self) -> f32 {
        self
    }
}

impl Stored for bf16 {
    /// Returns the value; the bits of a bf16 are the upper half of the bits of the f32.
    fn value(self) -> f32 {
        f32::from_bits(u32::from(self.to_bits()) << 16)
    }
}

/// Returns Σ a·b, always summed in the same order. Partial sums are in two registers, because one would have to wait for
/// itself.
fn dot<E: Stored>(a: &[f32], b: &[E]) -> f32 {
    let mut lanes = [0f32; 2 * LANES];
    let (a, a_tail) = a.as_chunks::<{ 2 * LANES }>();
    let (b, b_tail) = b.as_chunks::<{ 2 * LANES }>();
    for (a, b) in a.iter().zip(b) {
        for l in 0..2 * LANES {
            lanes[l] = a[l].mul_add(b[l].value(), lanes[l]);
        }
    }
    let (a, a_tail) = a_tail.as_chunks::<LANES>();
    let (b, b_tail) = b_tail.as_chunks::<LANES>();
    for (a, b) in a.iter().zip(b) {
        for l in 0..LANES {
            lanes[l] = a[l].mul_add(b[l].value(), lanes[l]);
        }
    }
    let mut sum = halving_sum(lanes);
    for (a, b) in a_tail.iter().zip(b_tail) {
        sum += a * b.value();
    }
    sum
}

/// Computes [`attention_scores`] in plain loops.
fn scores_of<E: Stored>(scores: &mut [f32], q: &[f32], k: &[E], stride: usize, dim: usize) {
    let positions = scores.len() / (q.len() / dim);
    for j in 0..positions {
        let key = &k[j * stride..j * stride + dim];
        for (g, q) in q.chunks_exact(dim).enumerate() {
            scores[g * positions + j] = dot(q, key);
        }
    }
}

/// Computes [`attention_mix`] in plain loops.
fn mix_of<E: Stored>(out: &mut [f32], weights: &[f32], v: &[E], stride: usize, dim: usize) {
    let positions = weights.len() / (out.len() / dim);
    for j in 0..positions {
        let value = &v[j * stride..j * stride + dim];
        for (g, out) in out.chunks_exact_mut(dim).enumerate() {
            let weight = weights[g * positions + j];
            for (o, x) in out.iter_mut().zip(value) {
                *o = x.value().mul_add(weight, *o);
            }
        }
    }
}

/// Returns the sum of the lanes. Halves are added to each other, so that it takes five dependent additions and not 32.
fn halving_sum(mut lanes: [f32; 2 * LANES]) -> f32 {
    let mut half = LANES;
    while half > 0 {
        for l in 0..half {
            lanes[l] += lanes[l + half];
        }
        half /= 2;
    }
    lanes[0]
}

/// Defines a loop of attention. It uses vector registers if the processor has them and heads fill whole registers.
macro_rules! on_this_processor {
    ($(
        $(#[$doc:meta])*
        pub fn $name:ident($out:ident: &mut [f32], $a:ident: &[f32], $b:ident: &[$element:ty], $stride:ident: usize,
                           $dim:ident: usize) = $vector:ident, $plain:ident
    )*) => {
        $(
            $(#[$doc])*
            #[cfg_attr(target_arch = "x86_64", expect(unsafe_code, reason = "calls the build for the processor"))]
            pub(crate) fn $name($out: &mut [f32], $a: &[f32], $b: &[$element], $stride: usize, $dim: usize) {
                #[cfg(target_arch = "x86_64")]
                if $dim.is_multiple_of(LANES) {
                    match Level::best() {
                        // SAFETY: the processor has what the loop was compiled for, as `best` has checked.
                        Level::Vnni => return unsafe { vector::vnni::$vector($out, $a, $b, $stride, $dim) },
                        // SAFETY: as above.
                        Level::Avx512 | Level::Avx2 => {
                            return unsafe { vector::avx2::$vector($out, $a, $b, $stride, $dim) };
                        }
                        Level::Plain => {}
                    }
                }
                $plain($out, $a, $b, $stride, $dim);
            }
        )*
    };
}

on_this_processor! {
    /// Writes q · kᵀ to `scores`, `[group, positions]`: the scores of one key head's queries q, `[group, dim]`, with the
    /// keys k, rows of `dim` numbers that are `stride` apart. Each key is read once.
    pub fn attention_scores(scores: &mut [f32], q: &[f32], k: &[f32], stride: usize, dim: usize) = scores, scores_of

    /// Adds weights `[group, positions]` times values v to `out`, `[group, dim]`. The weights are made from the scores of
    /// [`attention_scores`]. The values are rows of `dim` numbers that are `stride` apart. Each value is read once.
    pub fn attention_mix(out: &mut [f32], weights: &[f32], v: &[f32], stride: usize, dim: usize) = mix, mix_of

    /// Does the same as [`attention_scores`], for keys in bf16.
    pub fn attention_scores_bf16(scores: &mut [f32], q: &[f32], k: &[bf16], stride: usize, dim: usize) = scores_bf16, scores_of

    /// Does the same as [`attention_mix`], for values in bf16.
    pub fn attention_mix_bf16(out: &mut [f32], weights: &[f32], v: &[bf16], stride: usize, dim: usize) = mix_bf16, mix_of
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{D, Device, Tensor};
    use candle_nn::ops::softmax;

    /// Compares bit by bit, so that a text does not depend on the processor that wrote it.
    #[test]
    fn vector_registers_give_what_plain_loops_give() {
        for (group, dim, positions) in
            [(1, 16, 1), (1, 32, 21), (2, 64, 7), (3, 48, 9), (2, 256, 33), (5, 32, 19)]
        {
            let numbers =
                |n: usize, seed: f32| -> Vec<f32> { (0..n).map(|i| (i as f32 + seed).sin() * 2.0).collect() };
            let stride = dim + 8;
            let [k, v] = [1.0, 2.0].map(|seed| numbers(positions * stride, seed));
            let [k16, v16] = [&k, &v].map(|x| x.iter().map(|x| bf16::from_f32(*x)).collect::<Vec<bf16>>());
            let (q, weights) = (numbers(group * dim, 3.0), numbers(group * positions, 4.0));
            let bits = |x: &[f32]| x.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
            let mut scores = [vec![0.0; group * positions], vec![0.0; group * positions]];
            let mut outs = [numbers(group * dim, 5.0), numbers(group * dim, 5.0)];
            attention_scores(&mut scores[0], &q, &k, stride, dim);
            scores_of(&mut scores[1], &q, &k, stride, dim);
            assert_eq!(bits(&scores[0]), bits(&scores[1]), "scores {group} {dim} {positions}");
            attention_scores_bf16(&mut scores[0], &q, &k16, stride, dim);
            scores_of(&mut scores[1], &q, &k16, stride, dim);
            assert_eq!(bits(&scores[0]), bits(&scores[1]), "scores of bf16 {group} {dim} {positions}");
            attention_mix(&mut outs[0], &weights, &v, stride, dim);
            mix_of(&mut outs[1], &weights, &v, stride, dim);
            assert_eq!(bits(&outs[0]), bits(&outs[1]), "mix {group} {dim} {positions}");
            attention_mix_bf16(&mut outs[0], &weights, &v16, stride, dim);
            mix_of(&mut outs[1], &weights, &v16, stride, dim);
            assert_eq!(bits(&outs[0]), bits(&outs[1]), "mix of bf16 {group} {dim} {positions}");
            // On a processor with more than AVX2, the other build ran above.
            #[cfg(target_arch = "x86_64")]
            if Level::Avx2.is_available() {
                // Last results of `scores_of` and `mix_of`.
                let (want, before) = (bits(&scores[1]), outs[1].clone());
                mix_of(&mut outs[1], &weights, &v16, stride, dim);
                let mut got = (vec![0.0; group * positions], before);
                // SAFETY: the processor has AVX2, as just checked.
                #[expect(unsafe_code, reason = "calls one build")]
                unsafe {
                    vector::avx2::scores_bf16(&mut got.0, &q, &k16, stride, dim);
                    vector::avx2::mix_bf16(&mut got.1, &weights, &v16, stride, dim);
                }
                assert_eq!(
                    (bits(&got.0), bits(&got.1)),
                    (want, bits(&outs[1])),
                    "AVX2 {group} {dim} {positions}"
                );
            }
        }
    }

    /// Compares with candle's operations, with keys and values inside larger buffers, as in a cache.
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
