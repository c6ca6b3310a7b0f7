//! Output of the head, before the final soft cap.

use super::config::Config;
use super::error::{Error, Result};
use super::linear::takes_kernels;
use crate::kernels::SoftCap;
use crate::logits::LogitRows;
use candle_core::{CpuStorage, Device, Storage, Tensor};

/// Logits before the final soft cap, `[.., vocab]` in f32, with the cap that belongs to them. They can be read capped, or
/// as [`LogitRows`] that know their cap, but never without it.
#[derive(Debug)]
pub struct RawLogits {
    values: Tensor,
    cap: Option<f64>,
}

impl RawLogits {
    pub(super) fn new(values: Tensor, config: &Config) -> Self {
        Self { values, cap: config.final_softcap }
    }

    /// Joins the rows `[n, vocab]` of several values, in order. Returns `None` if there are no values.
    ///
    /// # Errors
    /// Returns an error if they do not have the same vocabulary.
    pub fn cat(mut all: Vec<Self>) -> Result<Option<Self>> {
        if all.len() < 2 {
            return Ok(all.pop());
        }
        let values: Vec<&Tensor> = all.iter().map(|logits| &logits.values).collect();
        Ok(Some(Self { values: Tensor::cat(&values, 0)?, cap: all[0].cap }))
    }

    /// Applies the cap and returns the final logits, `[.., vocab]`.
    ///
    /// # Errors
    /// Returns the errors of the device.
    pub fn capped(self) -> Result<Tensor> {
        let Some(cap) = self.cap else { return Ok(self.values) };
        if takes_kernels(&self.values) {
            self.values.inplace_op1(&SoftCap(cap as f32))?;
            return Ok(self.values);
        }
        Ok(((self.values / cap)?.tanh()? * cap)?)
    }

    /// Passes the rows to `read`. On the CPU they are not copied.
    ///
    /// # Errors
    /// Returns the errors of the device and those of `read`.
    pub fn read<T, E: From<Error>>(
        &self,
        read: impl FnOnce(LogitRows<'_>) -> std::result::Result<T, E>,
    ) -> std::result::Result<T, E> {
        let values = self.values.to_device(&Device::Cpu).and_then(|v| v.contiguous()).map_err(Error::from)?;
        let vocab = values.dims().last().copied().unwrap_or(0);
        let (storage, layout) = values.storage_and_layout();
        let range = layout.contiguous_offsets();
        let (Storage::Cpu(CpuStorage::F32(numbers)), Some((start, end))) = (&*storage, range) else {
            let found = format!("{:?} of layout {layout:?}", values.dtype());
            return Err(Error::Batch { expected: "f32 logits without gaps".into(), found }.into());
        };
        read(LogitRows::new(&numbers[start..end], vocab, self.cap.map(|cap| cap as f32)))
    }
}
