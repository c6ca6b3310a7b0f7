//! Operations between two matrix products, in one pass over numbers that are already in the cache. They cover the
//! feed-forward layer, the last soft cap, and attention without a mask in memory and without work on keys that a query
//! does not see.

use super::SoftCap;
use super::loops::{attention_row, gated_gelu_row};
use candle_core::{CpuStorage, CustomOp2, InplaceOp1, Layout, Result, Shape};
use rayon::prelude::*;

/// Minimum number of entries that one task works on.
const MIN_NUMBERS_PER_TASK: usize = 4096;

/// Turns scores `[.., groups · queries, keys]` into weights: soft cap, mask, softmax, in this order.
///
/// The queries belong to the last `queries` keys. A query sees the keys up to its own. With a window W, it sees none that
/// is W or more positions before it. The weights of the other keys are 0.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MaskedSoftmax {
    /// Scores x become cap · tanh(x / cap).
    pub softcap: Option<f32>,
    /// Number of queries, at least 1.
    pub queries: usize,
    /// The window of a local layer.
    pub window: Option<usize>,
}

impl InplaceOp1 for MaskedSoftmax {
    fn name(&self) -> &'static str {
        "masked-softmax"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> Result<()> {
        let keys = layout.dims().last().copied().unwrap_or(0);
        let scores = contiguous(storage, layout, self.name())?;
        if keys < self.queries || !(scores.len() / keys.max(1)).is_multiple_of(self.queries) {
            candle_core::bail!(
                "masked-softmax: {} queries do not fit scores {:?}",
                self.queries,
                layout.dims()
            )
        }
        let past = keys - self.queries;
        let at_least = MIN_NUMBERS_PER_TASK.div_ceil(keys);
        scores.par_chunks_mut(keys).with_min_len(at_least).enumerate().for_each(|(r, row)| {
            let end = past + r % self.queries + 1;
            let start = self.window.map_or(0, |w| end.saturating_sub(w));
            row[..start].fill(0.0);
            row[end..].fill(0.0);
            // A NaN must not be lost: it makes the sum NaN, and with it the row.
            attention_row(&mut row[start..end], self.softcap);
        });
        Ok(())
    }
}

impl InplaceOp1 for SoftCap {
    fn name(&self) -> &'static str {
        "soft-cap"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> Result<()> {
        let numbers = contiguous(storage, layout, self.name())?;
        numbers.par_chunks_mut(MIN_NUMBERS_PER_TASK).for_each(|chunk| self.apply(chunk));
        Ok(())
    }
}

/// Computes gelu(gate) · up with the tanh form of gelu, number by number: the middle of the gated feed-forward layer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct GatedGelu;

impl CustomOp2 for GatedGelu {
    fn name(&self) -> &'static str {
        "gated-gelu"
    }

    fn cpu_fwd(
        &self,
        gate: &CpuStorage,
        gate_layout: &Layout,
        up: &CpuStorage,
        up_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (Some(of_gate), Some(of_up)) = (gate_layout.contiguous_offsets(), up_layout.contiguous_offsets())
        else {
            candle_core::bail!(
                "gated-gelu: numbers must be contiguous, found {gate_layout:?} and {up_layout:?}"
            )
        };
        if gate_layout.shape() != up_layout.shape() {
            candle_core::bail!("gated-gelu: {:?} and {:?} differ", gate_layout.shape(), up_layout.shape())
        }
        let gate = &gate.as_slice::<f32>()?[of_gate.0..of_gate.1];
        let up = &up.as_slice::<f32>()?[of_up.0..of_up.1];
        let mut out = vec![0f32; gate.len()];
        out.par_chunks_mut(MIN_NUMBERS_PER_TASK)
            .zip(gate.par_chunks(MIN_NUMBERS_PER_TASK))
            .zip(up.par_chunks(MIN_NUMBERS_PER_TASK))
            .for_each(|((out, gate), up)| gated_gelu_row(out, gate, up));
        Ok((CpuStorage::F32(out), gate_layout.shape().clone()))
    }
}

/// Returns the numbers of a contiguous f32 tensor.
fn contiguous<'a>(storage: &'a mut CpuStorage, layout: &Layout, name: &str) -> Result<&'a mut [f32]> {
    let Some((start, end)) = layout.contiguous_offsets() else {
        candle_core::bail!("{name}: numbers must be contiguous, found {layout:?}")
    };
    match storage {
        CpuStorage::F32(values) => Ok(&mut values[start..end]),
        other => candle_core::bail!(
            "{name}: expected f32, found {:?}",
            candle_core::backend::BackendStorage::dtype(other)
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{Device, Tensor};

    #[test]
    fn equals_the_definition() {
        let (groups, queries, keys, cap) = (2, 3, 5, 1.5f64);
        let values: Vec<f32> = (0..groups * queries * keys).map(|i| (i as f32 * 0.7).sin() * 3.0).collect();
        for window in [None, Some(1), Some(2), Some(9)] {
            let scores = Tensor::from_slice(&values, (1, groups * queries, keys), &Device::Cpu).unwrap();
            scores.inplace_op1(&MaskedSoftmax { softcap: Some(cap as f32), queries, window }).unwrap();
            let got = scores.squeeze(0).unwrap().to_vec2::<f32>().unwrap();
            for (r, row) in got.iter().enumerate() {
                let i = keys - queries + r % queries;
                let sees = |j: usize| j <= i && window.is_none_or(|w| i - j < w);
                let e = |j: usize| {
                    let x = f64::from(values[r * keys + j]);
                    if sees(j) { (cap * (x / cap).tanh()).exp() } else { 0.0 }
                };
                let sum: f64 = (0..keys).map(e).sum();
                for (j, x) in row.iter().enumerate() {
                    assert!((f64::from(*x) - e(j) / sum).abs() < 1e-6, "window {window:?} row {r} key {j}");
                }
            }
        }
    }

    #[test]
    fn nan_stays_nan() {
        let scores = Tensor::new(&[[0f32, f32::NAN, 1.0]], &Device::Cpu).unwrap();
        scores.inplace_op1(&MaskedSoftmax { softcap: None, queries: 1, window: None }).unwrap();
        assert!(scores.to_vec2::<f32>().unwrap()[0].iter().all(|x| x.is_nan()));
    }
}
