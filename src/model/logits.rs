//! What the head says, before the final soft cap.

use super::config::Config;
use super::error::{Error, Result};
use super::linear::takes_kernels;
use crate::kernels::SoftCap;
use crate::sample::Logits;
use candle_core::{CpuStorage, Device, Storage, Tensor};

/// Logits before the final soft cap, `[.., vocab]` in f32, with the cap that belongs to them. The numbers come out capped,
/// or as [`Logits`] that know their cap; never bare.
#[derive(Debug)]
pub struct RawLogits {
    values: Tensor,
    cap: Option<f64>,
}

/// The rows of [`RawLogits`] where they lie.
#[derive(Debug, Clone, Copy)]
pub struct Rows<'a> {
    values: &'a [f32],
    vocab: usize,
    cap: Option<SoftCap>,
}

impl RawLogits {
    pub(super) fn new(values: Tensor, config: &Config) -> Self {
        Self { values, cap: config.final_softcap }
    }

    /// The final logits, `[.., vocab]`.
    ///
    /// # Errors
    /// What the device says.
    pub fn capped(self) -> Result<Tensor> {
        let Some(cap) = self.cap else { return Ok(self.values) };
        if takes_kernels(&self.values) {
            self.values.inplace_op1(&SoftCap(cap as f32))?;
            return Ok(self.values);
        }
        Ok(((self.values / cap)?.tanh()? * cap)?)
    }

    /// Hands the rows to `read`, without a copy if they are on the CPU.
    ///
    /// # Errors
    /// What the device says, or `read`.
    pub fn read<T, E: From<Error>>(
        &self,
        read: impl FnOnce(Rows<'_>) -> std::result::Result<T, E>,
    ) -> std::result::Result<T, E> {
        let values = self.values.to_device(&Device::Cpu).and_then(|v| v.contiguous()).map_err(Error::from)?;
        let vocab = values.dims().last().copied().unwrap_or(0);
        let (storage, layout) = values.storage_and_layout();
        let range = layout.contiguous_offsets();
        let (Storage::Cpu(CpuStorage::F32(numbers)), Some((start, end))) = (&*storage, range) else {
            let found = format!("{:?} of layout {layout:?}", values.dtype());
            return Err(Error::Batch { expected: "f32 logits without gaps".into(), found }.into());
        };
        let cap = self.cap.map(|cap| SoftCap(cap as f32));
        read(Rows { values: &numbers[start..end], vocab, cap })
    }
}

impl<'a> Rows<'a> {
    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.values.len() / self.vocab.max(1)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Row `index`.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn row(&self, index: usize) -> Logits<'a> {
        let values = &self.values[index * self.vocab..(index + 1) * self.vocab];
        Logits::before_cap(values, self.cap)
    }
}
